import re
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.account import NO_VERSION, credentials, make_settings, names, token_answer
from tests.helpers.facts import make_facts, make_tenant
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.outside import make_outside
from tests.helpers.virtual_clock import NOON, VirtualClock
from token_issuer.clients.credentials import CURRENT, PENDING, ClientCredentials
from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.clients.versions import SecretsInUse
from token_issuer.errors import (
    AnswerInvalid,
    ClientRefused,
    ClientSecretUnreadable,
    EndpointBreakerOpen,
    EndpointUnavailable,
    IssuerError,
    LedgerUnwritable,
    NoTimeLeft,
    ParameterUnwritable,
    StoreBreakerOpen,
    StoreDenied,
    StoreUnavailable,
    TokenRefused,
)
from token_issuer.issuing import issue
from token_issuer.ledger.records import Issued, Owner, Record
from token_issuer.limits.deadline import ASK, KEEP, REPORT
from token_issuer.limits.pacer import Pacer
from token_issuer.outside import Outside
from token_issuer.redaction import Quoted
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.oauth import Answer
from token_issuer.tokens.renewal import Reason, Renewal
from token_issuer.tokens.store import TokenStore

PROBE = Invocation(tenants=("acme",), probe=True)


def renewal(name: str, client: str = "default", record: Record | None = None) -> Renewal:
    tenant = make_tenant(name, tenant_id=name, scope="", client=client, document=f"/t/{name}")
    return Renewal(
        tenant=tenant, reason=Reason.MISSING, parameter=name, purpose="{}", record=record
    )


class World(VirtualClock):
    """An authorization server, a store and a ledger that note who came when."""

    def __init__(self, answers: dict[str, list[Exception]] | None = None) -> None:
        super().__init__()
        self.answers = answers or {}  # by step
        self.takes: dict[str, float] = {}  # seconds, by step
        self.latency = 0.3  # seconds: long enough for those that may run beside it to come
        self.in_passing: dict[str, list[Exception]] = {}  # what a tenant is answered first
        self.versions = {CURRENT: "v1"}
        self.slept: list[float] = []
        self.asked: list[str] = []
        self.together: list[set[str]] = []
        self.stored: dict[str, AccessToken] = {}
        self.ledger = Ledger(self)
        self.done: list[str] = []
        self.credentials_read: Counter[str] = Counter()
        self.secrets = SecretsInUse(Secrets(self))  # in the last run
        self.kind_of_store: type[Tokens] = Tokens
        self._clients: dict[str, str] = {}
        self._now: set[str] = set()
        self._lock = threading.Lock()

    def meet(self, step: str) -> None:
        """Let the step take its time, and fail where it is to."""
        self.passed += self.takes.get(step, 0.0)
        for error in self.answers.get(step, []):
            raise error

    def post(self, form: dict[str, str], _: dict[str, str]) -> Answer:
        name = form["tenant_id"]
        assert form["client_id"] == self._clients[name]
        with self._lock:
            self.asked.append(name)
            self._now.add(name)
        threading.Event().wait(self.latency)
        with self._lock:
            self.together.append(set(self._now))
            self._now.discard(name)
        if passing := self.in_passing.get(name):
            raise passing.pop(0)
        self.meet(name)
        return token_answer(f"t-{name}")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        super().sleep(seconds)

    def outside(self, seconds: float, *, concurrency: int, per_second: float) -> Outside:
        """Return one that can begin to store for so many seconds."""
        settings = replace(make_settings(concurrency=concurrency), writes_per_second=per_second)
        opened = make_outside(self, seconds + KEEP + REPORT, settings)
        tokens = self.kind_of_store(self, opened.tokens.writes)
        return replace(opened, endpoint=self, tokens=tokens, ledger=self.ledger)  # type: ignore[arg-type]

    def issue(
        self,
        renewals: Iterable[Renewal],
        concurrency: int = 8,
        *,
        seconds: float = 200,
        per_second: float = 100,
        invocation: Invocation | None = None,
    ) -> dict[str, AccessToken | IssuerError | None]:
        decisions = [*renewals]
        self._clients = {one.name: one.tenant.client for one in decisions}
        self.secrets = SecretsInUse(Secrets(self))
        outside = self.outside(seconds, concurrency=concurrency, per_second=per_second)
        facts = make_facts(invocation=invocation or Invocation())
        outcomes = list(issue(decisions, facts, self.secrets, outside))
        assert sorted(one.decision.name for one in outcomes) == sorted(self._clients)
        return {one.decision.name: one.token or one.failure for one in outcomes}


