"""How each tenant is, from what ledger, tenant documents and parameters say."""

import io
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from rich.console import Console

from tests.cli.conftest import Shelf, documents_of
from tests.conftest import rarely
from tests.helpers.applying import make_stack_with_ledger
from tests.helpers.facts import NOW, SETTINGS, fail, make_facts, make_record, make_tenant, minutes
from tests.helpers.terminal import Child, end_of, in_a_pipe, on_terminal
from token_issuer.ledger.records import Memory, Record
from token_issuer.ledger.table import Ledger
from token_issuer.tenants.documents import Tenant
from visma_tokens_cli import commands, screen
from visma_tokens_cli.assessment import CHAIN, State, Status, TenantStatus, assess, compare
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.status import FEW, choose, read_compared, read_status
from visma_tokens_cli.status_table import render

STYLE, COLOUR = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\x1b\[(?:[0-9;]*;)?[349][0-9]m")
RED, GREEN, YELLOW, DIM = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m"


def record(name: str, *, left: float | None, failed: bool = False, wait: float = 0) -> Record:
    """Return one whose token of an hour has so many minutes left."""
    known = make_record(name, age=60 - (left or 0))
    if left is None:
        known = replace(known, issued=None)
    if not failed:
        return known
    known = fail(known, name)
    assert known.failure
    next_attempt_at = NOW + minutes(wait) if wait else None
    return replace(known, failure=replace(known.failure, next_attempt_at=next_attempt_at))


def status(tenants: list[Tenant], records: list[Record]) -> Status:
    facts = make_facts(tenants, records)
    return assess(facts.memory, facts.configuration, NOW, SETTINGS)


def only(tenants: list[Tenant], records: list[Record]) -> TenantStatus:
    [found] = status(tenants, records).tenants
    return found


ACME = make_tenant("acme")


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ([record("acme", left=-1)], State.WITHOUT),
        ([record("acme", left=None, failed=True)], State.WITHOUT),
        ([record("acme", left=40, failed=True)], State.FAILING),
        ([record("acme", left=20)], State.DUE),
        ([record("acme", left=50)], State.FRESH),
    ],
)
def test_a_tenant_is_as_its_record_says(known: list[Record], state: State) -> None:
    assert only([ACME], known).state is state


def test_who_was_never_asked_for_is_new_and_below_who_was_refused() -> None:
    tenants = [make_tenant("new"), make_tenant("refused"), make_tenant("failing")]
    known = [record("refused", left=None, failed=True), record("failing", left=40, failed=True)]

    found = status(tenants, known)

    assert [(one.tenant, one.state) for one in found.tenants] == [
        ("refused", State.WITHOUT),
        ("failing", State.FAILING),
        ("new", State.NEW),
    ]
    assert found.tenants[2].renews_at == NOW
    assert not found.is_well


def test_a_changed_document_is_renewed_by_the_next_run() -> None:
    known = record("acme", left=50)

    assert only([ACME], [known]).state is State.FRESH
    changed = only([replace(ACME, scope="more")], [known])
    assert (changed.state, changed.renews_at) == (State.DUE, NOW)


@pytest.mark.parametrize(("left", "state"), [(40, State.LOST), (-1, State.WITHOUT)])
def test_a_lost_token_is_lost_though_its_renewal_failed_until_it_has_expired(
    left: float, state: State
) -> None:
    known = record("acme", left=left, failed=True)
    assert known.issued

    lost = replace(known, issued=replace(known.issued, lost_at=NOW))

    assert only([ACME], [lost]).state is state


def test_each_state_has_its_rule() -> None:
    assert sorted(rule.state for rule in CHAIN) == sorted(State)


def test_who_is_disabled_or_has_vanished_is_not_failing() -> None:
    disabled = only([make_tenant("acme", enabled=False)], [record("acme", left=40, failed=True)])
    vanished = only([], [record("acme", left=40, failed=True)])

    assert disabled.state is State.DISABLED
    assert vanished.state is State.LEAVING
    assert (vanished.reason, vanished.remedy) == (None, None)


def test_a_failure_has_its_remedy_and_renews_when_it_has_waited() -> None:
    found = only([ACME], [record("acme", left=None, failed=True, wait=3)])

    assert found.detail == "invalid_tenant"
    assert found.remedy is not None
    assert "grant" in found.remedy
    assert found.renews_at == NOW + minutes(3)


