"""A role with the actions that cli/README.md names for a command can use it, with IAM enforced."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.aws import Account
from local.demo import Local
from tests.conftest import PROJECT
from tests.deployed.conftest import configure, forget, spare_client, tenants_of_the_stack
from tests.helpers.command import COMMANDS, FIND, Command, credentials_for

DOCUMENT = {"scope": "", "enabled": False}
ARGUMENTS = {
    "add": ["add", "soylent", "--no-tenant-id", "--scope", ""],
    "remove": ["remove", "soylent", "--yes"],
    "enable": ["enable", "soylent"],
    "disable": ["disable", "soylent"],
    "apply": ["apply", "tenants.json", "--yes"],
    "renew": ["renew", "acme"],
    "secret stage": ["secret", "stage", "--client", "spare", "--file", "client.json"],
    "token": ["token", "acme"],
    "doctor": ["doctor", "acme"],
}


def actions_by_command() -> dict[str, list[str]]:
    """Read the table; who has all of another command's has them too."""
    table = (PROJECT / "cli/README.md").read_text().partition("| command | actions |")[2]
    found: dict[str, list[str]] = {}
    for commands, actions in re.findall(r"^\| (`.+?) \| (.+) \|$", table, re.MULTILINE):
        named = re.findall(r"`(\w+:\w+)`", actions)
        for other in re.findall(r"all of `(\w+)`", actions):
            named += found[other]
        found |= dict.fromkeys(re.findall(r"`(.+?)`", commands), named)
    return found


ACTIONS = actions_by_command()


@pytest.fixture
def surroundings(account: Account, local: Local, tmp_path: Path) -> Iterator[None]:
    """Have what the commands change: a tenant that is disabled, and a client without tenants."""
    configure(account, "soylent", json.dumps(DOCUMENT))
    content = json.dumps({"client_id": "spare", "client_secret": "the-one-before"})
    (tmp_path / "client.json").write_text(content)
    (tmp_path / "tenants.json").write_text(json.dumps({"tenants": tenants_of_the_stack()}))
    with spare_client(account, content):
        yield
    account.ssm.delete_parameters(Names=["/visma/tenants/soylent"])
    forget(local, "soylent")


@pytest.mark.usefixtures("surroundings")
@pytest.mark.parametrize("name", ACTIONS)
def test_the_actions_that_are_named_suffice(name: str, account: Account, command: Command) -> None:
    if name == "add":
        account.ssm.delete_parameter(Name="/visma/tenants/soylent")
    with credentials_for(account, [*FIND, *ACTIONS[name]]) as credentials:
        done = command(*ARGUMENTS.get(name, name.split()), **credentials)

    said = done.out + done.err
    if name == "token":  # which tells of the policy that shows the token itself
        said = said.replace("AWS denies you the token, which", "")
    assert "denies" not in said
    assert done.code in {0, 1}


def test_each_command_is_there() -> None:
    assert {*COMMANDS} == ACTIONS.keys()
