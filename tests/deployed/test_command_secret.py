"""`visma-tokens secret`, from its wheel, against the deployed stack: one story, in order."""

import json

from local.aws import Account
from local.demo import CLIENT_ID, CLIENT_SECRET, Local
from tests.deployed.conftest import Invoke
from tests.helpers.command import Command, Done

NEW, WRONG = "one-more-that-is-not-real", "one-that-the-portal-has-never-shown"


def document(secret: str) -> str:
    return json.dumps({"client_id": CLIENT_ID, "client_secret": secret})


def test_a_new_client_secret_is_staged_proved_and_shown(
    command: Command, invoke: Invoke, account: Account, local: Local
) -> None:
    said = ""

    def call(*arguments: str, said_to_it: str = "") -> Done:
        nonlocal said
        done = command("secret", *arguments, said=said_to_it)
        said += done.out + done.err
        return done

    staged = call("stage", "--file", "-", said_to_it=document(WRONG))
    assert staged.code == 0
    assert "the next run proves it" in staged.out
    invoke({"tenants": ["acme"], "force": True})

    shown = call("status")
    assert shown.code == 1
    assert "PendingSecretRefused" in shown.out
    assert "stage the secret again as the Visma developer portal shows it" in shown.out

    # MiniStack would leave the label on both versions; AWS moves it
    [pending] = [
        one["version"]
        for one in json.loads(call("status", "--json").out)[0]["versions"]
        if "AWSPENDING" in one["stages"]
    ]
    account.secretsmanager.update_secret_version_stage(
        SecretId="visma/clients/default", VersionStage="AWSPENDING", RemoveFromVersionId=pending
    )
    local.visma_connect.clients[CLIENT_ID].client_secrets.add(NEW)
    (command.folder / "client.json").write_text(document(NEW))
    call("stage", "--file", "client.json")
    invoke({"tenants": ["acme"], "force": True})

    [secret] = json.loads(call("status", "--json").out)
    assert [one["stages"] for one in secret["versions"]] == [["AWSCURRENT"], ["AWSPREVIOUS"]]
    assert secret["notices"] == []
    for text in (NEW, WRONG, CLIENT_SECRET):
        assert text not in said


def test_without_a_terminal_nobody_is_asked(command: Command) -> None:
    done = command("secret", "stage")

    assert done.err.startswith("There is no terminal to ask for the client secret.")
    assert done.code == 4


def test_a_client_without_a_secret_is_told_how_to_make_one(command: Command) -> None:
    done = command("secret", "stage", "--client", "sales", "--file", "-", said=document(NEW))

    assert done.err.startswith("There is no secret visma/clients/sales.")
    assert "--create" in done.err
    assert done.code == 4

    shown = command("secret", "status", "--client", "sales")

    assert "There is no secret visma/clients/sales\n" in shown.out
    assert "secret stage --client sales --create" in shown.out
    assert shown.code == 1
