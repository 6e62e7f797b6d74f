"""`visma-tokens` where it asks: from its wheel, on a terminal of 80 columns."""

import json
from collections.abc import Callable, Iterator

import pexpect
import pytest

from local.aws import Account
from local.demo import CLIENT_ID, CLIENT_SECRET
from tests.deployed.conftest import configure, spare_client, tenants_of_the_stack
from tests.helpers.command import Command
from tests.helpers.terminal import STYLE, Child
from tests.helpers.terminal import end_of as terminal_end_of

QUESTION = "Remove tenant soylent from /visma/tenants/soylent? [y/N] "
DOCUMENT = '{"scope": "", "enabled": false}'
CTRL_C, CTRL_D = "\x03", "\x04"

type Terminal = Callable[..., Child]


@pytest.fixture
def terminal(command: Command) -> Iterator[Terminal]:
    """Return a starter of commands on a terminal; what is started ends with the test."""
    started: list[Child] = []

    def start(*arguments: str) -> Child:
        child = pexpect.spawn(
            str(command.path),
            list(arguments),
            cwd=str(command.folder),
            env=command.environment | {"TERM": "xterm", "NO_COLOR": "1"},
            dimensions=(24, 80),
            encoding="utf-8",
            timeout=30,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


@pytest.fixture
def soylent(account: Account) -> Iterator[Callable[[], bool]]:
    """Configure a tenant that is disabled, and return whether it is configured."""
    ssm, name = account.ssm, "/visma/tenants/soylent"
    configure(account, "soylent", DOCUMENT)
    yield lambda: bool(ssm.get_parameters(Names=[name])["Parameters"])
    ssm.delete_parameters(Names=[name])


def end_of(child: Child) -> tuple[list[str], int | None]:
    """Return the lines that it still prints, without their styles, and its exit code."""
    said, code = terminal_end_of(child)
    return STYLE.sub("", said).splitlines(), code


@pytest.mark.parametrize(
    ("answer", "last", "code"),
    [
        *((answer, "Nothing was changed.", 4) for answer in ("n\n", "\n", "no\n", CTRL_D)),
        (CTRL_C, "Interrupted.", 130),
    ],
)
def test_who_does_not_say_yes_removes_nobody(
    answer: str, last: str, code: int, terminal: Terminal, soylent: Callable[[], bool]
) -> None:
    child = terminal("remove", "soylent")
    child.expect_exact(QUESTION)

    child.send(answer)

    lines, ended = end_of(child)
    assert lines[-1] == last
    assert ended == code
    assert soylent()


def test_who_says_yes_removes(terminal: Terminal, soylent: Callable[[], bool]) -> None:
    child = terminal("remove", "soylent")
    child.expect_exact(QUESTION)
    assert soylent()

    child.sendline("y")

    lines, code = end_of(child)
    assert lines[-1] == "soylent is removed; its token goes once it has expired."
    assert code == 0
    assert not soylent()


def test_apply_shows_the_plan_and_asks_and_shows_how_far_it_is(
    command: Command, terminal: Terminal, soylent: Callable[[], bool]
) -> None:
    content = json.dumps({"tenants": tenants_of_the_stack()})
    (command.folder / "tenants.json").write_text(content)
    child = terminal("apply", "tenants.json", "--no-renew")
    child.expect_exact("- soylent\r\n")
    child.expect_exact("1 to remove")
    child.expect_exact("Write that? [y/N] ")
    assert soylent()

    child.sendline("yes")

    child.expect_exact("1/1")
    lines, code = end_of(child)
    assert lines[-1] == "Written."
    assert code == 0
    assert not soylent()


def test_status_is_watched_until_ctrl_c(terminal: Terminal) -> None:
    child = terminal("status", "--watch")
    child.expect_exact("acme")
    child.expect_exact("acme")  # again, five seconds later

    child.send(CTRL_C)

    lines, code = end_of(child)
    assert lines[-1] == "Interrupted."
    assert code == 130


# Client secrets


SPARE = json.dumps({"client_id": "spare", "client_secret": "the-one-before"})


def test_a_client_secret_that_is_typed_is_staged_and_not_shown(
    terminal: Terminal, account: Account
) -> None:
    with spare_client(account, SPARE):
        child = terminal("secret", "stage", "--client", "spare")
        child.expect_exact("Client ID: ")
        child.sendline(CLIENT_ID)
        child.expect_exact("Client secret (not shown): ")
        child.sendline(CLIENT_SECRET)

        lines, code = end_of(child)
        assert code == 0
        assert not [line for line in lines if CLIENT_SECRET in line]
        staged = account.secretsmanager.get_secret_value(
            SecretId="visma/clients/spare", VersionStage="AWSPENDING"
        )
    assert json.loads(staged["SecretString"]) == {
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }


def test_ctrl_c_at_the_prompt_stages_nothing(terminal: Terminal, account: Account) -> None:
    with spare_client(account, SPARE):
        child = terminal("secret", "stage", "--client", "spare")
        child.expect_exact("Client ID: ")

        child.send(CTRL_C)

        lines, code = end_of(child)
        versions = account.secretsmanager.list_secret_version_ids(SecretId="visma/clients/spare")
    assert lines[-1] == "Interrupted."
    assert code == 130
    assert len(versions["Versions"]) == 1