def test_the_worst_comes_first_and_then_who_expires_first() -> None:
    lives = {"a": 50, "b": 45, "c": 20, "d": -5, "e": 55}
    records = [record(name, left=left, failed=name == "e") for name, left in lives.items()]

    found = status([make_tenant(name) for name in lives], records)

    assert [one.tenant for one in found.tenants] == ["d", "e", "c", "b", "a"]
    assert not found.is_well


@pytest.mark.parametrize(
    ("stored", "state", "words"),
    [
        ({"acme": 3}, State.FRESH, None),
        ({"acme": 8}, State.LOST, "The parameter holds another version than the ledger"),
        ({}, State.LOST, "The parameter is gone"),
    ],
)
def test_where_parameter_and_ledger_disagree_the_token_is_lost(
    stored: dict[str, int], state: State, words: str | None
) -> None:
    found = compare(only([ACME], [record("acme", left=50)]), stored)

    assert (found.state, found.detail) == (state, words)


# Which parameters are compared


@pytest.mark.parametrize(
    ("tenants", "most", "compared"),
    [(FEW, 40, FEW), (FEW + 1, 40, 40), (FEW + 1, None, FEW + 1)],
    ids=["few", "many", "all of many"],
)
@pytest.mark.parametrize("failing", [False, True], ids=["all", "failing"])
def test_all_are_compared_unless_there_are_many_and_not_all_are_asked_for(
    *, tenants: int, most: int | None, compared: int, failing: bool
) -> None:
    names = [f"t{number}" for number in range(tenants)]
    known = status(
        [make_tenant(name) for name in names],
        [record(name, left=40, failed=number < 50) for number, name in enumerate(names)],
    )

    chosen = choose(known, failing=failing, most=most)

    assert len(chosen) == compared
    assert [one.state for one in chosen[:40]] == [State.FAILING] * 40


def test_the_help_tells_which_are_compared() -> None:
    assert f"at most {FEW}" in (commands.status.__doc__ or "")


@pytest.fixture
def stack(shelf: Shelf) -> Stack:
    assert shelf.texts() == {}
    return make_stack_with_ledger()


def issue(stack: Stack, name: str, *, version: int) -> None:
    """Issue a token as a run does, so that it has that version in the ledger."""
    put_token(stack, name)
    known = record(name, left=50).issued
    assert known
    now = datetime.now(UTC)
    issued = replace(known, issued_at=now, expires_at=now + minutes(60), version=version)
    Ledger(stack.aws.client("dynamodb"), "ledger").record_token(
        Record(tenant=name, client="default", attempted_at=now, issued=issued), None
    )


def put_token(stack: Stack, name: str) -> None:
    stack.aws.client("ssm").put_parameter(
        Name=f"/visma/tokens/{name}", Type="SecureString", Value="opaque", Overwrite=True
    )


def test_failing_has_those_whose_parameter_alone_tells(stack: Stack, shelf: Shelf) -> None:
    for name in ("acme", "globex"):
        shelf.put(name, '{"scope": "read"}')
        issue(stack, name, version=1)
    put_token(stack, "globex")

    found = read_status(stack, failing=True, most=40)

    assert [one.tenant for one in found.only(failing=True).tenants] == ["globex"]
    assert found.as_dict()["compared"] == 2
    assert not found.is_well


def test_a_token_that_a_run_stores_meanwhile_is_not_lost(stack: Stack, shelf: Shelf) -> None:
    shelf.put("acme", '{"scope": "read"}')
    issue(stack, "acme", version=1)

    def run(**_: object) -> None:
        issue(stack, "acme", version=2)

    watched = boto3.Session()
    watched.events.register("before-call.ssm.GetParameters", run)

    [found] = read_status(replace(stack, aws=watched)).tenants

    assert (found.state, found.version, found.stored_version) == (State.FRESH, 2, 2)


def test_who_is_in_two_parameters_is_where_its_token_was_issued_for(
    stack: Stack, shelf: Shelf
) -> None:
    put_token(stack, "acme")
    known = record("acme", left=50)
    assert known.issued
    issued = replace(known.issued, document="/visma/tenants/many")
    Ledger(stack.aws.client("dynamodb"), "ledger").record_token(replace(known, issued=issued), None)
    for name in ("many", "more"):
        shelf.put(name, '{"tenants": {"acme": {"scope": ""}}}')

    [found] = read_status(stack).tenants

    assert found.state is not State.LEAVING


