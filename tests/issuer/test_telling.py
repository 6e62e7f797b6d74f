"""Events are put at the end of a run, ten at once; what lasts is told at least once."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest

from tests.helpers.account import client_error, token_answer
from tests.helpers.event_bus import EventBus
from tests.helpers.facts import NOW, fail, make_record, make_renewal
from tests.helpers.fuzzed_world import World as RunWorld
from tests.helpers.fuzzed_world import configured, later
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.outside import make_outside
from tests.helpers.virtual_clock import VirtualClock
from tests.helpers.world import Killed
from token_issuer.clients.rollover import Promoted
from token_issuer.errors import (
    ClientRefused,
    ClientSecretFallback,
    EndpointUnavailable,
    IssuerError,
    LedgerUnwritable,
    NoTimeLeft,
    ParameterUnwritable,
    StoreDenied,
    TenantReassigned,
    TokenRefused,
)
from token_issuer.ledger.records import ClientRecord, Owner, Record
from token_issuer.ledger.table import Ledger as TableLedger
from token_issuer.limits.deadline import LAST_WORDS, RECORD, REPORT
from token_issuer.proving import Concluded
from token_issuer.redaction import Quoted
from token_issuer.reporting.events import Events
from token_issuer.telling import tell
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.oauth import Answer
from token_issuer.tokens.plan import Fresh, Outcome, Removal

DENIED = client_error("AccessDeniedException", "PutEvents")
REFUSED = TokenRefused("invalid_tenant", code=Quoted("invalid_tenant"))
MOVED = TenantReassigned("Tenant acme had another")
REFUSAL = Answer(status=400, body=b'{"error": "invalid_tenant"}')
TOKEN = AccessToken(value="t", issued_at=NOW, expires_at=NOW + timedelta(hours=1), scope=None)


class Ledger(MemoryLedger):
    """Notes what is kept, unless that fails."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.failing: dict[str, Exception] = {}

    def keep_told(self, tenant: str, at: datetime) -> None:
        self._keep(f"told {tenant}")
        super().keep_told(tenant, at)

    def keep_owner(self, tenant: str, owner: Owner) -> None:
        self._keep(f"owner of {tenant}")
        super().keep_owner(tenant, owner)

    def record_client(self, record: ClientRecord) -> None:
        self._keep(f"client {record.client}")
        super().record_client(record)

    def _keep(self, what: str) -> None:
        if error := self.failing.get(what):
            raise error
        self.kept.append(what)


class World:
    def __init__(self, seconds: float = 200.0) -> None:
        self.clock = VirtualClock()
        self.bus, self.ledger = EventBus(self.clock), Ledger()
        self.outside = make_outside(self.clock, seconds, ledger=self.ledger, events=self.bus.events)

    def tell(self, *outcomes: Outcome, concluded: Sequence[Concluded] = ()) -> list[IssuerError]:
        return tell(outcomes, concluded, self.outside)


def failed(name: str, error: IssuerError = REFUSED, record: Record | None = None) -> Outcome:
    return Outcome(decision=make_renewal(name, record), failure=error)


def removed(name: str, parameter: str | None = "/visma/tokens/t", **others: object) -> Outcome:
    removal = Removal(record=make_record(name), parameter=parameter, because="disabled")
    return replace(Outcome(decision=removal), **others)  # type: ignore[arg-type]


def told(name: str, at: datetime | None) -> Record:
    """Return the record of a tenant whose failing was told of."""
    record = fail(None, name)
    assert record.failure is not None
    return replace(record, failure=replace(record.failure, told_at=at))


def refused(*reasons: IssuerError, **told_at: datetime) -> Concluded:
    record = ClientRecord(client="default", told_at=told_at)
    return Concluded(record=record, refusals=[*reasons])


# What is told


def test_a_refused_tenant_is_told_of_with_the_end_of_its_token() -> None:
    world = World()
    record = make_record("acme", age=10)

    assert world.tell(failed("acme", record=record), failed("globex")) == []

    assert world.bus.delivered == [
        (
            "Token Issuance Failing",
            {
                "stack": "issuer",
                "tenant": name,
                "client": "default",
                "reason": "TokenRefused",
                "code": "invalid_tenant",
                "detail": "invalid_tenant",
                "remedy": REFUSED.remedy,
                "token_expires_at": end,
            },
        )
        for name, end in (("acme", "2026-11-24T12:50:00Z"), ("globex", None))
    ]
    assert world.ledger.kept == ["told acme", "told globex"]


