import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.account import NO_VERSION, fast_pacer, make_settings
from tests.issuer.ledger.test_table import FAILURE, ISSUED, RECORD
from tests.issuer.tokens.test_plan import make_record, make_tenant, plan
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import CURRENT
from token_issuer.clients.versions import ClientSecret
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
    TenantReassigned,
    TokenRefused,
)
from token_issuer.issuing import Steps, issue_tokens
from token_issuer.ledger.records import Issued, Owner, Record
from token_issuer.limits.deadline import Clock
from token_issuer.limits.pacer import Pacer
from token_issuer.redaction import Quoted
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.ownership import Ownership
from token_issuer.tokens.renewal import Reason, Renewal

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def renewal(name: str, client: str = "default", record: Record | None = None) -> Renewal:
    tenant = Tenant(
        name=name, tenant_id=name, scope="", client=client, enabled=True, document=f"/t/{name}"
    )
    return Renewal(
        tenant=tenant, reason=Reason.MISSING, parameter=name, purpose="{}", record=record
    )


class World:
    """An authorization server and a store that note who came when."""

    def __init__(self, answers: dict[str, list[Exception]] | None = None) -> None:
        self.answers = answers or {}
        self.latency = 0.3  # seconds: long enough for those that may run beside it to come
        self.in_passing: dict[str, list[Exception]] = {}  # what a tenant is answered first
        self.slept: list[float] = []
        self.is_heard = True
        self.asked: list[str] = []
        self.together: list[set[str]] = []
        self.stored: dict[str, AccessToken] = {}
        self.records: dict[str, Record] = {}
        self.done: list[str] = []
        self.credentials_read: Counter[str] = Counter()
        self._now: set[str] = set()
        self._lock = threading.Lock()

    def read_credentials(self, client: str, stage: str) -> ClientCredentials:
        if stage != CURRENT:
            raise NO_VERSION
        self.credentials_read[client] += 1
        for error in self.answers.get(f"secret of {client}", []):
            raise error
        return ClientCredentials(client_id=client, client_secret="s", auth_method="", version="v1")

    def fetch_token(self, tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        assert credentials.client_id == tenant.client
        with self._lock:
            self.asked.append(tenant.name)
            self._now.add(tenant.name)
        threading.Event().wait(self.latency)
        with self._lock:
            self.together.append(set(self._now))
            self._now.discard(tenant.name)
        if passing := self.in_passing.get(tenant.name):
            raise passing.pop(0)
        for error in self.answers.get(tenant.name, []):
            raise error
        return AccessToken(value=f"t-{tenant.name}", issued_at=NOW, expires_at=NOW, scope=None)

    def store_token(self, name: str, token: AccessToken) -> int:
        for error in self.answers.get(f"store of {name}", []):
            raise error
        self.done.append(f"store {name}")
        self.stored[name] = token
        return 7

    def record_token(self, record: Record, _previous: Record | None) -> None:
        for error in self.answers.get(f"record of {record.tenant}", []):
            raise error
        self.done.append(f"record {record.tenant}")
        self.records[record.tenant] = record

    def record_failure(self, record: Record) -> None:
        self.record_token(record, None)

    def shorten(self, name: str, expires_at: datetime) -> None:
        for error in self.answers.get(f"shorten {name}", []):
            raise error
        self.done.append(f"shorten {name} to {expires_at:%H:%M}")

    def tell_failing(self, tenant: Tenant, error: IssuerError, _: datetime | None) -> bool:
        for defect in self.answers.get(f"tell {tenant.name}", []):
            raise defect
        self.done.append(f"tell {tenant.name}: {error.reason}")
        return self.is_heard

    def tell_recovered(self, tenant: Tenant, _: AccessToken) -> bool:
        for defect in self.answers.get(f"tell {tenant.name}", []):
            raise defect
        self.done.append(f"tell {tenant.name}: recovered")
        return self.is_heard

    def tell_reassigned(self, tenant: Tenant, error: TenantReassigned) -> bool:
        self.done.append(f"tell {tenant.name}: {error.reason}")
        return self.is_heard

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def steps(self, concurrency: int = 8) -> Steps:
        return Steps(
            secret=lambda client: ClientSecret(client, self.read_credentials),
            fetch_token=self.fetch_token,
            store_token=self.store_token,
            record_token=self.record_token,
            record_failure=self.record_failure,
            shorten=self.shorten,
            tell_failing=self.tell_failing,
            tell_recovered=self.tell_recovered,
            tell_reassigned=self.tell_reassigned,
            writes=fast_pacer(),
            sleep=self.sleep,
            now=lambda: NOW,
            settings=make_settings(concurrency=concurrency),
        )

    def issue(
        self, renewals: Iterable[Renewal], concurrency: int = 8
    ) -> dict[str, AccessToken | IssuerError]:
        outcomes = list(issue_tokens(renewals, NOW, Ownership([]), steps=self.steps(concurrency)))
        assert len({one.tenant.name for one, _ in outcomes}) == len(outcomes)
        return {one.tenant.name: outcome for one, outcome in outcomes}


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

    world.issue([renewal(f"t{number}") for number in range(12)], concurrency=3)

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

    world.issue([renewal(f"t{number}") for number in range(9)])

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
    tenants = [*(renewal(f"t{number}") for number in range(20)), renewal("other", "other")]

    outcomes = world.issue(tenants)

    assert len(outcomes) == 21
    assert all(outcomes[f"t{number}"] is error for number in range(20))
    assert sum(name.startswith("t") for name in world.asked) <= 1
    reads = 2 if isinstance(error, ClientRefused) else 1  # again, since it may have changed
    assert world.credentials_read["default"] == reads
    assert world.stored.keys() == {"other"}


def test_a_refusal_that_comes_later_stops_the_rest() -> None:
    world = World({"t1": [ClientRefused("invalid_client")]})

    outcomes = world.issue([renewal(f"t{number}") for number in range(30)], concurrency=2)

    refused = [name for name, outcome in outcomes.items() if isinstance(outcome, ClientRefused)]
    assert len(outcomes) == 30
    assert "t0" in world.stored
    assert len(world.asked) <= 4
    assert len(refused) >= 26


@pytest.mark.parametrize("error", [EndpointUnavailable("HTTP 503"), AnswerInvalid("HTML")])
def test_without_an_oauth_answer_the_next_goes_alone_too(error: IssuerError) -> None:
    world = World({"t0": [error], "t1": [error], "t2": [error]})

    world.issue([renewal(f"t{number}") for number in range(20)])

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

    outcomes = world.issue([renewal(f"t{number}") for number in range(5)])

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
    secret = ClientSecret("default", world.read_credentials)
    steps = replace(world.steps(1), secret=lambda _: secret)

    list(issue_tokens([renewal("t0"), renewal("t1")], NOW, Ownership([]), steps=steps))

    assert (secret.works, secret.token_for) == (True, token_for)


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"t0": []}, id="asking"),
        pytest.param({"store of t0": []}, id="storing"),
        pytest.param({"shorten t0": []}, id="claiming less life"),
        pytest.param({"tell t0": []}, id="telling that it has recovered"),
        pytest.param({"record of t0": []}, id="recording a token"),
        pytest.param({"t0": [TokenRefused("no")], "record of t0": []}, id="recording a refusal"),
        pytest.param({"t0": [TokenRefused("no")], "tell t0": []}, id="telling of a refusal"),
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
    told = replace(FAILURE, told_at=NOW - timedelta(days=2))
    issued = replace(ISSUED, expires_at=NOW + timedelta(days=1))
    record = replace(RECORD, tenant="t0", issued=issued, failure=told)

    outcomes = world.issue([renewal("t0", record=record), renewal("t1")])

    failure = outcomes["t0"]
    assert isinstance(failure, IssuerError)
    assert failure.reason == "Unexpected"
    assert failure.detail.startswith(f"{defect.__name__} in issuing.py, line ")
    assert outcomes["t1"] == world.stored["t1"]