class Secrets(ClientSecrets):
    def __init__(self, world: World) -> None:
        self._world = world

    def read(self, client: str, stage: str = CURRENT) -> ClientCredentials:
        world = self._world
        if stage not in world.versions:
            raise NO_VERSION
        world.credentials_read[client] += stage == CURRENT
        world.meet(f"secret of {client}" if stage == CURRENT else stage)
        return credentials(world.versions[stage], client)


class Tokens(TokenStore):
    def __init__(self, world: World, writes: Pacer) -> None:
        self._world, self.writes = world, writes

    def put(self, parameter: str, token: AccessToken) -> int:
        self._world.meet(f"store of {parameter}")
        self._world.done.append(f"store {parameter}")
        self._world.stored[parameter] = token
        return 7


class Ledger(MemoryLedger):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def record_token(self, record: Record, previous: Record | None) -> None:
        self._note(record)
        super().record_token(record, previous)

    def record_failure(self, record: Record) -> None:
        self._note(record)
        super().record_failure(record)

    def _note(self, record: Record) -> None:
        self._world.meet(f"record of {record.tenant}")
        self._world.done.append(f"record {record.tenant}")


def test_each_tenant_gets_its_own_token() -> None:
    world = World()

    outcomes = world.issue([renewal("acme"), renewal("globex")])

    assert outcomes == world.stored
    assert world.stored["acme"].value == "t-acme"
    assert world.stored["globex"].value == "t-globex"


def test_nobody_to_serve_is_no_trouble() -> None:
    assert World().issue([]) == {}


def test_tenants_run_side_by_side_and_no_more_than_may() -> None:
    world = World()

    world.issue(map(renewal, names(12)), concurrency=3)

    assert max(map(len, world.together)) == 3


def test_the_order_is_kept() -> None:
    world = World()

    world.issue([renewal("b"), renewal("a", "other"), renewal("c")], concurrency=1)

    assert world.asked == ["b", "a", "c"]


def test_the_first_of_each_client_goes_alone() -> None:
    world = World()
    tenants = [renewal(f"{client}{number}", client) for number in range(3) for client in "ab"]

    world.issue(tenants)

    assert {"a0", "b0"} in world.together
    for running in world.together:
        assert not running & {"a1", "a2"} or "a0" not in running
        assert not running & {"b1", "b2"} or "b0" not in running


def test_the_secret_of_a_client_is_read_once() -> None:
    world = World()

    world.issue(map(renewal, names(9)))

    assert world.credentials_read == {"default": 1}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ClientRefused("invalid_client"), id="refused"),
        pytest.param(ClientSecretUnreadable("AccessDenied"), id="secret unreadable"),
    ],
)
def test_a_dead_client_costs_one_attempt_and_no_other_client(error: IssuerError) -> None:
    source = "t0" if isinstance(error, ClientRefused) else "secret of default"
    world = World({source: [error]})
    tenants = [*map(renewal, names(20)), renewal("other", "other")]

    outcomes = world.issue(tenants)

    assert len(outcomes) == 21
    assert all(outcomes[f"t{number}"] is error for number in range(20))
    assert sum(name.startswith("t") for name in world.asked) <= 1
    reads = 2 if isinstance(error, ClientRefused) else 1  # again, since it may have changed
    assert world.credentials_read["default"] == reads
    assert world.stored.keys() == {"other"}