@pytest.mark.parametrize(
    ("hours", "times"),
    [
        pytest.param(None, 1, id="never"),
        pytest.param(-24.0, 1, id="a day ago"),
        pytest.param(-23.99, 0, id="less than a day ago"),
        pytest.param(0.0, 0, id="just now"),
        pytest.param(0.01, 1, id="in the future, since the clock was set back"),
    ],
)
def test_what_lasts_is_told_of_once_a_day(hours: float | None, times: int) -> None:
    world = World()
    at = None if hours is None else NOW + timedelta(hours=hours)
    told_at = {"ClientRefused": at} if at else {}

    world.tell(
        failed("acme", record=told("acme", at)),
        concluded=[refused(ClientRefused("invalid_client"), **told_at)],
    )

    both = {"Token Issuance Failing": times, "Client Secret Refused": times}
    assert world.bus.kinds() == +Counter(both)


@pytest.mark.parametrize(
    "error",
    [EndpointUnavailable("503"), ClientRefused("no"), StoreDenied("no"), NoTimeLeft()],
    ids=lambda error: error.reason,
)
def test_what_passes_or_is_not_the_tenants_own_is_not_told_of(error: IssuerError) -> None:
    world = World()
    moved = replace(make_renewal("globex"), reassigned=MOVED)
    is_the_tenants = isinstance(error, EndpointUnavailable)

    world.tell(failed("acme", error), Outcome(decision=moved, failure=error))

    assert world.bus.kinds() == ({"Tenant Reassigned": 1} if is_the_tenants else {})
    assert world.bus.tried == ([1] if is_the_tenants else [])  # nothing to tell is no request


@pytest.mark.parametrize(
    ("told_at", "kinds"), [(NOW, {"Token Issuance Recovered": 1}), (None, {})], ids=["told", "not"]
)
def test_whose_failing_was_told_of_recovers(
    told_at: datetime | None, kinds: dict[str, int]
) -> None:
    world = World()

    world.tell(Outcome(decision=make_renewal("acme", told("acme", told_at)), token=TOKEN))

    assert world.bus.kinds() == kinds
    assert all(
        detail["token_expires_at"] == "2026-11-24T13:00:00Z" for _, detail in world.bus.delivered
    )


def test_a_removed_token_is_told_of_if_there_was_one_and_it_is_gone() -> None:
    world = World()

    world.tell(removed("acme"), removed("never", None), removed("kept", failure=StoreDenied("no")))

    removal = {"stack": "issuer", "tenant": "acme", "because": "disabled"}
    assert world.bus.delivered == [("Token Removed", removal)]


@pytest.mark.parametrize("failure", [None, ParameterUnwritable("label")], ids=["", "unwritable"])
def test_another_owner_is_remembered_once_that_is_told(failure: IssuerError | None) -> None:
    outcome = Outcome(
        decision=replace(make_renewal("acme"), reassigned=MOVED),
        token=None if failure else TOKEN,
        failure=failure,
    )
    world = World()
    world.bus.failing = [DENIED]

    assert len(world.tell(outcome)) == 1
    assert world.ledger.owners == {}

    assert world.tell(outcome) == []
    assert world.ledger.owners == {"acme": Owner(tenant_id=None, client="default")}
    assert world.bus.kinds() == {"Tenant Reassigned": 1}


def test_a_refused_tenant_that_was_anothers_is_told_of_as_both() -> None:
    world = World()

    world.tell(Outcome(decision=replace(make_renewal("acme"), reassigned=MOVED), failure=REFUSED))

    assert world.bus.kinds() == {"Tenant Reassigned": 1, "Token Issuance Failing": 1}
    assert world.ledger.kept == ["owner of acme", "told acme"]


def test_a_promoted_client_secret_is_told_of() -> None:
    world, promoted = World(), Promoted(version="v2", tenant="acme")

    world.tell(concluded=[Concluded(record=ClientRecord(client="default"), promoted=promoted)])

    detail = {"stack": "issuer", "client": "default", "secret_version": "v2", "tenant": "acme"}
    assert world.bus.delivered == [("Client Secret Promoted", detail)]
    assert world.ledger.kept == []


def test_each_reason_of_a_client_is_noted_beside_those_before() -> None:
    world, before = World(), NOW - timedelta(hours=1)
    record = refused(ClientRefused("1"), ClientSecretFallback("2"), PendingSecretRefused=before)

    world.tell(concluded=[record])

    assert world.ledger.clients["default"].told_at == {
        "PendingSecretRefused": before,
        "ClientRefused": NOW,
        "ClientSecretFallback": NOW,
    }


# Ten at once


def many(count: int) -> list[Outcome]:
    return [failed(f"t{number}") for number in range(count)]


def test_ten_events_go_in_a_request() -> None:
    world = World()

    assert world.tell(*many(23)) == []

    assert world.bus.tried == [10, 10, 3]
    assert len(world.ledger.kept) == 23


