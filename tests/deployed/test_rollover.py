"""A client secret is changed, broken and repaired, with IAM enforced; one story, in order."""

import json

from local.aws import Account, log_lines
from local.demo import CLIENT_ID, CLIENT_SECRET, Local
from tests.conftest import Event, counts
from tests.deployed.conftest import Invoke, versions
from token_issuer.ledger.records import ClientRecord
from token_issuer.ledger.table import Ledger

SECRET_ID = "visma/clients/default"
NEW, WRONG = "another-that-is-not-real", "none-that-the-portal-knows"


def put(account: Account, secret: str, stage: str) -> str:
    value = {"client_id": CLIENT_ID, "client_secret": secret}
    return account.secretsmanager.put_secret_value(
        SecretId=SECRET_ID, SecretString=json.dumps(value), VersionStages=[stage]
    )["VersionId"]


def stages(account: Account) -> dict[str, list[str]]:
    return account.secretsmanager.describe_secret(SecretId=SECRET_ID)["VersionIdsToStages"]


def noticed(account: Account, local: Local) -> set[str]:
    """Return what the last run noticed of client secrets: log, metrics and ledger agree."""
    lines = log_lines(account, local.stack)
    messages = [line.get("message") for line in lines]  # a line of metrics has none
    last = lines[len(messages) - messages[::-1].index("Run started") :]
    logged = {one["warning"] for one in last if one.get("message") == "Client secret noticed"}
    [whole] = [line for line in last if "_aws" in line and "RunSeconds" in line]
    measured = {name: value for name, value in whole.items() if "Secret" in name}
    assert measured == {"ClientSecretFallback": [0.0]} | {name: [1.0] for name in logged}
    ledger = Ledger(account.dynamodb, local.stack.outputs["LedgerTableName"])
    record = ledger.read().clients.get("default", ClientRecord(client="default"))
    recorded = {record.pending.reason} if record.pending else set()
    assert recorded | ({"ClientSecretFallback"} if record.fallback else set()) == logged
    return logged


def test_a_client_secret_is_changed_without_a_gap(
    account: Account, invoke: Invoke, event: Event, local: Local
) -> None:
    app = local.visma_connect.clients[CLIENT_ID]

    def force() -> dict[str, int]:
        return counts(invoke(event("force")))

    served = {"issued": 3, "failed": 1}
    assert force() == served

    wrong = put(account, WRONG, "AWSPENDING")
    assert force() == served
    assert noticed(account, local) == {"PendingSecretRefused"}

    # MiniStack would leave the label on both versions; AWS moves it
    account.secretsmanager.update_secret_version_stage(
        SecretId=SECRET_ID, VersionStage="AWSPENDING", RemoveFromVersionId=wrong
    )
    app.client_secrets.add(NEW)
    new = put(account, NEW, "AWSPENDING")
    assert counts(invoke(event("all")))["fresh"] == 3
    assert noticed(account, local) == set()
    assert stages(account)[new] == ["AWSCURRENT"]
    assert ["AWSPREVIOUS"] in stages(account).values()
    assert not any("AWSPENDING" in labels for labels in stages(account).values())

    app.client_secrets.discard(CLIENT_SECRET)
    assert force() == served
    assert noticed(account, local) == set()

    put(account, WRONG, "AWSCURRENT")
    before = versions(account)
    assert force() == served
    assert versions(account) == {tenant: version + 1 for tenant, version in before.items()}
    assert noticed(account, local) == {"ClientSecretFallback"}
    assert counts(invoke(event("all")))["fresh"] == 3
    assert noticed(account, local) == {"ClientSecretFallback"}

    repaired = put(account, NEW, "AWSPENDING")
    assert counts(invoke(event("all")))["fresh"] == 3
    assert noticed(account, local) == set()
    assert stages(account)[repaired] == ["AWSCURRENT"]
    assert force() == served
    assert noticed(account, local) == set()