def test_a_tenant_that_a_run_removes_meanwhile_is_not_lost(stack: Stack) -> None:
    issue(stack, "acme", version=1)
    known = stack.read_ledger()
    stack.aws.client("ssm").delete_parameter(Name="/visma/tokens/acme")
    Ledger(stack.aws.client("dynamodb"), "ledger").drop_record(known.records["acme"], NOW)
    configuration = stack.read_tenants(known)

    status = assess(known, configuration, NOW, SETTINGS)

    assert read_compared(stack, configuration, status.tenants) == {}


# What people see


def printed(found: Status, *, columns: int = 80, **options: Any) -> str:  # noqa: ANN401  rich's
    text = io.StringIO()
    Console(file=text, width=columns, **options).print(render(found, failing=False, most=40))
    return text.getvalue()


def test_five_thousand_fit_a_screen_with_the_summary_first_and_the_worst_on_top() -> None:
    names = [f"t{number:04}" for number in range(5000)]
    records = [record(name, left=50, failed=name > "t4989") for name in names]

    found = status([make_tenant(name) for name in names], records)
    lines = printed(replace(found, compared=40)).splitlines()

    assert lines[0] == "5,000 tenants: 10 failing, 4,990 fresh; parameters of 40 compared"
    assert [line.split()[0] for line in lines[4:14]] == names[4990:]
    assert lines[45] == "… and 4,960 more: --all"
    assert len(lines) <= 50
    assert all(len(line) <= 80 for line in lines[:45])


LONG = "a-name-of-a-company-that-is-as-long-as-the-contract-allows-it-64"


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (140, ["Tenant", "State", "Expires", "in", "Renews", "in", "Version", "Last", "failure"]),
        (120, ["Tenant", "State", "Expires", "in", "Renews", "in", "Last", "failure"]),
        (110, ["Tenant", "State", "Expires", "in", "Renews", "in"]),
        (100, ["Tenant", "State", "Expires", "in", "Renews", "in"]),
        (60, ["Tenant", "State", "Expires", "in", "Renews", "in"]),
    ],
)
def test_a_narrow_screen_has_fewer_columns_and_whole_names(
    columns: int, headings: list[str]
) -> None:
    found = status([make_tenant(LONG)], [record(LONG, left=40, failed=True)])

    lines = printed(found, columns=columns).splitlines()

    assert lines[2].split() == headings
    assert max(map(len, lines)) <= columns
    name = lines[4].split()[0]
    assert name == LONG or (columns < 100 and name == f"{LONG[: len(name) - 1]}…")
    assert len(name) > 20


@pytest.mark.parametrize("columns", [80, 120])
def test_without_colour_nothing_else_is_lost(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(columns)}.items():
        monkeypatch.setenv(name, value)
    names = ["acme", "globex", "a-rather-long-name-of-a-company"]
    found = status([make_tenant(name) for name in names], [record("acme", left=40, failed=True)])

    def shown() -> str:
        screen.out().print(render(found, failing=False, most=40))
        return capsys.readouterr().out

    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = shown()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = shown()

    assert COLOUR.search(coloured)
    assert not COLOUR.search(plain)
    assert STYLE.sub("", plain) == STYLE.sub("", coloured)
    assert max(map(len, STYLE.sub("", plain).splitlines())) <= columns
    assert all(word in plain for word in ("globex", "failing", "new", "TokenRefused"))


def styled(found: Status, columns: int) -> str:
    """Return it as it is on a terminal, with its styles."""
    terminal = {"force_terminal": True, "color_system": "standard", "no_color": False}
    return printed(found, columns=columns, **terminal)


def every_state() -> Status:
    lives = {"fresh": 55, "due": 10, "failing": 4, "expired": -1, "disabled": 40, "leaving": 30}
    records = [record(name, left=left, failed=name == "failing") for name, left in lives.items()]
    records.append(record("none", left=None, failed=True))
    names = ["fresh", "due", "failing", "expired", "none", "new"]
    found = status([*map(make_tenant, names), make_tenant("disabled", enabled=False)], records)
    return replace(found, compared=len(records))