def test_a_refusal_that_comes_later_stops_the_rest() -> None:
    world = World({"t1": [ClientRefused("invalid_client")]})

    outcomes = world.issue(map(renewal, names(30)), concurrency=2)

    refused = [name for name, outcome in outcomes.items() if isinstance(outcome, ClientRefused)]
    assert len(outcomes) == 30
    assert "t0" in world.stored
    assert len(world.asked) <= 4
    assert len(refused) >= 26


@pytest.mark.parametrize("error", [EndpointUnavailable("HTTP 503"), AnswerInvalid("HTML")])
def test_without_an_oauth_answer_the_next_goes_alone_too(error: IssuerError) -> None:
    world = World({"t0": [error], "t1": [error], "t2": [error]})

    world.issue(map(renewal, names(20)))

    assert world.together[:4] == [{"t0"}, {"t1"}, {"t2"}, {"t3"}]
    assert max(map(len, world.together)) == 8  # once one has had an answer
    assert len(world.stored) == 17


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param("t0", TokenRefused("invalid_tenant"), id="an OAuth error"),
        pytest.param("store of t0", StoreDenied("AccessDenied"), id="a token that isn't stored"),
    ],
)
def test_any_oauth_answer_lets_the_rest_follow(source: str, error: IssuerError) -> None:
    world = World({source: [error]})

    outcomes = world.issue(map(renewal, names(5)))

    assert outcomes["t0"] is error
    assert max(map(len, world.together)) == 4
    assert len(world.stored) == 4


@pytest.mark.parametrize(
    ("answers", "token_for"),
    [
        pytest.param({}, "t1", id="a token for the last"),
        pytest.param({"t1": [TokenRefused("invalid_tenant")]}, "t0", id="a refusal after a token"),
    ],
)
def test_a_client_secret_knows_who_had_a_token_last(
    answers: dict[str, list[Exception]], token_for: str
) -> None:
    world = World(answers)

    world.issue([renewal("t0"), renewal("t1")], concurrency=1)

    secret = world.secrets.of("default")
    assert (secret.works, secret.token_for) == (True, token_for)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"t0": []}, id="asking"),
        pytest.param({"store of t0": []}, id="storing"),
        pytest.param({"record of t0": []}, id="recording a token"),
        pytest.param({"t0": [TokenRefused("no")], "record of t0": []}, id="recording a refusal"),
        pytest.param({"t0": [EndpointUnavailable("503")], "record of t0": []}, id="an outage"),
    ],
)
@pytest.mark.parametrize("defect", [TypeError, OverflowError, RecursionError, MemoryError])
def test_a_defect_in_any_step_costs_its_tenant_alone_and_is_not_quoted(
    defect: type[Exception], answers: dict[str, list[Exception]]
) -> None:
    world = World(
        {step: errors or [defect("the token is t-t0")] for step, errors in answers.items()}
    )
    world.latency = 0.01

    outcomes = world.issue([renewal("t0"), renewal("t1")])

    failure = outcomes["t0"]
    assert isinstance(failure, IssuerError)
    assert failure.reason == "Unexpected"
    assert re.match(rf"{defect.__name__} in (issuing|oauth)\.py, line ", failure.detail)
    assert outcomes["t1"] == world.stored["t1"]


def test_a_defect_in_reading_a_secret_is_met_once() -> None:
    world = World({"secret of default": [TypeError("the secret is s")]})

    outcomes = world.issue(map(renewal, names(9)))

    assert world.credentials_read == {"default": 1}
    assert {
        outcome.reason for outcome in outcomes.values() if isinstance(outcome, IssuerError)
    } == {"ClientSecretUnreadable"}
    assert "the secret is" not in str(outcomes["t8"])


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({}, id="a token"),
        pytest.param({"acme": [TokenRefused("invalid_tenant")]}, id="a refusal"),
    ],
)
def test_a_probe_stores_and_records_nothing(answers: dict[str, list[Exception]]) -> None:
    world = World(answers)

    [outcome] = world.issue([renewal("acme")], invocation=PROBE).values()

    assert isinstance(outcome, TokenRefused if answers else AccessToken)
    assert world.asked == ["acme"]
    assert world.done == []