def test_a_defect_in_reading_a_secret_is_met_once() -> None:
    world = World({"secret of default": [TypeError("the secret is s")]})

    outcomes = world.issue([renewal(f"t{number}") for number in range(9)])

    assert world.credentials_read == {"default": 1}
    assert {
        outcome.reason for outcome in outcomes.values() if isinstance(outcome, IssuerError)
    } == {"ClientSecretUnreadable"}
    assert "the secret is" not in str(outcomes["t8"])


def test_without_a_store_tokens_are_only_checked() -> None:
    world = World()

    steps = replace(world.steps(), store_token=None)

    [(_, outcome)] = issue_tokens([renewal("acme")], NOW, Ownership([]), steps=steps)

    assert isinstance(outcome, AccessToken)
    assert world.asked == ["acme"]
    assert world.done == []


# Quick repeats


def test_a_failure_that_passes_is_asked_for_again_at_once() -> None:
    world = World()
    world.in_passing["t1"] = [EndpointUnavailable("HTTP 503"), AnswerInvalid("HTML")]

    world.issue([renewal("t0"), renewal("t1")])

    assert world.asked == ["t0", "t1", "t1", "t1"]
    assert world.stored.keys() == {"t0", "t1"}
    first, second = world.slept
    assert 0.1 <= first <= 0.5 <= second <= 1.5