@pytest.mark.parametrize("columns", [80, 120])
def test_state_and_bar_have_colours(columns: int) -> None:
    shown = styled(every_state(), columns)

    rows = {line.split()[0]: line for line in shown.splitlines()[4:12]}
    assert f"{YELLOW}new" in rows["new"]
    assert f"{GREEN}fresh" in rows["fresh"]
    assert f"{GREEN}━━━━━━━━ \x1b[0m55 min" in rows["fresh"]
    assert f"{GREEN}━━╌╌╌╌╌╌ \x1b[0m10 min" in rows["due"]
    assert f"{YELLOW}failing" in rows["failing"]
    assert f"{RED}━╌╌╌╌╌╌╌ \x1b[0m4 min" in rows["failing"]
    assert f"{RED}expired" in rows["expired"]
    assert f"{RED}no token" in rows["none"]
    assert f"{DIM}disabled" in rows["disabled"]
    assert f"{DIM}leaving" in rows["leaving"]


def test_colours_can_be_read_on_dark_and_on_light() -> None:
    shown = styled(every_state(), 80)

    codes = {code for style in STYLE.findall(shown) for code in style[2:-1].split(";")}
    assert codes == {"0", "1", "2", "31", "32", "33"}  # neither white, black, nor bright


def test_renews_in_says_when_it_is_tried_next() -> None:
    names = ["waits", "due", "fresh", "disabled"]
    records = [
        record("waits", left=None, failed=True, wait=7),
        record("due", left=20),
        record("fresh", left=55),
        record("disabled", left=55),
    ]
    tenants = [make_tenant(name, enabled=name != "disabled") for name in names]

    lines = printed(status(tenants, records)).splitlines()

    column = slice(lines[2].index("Renews in"), lines[2].index("Version"))
    rows = {line.split()[0]: line[column].strip() for line in lines[4:8]}
    assert (rows["waits"], rows["due"], rows["disabled"]) == ("7 min", "next run", "")
    assert re.fullmatch(r"\d+ min", rows["fresh"])


def test_those_that_fail_alike_are_told_of_once() -> None:
    names = "abcdefg"
    records = [
        record(name, left=None, failed=True, wait=wait) for wait, name in enumerate(names, 1)
    ]

    text = printed(status([make_tenant(name) for name in names], records))

    assert text.count("invalid_tenant") == 1
    assert "a, b, c, d, e and 2 more: invalid_tenant" in text


def test_those_that_are_lost_alike_are_told_of_once() -> None:
    found = status(
        [make_tenant("a"), make_tenant("b")], [record("a", left=50), record("b", left=50)]
    )

    lost = [compare(one, {"a": 8, "b": 9}) for one in found.tenants]

    assert "a, b: The parameter holds another version" in printed(replace(found, tenants=lost))


def test_what_is_wrong_with_documents_is_said_once_with_its_remedy() -> None:
    parameters = {
        "many": "{",
        "acme": '{"scope": 1}',
        "umbrella": '{"scope": ""}',
        "packed": '{"tenants": {"umbrella": {"scope": ""}}}',
    }

    found = assess(Memory(), documents_of(parameters).configuration, NOW, SETTINGS)

    lines = printed(found, columns=200).splitlines()
    assert lines[0] == "1 tenant: 1 new; 3 documents can't be used"
    places = "/visma/tenants/packed and in /visma/tenants/umbrella"
    told = [line.partition(":")[0] for line in lines]
    for subject in (
        "/visma/tenants/many",
        "/visma/tenants/acme, tenant acme",
        f"Tenant umbrella follows its own parameter; it is in {places}",
    ):
        assert told.count(subject) == 1
    assert not found.is_well


def test_scripts_read_times_as_iso_8601() -> None:
    found = status([ACME], [record("acme", left=50)]).as_dict()

    assert found["counts"] == {"fresh": 1}
    assert found["tenants"][0]["expires_at"] == "2026-11-24T12:50:00+00:00"


# On a screen