@pytest.mark.parametrize(("seconds", "asked"), [(0, ["acme"]), (-0.1, [])])
def test_a_probe_needs_time_to_ask_and_none_to_store(seconds: float, asked: list[str]) -> None:
    world = World()

    world.issue([renewal("acme")], seconds=seconds + ASK - KEEP, invocation=PROBE)

    assert world.asked == asked


# Quick repeats


def test_a_failure_that_passes_is_asked_for_again_at_once() -> None:
    world = World()
    world.in_passing["t1"] = [EndpointUnavailable("HTTP 503"), AnswerInvalid("HTML")]

    world.issue([renewal("t0"), renewal("t1")])

    assert world.asked == ["t0", "t1", "t1", "t1"]
    assert world.stored.keys() == {"t0", "t1"}
    first, second = world.slept
    assert 0.1 <= first <= 0.5 <= second <= 1.5


@pytest.mark.parametrize(
    ("error", "times"),
    [(EndpointUnavailable("HTTP 503"), 3), (EndpointUnavailable("late", is_timeout=True), 1)],
    ids=["no time-out", "a time-out"],
)
def test_it_is_asked_for_three_times_at_most_and_once_after_a_time_out(
    error: IssuerError, times: int
) -> None:
    world = World({"t1": [error]})

    outcomes = world.issue([renewal("t0"), renewal("t1")])

    assert world.asked == ["t0", *["t1"] * times]
    assert outcomes["t1"] is error


def test_a_retry_after_is_waited_for() -> None:
    world = World()
    world.in_passing["t1"] = [EndpointUnavailable("HTTP 429", retry_after=7.0)]

    world.issue([renewal("t0"), renewal("t1")])

    [pause] = world.slept
    assert 7.1 <= pause <= 7.5
    assert "t1" in world.stored


def test_the_first_of_a_client_is_not_repeated_and_the_next_waits_for_its_retry_after() -> None:
    world = World({"t0": [EndpointUnavailable("HTTP 429", retry_after=7.0)]})

    world.issue([renewal("t0"), renewal("t1")])

    assert world.asked == ["t0", "t1"]
    [pause] = world.slept
    assert pause >= 7


# Breakers


def test_after_five_in_a_row_a_client_is_not_asked_for_any_more() -> None:
    world = World({f"t{number}": [EndpointUnavailable("HTTP 503")] for number in range(60)})
    tenants = [*map(renewal, names(60)), renewal("other", "other")]

    outcomes = world.issue(tenants)

    kinds = Counter(type(outcome) for outcome in outcomes.values())
    assert kinds[EndpointUnavailable] + kinds[EndpointBreakerOpen] == 60
    assert 5 <= kinds[EndpointUnavailable] <= 5 + 8
    assert "HTTP 503" in str(outcomes["t59"])
    assert not [
        name for name in world.ledger.records if isinstance(outcomes[name], EndpointBreakerOpen)
    ]
    assert world.stored.keys() == {"other"}


class Sleepy(World):
    def sleep(self, seconds: float) -> None:
        assert seconds
        time.sleep(0.3)


def test_repeats_end_too_when_a_client_is_not_asked_for_any_more() -> None:
    answers: dict[str, list[Exception]] = {
        f"t{number}": [EndpointUnavailable("HTTP 503")] for number in range(2, 7)
    }
    answers["t1"] = [EndpointUnavailable("HTTP 429", retry_after=120.0)]
    world = Sleepy(answers)

    world.issue(map(renewal, names(7)))

    assert max(Counter(world.asked).values()) == 1


def test_a_long_retry_after_ends_it_at_once() -> None:
    world = World()
    world.in_passing = {
        f"t{number}": [EndpointUnavailable("HTTP 429", retry_after=120.0)]
        for number in range(20, 100)
    }

    outcomes = world.issue(map(renewal, names(100)))

    refused = [name for name in world.asked if int(name[1:]) >= 20]
    assert len(refused) <= 1 + 10
    assert isinstance(outcomes["t99"], EndpointBreakerOpen)


