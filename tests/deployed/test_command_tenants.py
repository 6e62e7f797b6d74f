"""`visma-tokens add`, `remove`, `enable`, `disable` and `apply`, against the deployed stack."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from local.authorization_server import SCOPES
from local.aws import Account
from local.demo import CLIENT_ID, Local
from tests.deployed.conftest import configure, forget, tenants_of_the_stack
from tests.helpers.command import Command

IDS = {name: str(uuid4()) for name in ("soylent", "vandelay", "wonka")}
GRANTED = ("vandelay", "wonka")
PATH = "/visma/tenants"
SIBLING = '"vandelay" :{"scope":  "", "enabled": false , "note": "Kj\\u00f8pmann"}'


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where tenants are configured, and who may read their tokens."""

    account: Account
    consumer: Account

    def texts(self) -> dict[str, str]:
        pages = self.account.ssm.get_paginator("get_parameters_by_path").paginate(Path=PATH)
        found = [one for page in pages for one in page["Parameters"]]
        return {one["Name"].removeprefix(f"{PATH}/"): one["Value"] for one in found}

    def has_token(self, name: str) -> bool:
        ssm = self.consumer.ssm
        try:
            ssm.get_parameter(Name=f"/visma/tokens/{name}", WithDecryption=True)
        except ssm.exceptions.ParameterNotFound:
            return False
        return True


@pytest.fixture
def desk(account: Account, local: Local, consumer: Account) -> Iterator[Desk]:
    """Leave the stack as it was: its documents, its tokens, and what the ledger knows."""
    client = local.visma_connect.clients[CLIENT_ID]
    client.tenants.update(IDS[name] for name in GRANTED)
    desk = Desk(account=account, consumer=consumer)
    before = desk.texts()
    yield desk
    client.tenants.difference_update(IDS.values())
    after = desk.texts()
    for name in after.keys() - before.keys():
        account.ssm.delete_parameter(Name=f"{PATH}/{name}")
    assert before.items() <= after.items()
    forget(local, *IDS)


def document(name: str) -> dict[str, object]:
    return {"tenant_id": IDS[name], "scope": SCOPES[0]}


def added(command: Command, name: str, *options: str) -> tuple[str, str, int]:
    done = command("add", name, "--tenant-id", IDS[name], "--scope", SCOPES[0], *options)
    return done.out, done.err, done.code


def test_add_configures_a_tenant_once_and_has_its_token_issued(
    command: Command, desk: Desk
) -> None:
    out, err, code = added(command, "wonka", "--note", "ticket 4711")

    assert out == "1 issued, 0 fresh, 0 failed, 0 deferred, 0 removed\n"
    assert (err, code) == (f"wonka is configured, in {PATH}/wonka.\n", 0)
    assert json.loads(desk.texts()["wonka"]) == document("wonka") | {"note": "ticket 4711"}
    assert desk.has_token("wonka")

    out, err, code = added(command, "wonka")

    assert err.splitlines() == [
        f"Tenant wonka is configured already, in {PATH}/wonka.",
        "To change it, use `visma-tokens apply`, or remove it first.",
    ]
    assert (out, code) == ("", 4)
    assert json.loads(desk.texts()["wonka"])["note"] == "ticket 4711"


def test_add_says_why_there_is_no_token(command: Command, desk: Desk) -> None:
    out, _, code = added(command, "soylent", "--json")

    told = json.loads(out)
    assert (told["tenant"], told["parameter"]) == ("soylent", f"{PATH}/soylent")
    assert told["report"]["failures"][0]["reason"] == "TokenRefused"
    assert code == 1
    assert not desk.has_token("soylent")


def test_remove_asks_first_and_leaves_the_siblings_as_they_are(
    command: Command, desk: Desk
) -> None:
    text = f'{{"tenants": {{\n  "wonka": {json.dumps(document("wonka"))},\n  {SIBLING}\n}} }}'
    configure(desk.account, "many", text)

    done = command("remove", "wonka", said="y\n")

    assert done.err.splitlines() == [
        "There is no terminal to ask on, so nothing was changed.",
        "Give --yes, if you mean it.",
    ]
    assert (done.out, done.code) == ("", 4)
    assert desk.texts()["many"] == text

    done = command("remove", "wonka", "--yes")

    assert done.out == "wonka is removed; its token goes once it has expired.\n"
    assert done.code == 0
    assert members(desk.texts()["many"]) == members(f'{{"tenants": {{{SIBLING}}}}}')


def test_enable_gives_a_token_and_disable_takes_it_away(command: Command, desk: Desk) -> None:
    own = f'"wonka": {{"tenant_id": "{IDS["wonka"]}", "scope": "{SCOPES[0]}", "enabled": '
    configure(desk.account, "many", f'{{"tenants": {{{own}false}}, {SIBLING}}}}}')

    done = command("enable", "wonka")

    assert done.code == 0
    enabled = f'{{"tenants": {{{own}true}}, {SIBLING}}}}}'
    assert members(desk.texts()["many"]) == members(enabled)
    assert desk.has_token("wonka")

    done = command("disable", "wonka")

    assert (done.out, done.code) == ("wonka has no token any more.\n", 0)
    assert members(desk.texts()["many"]) == members(enabled.replace("true", "false"))
    assert not desk.has_token("wonka")


def members(text: str) -> object:
    """Return values and their order, however a text spells them."""
    return json.loads(text, object_pairs_hook=list)


def toml(tenants: dict[str, dict[str, object]]) -> str:
    lines = []
    for name, members in tenants.items():
        lines += [f"[tenants.{name}]", *(f'{key} = "{value}"' for key, value in members.items())]
    return "\n".join(lines)


def test_apply_brings_the_tenants_in_line_with_a_file(
    command: Command, desk: Desk, tmp_path: Path
) -> None:
    configure(desk.account, "many", f'{{"tenants": {{{SIBLING}}}}}')
    before = desk.texts()
    wanted = tenants_of_the_stack() | {"wonka": document("wonka")}
    (tmp_path / "tenants.toml").write_text(toml(wanted))
    plan = [
        f'+ wonka  tenant_id "{IDS["wonka"]}", scope "{SCOPES[0]}"',
        "- vandelay",
        "1 to add, 0 to change, 1 to remove, 4 unchanged; parameters to write: 2",
    ]

    done = command("apply", "tenants.toml", "--dry-run")

    assert (done.out.splitlines(), done.err, done.code) == (plan, "", 0)

    done = command("apply", "tenants.toml", said="y\n")

    assert done.err.startswith("There is no terminal to ask on, so nothing was changed.\n")
    assert (done.out.splitlines(), done.code) == (plan, 4)
    assert desk.texts() == before

    done = command("apply", "tenants.toml", "--yes")

    assert done.out.splitlines()[:3] == plan
    assert done.out.splitlines()[3].startswith("1 issued, 3 fresh, 1 failed")
    assert (done.err, done.code) == ("Written.\n", 1)  # initech is refused, as before
    assert desk.has_token("wonka")
    assert desk.texts() == before | {
        "many": '{"tenants": {}}',
        "wonka": json.dumps(document("wonka")),
    }