WATCHING = """
import time
from datetime import UTC, datetime

import typer
from botocore.exceptions import ClientError

from visma_tokens_cli.answers import NotOfAws
from visma_tokens_cli.ending import exit_on_sigterm
from visma_tokens_cli.failures import SIGN_IN, CommandFailed
from visma_tokens_cli.options import with_options
from visma_tokens_cli.status_table import watch_status
from visma_tokens_cli.assessment import State, Status, TenantStatus

exit_on_sigterm()
answers = iter({answers})

def read(rows):
    code = next(answers, "")
    if code == "keys":
        raise CommandFailed("Your AWS credentials can't be loaded", SIGN_IN)
    if code == "page":
        raise NotOfAws
    if code:
        raise ClientError({{"Error": {{"Code": code}}}}, "Scan")
    tenants = [TenantStatus(tenant="acme", client="default", state=State.FRESH)] * rows
    return Status(at=datetime.now(UTC), tenants=tenants, documents={{}})

@with_options
def watch(*, options):
    watch_status(read, failing=False, sleep=lambda seconds: time.sleep(seconds / 50))

typer.run(watch)
"""
ENTERS, LEAVES = "\x1b[?1049h", "\x1b[?1049l"  # the alternate screen
SHOWS = "\x1b[?25h"  # the cursor

STATUS = ("-m", "visma_tokens_cli", "status", "--region", "eu-north-1")
NOWHERE = ("--endpoint-url", "http://127.0.0.1:9")


def watch(*codes: str) -> Child:
    """Watch on a terminal; a read comes to its code of a failure, or else is well."""
    return on_terminal("-c", WATCHING.format(answers=codes))


def test_a_watch_shows_what_fits_until_ctrl_c() -> None:
    child = watch()
    child.expect_exact(ENTERS)
    child.expect_exact("Reading …")
    child.expect_exact("12 tenants")  # of 24 lines
    child.expect_exact("12 tenants")

    child.sendintr()

    said, code = end_of(child)
    assert SHOWS in said
    assert "Interrupted." in said.partition(LEAVES)[2]
    assert code == 130


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("ThrottlingException", "Scan failed: ThrottlingException"),
        ("page", "What answered is not AWS"),
    ],
)
def test_a_read_that_fails_is_told_and_the_watch_goes_on(answer: str, words: str) -> None:
    child = watch("", answer)
    child.expect_exact("12 tenants")

    child.expect(rf"could not be read at \d\d:\d\d:\d\dZ: {words}")
    child.expect_exact("12 tenants")  # as it was
    child.expect_exact("12 tenants")
    assert child.before is not None
    assert "could not be read" not in child.before

    child.sendintr()
    assert end_of(child)[1] == 130


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (["ThrottlingException"], "Scan failed: ThrottlingException"),
        (["", "ExpiredTokenException"], "Scan failed: ExpiredTokenException"),
        (["", "keys"], "Your AWS credentials can't be loaded"),
    ],
    ids=["the first fails", "the credentials have expired", "there are no others"],
)
def test_what_a_person_has_to_mend_ends_the_watch(answers: list[str], words: str) -> None:
    said, code = end_of(watch(*answers))

    assert SHOWS in said
    assert words in said.partition(LEAVES)[2]
    assert code == 3


def test_sigterm_leaves_the_screen_as_it_was() -> None:
    child = watch()
    child.expect_exact("12 tenants")

    child.kill(signal.SIGTERM)

    said, code = end_of(child)
    assert LEAVES in said
    assert SHOWS in said
    assert code == 143


@pytest.mark.parametrize("arguments", [["--json"], []], ids=["JSON", "a pipe"])
def test_watching_is_for_a_screen(arguments: list[str]) -> None:
    done = in_a_pipe(*STATUS, *NOWHERE, "--watch", *arguments, FORCE_COLOR="1")

    assert "--watch is for a screen" in done.stderr
    assert (done.stdout, done.returncode) == ("", 2)


@pytest.mark.parametrize(
    "variable",
    ["TERM=dumb", *rarely("TERM=unknown", "TTY_COMPATIBLE=0", "TTY_INTERACTIVE=0")],
)
def test_watching_needs_a_terminal_that_pictures_can_be_shown_on(variable: str) -> None:
    name, _, value = variable.partition("=")

    said, code = end_of(on_terminal(*STATUS, *NOWHERE, "--watch", **{name: value}))

    assert "--watch is for a screen" in said
    assert code == 2


def test_while_it_reads_a_terminal_is_told() -> None:
    child = on_terminal(*STATUS, *NOWHERE)

    child.expect_exact("Reading …")
    said, code = end_of(child)

    assert "AWS could not be reached" in said
    assert code == 3
