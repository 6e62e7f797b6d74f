"""What is done about pending client secrets, one run after the other."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.account import REFUSED, credentials, token_answer
from tests.helpers.facts import NOW, SETTINGS, make_facts, make_tenant
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.outside import make_outside
from tests.helpers.staged_secrets import StagedSecrets, Version
from tests.helpers.virtual_clock import VirtualClock
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.versions import ClientSecret, SecretsInUse
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    EndpointBreakerOpen,
    EndpointUnavailable,
    IssuerError,
    LedgerUnwritable,
    PendingSecretUndecided,
)
from token_issuer.facts import Facts
from token_issuer.ledger.records import ClientRecord, Pending
from token_issuer.limits.deadline import ASK, RECORD, REPORT, TELL
from token_issuer.outside import Outside
from token_issuer.proving import prove
from token_issuer.redaction import Quoted
from token_issuer.reporting.events import Events
from token_issuer.telling import tell
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.oauth import Answer

GIVEN = token_answer("opaque-1")
NOT_ACCEPTED = Answer(status=400, body=b'{"error": "invalid_client"}')
NO_ANSWER = EndpointUnavailable("503")
WHOLE = 3 * RECORD + REPORT  # seconds to read a pending version, or to promote it


def tenant(name: str, client: str = "default") -> Tenant:
    return make_tenant(name, client=client, tenant_id=name)


class Ledger(MemoryLedger):
    def __init__(self) -> None:
        super().__init__()
        self.unwritable: Exception | None = None
        self.written = 0

    def record_client(self, record: ClientRecord) -> None:
        if self.unwritable:
            raise self.unwritable
        self.written += 1
        super().record_client(record)


class SlowSecrets(StagedSecrets):
    """Each reading takes so many seconds."""

    def __init__(self, clock: VirtualClock, **versions: Version) -> None:
        super().__init__(**versions)
        self._clock = clock
        self.latency = 0.0

    def read(self, client: str, stage: str = "AWSCURRENT") -> ClientCredentials:
        self._clock.passed += self.latency
        return super().read(client, stage)


class World:
    """Clients with a current version v1 and a pending one, v2."""

    def __init__(self, *tenants: Tenant) -> None:
        self.tenants = tenants or (tenant("acme"),)
        self.clock, self.ledger = VirtualClock(), Ledger()
        self.secrets = SlowSecrets(self.clock, AWSCURRENT="v1", AWSPENDING="v2")
        self.described: dict[str, dict[str, str]] | None = None  # before the stages moved
        self.answers: dict[str, list[Answer | Exception]] = {}  # by version; the last one stays
        self.asked: list[str] = []
        self.latency = 0.0  # seconds of an answer
        self.told: list[str] = []  # by events
        self.is_heard = True
        self.seconds_left = 300.0
        self.in_use = SecretsInUse(self.secrets)

    def facts(self, **members: object) -> Facts:
        stages = dict(self.secrets.versions)
        described = {one.client: stages for one in self.tenants}
        facts = make_facts(
            self.tenants,
            clients=self.ledger.clients.values(),
            at=self.clock.now(),
            stages=described if self.described is None else self.described,
        )
        return replace(facts, **members)  # type: ignore[arg-type]

    def outside(self) -> Outside:
        world: Any = self
        return make_outside(
            self.clock,
            self.seconds_left,
            SETTINGS,
            endpoint=world,
            secrets=self.secrets,
            ledger=self.ledger,
            events=Events(lambda: world, "issuer"),
        )

    def post(self, form: dict[str, str], _: dict[str, str]) -> Answer:
        self.clock.passed += self.latency
        version = form["client_secret"]
        self.asked.append(f"{form['tenant_id']} with {version}")
        answers = self.answers.get(version, [GIVEN])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:  # noqa: N803
        if not self.is_heard:
            return {"Entries": [{"ErrorCode": "InternalFailure"} for _ in Entries]}
        for entry in Entries:
            detail = json.loads(entry["Detail"])
            self.told.append(f"{detail['client']}: {detail.get('reason', entry['DetailType'])}")
        return {"Entries": [{} for _ in Entries]}

    def ask(self, *versions: str, tenant: str | None = "acme") -> ClientSecret:
        """Ask in this run as a tenant that is due: each version in turn is refused but the last."""
        secret = self.in_use.of("default")
        for version in versions:
            chosen = secret.choose()
            assert chosen.version == version
            if version != versions[-1]:
                secret.refuse(chosen, REFUSED)
        secret.worked(tenant)
        return secret

    def conclude(self, *, force: bool = False, probe: bool = False, **members: object) -> list[str]:
        """End the run, and return what it says."""
        outside = self.outside()
        facts = self.facts(invocation=Invocation(force=force, probe=probe), **members)
        concluded = [*prove(facts, self.in_use, outside)]
        if not probe:
            tell([], concluded, outside)
        self.in_use = SecretsInUse(self.secrets)
        return [
            said
            for one in concluded
            for said in (
                *(
                    [f"promoted {one.promoted.version} for {one.promoted.tenant}"]
                    if one.promoted
                    else []
                ),
                *(f"{notice.reason}: {notice.detail}" for notice in one.notices),
            )
        ]

    def record(self, client: str = "default") -> ClientRecord:
        return self.ledger.clients[client]

    def pending(self, client: str = "default") -> Pending:
        pending = self.record(client).pending
        assert pending
        return pending


def refused_world(*tenants: Tenant) -> World:
    """Return one whose pending versions were refused in a run."""
    world = World(*tenants)
    world.answers["v2"] = [NOT_ACCEPTED]
    world.conclude()
    return world


# Proving


def test_a_pending_version_that_works_is_current_and_told() -> None:
    world = World()

    assert world.conclude() == ["promoted v2 for acme"]

    assert world.asked == ["acme with v2"]
    assert world.secrets.promoted == [("default", "v2", "v1")]
    assert world.told == ["default: Client Secret Promoted"]
    assert world.ledger.clients == {}


def test_a_refused_one_is_left_alone_until_its_time_and_then_promoted() -> None:
    world = World()
    world.answers["v2"] = [NOT_ACCEPTED, GIVEN]
    assert world.conclude() == ["PendingSecretRefused: Client default: invalid_client"]
    world.clock.passed = 149

    [notice] = world.conclude()

    assert notice.endswith("tried again at 2026-11-24T12:02:30Z")
    assert world.pending().refusals == 1
    world.clock.passed = 150
    assert world.conclude() == ["promoted v2 for acme"]
    assert world.asked == ["acme with v2"] * 2
    assert world.ledger.clients == {}


def test_after_no_answer_another_tenant_proves_and_one_that_nobody_asked_for_stays_next() -> None:
    world = World(tenant("a"), tenant("b"))
    world.answers["v2"] = [NO_ANSWER]
    assert world.conclude() == ["PendingSecretUndecided: EndpointUnavailable for a: 503"]
    world.seconds_left = WHOLE - 0.1
    [notice] = world.conclude()
    assert notice == "PendingSecretUndecided: NoTimeLeft: The run had no time left"
    world.seconds_left = 300

    world.conclude()

    assert world.asked == ["a with v2", "b with v2"]


def test_a_promotion_that_fails_is_told_and_tried_again() -> None:
    world = World()
    world.secrets.promotion = PendingSecretUndecided("Promoting failed: AccessDeniedException")

    assert world.conclude() == ["PendingSecretUndecided: Promoting failed: AccessDeniedException"]

    assert world.pending().next_attempt_at is None
    world.secrets.promotion = None
    assert world.conclude() == ["promoted v2 for acme"]
    assert world.ledger.clients == {}


@pytest.mark.parametrize(
    ("version", "told"),
    [
        pytest.param(
            credentials("v2", "other"),
            "PendingClientDiffers: The pending secret of client default has another client_id",
            id="another application's",
        ),
        pytest.param(
            ClientSecretInvalid("not JSON"), "PendingSecretInvalid: not JSON", id="malformed"
        ),
        pytest.param(
            ClientSecretUnreadable("denied"),
            "PendingSecretUndecided: ClientSecretUnreadable: denied",
            id="unreadable",
        ),
    ],
)
def test_what_cannot_be_used_is_told_and_not_asked_with(version: Version, told: str) -> None:
    world = World()
    world.described = {"default": {"AWSCURRENT": "v1", "AWSPENDING": "v2"}}
    world.secrets.versions["AWSPENDING"] = version

    assert world.conclude() == [told]

    assert (world.asked, world.secrets.promoted) == ([], [])
    assert f"{world.pending().reason}: {world.pending().detail}" == told
    assert world.pending().version == "v2"


def test_a_version_that_was_staged_a_moment_ago_is_the_one_that_counts() -> None:
    world = World()
    world.answers |= {"v2": [NOT_ACCEPTED], "v3": [NOT_ACCEPTED, GIVEN]}
    world.conclude()
    world.described = {"default": {"AWSCURRENT": "v1", "AWSPENDING": "v2"}}
    world.secrets.versions["AWSPENDING"] = "v3"

    world.conclude(force=True)

    assert (world.pending().version, world.pending().refusals) == ("v3", 1)
    world.conclude(force=True)
    assert world.secrets.promoted == [("default", "v3", "v1")]


def test_a_pending_version_that_is_gone_meanwhile_is_forgotten() -> None:
    world = refused_world()
    world.described = {"default": {"AWSCURRENT": "v1", "AWSPENDING": "v2"}}
    world.secrets.versions = {"AWSCURRENT": "v2", "AWSPREVIOUS": "v1"}  # by another run

    assert world.conclude(force=True) == []

    assert len(world.asked) == 1
    assert world.ledger.clients == {}


def test_a_pending_version_that_is_taken_back_is_forgotten() -> None:
    world = refused_world()
    del world.secrets.versions["AWSPENDING"]

    assert world.conclude(force=True) == []

    assert world.ledger.clients == {}


def test_a_label_on_what_has_been_current_is_taken_off_in_time() -> None:
    world = World()
    world.secrets.versions = {"AWSCURRENT": "v3", "AWSPREVIOUS": "v2", "AWSPENDING": "v2"}

    assert world.conclude() == [
        "PendingSecretWithdrawn: v2 of client default's secret has been current before"
    ]

    assert world.asked == []
    assert world.secrets.unstaged == ["v2"]
    world.seconds_left = RECORD + REPORT - 0.1
    assert world.conclude() == []
    assert len(world.secrets.unstaged) == 1


@pytest.mark.parametrize(
    ("gone", "read", "asked"),
    [
        pytest.param("before", 0, 0, id="before it is read"),
        pytest.param("read", 2, 0, id="before it is asked with"),
        pytest.param("asked", 2, 1, id="before it is promoted"),
    ],
)
def test_a_step_that_has_no_time_left_is_the_next_runs(gone: str, read: int, asked: int) -> None:
    world = World()
    left = {"before": WHOLE - 0.1, "read": ASK + REPORT - 0.1, "asked": WHOLE - 0.1}[gone]
    world.seconds_left = left if gone == "before" else 300
    world.secrets.latency = (300 - left) / 2 if gone == "read" else 0
    world.latency = 300 - left if gone == "asked" else 0

    [notice] = world.conclude()

    whose = " for acme" if asked else ""
    assert notice == f"PendingSecretUndecided: NoTimeLeft{whose}: The run had no time left"
    assert (len(world.secrets.reads), len(world.asked)) == (read, asked)
    assert world.secrets.promoted == []
    world.secrets.latency = world.latency = 0
    world.seconds_left = WHOLE
    assert world.conclude() == ["promoted v2 for acme"]


def test_the_client_that_was_tried_longest_ago_comes_first() -> None:
    world = World(*(tenant(name, name) for name in "abc"))
    world.answers["v2"] = [NO_ANSWER]
    for name in "ba":
        world.clock.passed += 60
        world.conclude(tenants=[tenant(name, name)], whole=False)

    world.conclude()

    assert world.asked[2:] == ["c with v2", "b with v2", "a with v2"]


def test_a_defect_hits_its_client_alone_and_shows_nothing() -> None:
    world = World(tenant("acme"), tenant("umbrella", "sales"))
    world.answers["v2"] = [TypeError("the secret is s3cret"), GIVEN]

    [first, second] = world.conclude()

    assert first.startswith("Unexpected: TypeError in ")
    assert "s3cret" not in first
    assert second == "promoted v2 for umbrella"


# What the tokens of the run say of it


def test_a_pending_version_that_tokens_came_from_is_promoted_without_another_request() -> None:
    world = refused_world()
    secret = world.ask("v1", "v2")
    secret.worked(None)  # another tenant is refused one

    assert world.conclude() == ["promoted v2 for acme"]

    assert world.asked == ["acme with v2"]
    assert world.ledger.clients == {}


def test_one_that_is_accepted_but_gives_no_token_is_not_proved_by_that() -> None:
    world = World(tenant("acme"), tenant("globex"))
    world.ask("v1", "v2", tenant=None)

    world.conclude()

    assert world.asked == ["acme with v2"]


def test_one_that_is_refused_later_is_not_promoted_nor_asked_with() -> None:
    world = World()
    world.ask("v1", "v2").close(REFUSED)

    [notice] = world.conclude()

    assert notice.startswith(
        "PendingSecretUndecided: Nothing more is asked for with client default"
    )
    assert (world.asked, world.secrets.promoted) == ([], [])
    assert world.pending().version == "v2"


def test_one_that_was_refused_instead_of_the_current_one_counts_as_refused_once() -> None:
    world = World()
    world.secrets.versions["AWSPREVIOUS"] = "v0"
    world.answers["v2"] = [NOT_ACCEPTED]
    world.conclude()
    world.ask("v1", "v2", "v0")

    first, second = world.conclude()

    assert first == "PendingSecretRefused: Client default: invalid_client"
    assert second.startswith("ClientSecretFallback: Client default: invalid_client; since ")
    assert world.asked == ["acme with v2"]
    assert world.pending().refusals == 2


def test_three_refusals_are_enough_for_a_run() -> None:
    world = World()
    world.described = {"default": {"AWSCURRENT": "v1", "AWSPENDING": "v2"}}
    world.secrets.versions |= {"AWSCURRENT": ["v1", "v4"], "AWSPREVIOUS": "v0"}
    secret = world.in_use.of("default")
    for version in ("v1", "v4", "v2"):
        chosen = secret.choose()
        assert chosen.version == version
        secret.refuse(chosen, REFUSED)
    with pytest.raises(ClientRefused, match="no other version"):
        secret.choose()

    assert world.conclude() == ["PendingSecretRefused: Client default: invalid_client"]

    assert world.asked == []


# Where another version serves


def test_a_fallback_is_told_while_nobody_asks_and_where_the_stages_are_unknown() -> None:
    world = World()
    world.secrets.versions = {"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}
    world.ask("v1", "v0")
    told = world.conclude()
    written = world.ledger.written
    world.described = {}

    assert world.conclude() == told
    assert world.conclude(probe=True) == told

    [notice] = told
    assert notice == (
        "ClientSecretFallback: Client default: invalid_client; since 2026-11-24T12:00:00Z"
        " AWSPREVIOUS is used in place of AWSCURRENT"
    )
    assert world.ledger.written == written
    assert world.told == ["default: ClientSecretFallback"]


def test_a_promotion_ends_a_fallback() -> None:
    world = World()
    world.secrets.versions["AWSPREVIOUS"] = "v0"
    world.answers["v2"] = [NOT_ACCEPTED, GIVEN]
    world.ask("v1", "v2", "v0")
    world.conclude()
    assert world.record().fallback
    world.answers["v2"] = [GIVEN]

    assert world.conclude(force=True) == ["promoted v2 for acme"]

    assert world.ledger.clients == {}


def test_a_probe_tells_of_a_fallback_and_keeps_nothing() -> None:
    world = World()
    world.secrets.versions["AWSPREVIOUS"] = "v0"
    world.ask("v1", "v2", "v0")

    [notice] = world.conclude(probe=True)

    assert notice.startswith("ClientSecretFallback")
    assert (world.asked, world.ledger.clients, world.secrets.promoted) == ([], {}, [])


# What events tell


def test_a_refusal_is_told_again_after_a_day_while_it_lasts() -> None:
    world = World()
    world.answers["v2"] = [NOT_ACCEPTED]
    for hours in (0, 1, 23.9, 24, 25, 48):
        world.clock.passed = hours * 3600
        world.conclude(force=True)

    assert world.told == ["default: PendingSecretRefused"] * 3


def test_what_nobody_heard_is_told_by_the_next_run() -> None:
    world = World()
    world.answers["v2"] = [NOT_ACCEPTED]
    world.is_heard = False
    world.conclude()
    assert world.record().told_at == {}
    world.is_heard = True

    world.conclude()
    world.conclude()

    assert world.told == ["default: PendingSecretRefused"]
    assert world.record().told_at == {"PendingSecretRefused": NOW}


@pytest.mark.parametrize(
    "why", [REFUSED, ClientSecretInvalid("not JSON")], ids=lambda one: one.reason
)
def test_that_no_version_works_is_told_until_one_does(why: IssuerError) -> None:
    world = World()
    del world.secrets.versions["AWSPENDING"]
    told = [f"default: {why.reason}"]
    for _ in range(2):  # in the second of which nobody asks
        world.in_use.of("default").close(why)
        world.conclude()
        world.conclude()
    assert world.told == told

    world.ask("v1")
    world.conclude()
    assert world.ledger.clients == {}

    world.in_use.of("default").close(why)
    world.conclude()
    assert world.told == told * 2
    world.secrets.versions["AWSPENDING"] = "v2"
    world.conclude()
    assert world.secrets.promoted
    assert world.ledger.clients == {}


def test_where_nothing_more_is_asked_for_no_refusal_is_told() -> None:
    world = World()
    del world.secrets.versions["AWSPENDING"]
    world.in_use.of("default").close(EndpointBreakerOpen("503"))

    world.conclude()

    assert world.told == []


def test_what_there_is_no_time_to_note_is_told_again_and_without_time_nothing_is() -> None:
    world = World()
    world.secrets.versions = {"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}
    told = []
    for world.seconds_left in (TELL - 0.1, RECORD - 0.1, 300, 300):
        world.ask("v1", "v0")
        world.conclude()
        told.append(len(world.told))

    assert told == [0, 1, 2, 2]


# What is remembered


def test_a_client_that_has_no_tenants_any_more_is_forgotten() -> None:
    world = refused_world(tenant("acme"), tenant("umbrella", "sales"))
    assert world.ledger.clients.keys() == {"default", "sales"}
    world.tenants = (tenant("acme"),)

    world.conclude(whole=False)  # which says nothing of others
    assert world.ledger.clients.keys() == {"default", "sales"}

    world.conclude()
    assert world.ledger.clients.keys() == {"default"}


def test_what_is_known_stays_where_the_stages_are_unknown() -> None:
    world = refused_world()
    known, written = world.record(), world.ledger.written
    world.described = {}

    assert world.conclude() == []

    assert (world.record(), world.ledger.written) == (known, written)


@pytest.mark.parametrize(
    ("why", "told"),
    [
        pytest.param(
            LedgerUnwritable("Writing client#default failed: AccessDeniedException"),
            "LedgerUnwritable: Writing client#default failed: AccessDeniedException",
            id="denied",
        ),
        pytest.param(TypeError("the secret is s3cret"), "Unexpected: TypeError", id="a defect"),
    ],
)
def test_a_ledger_that_takes_nothing_is_told_and_hits_nobody(why: Exception, told: str) -> None:
    world = World()
    del world.secrets.versions["AWSPENDING"]
    undecided = Pending(version="v2", reason="?", detail=Quoted(""), tried_at=NOW, refusals=0)
    for name in ("default", "gone", "also"):
        world.ledger.record_client(ClientRecord(client=name, pending=undecided))
    world.ledger.unwritable = why

    assert [one.partition(" in ")[0] for one in world.conclude()] == [told] * 3


def test_what_there_is_no_time_to_record_is_told() -> None:
    world = World()
    world.seconds_left = RECORD + REPORT - 0.1

    [notice] = world.conclude()

    assert notice.startswith("PendingSecretUndecided")
    assert world.ledger.written == 0