def test_an_entry_that_is_refused_is_not_noted_and_the_others_are() -> None:
    world = World()
    world.bus.failing = [{1}]

    [failure] = world.tell(*many(3))

    assert failure.reason == "EventUndelivered"
    assert failure.detail == "Putting Token Issuance Failing failed: InternalFailure"
    assert world.ledger.kept == ["told t0", "told t2"]


ALL = range(10)  # entries of a request


@pytest.mark.parametrize(
    ("failing", "requests", "delivered"),
    [
        pytest.param([DENIED, (), DENIED, ()], 5, 30, id="each after one"),
        pytest.param([(), DENIED, DENIED], 3, 10, id="none after two in a row"),
        pytest.param([DENIED, ALL], 2, 0, id="all entries are as good as the call"),
        pytest.param([DENIED, range(9), DENIED], 5, 21, id="one that is delivered counts anew"),
        pytest.param([TypeError(), TypeError()], 2, 0, id="a defect counts too"),
    ],
)
def test_after_two_requests_in_a_row_that_failed_no_more_is_tried(
    failing: Sequence[Exception | Sequence[int]], requests: int, delivered: int
) -> None:
    world = World()
    world.bus.failing = [*failing]

    failures = world.tell(*many(50))

    assert len(world.bus.tried) == requests
    assert len(world.bus.delivered) == len(world.ledger.kept) == delivered
    assert len(failures) == 50 - delivered
    why = "Token Issuance Failing was not tried: several requests have failed"
    untried = [one for one in failures if one.detail == why]
    assert len(untried) == 50 - 10 * requests


# Time


def test_what_each_need_leaves_at_the_end_is_enough_for_a_request() -> None:
    world = World(seconds=REPORT)

    assert world.tell(*many(10)) == []

    assert world.bus.tried == [10]


def test_nothing_is_put_without_time_for_it() -> None:
    world = World(seconds=REPORT - 0.1)

    failures = world.tell(*many(11))

    assert [one.reason for one in failures] == ["EventUndelivered"] * 11
    assert world.bus.tried == []


def test_what_there_is_no_time_to_note_is_told_all_the_same() -> None:
    world = World(seconds=RECORD + LAST_WORDS + 1)
    world.bus.latency = 1.1

    assert world.tell(*many(3)) == []

    assert world.bus.tried == [3]
    assert world.ledger.kept == []


def test_time_is_looked_at_before_each_request_and_each_note() -> None:
    class Slow(Ledger):
        def keep_told(self, tenant: str, at: datetime) -> None:
            super().keep_told(tenant, at)
            world.clock.passed += 1

    world, ledger = World(seconds=RECORD + 5.5), Slow()
    world.outside = replace(world.outside, ledger=ledger)
    world.bus.latency = 3

    [untried] = world.tell(*many(21))

    assert world.bus.tried == [10, 10]  # 9.5 s are left after the first, 7.5 before the second
    assert ledger.kept == ["told t0", "told t1"]
    assert untried.reason == "EventUndelivered"


# Whatever happens


@pytest.mark.parametrize("defect", [ZeroDivisionError("a secret"), LedgerUnwritable("full")])
def test_a_ledger_that_fails_stops_no_other_note_and_is_said(defect: Exception) -> None:
    world = World()
    world.ledger.failing = dict.fromkeys(("told acme", "owner of acme", "client default"), defect)
    moved = replace(make_renewal("acme"), reassigned=MOVED)

    failures = world.tell(
        Outcome(decision=moved, failure=REFUSED),
        failed("globex"),
        concluded=[refused(ClientRefused("no"))],
    )

    reason = "LedgerUnwritable" if isinstance(defect, LedgerUnwritable) else "Unexpected"
    assert [one.reason for one in failures] == [reason] * 3
    assert "a secret" not in str(failures)
    assert world.ledger.kept == ["told globex"]


def broken() -> Any:  # noqa: ANN401  it returns nothing
    raise ZeroDivisionError("a secret")


@pytest.mark.parametrize(
    ("events", "reasons"),
    [
        pytest.param(Events(broken, "issuer"), ["EventUndelivered"] * 2, id="no client"),
        pytest.param(Events(lambda: None, "issuer"), ["EventUndelivered"] * 2, id="no answer"),  # type: ignore[arg-type, return-value]
        pytest.param(SimpleNamespace(put=lambda _: broken()), ["Unexpected"], id="in telling"),
    ],
)
def test_a_defect_of_the_bus_or_in_telling_ends_no_run(events: Any, reasons: list[str]) -> None:  # noqa: ANN401  like Events
    run = RunWorld(parameters=map(configured, ("acme", "globex")))
    run.answer = REFUSAL

    report = run.run(events=events)

    assert [one.reason for one in report.undelivered] == reasons
    assert report.failures.keys() == {"acme", "globex"}
    assert "a secret" not in run.said.getvalue()


