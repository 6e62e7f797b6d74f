"""How each tenant is, from what the ledger and the tenant documents say."""

import io
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from tests.issuer.conftest import make_settings
from token_issuer.errors import DocumentInvalid
from token_issuer.ledger import Failure, Issued, Memory, Record
from token_issuer.tenants import Configuration, Tenant
from visma_tokens_cli.status import State, Status, TenantStatus, assess, compare, render

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SETTINGS = make_settings()


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def tenant(name: str, *, enabled: bool = True) -> Tenant:
    return Tenant(
        name=name,
        tenant_id=None,
        scope="",
        client="default",
        enabled=enabled,
        document=f"/visma/tenants/{name}",
    )


def record(name: str, *, left: float | None, failed: bool = False, wait: float = 0) -> Record:
    """Return one whose token of an hour has so many minutes left."""
    issued = None
    if left is not None:
        issued = Issued(
            issued_at=NOW + minutes(left - 60),
            expires_at=NOW + minutes(left),
            fingerprint="0123456789abcdef",
            scope=None,
            parameter=f"/visma/tokens/{name}",
            version=7,
            client_secret_version="v1",
            purpose="",
            document=f"/visma/tenants/{name}",
        )
    failure = Failure(
        reason="TokenRefused",
        code="invalid_tenant",
        detail="invalid_tenant",
        failed_at=NOW - minutes(1),
        count=1,
        waits=int(wait > 0),
        next_attempt_at=NOW + minutes(wait) if wait else None,
        purpose="",
        client_secret_version="v1",
    )
    return Record(
        tenant=name,
        client="default",
        attempted_at=NOW - minutes(1),
        issued=issued,
        failure=failure if failed else None,
    )


def status(tenants: list[Tenant], records: list[Record]) -> Status:
    configuration = Configuration(
        path="/visma/tenants",
        parameters=frozenset(),
        tenants={one.name: one for one in tenants},
        invalid={},
        good_texts={},
    )
    memory = Memory(records={one.tenant: one for one in records}, documents={}, checked="")
    return assess(memory, configuration, NOW, SETTINGS)


def only(tenants: list[Tenant], records: list[Record]) -> TenantStatus:
    [found] = status(tenants, records).tenants
    return found


ACME = tenant("acme")


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ([], State.WITHOUT),
        ([record("acme", left=-1)], State.WITHOUT),
        ([record("acme", left=None, failed=True)], State.WITHOUT),
        ([record("acme", left=40, failed=True)], State.FAILING),
        ([record("acme", left=20)], State.DUE),
        ([record("acme", left=50)], State.FRESH),
    ],
)
def test_a_tenant_is_as_its_record_says(known: list[Record], state: State) -> None:
    assert only([ACME], known).state is state


def test_who_is_disabled_or_has_vanished_is_not_failing() -> None:
    disabled = only([tenant("acme", enabled=False)], [record("acme", left=40, failed=True)])
    vanished = only([], [record("acme", left=40, failed=True)])

    assert disabled.state is State.DISABLED
    assert vanished.state is State.LEAVING
    assert (vanished.reason, vanished.remedy) == (None, None)


def test_a_failure_has_its_remedy_and_says_until_when_it_waits() -> None:
    found = only([ACME], [record("acme", left=None, failed=True, wait=3)])

    assert found.detail == "invalid_tenant; backing off until 12:03:00Z"
    assert found.remedy is not None
    assert "grant" in found.remedy
    assert found.renews_at == NOW + minutes(3)


def test_the_worst_comes_first_and_then_who_expires_first() -> None:
    lives = {"a": 50, "b": 45, "c": 20, "d": -5, "e": 55}
    records = [record(name, left=left, failed=name == "e") for name, left in lives.items()]

    found = status([tenant(name) for name in lives], records)

    assert [one.tenant for one in found.tenants] == ["d", "e", "c", "b", "a"]
    assert not found.is_well


@pytest.mark.parametrize(
    ("stored", "state", "words"),
    [
        ({"acme": 7}, State.FRESH, None),
        ({"acme": 8}, State.LOST, "The parameter holds version 8, the ledger knows 7"),
        ({}, State.LOST, "The parameter is gone"),
    ],
)
def test_where_parameter_and_ledger_disagree_the_token_is_lost(
    stored: dict[str, int], state: State, words: str | None
) -> None:
    found = compare(only([ACME], [record("acme", left=50)]), stored)

    assert (found.state, found.detail) == (state, words)


def printed(found: Status, *, columns: int = 80, most: int | None = 40) -> str:
    text = io.StringIO()
    Console(file=text, width=columns).print(render(found, failing=False, most=most))
    return text.getvalue()


def test_five_thousand_fit_a_screen_with_the_summary_first_and_the_worst_on_top() -> None:
    names = [f"t{number:04}" for number in range(5000)]
    records = [record(name, left=50, failed=name > "t4989") for name in names]

    lines = printed(status([tenant(name) for name in names], records)).splitlines()

    assert lines[0] == "5000 tenants: 10 failing, 4990 fresh"
    assert [line.split()[0] for line in lines[4:14]] == names[4990:]
    assert lines[45] == "… and 4960 more: --all"
    assert len(lines) <= 50
    assert all(len(line) <= 80 for line in lines[:45])


def test_without_colour_nothing_is_lost_in_80_columns() -> None:
    text = io.StringIO()
    terminal = Console(file=text, force_terminal=True, no_color=True, width=80)
    names = ["acme", "globex", "a-rather-long-name-of-a-company"]

    found = status([tenant(name) for name in names], [record("acme", left=40, failed=True)])
    terminal.print(render(found, failing=False, most=40))

    shown = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue())
    assert re.findall(r"\x1b\[(?:[0-9;]*;)?[349][0-9]m", text.getvalue()) == []
    assert max(map(len, shown.splitlines())) <= 80
    assert all(word in shown for word in ("globex", "failing", "no token", "TokenRefused"))


def test_those_that_fail_alike_are_told_of_once() -> None:
    names = "abcdefg"
    records = [record(name, left=40, failed=True) for name in names]

    text = printed(status([tenant(name) for name in names], records))

    assert text.count("invalid_tenant") == 1
    assert "a, b, c, d, e and 2 more: invalid_tenant" in text


def test_what_is_wrong_with_documents_is_in_the_summary_with_its_remedy() -> None:
    configuration = Configuration(
        path="/visma/tenants",
        parameters=frozenset(),
        tenants={},
        invalid={"acme": DocumentInvalid("/visma/tenants/acme: it is not JSON")},
        good_texts={},
    )

    found = assess(Memory(records={}, documents={}, checked=""), configuration, NOW, SETTINGS)

    assert printed(found).splitlines()[0] == "0 tenants; 1 document can't be used"
    assert "acme: /visma/tenants/acme: it is not JSON" in printed(found)
    assert not found.is_well


def test_scripts_read_times_as_iso_8601() -> None:
    found = status([ACME], [record("acme", left=50)]).as_dict()

    assert found["counts"] == {"fresh": 1}
    assert found["tenants"][0]["expires_at"] == "2026-11-23T12:50:00+00:00"