def test_five_that_always_fail_cost_a_thousand_healthy_ones_nothing() -> None:
    failing = {f"t{number}" for number in range(0, 1000, 200)}
    world = World({name: [EndpointUnavailable("HTTP 500")] for name in failing})
    world.latency = 0.001

    world.issue(map(renewal, names(1000)))

    assert world.stored.keys() == {f"t{number}" for number in range(1000)} - failing
    assert Counter(world.asked)["t800"] == 3


@pytest.mark.parametrize("error", [StoreDenied("key"), StoreUnavailable("throttled")])
def test_after_three_that_could_not_be_stored_no_more_tokens_are_asked_for(
    error: IssuerError,
) -> None:
    tenants = names(40)
    world = World({f"store of {name}": [error] for name in tenants})

    outcomes = world.issue([renewal(name, name[-1]) for name in tenants], concurrency=2)

    assert 3 <= len(world.asked) <= 4
    assert isinstance(outcomes["t39"], StoreBreakerOpen)
    assert error.detail in outcomes["t39"].detail


STREAKS = {"t1", "t2", "t4", "t5", "t7", "t8"}
UNWRITABLE_NAME = ParameterUnwritable("Writing failed", code=Quoted("ValidationException"))


@pytest.mark.parametrize(
    ("names", "failing", "error", "concurrency"),
    [
        pytest.param(names(9), STREAKS, StoreDenied("key"), 1, id="one of three is stored"),
        pytest.param(
            names(12), names(12), ParameterUnwritable("label"), 8, id="parameters of their own"
        ),
        pytest.param(
            names(30), {*names(30)} - {"t2"}, UNWRITABLE_NAME, 1, id="names, once one was stored"
        ),
    ],
)
def test_these_do_not_open_the_breaker_of_the_store(
    names: list[str], failing: Collection[str], error: IssuerError, concurrency: int
) -> None:
    world = World({f"store of {name}": [error] for name in failing})
    world.latency = 0.01

    world.issue([renewal(name) for name in names], concurrency=concurrency)

    assert sorted(world.asked) == sorted(names)


@pytest.mark.parametrize(
    ("slow", "is_refused", "asked", "read"),
    [
        pytest.param("secret of default", False, [], 1, id="reading a secret"),
        pytest.param("acme", True, ["acme"], 1, id="a refusal"),
        pytest.param(PENDING, True, ["acme"], 2, id="the way back"),
    ],
)
def test_what_is_slow_may_take_the_time_for_asking(
    slow: str, asked: list[str], read: int, *, is_refused: bool
) -> None:
    world = World({"acme": [ClientRefused("invalid_client")]} if is_refused else None)
    world.versions |= {PENDING: "v2"} if slow == PENDING else {}
    world.takes = {slow: 7}

    [outcome] = world.issue([renewal("acme")], seconds=20).values()

    assert isinstance(outcome, NoTimeLeft)
    assert world.asked == asked
    assert world.credentials_read == {"default": read}


@pytest.mark.parametrize(
    ("code", "most"),
    [
        pytest.param("ValidationException", 3, id="the name"),
        pytest.param("ParameterPatternMismatchException", 3, id="the letters of the name"),
        pytest.param("HierarchyLevelLimitExceededException", 3, id="the levels of the name"),
        pytest.param("ParameterMaxVersionLimitExceeded", 20, id="labels"),
    ],
)
def test_where_no_token_at_all_can_be_stored_no_more_are_asked_for(code: str, most: int) -> None:
    tenants = names(40)
    refused = ParameterUnwritable(f"Writing failed: {code}", code=Quoted(code))
    world = World({f"store of {name}": [refused] for name in tenants})
    world.latency = 0.01

    outcomes = world.issue([renewal(name, name[-1]) for name in tenants], concurrency=2)

    assert most <= len(world.asked) <= most + 1
    last = outcomes["t39"]
    assert isinstance(last, StoreBreakerOpen)
    assert code in last.detail


# The end of the run