class Dying(TableLedger):
    """Ends the run where it is to note that an event was told."""

    def keep_told(self, tenant: str, at: datetime) -> None:
        raise Killed(tenant, at)

    def record_client(self, record: ClientRecord) -> None:
        if record.told_at:
            raise Killed(record)
        super().record_client(record)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (REFUSAL, "Token Issuance Failing"),
        (Answer(status=400, body=b'{"error": "invalid_client"}'), "Client Secret Refused"),
    ],
    ids=["a tenant", "a client"],
)
@pytest.mark.parametrize(
    ("failing", "delivered"),
    [
        pytest.param(None, 1, id="a run that is killed before it is noted"),
        pytest.param([{0}], 0, id="an entry that is refused"),
        pytest.param([DENIED], 0, id="a bus that is down"),
    ],
)
def test_what_was_not_noted_is_told_by_the_next_run_and_then_no_more(
    failing: Sequence[Exception | Sequence[int]] | None, delivered: int, answer: Answer, kind: str
) -> None:
    run, bus = RunWorld(parameters=[configured("acme")]), EventBus()
    run.answer, table = answer, cast("Any", run.table)
    if failing is None:
        with pytest.raises(Killed):
            run.run(ledger=Dying(table, "ledger"), events=bus.events)
    else:
        bus.failing = [*failing]
        run.run(events=bus.events)
    assert len(bus.delivered) == delivered

    for _ in range(2):
        later(run, minutes=5).run(Invocation(force=True), events=bus.events)

    assert bus.kinds() == {kind: delivered + 1}


def test_events_are_put_after_all_tokens() -> None:
    run = RunWorld(parameters=map(configured, ("acme", "globex")))
    run.run()
    of_another = '{"scope": "", "tenant_id": "another"}'
    run.parameters = [configured("acme", of_another), configured("hooli", of_another)]
    run.answer = token_answer("new")
    before = len(run.said.getvalue())

    later(run, hours=3).run(Invocation(force=True))

    said = map(json.loads, run.said.getvalue()[before:].splitlines())
    steps = [one.get("message") or one.get("DetailType", "") for one in said]
    tokens = [number for number, step in enumerate(steps) if step == "Token issued"]
    assert len(tokens) == 2
    assert steps[max(tokens) + 1 :][:3] == ["Token removed", "Tenant Reassigned", "Token Removed"]


class Dead(EventBus):
    """A run is killed before it puts anything."""

    def put_events(self, **_: object) -> NoReturn:
        raise Killed


OF_ANOTHER = '{"scope": "", "tenant_id": "0b7d2b1e-3a52-4f6e-9a39-0f6f3c9d7e22"}'


def moved(bus: EventBus) -> RunWorld:
    """Return a run's world whose tenant has a token, and another owner since."""
    run = RunWorld(parameters=[configured("acme")])
    run.run(events=bus.events)
    run.parameters, run.answer = [configured("acme", OF_ANOTHER)], token_answer("another")
    return run


def test_a_new_owner_is_told_by_the_next_run_where_one_was_killed_after_it_had_recorded() -> None:
    bus = EventBus()
    run = moved(bus)
    with pytest.raises(Killed):
        later(run, minutes=5).run(events=Dead().events)
    assert bus.kinds() == {}

    reports = [later(run, minutes=5).run(events=bus.events) for _ in range(3)]

    assert [report.number_of(Fresh) for report in reports] == [1, 1, 1]
    assert [report.reassigned for report in reports] == [["acme"], [], []]
    assert bus.kinds() == {"Tenant Reassigned": 1}


def test_a_new_owner_is_told_where_the_token_was_stored_and_not_recorded() -> None:
    class Full(TableLedger):
        def record_token(self, record: Record, previous: Record | None) -> None:
            raise LedgerUnwritable(f"{record.tenant}, {previous is None}")

    bus = EventBus()
    run = moved(bus)

    table = cast("Any", run.table)
    later(run, minutes=5).run(ledger=Full(table, "ledger"), events=bus.events)

    assert bus.kinds() == {"Tenant Reassigned": 1}


def test_a_refusal_is_told_while_the_tenant_waits_where_a_run_was_killed() -> None:
    run, bus = RunWorld(parameters=[configured("acme")]), EventBus()
    run.answer = REFUSAL
    with pytest.raises(Killed):
        run.run(events=Dead().events)

    report = later(run, minutes=1).run(events=bus.events)  # within the back-off
    later(run, minutes=1).run(events=bus.events)

    assert "backing off" in report.failing["acme"].detail
    assert bus.kinds() == {"Token Issuance Failing": 1}