def test_it_is_asked_for_three_times_at_most() -> None:
    world = World({"t1": [EndpointUnavailable("HTTP 503")]})

    outcomes = world.issue([renewal("t0"), renewal("t1")])

    assert world.asked.count("t1") == 3
    assert isinstance(outcomes["t1"], EndpointUnavailable)


def test_a_time_out_is_not_repeated() -> None:
    world = World({"t1": [EndpointUnavailable("late", is_timeout=True)]})

    world.issue([renewal("t0"), renewal("t1")])

    assert world.asked == ["t0", "t1"]


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
    tenants = [*(renewal(f"t{number}") for number in range(60)), renewal("other", "other")]

    outcomes = world.issue(tenants)

    kinds = Counter(type(outcome) for outcome in outcomes.values())
    assert kinds[EndpointUnavailable] + kinds[EndpointBreakerOpen] == 60
    assert 5 <= kinds[EndpointUnavailable] <= 5 + 8
    assert "HTTP 503" in str(outcomes["t59"])
    assert not [name for name in world.records if isinstance(outcomes[name], EndpointBreakerOpen)]
    assert world.stored.keys() == {"other"}


def test_repeats_end_too_when_a_client_is_not_asked_for_any_more() -> None:
    answers: dict[str, list[Exception]] = {
        f"t{number}": [EndpointUnavailable("HTTP 503")] for number in range(2, 7)
    }
    answers["t1"] = [EndpointUnavailable("HTTP 429", retry_after=120.0)]
    world = World(answers)
    world.sleep = lambda _: time.sleep(0.3)  # type: ignore[assignment, method-assign]

    world.issue([renewal(f"t{number}") for number in range(7)])

    assert max(Counter(world.asked).values()) == 1


def test_a_long_retry_after_ends_it_at_once() -> None:
    world = World()
    world.in_passing = {
        f"t{number}": [EndpointUnavailable("HTTP 429", retry_after=120.0)]
        for number in range(20, 100)
    }

    outcomes = world.issue([renewal(f"t{number}") for number in range(100)])

    refused = [name for name in world.asked if int(name[1:]) >= 20]
    assert len(refused) <= 1 + 10
    assert isinstance(outcomes["t99"], EndpointBreakerOpen)


def test_five_that_always_fail_cost_a_thousand_healthy_ones_nothing() -> None:
    failing = {f"t{number}" for number in range(0, 1000, 200)}
    world = World({name: [EndpointUnavailable("HTTP 500")] for name in failing})
    world.latency = 0.001

    world.issue([renewal(f"t{number}") for number in range(1000)])

    assert world.stored.keys() == {f"t{number}" for number in range(1000)} - failing
    assert Counter(world.asked)["t800"] == 3


@pytest.mark.parametrize("error", [StoreDenied("key"), StoreUnavailable("throttled")])
def test_after_three_that_could_not_be_stored_no_more_tokens_are_asked_for(
    error: IssuerError,
) -> None:
    names = [f"t{number}" for number in range(40)]
    world = World({f"store of {name}": [error] for name in names})

    outcomes = world.issue([renewal(name, name[-1]) for name in names], concurrency=2)

    assert 3 <= len(world.asked) <= 4
    assert isinstance(outcomes["t39"], StoreBreakerOpen)
    assert error.detail in outcomes["t39"].detail


def test_one_token_that_is_stored_lets_the_store_count_anew() -> None:
    names = [f"t{number}" for number in range(9)]
    failing = {"t1", "t2", "t4", "t5", "t7", "t8"}
    world = World({f"store of {name}": [StoreDenied("key")] for name in failing})

    world.issue([renewal(name) for name in names], concurrency=1)

    assert world.asked == names


def test_reading_a_secret_may_take_the_time_for_asking() -> None:
    world, hours = World(), Hours()

    def read(client: str, stage: str) -> ClientCredentials:
        hours.now += 7
        return world.read_credentials(client, stage)

    secret = ClientSecret("default", read)
    steps = replace(world.steps(), secret=lambda _: secret, writes=hours.pacer(100, until=20.0))

    [(_, outcome)] = issue_tokens([renewal("acme")], NOW, Ownership([]), steps=steps)

    assert isinstance(outcome, NoTimeLeft)
    assert world.asked == []