def test_a_tenant_is_started_only_while_it_can_be_finished() -> None:
    tenants = names(9)
    world = World()
    world.latency = 0.0
    world.takes = dict.fromkeys(tenants, 10)

    outcomes = world.issue(map(renewal, tenants), concurrency=1, seconds=50)

    assert world.asked == ["t0", "t1", "t2", "t3"]  # 14 s are needed, and 10 s left after these
    deferred = [one for one in outcomes.values() if isinstance(one, NoTimeLeft)]
    assert len(deferred) == 5


def test_those_under_way_count_with_their_turns() -> None:
    class Paced(Tokens):
        def put(self, parameter: str, token: AccessToken) -> int:
            return self.writes.send(lambda: Tokens.put(self, parameter, token))

    world = World()
    world.kind_of_store = Paced

    outcomes = world.issue(map(renewal, names(9)), seconds=20, per_second=0.5)

    # the first alone; then as many as have turns, 2 s apart, from 14 s to 20 s
    assert len(world.asked) == 5
    assert len(world.stored) == 5
    assert [one for one in outcomes.values() if isinstance(one, NoTimeLeft)]


def test_nothing_is_repeated_without_time_for_it() -> None:
    world = World({"t1": [EndpointUnavailable("HTTP 503")]})
    world.takes = {"t0": 5, "t1": 5}

    world.issue([renewal("t0"), renewal("t1")], seconds=22)

    assert world.asked == ["t0", "t1"]


# What the ledger is told


def test_a_token_is_stored_before_it_is_recorded() -> None:
    world = World()

    world.issue([renewal("acme")])

    assert world.done == ["store acme", "record acme"]
    assert world.ledger.records["acme"].issued == Issued(
        issued_at=NOON,
        expires_at=NOON + timedelta(hours=1),
        fingerprint=world.stored["acme"].fingerprint,
        scope=None,
        parameter="acme",
        version=7,
        client_secret_version="v1",
        purpose="{}",
        document="/t/acme",
    )


@pytest.mark.parametrize("failures", [[], [ParameterUnwritable("label")]], ids=["", "unwritable"])
@pytest.mark.parametrize("owners", [{"acme": Owner(tenant_id="7", client="default")}, {}])
def test_an_owner_is_recorded_where_it_is_to_be_remembered(
    failures: list[Exception], owners: dict[str, Owner]
) -> None:
    world = World({"store of acme": failures})

    world.issue([replace(renewal("acme"), owner=owners.get("acme"))])

    assert world.done[-1] == "record acme"
    assert world.ledger.owners == owners


@pytest.mark.parametrize(
    ("source", "error", "recorded"),
    [
        pytest.param("acme", TokenRefused("invalid_tenant"), True, id="refused"),
        pytest.param("acme", EndpointUnavailable("HTTP 503"), True, id="no answer"),
        pytest.param("acme", TypeError("defect"), True, id="a defect"),
        pytest.param("acme", ClientRefused("invalid_client"), False, id="its client refused"),
        pytest.param("store of acme", ParameterUnwritable("label"), True, id="its parameter"),
        pytest.param("store of acme", StoreDenied("key"), False, id="the store denies"),
        pytest.param("store of acme", StoreUnavailable("busy"), False, id="the store throttles"),
    ],
)
def test_failures_of_the_tenant_are_recorded_against_it_and_others_are_not(
    source: str, error: Exception, *, recorded: bool
) -> None:
    world = World({source: [error]})

    [outcome] = world.issue([renewal("acme")]).values()

    assert isinstance(outcome, IssuerError)
    assert world.done == (["record acme"] if recorded else [])
    if recorded:
        failure = world.ledger.records["acme"].failure
        assert failure is not None
        assert (failure.reason, failure.detail) == (outcome.reason, outcome.detail)


def test_a_failure_that_cannot_be_recorded_says_both() -> None:
    world = World(
        {
            "acme": [TokenRefused("no", code=Quoted("invalid_tenant"))],
            "record of acme": [LedgerUnwritable("full")],
        }
    )

    [outcome] = world.issue([renewal("acme")]).values()

    assert isinstance(outcome, TokenRefused)
    assert outcome.detail == "no; full"
    assert outcome.code == "invalid_tenant"