def test_a_slow_refusal_may_take_the_time_for_a_way_back() -> None:
    world, hours = World({"acme": [ClientRefused("invalid_client")]}), Hours()

    def fetch_token(tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        hours.now += 7
        return world.fetch_token(tenant, credentials)

    steps = replace(world.steps(), fetch_token=fetch_token, writes=hours.pacer(100, until=20.0))

    [(_, outcome)] = issue_tokens([renewal("acme")], NOW, Ownership([]), steps=steps)

    assert isinstance(outcome, NoTimeLeft)
    assert world.credentials_read == {"default": 1}


def test_the_way_back_may_take_the_time_for_asking() -> None:
    world, hours = World({"acme": [ClientRefused("invalid_client")]}), Hours()

    def read(client: str, stage: str) -> ClientCredentials:
        if stage != CURRENT:
            hours.now += 7
        return replace(world.read_credentials(client, CURRENT), version=stage)

    secret = ClientSecret("default", read)
    steps = replace(world.steps(), secret=lambda _: secret, writes=hours.pacer(100, until=20.0))

    [(_, outcome)] = issue_tokens([renewal("acme")], NOW, Ownership([]), steps=steps)

    assert isinstance(outcome, NoTimeLeft)
    assert world.asked == ["acme"]


def test_a_parameter_of_its_own_does_not_count_for_the_store() -> None:
    names = [f"t{number}" for number in range(12)]
    world = World({f"store of {name}": [ParameterUnwritable("label")] for name in names})

    world.issue([renewal(name) for name in names])

    assert sorted(world.asked) == sorted(names)


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
    names = [f"t{number}" for number in range(40)]
    refused = ParameterUnwritable(f"Writing failed: {code}", code=Quoted(code))
    world = World({f"store of {name}": [refused] for name in names})
    world.latency = 0.01

    outcomes = world.issue([renewal(name, name[-1]) for name in names], concurrency=2)

    assert most <= len(world.asked) <= most + 1
    last = outcomes["t39"]
    assert isinstance(last, StoreBreakerOpen)
    assert code in last.detail


def test_once_a_token_could_be_stored_a_name_is_its_own_tenants_trouble() -> None:
    names = [f"t{number}" for number in range(30)]
    refused = ParameterUnwritable("Writing failed", code=Quoted("ValidationException"))
    world = World({f"store of {name}": [refused] for name in names if name != "t2"})
    world.latency = 0.01

    world.issue([renewal(name) for name in names], concurrency=1)

    assert world.asked == names


@pytest.mark.parametrize(
    "clients",
    [
        pytest.param("aaaaaaaaa", id="one client"),
        pytest.param("abcabcabc", id="clients that have both kinds"),
        pytest.param("aaabbbbbb", id="a client that has all that can't be stored"),
    ],
)
def test_who_can_be_stored_is_served_by_the_next_run_at_the_latest(clients: str) -> None:
    tenants = [make_tenant(f"t{number}", client=one) for number, one in enumerate(clients)]
    refused = ParameterUnwritable("Writing failed", code=Quoted("ValidationException"))
    world = World({f"store of /visma/tokens/t{number}": [refused] for number in range(3)})
    world.latency = 0.01
    records = {  # of a day before; all of them live, and t0 to t2 are the most urgent
        one.name: replace(make_record(one.name, age=24 * 60 + 50 - number), client=one.client)
        for number, one in enumerate(tenants)
    }

    for minutes in (0, 5):
        now = NOW + timedelta(minutes=minutes)
        planned = plan(tenants, (records | world.records).values(), now=now)
        world.issue(planned.renewals, concurrency=1)

    assert world.stored.keys() == {f"/visma/tokens/t{number}" for number in range(3, 9)}


# The end of the run


class Hours:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def pacer(self, per_second: float, until: float) -> Pacer:
        def sleep(seconds: float) -> None:
            self.now += seconds

        return Pacer(per_second, Clock(now=lambda: self.now, sleep=sleep), until=until)


def test_a_tenant_is_started_only_while_it_can_be_finished() -> None:
    world, hours = World(), Hours()
    world.latency = 0.0

    def ask(tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        hours.now += 10
        return world.fetch_token(tenant, credentials)

    steps = replace(
        world.steps(concurrency=1), fetch_token=ask, writes=hours.pacer(100, until=50.0)
    )

    outcomes = dict(
        issue_tokens(
            [renewal(f"t{number}") for number in range(9)], NOW, Ownership([]), steps=steps
        )
    )

    assert world.asked == ["t0", "t1", "t2", "t3"]  # 14 s are needed, and 10 s left after these
    deferred = [one for one in outcomes.values() if isinstance(one, NoTimeLeft)]
    assert len(deferred) == 5


def test_those_under_way_count_with_their_turns() -> None:
    world, hours = World(), Hours()
    writes = hours.pacer(0.5, until=20.0)

    def store(name: str, token: AccessToken) -> int:
        return writes.send(lambda: world.store_token(name, token))

    steps = replace(world.steps(), writes=writes, store_token=store)

    outcomes = dict(
        issue_tokens(
            [renewal(f"t{number}") for number in range(9)], NOW, Ownership([]), steps=steps
        )
    )

    # the first alone; then as many as have turns, 2 s apart, from 14 s to 20 s
    assert len(world.asked) == 5
    assert len(world.stored) == 5
    assert [one for one in outcomes.values() if isinstance(one, NoTimeLeft)]


def test_nothing_is_repeated_without_time_for_it() -> None:
    world, hours = World({"t1": [EndpointUnavailable("HTTP 503")]}), Hours()

    def ask(tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        hours.now += 5
        return world.fetch_token(tenant, credentials)

    steps = replace(world.steps(), fetch_token=ask, writes=hours.pacer(100, until=22.0))

    list(issue_tokens([renewal("t0"), renewal("t1")], NOW, Ownership([]), steps=steps))

    assert world.asked == ["t0", "t1"]


# What the ledger is told


def test_a_token_is_stored_before_it_is_recorded() -> None:
    world = World()

    world.issue([renewal("acme")])

    assert world.done == ["store acme", "record acme"]
    assert world.records["acme"].issued == Issued(
        issued_at=NOW,
        expires_at=NOW,
        fingerprint=world.stored["acme"].fingerprint,
        scope=None,
        parameter="acme",
        version=7,
        client_secret_version="v1",
        purpose="{}",
        document="/t/acme",
    )


def test_a_token_that_expires_before_the_last_one_is_told_before_it_is_stored() -> None:
    world = World()
    world.issue([renewal("acme")])
    [record] = world.records.values()
    assert record.issued is not None
    longer = replace(record, issued=replace(record.issued, expires_at=NOW + timedelta(hours=1)))
    world.done.clear()

    world.issue([renewal("acme", record=longer)])

    assert world.done == ["shorten acme to 12:00", "store acme", "record acme"]


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("failures", [[], [ParameterUnwritable("label")]], ids=["", "unwritable"])
def test_another_owner_is_told_before_the_token_is_stored_and_remembered_where_that_was_heard(
    failures: list[Exception], *, is_heard: bool
) -> None:
    world = World({"store of acme": failures})
    world.is_heard = is_heard

    world.issue([replace(renewal("acme"), reassigned=TenantReassigned("acme had another"))])

    stored = [] if failures else ["store acme"]
    assert world.done == ["tell acme: TenantReassigned", *stored, "record acme"]
    owner = Owner(tenant_id="acme", client="default")
    assert world.records["acme"].owner == (owner if is_heard else None)


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
    told = ["tell acme: TokenRefused"] if isinstance(error, TokenRefused) else []
    assert world.done == [*told, *(["record acme"] if recorded else [])]
    if recorded:
        failure = world.records["acme"].failure
        assert failure is not None
        assert (failure.reason, failure.detail) == (outcome.reason, outcome.detail)


@pytest.mark.parametrize("is_heard", [True, False])
def test_what_was_heard_is_recorded_as_told(*, is_heard: bool) -> None:
    world = World({"acme": [TokenRefused("invalid_tenant")]})
    world.is_heard = is_heard

    world.issue([renewal("acme")])
    world.issue([renewal("acme", record=world.records["acme"])])

    assert world.done.count("tell acme: TokenRefused") == (1 if is_heard else 2)


def test_a_tenant_whose_failing_was_told_of_recovers_before_that_is_recorded() -> None:
    world = World({"acme": [TokenRefused("invalid_tenant")]})
    world.issue([renewal("acme")])
    failed = world.records["acme"]
    world.answers.clear()
    world.done.clear()

    world.issue([renewal("acme", record=failed), renewal("globex")])

    assert [one for one in world.done if "acme" in one] == [
        "store acme",
        "tell acme: recovered",
        "record acme",
    ]
    assert [one for one in world.done if "globex" in one] == ["store globex", "record globex"]


def test_a_failure_that_was_not_told_of_has_no_recovery() -> None:
    world = World({"acme": [EndpointUnavailable("HTTP 503")]})
    world.issue([renewal("acme")])
    world.answers.clear()

    world.issue([renewal("acme", record=world.records["acme"])])

    assert not [one for one in world.done if one.startswith("tell")]


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
