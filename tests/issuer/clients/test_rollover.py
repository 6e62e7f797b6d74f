"""A client secret from version to version, with the version stages of moto's Secrets Manager."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from local.authorization_server import Client, Fault, VismaConnect
from tests.conftest import Event, counts
from tests.helpers.account import (
    CLIENT_SECRET,
    NO_VERSION,
    REFUSED,
    Account,
    Log,
    Run,
    credentials,
    make_settings,
    tenant_id,
)
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import promote
from token_issuer.clients.versions import ClientSecret
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    EndpointBreakerOpen,
    EndpointUnavailable,
    IssuerError,
    LedgerUnwritable,
    PendingSecretUndecided,
    TokenRefused,
)
from token_issuer.facts import Facts
from token_issuer.ledger.records import ClientRecord, Fallback, Issued, Memory, Pending, Record
from token_issuer.proving import Promoted, Rollover
from token_issuer.redaction import Quoted
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant

NEW, NEWER, WRONG = (f"{name}-7zR2pXw9Lm4Tb8YcH6vKq" for name in ("new", "newer", "wrong"))
SECRETS = (CLIENT_SECRET, NEW, NEWER, WRONG)
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@dataclass
class Portal:
    """A client's secret as its operator handles it: in the developer portal, and here."""

    account: Account
    app: Client

    def make(self, secret: str) -> None:
        self.app.client_secrets.add(secret)

    def delete(self, *secrets: str) -> None:
        self.app.client_secrets.difference_update(secrets)

    def stage(self, secret: str, *stages: str, **members: str) -> str:
        """Put a version; by default a pending one."""
        document = {"client_id": "default-id", "client_secret": secret} | members
        return self.put(json.dumps(document), *stages)

    def put(self, text: str, *stages: str) -> str:
        answer = self.account.secretsmanager.put_secret_value(
            SecretId="visma/clients/default",
            SecretString=text,
            VersionStages=list(stages or ["AWSPENDING"]),
        )
        return answer["VersionId"]

    @property
    def stages(self) -> dict[str, str]:
        """Return the text, by stage."""
        described = self.account.secretsmanager.describe_secret(SecretId="visma/clients/default")
        return {
            stage: self.account.secretsmanager.get_secret_value(
                SecretId="visma/clients/default", VersionId=version
            )["SecretString"]
            for version, stages in described["VersionIdsToStages"].items()
            for stage in stages
        }

    @property
    def secrets(self) -> dict[str, str]:
        """Return the client secret, by stage."""
        return {stage: json.loads(text)["client_secret"] for stage, text in self.stages.items()}

    @property
    def record(self) -> ClientRecord | None:
        return self.account.ledger.read().clients.get("default")

    @property
    def asked(self) -> list[str]:
        """Return the client secrets that requests came with, in order."""
        return [one.form["client_secret"] for one in self.account.visma_connect.received]

    def has_waited(self) -> None:
        """Let the time pass for which a refused version is left alone."""
        assert self.record
        assert self.record.pending
        assert self.record.pending.next_attempt_at
        passed = replace(self.record.pending, next_attempt_at=datetime.now(UTC))
        self.account.ledger.record_client(replace(self.record, pending=passed))


@pytest.fixture
def portal(
    account: Account,
    visma_connect: VismaConnect,
    log_stream: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Portal]:
    """Give the client of acme and globex; nothing may show a secret of it."""
    account.configure("acme")
    account.configure("globex")
    yield Portal(account, visma_connect.clients["default-id"])
    items = account.dynamodb.scan(TableName="ledger")["Items"]
    said = log_stream.getvalue() + capsys.readouterr().out + str(items)
    assert not [secret for secret in SECRETS if secret in said]


def noticed(log: Log) -> list[tuple[str, str]]:
    """Return client and warning of each notice."""
    lines = [line for line in log() if line["message"] == "Client secret noticed"]
    assert all(line["level"] == "WARNING" and line["remedy"] for line in lines)
    return [(line["client"], line["warning"]) for line in lines]


def metrics(output: str) -> dict[str, Any]:
    [whole] = [json.loads(line) for line in output.splitlines() if "RunSeconds" in line]
    return {name: value for name, value in whole.items() if "Secret" in name or "Client" in name}


# Staging


def test_a_pending_secret_that_works_is_current_after_one_run(
    portal: Portal, run: Run, log: Log
) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)

    assert counts(run()) == {"fresh": 2}

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.asked == [CLIENT_SECRET, CLIENT_SECRET, NEW]
    [line] = [line for line in log() if line["message"] == "Client secret promoted"]
    assert (line["client"], line["secret_version"]) == ("default", version)
    assert noticed(log) == []
    assert portal.record is None


def test_tokens_come_before_the_proof_and_from_what_was_proved_after_it(
    portal: Portal, run: Run, event: Event
) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)

    assert counts(run(event("force"))) == {"issued": 2}
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, NEW]

    assert counts(run(event("force"))) == {"issued": 2}
    assert portal.asked[5:] == [NEW, NEW]
    records = portal.account.ledger.read().records.values()
    assert {one.issued and one.issued.client_secret_version for one in records} == {version}


def test_it_is_proved_for_the_tenant_that_succeeded_last(
    portal: Portal, run: Run, visma_connect: VismaConnect, event: Event
) -> None:
    run()
    run({"tenants": ["acme"]} | event("force"))
    portal.make(NEW)
    portal.stage(NEW)

    run()

    assert visma_connect.received[-1].form["tenant_id"] == tenant_id("acme")
    assert "AWSPENDING" not in portal.secrets


def test_nothing_pending_costs_no_request(portal: Portal, run: Run) -> None:
    run()
    before = len(portal.asked)

    run()

    assert len(portal.asked) == before


def test_a_version_that_is_current_too_is_not_pending(portal: Portal, run: Run) -> None:
    run()
    portal.make(NEW)
    portal.stage(NEW, "AWSCURRENT", "AWSPENDING")

    run()

    assert portal.asked == [CLIENT_SECRET] * 2


def test_a_wrong_pending_secret_is_reported_and_hits_nobody(
    portal: Portal, run: Run, log: Log, event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    capsys.readouterr()
    version = portal.stage(WRONG)

    report = run(event("force"))

    assert counts(report) == {"issued": 2}
    assert report["failures"] == []
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, WRONG]
    assert noticed(log) == [("default", "PendingSecretRefused")]
    assert metrics(capsys.readouterr().out) == {
        "PendingSecretRefused": [1.0],
        "ClientSecretFallback": [0.0],
    }
    assert portal.record
    assert portal.record.pending
    assert (portal.record.pending.version, portal.record.pending.reason) == (
        version,
        "PendingSecretRefused",
    )
    assert portal.secrets["AWSPENDING"] == WRONG


def test_a_refused_one_is_left_alone_for_a_while_and_reported_still(
    portal: Portal, run: Run, log: Log
) -> None:
    run()
    portal.stage(WRONG)
    run()

    run()

    assert portal.asked.count(WRONG) == 1
    assert noticed(log) == [("default", "PendingSecretRefused")] * 2
    last = [line for line in log() if line["message"] == "Client secret noticed"][-1]
    assert "tried again at 20" in last["detail"]


def test_a_refused_one_that_acts_by_now_is_promoted(portal: Portal, run: Run, log: Log) -> None:
    run()
    portal.stage(NEW)
    run()
    portal.make(NEW)
    portal.has_waited()

    run()

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.record is None
    assert noticed(log) == [("default", "PendingSecretRefused")]


def test_force_does_not_wait(portal: Portal, run: Run, event: Event) -> None:
    run()
    portal.stage(NEW)
    run()
    portal.make(NEW)

    run(event("force"))

    assert portal.secrets["AWSCURRENT"] == NEW


def test_a_newly_staged_one_is_tried_at_once(portal: Portal, run: Run) -> None:
    run()
    portal.stage(WRONG)
    run()
    portal.make(NEW)
    portal.stage(NEW)

    run()

    assert portal.secrets["AWSCURRENT"] == NEW


def test_each_refusal_doubles_the_wait(portal: Portal, run: Run) -> None:
    run()
    portal.stage(WRONG)
    periods = []
    for _ in range(6):
        run()
        assert portal.record
        assert portal.record.pending
        pending = portal.record.pending
        assert pending.next_attempt_at
        periods.append((pending.next_attempt_at - pending.tried_at) / timedelta(minutes=5))
        portal.has_waited()

    assert periods == pytest.approx([0.5, 1.5, 3.5, 7.5, 11.5, 11.5], abs=0.01)


def test_a_pending_one_that_is_taken_back_is_forgotten(portal: Portal, run: Run) -> None:
    run()
    version = portal.stage(WRONG)
    run()
    assert portal.record
    portal.account.secretsmanager.update_secret_version_stage(
        SecretId="visma/clients/default", VersionStage="AWSPENDING", RemoveFromVersionId=version
    )

    run()

    assert portal.record is None


def test_another_answer_proves_nothing_and_the_next_run_tries_another_tenant(
    portal: Portal, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    for name in ("hooli", "initech"):
        portal.account.configure(name)
    run()
    portal.make(NEW)
    portal.stage(NEW)
    for name in ("acme", "globex", "hooli"):
        portal.app.tenants.discard(tenant_id(name))
    asked_before = len(portal.asked)
    while "AWSPENDING" in portal.secrets:
        assert len(portal.asked) < asked_before + 4
        run()

    tenants = [one.form["tenant_id"] for one in visma_connect.received[asked_before:]]
    assert len(set(tenants)) == len(tenants)
    assert tenants[-1] == tenant_id("initech")
    assert portal.secrets["AWSCURRENT"] == NEW
    assert set(noticed(log)) <= {("default", "PendingSecretUndecided")}


def test_an_endpoint_that_is_down_proves_nothing(
    portal: Portal, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    run()
    portal.make(NEW)
    portal.stage(NEW)
    visma_connect.faults[None] = Fault(status=503)
    run()
    assert noticed(log) == [("default", "PendingSecretUndecided")]
    assert "AWSPENDING" in portal.secrets
    visma_connect.faults.clear()

    run()

    assert portal.secrets["AWSCURRENT"] == NEW


def test_another_client_id_is_refused_without_a_request(
    portal: Portal, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    run()
    visma_connect.add_client("other-id", NEW).tenants.update(portal.app.tenants)
    portal.stage(NEW, client_id="other-id")

    report = run()

    assert report["failures"] == []
    assert noticed(log) == [("default", "PendingClientDiffers")]
    assert NEW not in portal.asked
    assert portal.secrets["AWSCURRENT"] == CLIENT_SECRET
    assert portal.record
    assert portal.record.pending
    assert portal.record.pending.reason == "PendingClientDiffers"


def test_a_malformed_pending_version_is_reported_without_a_request(
    portal: Portal, run: Run, log: Log
) -> None:
    run()
    portal.put(NEW)

    run()

    assert noticed(log) == [("default", "PendingSecretInvalid")]
    assert len(portal.asked) == 2
    assert portal.stages["AWSPENDING"] == NEW


@pytest.mark.parametrize("name", ["dry_run", "probe"])
def test_a_dry_run_and_a_probe_prove_nothing(
    name: str, portal: Portal, run: Run, event: Event
) -> None:
    run()
    portal.make(NEW)
    portal.stage(NEW)

    run(event(name))

    assert NEW not in portal.asked
    assert portal.secrets["AWSPENDING"] == NEW


def test_a_run_for_named_tenants_proves_too(portal: Portal, run: Run, event: Event) -> None:
    run()
    portal.make(NEW)
    portal.stage(NEW)

    run(event("tenants"))

    assert portal.secrets["AWSCURRENT"] == NEW


def test_of_two_clients_each_has_its_own_secret(
    portal: Portal, run: Run, log: Log, account: Account
) -> None:
    account.add_client("sales", client_secret=NEWER)
    account.configure("umbrella", client="sales")
    run()
    portal.stage(WRONG)

    run()

    assert portal.asked.count(WRONG) == 1
    assert noticed(log) == [("default", "PendingSecretRefused")]


# The way back


def test_where_the_current_one_is_refused_the_previous_one_serves(
    portal: Portal, run: Run, log: Log, event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    capsys.readouterr()
    portal.stage(WRONG, "AWSCURRENT")

    report = run(event("force"))

    assert counts(report) == {"issued": 2}
    assert report["failures"] == []
    assert portal.asked[2:] == [WRONG, CLIENT_SECRET, CLIENT_SECRET]
    assert noticed(log) == [("default", "ClientSecretFallback")]
    assert metrics(capsys.readouterr().out) == {"ClientSecretFallback": [1.0]}
    assert portal.record
    assert portal.record.fallback
    assert portal.record.fallback.stage == "AWSPREVIOUS"
    assert portal.secrets["AWSCURRENT"] == WRONG


def test_the_fallback_is_reported_until_the_current_one_works(
    portal: Portal, run: Run, log: Log, event: Event, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    portal.stage(WRONG, "AWSCURRENT")
    run(event("force"))
    assert portal.record
    since = portal.record.fallback and portal.record.fallback.since
    capsys.readouterr()

    run()  # asks for nothing

    assert noticed(log) == [("default", "ClientSecretFallback")] * 2
    assert metrics(capsys.readouterr().out) == {"ClientSecretFallback": [1.0]}
    run(event("force"))
    assert portal.record.fallback
    assert portal.record.fallback.since == since
    portal.make(WRONG)
    run(event("force"))
    assert portal.record is None
    assert noticed(log) == [("default", "ClientSecretFallback")] * 3
    capsys.readouterr()
    run()
    assert noticed(log) == [("default", "ClientSecretFallback")] * 3
    assert metrics(capsys.readouterr().out) == {"ClientSecretFallback": [0.0]}


def test_a_promotion_ends_the_fallback(portal: Portal, run: Run, log: Log, event: Event) -> None:
    run()
    portal.stage(WRONG, "AWSCURRENT")
    run(event("force"))
    portal.make(NEW)
    portal.stage(NEW)

    run()

    assert portal.record is None
    assert noticed(log) == [("default", "ClientSecretFallback")]
    assert portal.secrets["AWSCURRENT"] == NEW


def test_a_pending_one_that_is_left_alone_serves_where_the_current_one_is_dead(
    portal: Portal, run: Run, log: Log, event: Event
) -> None:
    run()
    portal.stage(NEW)
    run()  # it does not act yet
    portal.make(NEW)
    portal.delete(CLIENT_SECRET)

    assert counts(run(event("force"))) == {"issued": 2}

    assert portal.asked[3:] == [CLIENT_SECRET, NEW, NEW]  # which proves it
    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.record is None
    assert noticed(log) == [("default", "PendingSecretRefused")]


def test_a_probe_goes_the_way_back_and_records_nothing(
    portal: Portal, run: Run, log: Log, event: Event
) -> None:
    run()
    portal.stage(WRONG, "AWSCURRENT")

    report = run(event("probe"))

    assert report["failures"] == []
    assert portal.asked[2:] == [WRONG, CLIENT_SECRET]
    assert noticed(log) == [("default", "ClientSecretFallback")]
    assert portal.record is None


def test_the_way_back_is_taken_after_tenants_without_an_answer(
    portal: Portal, run: Run, visma_connect: VismaConnect
) -> None:
    for name in ("acme", "globex", "hooli", "initech"):
        portal.account.configure(name)
        visma_connect.faults[tenant_id(name)] = Fault(status=503)
    portal.account.configure("umbrella")
    portal.stage(WRONG, "AWSCURRENT")

    assert counts(run()) == {"issued": 1, "failed": 4}


def test_where_no_more_is_asked_for_nothing_is_proved(
    portal: Portal, run: Run, visma_connect: VismaConnect, log: Log
) -> None:
    for number in range(5):
        portal.account.configure(f"t{number}")
    portal.make(NEW)
    portal.stage(NEW)
    visma_connect.faults[None] = Fault(status=503)

    assert counts(run()) == {"failed": 5, "deferred": 2}

    assert portal.asked == [CLIENT_SECRET] * 5
    assert noticed(log) == [("default", "PendingSecretUndecided")]


@pytest.mark.long
def test_two_hundred_tenants_with_every_version_dead_cost_three_refusals(
    portal: Portal, run: Run, log: Log
) -> None:
    ids = {f"t{number}": tenant_id(f"t{number}") for number in range(198)}
    documents = {name: {"tenant_id": one, "scope": ""} for name, one in ids.items()}
    portal.account.put_document("packed", json.dumps({"tenants": documents}))
    portal.app.tenants.update(ids.values())
    assert counts(run()) == {"issued": 200}
    tokens, asked = portal.account.tokens(), len(portal.asked)
    portal.stage(NEW, "AWSCURRENT")
    portal.stage(WRONG)
    portal.delete(CLIENT_SECRET)

    report = run({"force": True})

    assert counts(report) == {"failed": 200}
    assert portal.asked[asked:] == [NEW, WRONG, CLIENT_SECRET]
    assert noticed(log) == [("default", "PendingSecretRefused")]
    assert portal.account.tokens() == tokens
    [reason] = {one["reason"] for one in report["failures"]}
    [detail] = {one["detail"] for one in report["failures"]}
    assert reason == "ClientRefused"
    assert detail.endswith("no other version of its secret works")


def test_a_malformed_current_version_counts_as_refused_without_a_request(
    portal: Portal, run: Run, log: Log, event: Event
) -> None:
    run()
    portal.put("not JSON", "AWSCURRENT")

    assert counts(run(event("force"))) == {"issued": 2}

    assert portal.asked == [CLIENT_SECRET] * 4
    assert noticed(log) == [("default", "ClientSecretFallback")]


def test_a_malformed_current_version_is_mended_by_a_pending_one_of_the_same_client(
    portal: Portal, run: Run
) -> None:
    run()
    portal.put("not JSON", "AWSCURRENT")
    portal.make(NEW)
    portal.stage(NEW)

    run()

    assert NEW in portal.stages["AWSCURRENT"]
    assert portal.stages["AWSPREVIOUS"] == "not JSON"
    assert portal.asked[2:] == [NEW]


def test_versions_of_another_client_are_skipped_on_the_way_back(
    portal: Portal, run: Run, visma_connect: VismaConnect, event: Event
) -> None:
    visma_connect.add_client("other-id", NEW).tenants.update(portal.app.tenants)
    portal.stage(NEW, "AWSCURRENT", client_id="other-id")
    run()
    portal.stage(WRONG, "AWSCURRENT")

    report = run(event("force"))

    assert counts(report) == {"failed": 2}
    assert portal.asked[2:] == [WRONG]


def test_a_refusal_that_comes_later_in_the_run_stops_the_client(
    portal: Portal, run: Run, visma_connect: VismaConnect
) -> None:
    for number in range(60):
        portal.account.configure(f"t{number}")
    visma_connect.faults[None] = Fault(seconds=0.05)
    portal.stage(CLIENT_SECRET, "AWSCURRENT")
    portal.stage(NEW)
    limit = 20

    class Ending(set[str]):
        def __contains__(self, secret: object) -> bool:
            return len(visma_connect.received) <= limit and super().__contains__(secret)

    portal.app.client_secrets = Ending(portal.app.client_secrets)

    report = run()

    assert limit - 8 < report["issued"] <= limit
    assert report["failed"] == 62 - report["issued"]
    assert len(portal.asked) <= report["issued"] + 8  # those that were under way
    assert NEW not in portal.asked
    assert portal.secrets["AWSPENDING"] == NEW


def test_tenants_that_wait_are_not_tried_again_since_a_fallback_serves(
    portal: Portal, run: Run
) -> None:
    portal.app.tenants.discard(tenant_id("globex"))
    portal.stage(WRONG, "AWSCURRENT")
    assert counts(run()) == {"issued": 1, "failed": 1}
    asked = len(portal.asked)

    report = run()

    assert counts(report) == {"fresh": 1, "failed": 1}
    assert "backing off" in report["failures"][0]["detail"]
    assert len(portal.asked) == asked
    portal.make(NEW)
    portal.stage(NEW, "AWSCURRENT")
    assert "invalid_tenant" in run()["failures"][0]["detail"]  # a newer version ends the wait
    assert portal.asked[asked:] == [NEW]


# All secrets of one run


def tenant(name: str, client: str = "default", *, enabled: bool = True) -> Tenant:
    return Tenant(
        name=name, tenant_id=None, scope="", client=client, enabled=enabled, document="/d"
    )


class World:
    """Secrets with pending versions, and what is done about them; one run after the other."""

    def __init__(self, *tenants: Tenant) -> None:
        self.stages = {"AWSCURRENT": "v1", "AWSPENDING": "v2"}
        self.described: dict[str, dict[str, str]] | None = None  # before the stages moved
        self.asked: list[str] = []
        self.answers: dict[str, list[Exception | None]] = {}  # by version; the last one stays
        self.promotion: Exception | None = None
        self.promoted: list[tuple[str, str, str]] = []
        self.unstaged: list[str] = []
        self.records: dict[str, ClientRecord] = {}
        self.told: list[str] = []
        self.is_heard = True
        self.written = 0
        self.unwritable: Exception | None = None
        self.unreadable: Exception | None = None
        self.seconds_left = 300.0
        self.now = NOW
        self.tenants = tenants or (tenant("acme"),)
        self.issued: dict[str, Record] = {}
        self.begin()

    def begin(self) -> None:
        """Begin the next run."""
        self.rollover = Rollover(
            read=self.read,
            fetch_token=self.fetch_token,
            promote=self.promote,
            unstage=lambda _, version: self.unstaged.append(version),
            record=self.record,
            tell_refused=self.tell_refused,
            has_time=lambda seconds: self.seconds_left >= seconds,
            now=lambda: self.now,
            settings=make_settings(),
        )

    @property
    def facts(self) -> Facts:
        tenants = {one.name: one for one in self.tenants}
        asked_for = [one for one in self.tenants if one.enabled]
        clients = {one.client: self.stages for one in asked_for}
        return Facts(
            memory=Memory(
                records=self.issued, documents={}, checked="", clients=dict(self.records)
            ),
            configuration=Configuration(
                path="/", tenants=tenants, invalid={}, good_texts={}, parameters=frozenset()
            ),
            tenants=asked_for,
            whole=True,
            failures={},
            compared=frozenset(),
            lost=frozenset(),
            checked="",
            stages=clients if self.described is None else self.described,
            secret_versions={},
        )

    def succeeded(self, name: str, client: str = "default", *, minutes_ago: int) -> None:
        at = NOW - timedelta(minutes=minutes_ago)
        self.issued[name] = Record(
            tenant=name,
            client=client,
            attempted_at=at,
            issued=Issued(
                issued_at=at,
                expires_at=at + timedelta(hours=1),
                fingerprint="0",
                scope=None,
                parameter=f"/{name}",
                version=1,
                client_secret_version="v1",
                purpose="",
                document="/d",
            ),
        )

    def read(self, _: str, stage: str) -> ClientCredentials:
        if self.unreadable:
            raise self.unreadable
        if stage not in self.stages:
            raise NO_VERSION
        return credentials(self.stages[stage])

    def fetch_token(self, tenant: Tenant, credentials: ClientCredentials) -> Any:  # noqa: ANN401  none is looked at
        self.asked.append(f"{tenant.name} with {credentials.version}")
        answers = self.answers.get(credentials.version, [None])
        if answer := answers.pop(0) if len(answers) > 1 else answers[0]:
            raise answer

    def promote(self, client: str, pending: str, current: str) -> None:
        if self.promotion:
            raise self.promotion
        self.promoted.append((client, pending, current))

    def record(self, record: ClientRecord) -> None:
        if self.unwritable:
            raise self.unwritable
        self.written += 1
        if record == ClientRecord(client=record.client):
            self.records.pop(record.client)
        else:
            self.records[record.client] = record

    def tell_refused(self, client: str, error: IssuerError) -> bool:
        if self.is_heard:
            self.told.append(f"{client}: {error.reason}")
        return self.is_heard

    def conclude(
        self, facts: Facts | None = None, *, probe: bool = False, force: bool = False
    ) -> list[str]:
        """End the run, and return what is told."""
        notices = [*self.rollover.conclude(facts or self.facts, probe=probe, force=force)]
        self.begin()
        return [
            f"promoted {what.version} for {what.tenant}"
            if isinstance(what, Promoted)
            else f"{what.reason}: {what.detail}"
            for _, what in notices
        ]

    def pending(self, client: str = "default") -> Pending:
        pending = self.records[client].pending
        assert pending
        return pending

    def fallback(self) -> Fallback:
        fallback = self.records["default"].fallback
        assert fallback
        return fallback

    def ask(self, *versions: str, tenant: str | None = "acme") -> ClientSecret:
        """Ask in this run as a tenant that is due: each version in turn is refused but the last."""
        secret = self.rollover.secret("default")
        for version in versions[:-1]:
            chosen = secret.choose()
            assert chosen.version == version
            secret.refuse(chosen, REFUSED)
        assert secret.choose().version == versions[-1]
        secret.worked(tenant)
        return secret


def test_a_promotion_that_is_denied_is_told_and_tried_again() -> None:
    world = World()
    world.promotion = PendingSecretUndecided(
        "Promoting failed: AccessDeniedException", code=Quoted("AccessDeniedException")
    )

    assert world.conclude() == ["PendingSecretUndecided: Promoting failed: AccessDeniedException"]

    assert "UpdateSecretVersionStage" in world.promotion.remedy
    assert world.pending().next_attempt_at is None
    world.promotion = None
    assert world.conclude() == ["promoted v2 for acme"]
    assert world.records == {}


def test_a_defect_hits_its_client_alone_and_shows_nothing() -> None:
    world = World(tenant("acme"), tenant("umbrella", "sales"))
    world.answers["v2"] = [TypeError("the secret is s3cret"), None]

    [first, second] = world.conclude()

    assert first.startswith("Unexpected: TypeError in ")
    assert "s3cret" not in first
    assert second == "promoted v2 for umbrella"


def test_a_defect_in_forgetting_a_client_hits_nobody() -> None:
    world = World()
    world.stages = {"AWSCURRENT": "v1"}
    pending = Pending(version="v2", reason="?", detail=Quoted(""), tried_at=NOW, refusals=0)
    world.records = {
        name: ClientRecord(client=name, pending=pending) for name in ("default", "gone", "also")
    }
    world.unwritable = TypeError("the secret is s3cret")

    assert [one.partition(" in ")[0] for one in world.conclude()] == ["Unexpected: TypeError"] * 3


# Who proves


def test_the_tenant_that_succeeded_last_proves() -> None:
    world = World(tenant("a"), tenant("b"), tenant("c"))
    world.succeeded("a", minutes_ago=20)
    world.succeeded("b", minutes_ago=10)
    world.succeeded("c", minutes_ago=30)

    world.conclude()

    assert world.asked == ["b with v2"]


def test_who_had_a_token_in_this_run_succeeded_last() -> None:
    world = World(tenant("a"), tenant("b"))
    world.succeeded("a", minutes_ago=20)
    world.succeeded("b", minutes_ago=30)
    world.ask("v1", tenant="b")

    world.conclude()

    assert world.asked == ["b with v2"]


def test_a_tenant_of_another_client_or_that_is_disabled_proves_nothing() -> None:
    world = World(
        tenant("a", "sales"), tenant("b", enabled=False), tenant("c"), tenant("d"), tenant("e")
    )
    world.described = {"default": world.stages}
    world.succeeded("a", "sales", minutes_ago=1)
    world.succeeded("b", minutes_ago=1)
    world.succeeded("c", "sales", minutes_ago=1)  # which is another client's by now
    world.succeeded("d", minutes_ago=10)

    world.conclude()

    assert world.asked == ["d with v2"]


def test_where_nobody_has_succeeded_yet_anybody_proves() -> None:
    world = World(tenant("a"), tenant("b"))
    world.answers["v2"] = [EndpointUnavailable("503")]

    for _ in range(3):
        world.conclude()

    assert world.asked == ["a with v2", "b with v2", "a with v2"]


def test_after_an_answer_that_proves_nothing_the_next_of_those_that_succeeded_proves() -> None:
    world = World(tenant("a"), tenant("b"), tenant("c"), tenant("d"))
    for name, minutes in {"a": 30, "c": 10, "d": 20}.items():
        world.succeeded(name, minutes_ago=minutes)
    world.answers["v2"] = [TokenRefused("invalid_tenant")]

    for _ in range(4):
        world.conclude()

    assert world.asked == [f"{name} with v2" for name in ("c", "d", "a", "c")]


def test_nor_is_it_proved_again_for_who_had_a_token_in_this_run() -> None:
    world = World(tenant("a"), tenant("b"))
    world.answers["v2"] = [EndpointUnavailable("503")]

    for _ in range(2):
        world.ask("v1", tenant="a")
        world.conclude()

    assert world.asked == ["a with v2", "b with v2"]


def test_after_a_refusal_the_tenant_that_succeeded_last_proves_again() -> None:
    world = World(tenant("a"), tenant("b"))
    world.succeeded("a", minutes_ago=10)
    world.succeeded("b", minutes_ago=20)
    world.answers["v2"] = [REFUSED]

    for _ in range(2):
        world.conclude(force=True)

    assert world.asked == ["a with v2", "a with v2"]


# When it is tried again


def test_back_off_counts_refusals_only() -> None:
    world = World()
    world.answers["v2"] = [EndpointUnavailable("503"), EndpointUnavailable("503"), REFUSED]

    for _ in range(3):
        world.conclude()

    assert world.pending().refusals == 1
    assert world.pending().next_attempt_at == NOW + timedelta(minutes=2.5)


def test_until_its_time_a_refused_one_is_told_and_not_tried() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.conclude()
    world.now += timedelta(minutes=2.4)

    assert world.conclude() == [
        "PendingSecretRefused: Client default: invalid_client; tried again at 2026-11-25T12:02:30Z"
    ]
    assert (len(world.asked), world.written) == (1, 1)

    world.now += timedelta(minutes=0.2)
    world.conclude()
    assert len(world.asked) == 2
    assert world.pending().refusals == 2


def test_force_tries_it_at_once() -> None:
    world = World()
    world.answers["v2"] = [REFUSED, None]
    world.conclude()

    assert world.conclude(force=True) == ["promoted v2 for acme"]


def test_a_newer_version_has_no_refusals_yet() -> None:
    world = World()
    world.answers |= {"v2": [REFUSED], "v3": [REFUSED]}
    world.conclude()
    world.stages["AWSPENDING"] = "v3"

    world.conclude()

    assert world.asked == ["acme with v2", "acme with v3"]
    assert (world.pending().version, world.pending().refusals) == ("v3", 1)


def test_a_version_that_was_staged_a_moment_ago_is_the_one_that_counts() -> None:
    world = World()
    world.answers |= {"v2": [REFUSED], "v3": [REFUSED, None]}
    world.conclude()
    world.described, world.stages = (
        {"default": dict(world.stages)},
        world.stages | {"AWSPENDING": "v3"},
    )

    world.conclude(force=True)

    assert (world.pending().version, world.pending().refusals) == ("v3", 1)
    world.conclude(force=True)
    assert world.promoted == [("default", "v3", "v1")]


def test_a_refusal_from_the_future_is_no_reason_to_wait() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.now += timedelta(days=1)
    world.conclude()
    world.now = NOW

    world.conclude()

    assert world.asked == ["acme with v2"] * 2


def test_a_record_that_says_nonsense_ends_no_run() -> None:
    world = World()
    nonsense = Pending(version="v2", reason="?", detail=Quoted(""), tried_at=NOW, refusals=-10)
    world.records["default"] = ClientRecord(client="default", pending=nonsense)
    world.answers["v2"] = [REFUSED]

    world.conclude()

    assert world.pending().refusals == 1


# What the tokens of the run say of it


def test_a_pending_version_that_tokens_came_from_is_promoted_without_another_request() -> None:
    world = World()
    world.answers["v2"] = [REFUSED, None]
    world.conclude()
    secret = world.ask("v1", "v2", tenant="acme")
    secret.worked(None)  # another tenant is refused one

    assert world.conclude() == ["promoted v2 for acme"]

    assert world.asked == ["acme with v2"]
    assert world.records == {}


def test_one_that_is_accepted_but_gives_no_token_is_not_proved_by_that() -> None:
    world = World(tenant("acme"), tenant("globex"))
    world.ask("v1", "v2", tenant=None)

    world.conclude()

    assert world.asked == ["acme with v2"]


def test_one_that_is_refused_later_is_not_promoted_nor_asked_with() -> None:
    world = World()
    secret = world.ask("v1", "v2")
    secret.close(REFUSED)

    [notice] = world.conclude()

    assert notice.startswith("PendingSecretUndecided: Nothing more is asked for")
    assert (world.asked, world.promoted) == ([], [])
    assert world.pending().version == "v2"


def test_one_that_was_refused_instead_of_the_current_one_counts_as_refused_once() -> None:
    world = World()
    world.stages["AWSPREVIOUS"] = "v0"
    world.answers["v2"] = [REFUSED]
    world.conclude()
    world.ask("v1", "v2", "v0")

    first, second = world.conclude()

    assert first == "PendingSecretRefused: Client default: invalid_client"
    assert second.startswith("ClientSecretFallback: Client default: invalid_client; since ")
    assert world.asked == ["acme with v2"]
    assert world.pending().refusals == 2


def test_three_refusals_are_enough_for_a_run() -> None:
    world = World()
    world.stages["AWSPREVIOUS"] = "v0"
    secret = world.rollover.secret("default")
    for version, current in (("v1", "v4"), ("v4", "v4"), ("v2", "v4")):
        chosen = secret.choose()
        assert chosen.version == version
        secret.refuse(chosen, REFUSED)
        world.stages["AWSCURRENT"] = current
    with pytest.raises(ClientRefused, match="no other version"):
        secret.choose()

    [notice] = world.conclude()

    assert notice == "PendingSecretRefused: Client default: invalid_client"
    assert world.asked == []


def test_a_pending_version_that_is_gone_meanwhile_is_forgotten() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.conclude()
    world.described = {"default": dict(world.stages)}
    world.stages = {"AWSCURRENT": "v2", "AWSPREVIOUS": "v1"}  # another run has promoted it

    assert world.conclude(force=True) == []

    assert len(world.asked) == 1
    assert world.records == {}


def test_whom_nobody_asked_for_stays_next() -> None:
    world = World(tenant("a"), tenant("b"))
    world.answers["v2"] = [EndpointUnavailable("503")]
    world.conclude()
    world.seconds_left = 20.9
    [notice] = world.conclude()
    assert notice == "PendingSecretUndecided: NoTimeLeft: The run ended before its turn"
    world.seconds_left = 300

    world.conclude()

    assert world.asked == ["a with v2", "b with v2"]


# Where another version serves


def test_a_current_version_that_was_put_meanwhile_and_works_is_no_fallback() -> None:
    world = World()
    del world.stages["AWSPENDING"]
    secret = world.rollover.secret("default")
    secret.refuse(secret.choose(), REFUSED)
    world.stages["AWSCURRENT"] = "v3"
    world.ask("v3")

    assert world.conclude() == []
    assert world.records == {}


def test_since_when_another_version_serves_starts_anew_with_another() -> None:
    world = World()
    world.stages = {"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}
    for minutes, version, since in ((0, "v0", 0), (5, "v0", 0), (10, "v00", 10)):
        world.now = NOW + timedelta(minutes=minutes)
        world.stages["AWSPREVIOUS"] = version
        world.ask("v1", version)
        world.conclude()
        assert world.fallback().since == NOW + timedelta(minutes=since)
        assert (world.fallback().version, world.fallback().current) == (version, "v1")
    assert world.written == 2


def test_a_fallback_is_told_while_nobody_asks_and_where_the_stages_are_unknown() -> None:
    world = World()
    world.stages = {"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}
    world.ask("v1", "v0")
    told = world.conclude()
    world.described = {}

    assert world.conclude() == told
    assert world.conclude(probe=True) == told

    [notice] = told
    assert notice == (
        "ClientSecretFallback: Client default: invalid_client; since 2026-11-25T12:00:00Z"
        " AWSPREVIOUS is used in place of AWSCURRENT"
    )
    assert world.written == 1


def test_a_version_that_serves_and_is_current_by_now_is_no_fallback() -> None:
    world = World()
    world.stages = {"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}
    world.ask("v1", "v0")
    world.conclude()
    world.stages = {"AWSCURRENT": "v0", "AWSPREVIOUS": "v1"}

    assert world.conclude() == []
    assert world.records == {}


def test_a_probe_tells_of_a_fallback_and_keeps_nothing() -> None:
    world = World()
    world.stages["AWSPREVIOUS"] = "v0"
    world.answers["v2"] = [REFUSED]
    world.ask("v1", "v2", "v0")

    [notice] = world.conclude(probe=True)

    assert notice.startswith("ClientSecretFallback")
    assert (world.asked, world.records, world.unstaged) == ([], {}, [])


# Who is told


def test_a_refusal_is_told_again_after_a_day_while_it_lasts() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    for hours in (0, 1, 23.9, 24, 25, 48):
        world.now = NOW + timedelta(hours=hours)
        world.conclude(force=True)

    assert world.told == ["default: PendingSecretRefused"] * 3


def test_what_nobody_heard_is_told_by_the_next_run() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.is_heard = False
    world.conclude()
    assert world.records["default"].told_at == {}
    world.is_heard = True

    world.conclude()
    world.conclude()

    assert world.told == ["default: PendingSecretRefused"]
    assert world.records["default"].told_at == {"PendingSecretRefused": NOW}


def test_what_there_is_no_time_to_record_is_not_told() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.conclude()
    world.now += timedelta(days=2)
    world.seconds_left = 11.9
    world.conclude()
    assert len(world.told) == 1
    world.seconds_left = 12

    world.described = {}
    world.ask("v1", "v2")
    world.conclude()

    assert world.told[1:] == ["default: ClientSecretFallback"]


@pytest.mark.parametrize(
    "why", [REFUSED, ClientSecretInvalid("not JSON")], ids=lambda one: one.reason
)
def test_that_no_version_works_is_told_until_one_does(why: IssuerError) -> None:
    world = World()
    del world.stages["AWSPENDING"]
    told = [f"default: {why.reason}"]
    for _ in range(2):  # in the second of which nobody asks
        world.rollover.secret("default").close(why)
        world.conclude()
        world.conclude()
    assert world.told == told

    world.ask("v1")
    world.conclude()
    assert world.records == {}

    world.rollover.secret("default").close(why)
    world.conclude()
    assert world.told == told * 2
    world.stages["AWSPENDING"] = "v2"
    world.conclude()
    assert world.promoted
    assert world.records == {}


def test_where_nothing_more_is_asked_for_no_refusal_is_told() -> None:
    world = World()
    del world.stages["AWSPENDING"]
    world.rollover.secret("default").close(EndpointBreakerOpen("503"))

    world.conclude()

    assert world.told == []


# What is remembered


def test_a_client_that_has_no_tenants_any_more_is_forgotten() -> None:
    world = World(tenant("acme"), tenant("umbrella", "sales"))
    world.answers["v2"] = [REFUSED]
    world.conclude()
    assert world.records.keys() == {"default", "sales"}
    world.tenants = (tenant("acme"),)

    world.conclude(replace(world.facts, whole=False))  # which says nothing of others
    assert world.records.keys() == {"default", "sales"}

    world.conclude()
    assert world.records.keys() == {"default"}


def test_what_is_known_stays_where_the_stages_are_unknown() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.conclude()
    world.described = {}

    assert world.conclude() == []

    assert world.pending().refusals == 1
    assert world.written == 1


def test_a_ledger_that_takes_nothing_is_told() -> None:
    world = World()
    world.answers["v2"] = [REFUSED]
    world.unwritable = LedgerUnwritable("Writing client#default failed: AccessDeniedException")

    first, second = world.conclude()

    assert first.startswith("PendingSecretRefused")
    assert second == "LedgerUnwritable: Writing client#default failed: AccessDeniedException"


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        pytest.param("AWSCURRENT", [], id="current: of a run that was ended"),
        pytest.param(
            "AWSPREVIOUS",
            ["PendingSecretWithdrawn: v2 of client default's secret has been current before"],
            id="previous",
        ),
    ],
)
def test_a_label_on_what_has_been_current_is_taken_off_and_displaces_nothing(
    stage: str, told: list[str]
) -> None:
    world = World()
    world.stages = {"AWSCURRENT": "v3", "AWSPREVIOUS": "v2"}
    world.stages["AWSPENDING"] = world.stages[stage]

    assert world.conclude() == told

    assert world.asked == []
    assert world.unstaged == [world.stages[stage]]
    world.seconds_left = 6.9
    assert world.conclude() == []
    assert len(world.unstaged) == 1


def test_a_pending_version_that_cannot_be_read_is_undecided() -> None:
    world = World()
    world.unreadable = ClientSecretUnreadable(
        "Reading the secret failed: DecryptionFailure", code=Quoted("DecryptionFailure")
    )

    [(_, what)] = world.rollover.conclude(world.facts, probe=False, force=False)

    assert str(what) == (
        "ClientSecretUnreadable: Reading the secret failed: DecryptionFailure."
        f" {ClientSecretUnreadable.remedies['DecryptionFailure']}"
    )
    assert world.asked == []


def test_a_secret_without_a_current_version_has_no_pending_one() -> None:
    world = World()
    world.stages = {"AWSPENDING": "v2"}

    assert world.conclude() == []

    assert world.asked == []


# The end of the run


@pytest.mark.parametrize(
    ("gone", "read", "asked"),
    [
        pytest.param("before", 0, 0, id="before it is read"),
        pytest.param("read", 2, 0, id="before it is asked with"),
        pytest.param("asked", 2, 1, id="before it is promoted"),
    ],
)
def test_a_step_that_has_no_time_left_is_the_next_runs(gone: str, read: int, asked: int) -> None:
    world, stages_read = World(), []

    def passing(step: str) -> None:
        if step == gone:
            world.seconds_left = {"before": 20.9, "read": 13.9, "asked": 25.9}[step]

    def read_version(client: str, stage: str) -> ClientCredentials:
        passing("read")
        stages_read.append(stage)
        return world.read(client, stage)

    def ask(tenant: Tenant, credentials: ClientCredentials) -> Any:  # noqa: ANN401  none is looked at
        passing("asked")
        return world.fetch_token(tenant, credentials)

    passing("before")
    world.rollover = replace(world.rollover, read=read_version, fetch_token=ask)

    [notice] = world.conclude()
    whose = " for acme" if asked else ""
    assert notice == f"PendingSecretUndecided: NoTimeLeft{whose}: The run ended before its turn"

    assert (len(stages_read), len(world.asked), world.promoted) == (read, asked, [])
    world.seconds_left = 26.0
    assert world.conclude() == ["promoted v2 for acme"]


def test_what_there_is_no_time_to_record_is_told() -> None:
    world = World()
    world.seconds_left = 6.9

    [notice] = world.conclude()

    assert notice.startswith("PendingSecretUndecided")
    assert world.written == 0


def test_the_client_that_was_tried_longest_ago_comes_first() -> None:
    world = World(*(tenant(name, name) for name in "abc"))
    world.answers["v2"] = [EndpointUnavailable("503")]
    for name, minutes in {"a": 5, "b": 20}.items():
        tried = Pending(
            version="v2",
            reason="",
            detail=Quoted(""),
            tried_at=NOW - timedelta(minutes=minutes),
            refusals=0,
        )
        world.records[name] = ClientRecord(client=name, pending=tried)

    world.conclude()

    assert world.asked == ["c with v2", "b with v2", "a with v2"]


# Two runs at once


def test_two_runs_at_once_move_the_stages_once(portal: Portal, run: Run) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)
    current = portal.account.ledger.read().records["acme"].issued
    assert current
    move = partial(promote, portal.account.secretsmanager, "visma/clients")

    for _ in range(2):
        move("default", version, current.client_secret_version)

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}


def test_a_current_version_that_somebody_puts_meanwhile_is_not_displaced(
    portal: Portal, run: Run
) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)
    portal.stage(NEWER, "AWSCURRENT")
    issued = portal.account.ledger.read().records["acme"].issued
    assert issued

    with pytest.raises(PendingSecretUndecided, match="InvalidParameterException"):
        promote(
            portal.account.secretsmanager,
            "visma/clients",
            "default",
            version,
            issued.client_secret_version,
        )

    assert portal.secrets["AWSCURRENT"] == NEWER


def test_a_run_whose_promotion_comes_second_goes_on(
    portal: Portal, run: Run, log: Log, visma_connect: VismaConnect, event: Event
) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)
    current = portal.account.ledger.read().records["acme"].issued
    assert current
    secret = current.client_secret_version

    class Late(set[str]):
        def __contains__(self, tenant: object) -> bool:  # while the proof is under way
            if len(visma_connect.received) == 5:
                promote(portal.account.secretsmanager, "visma/clients", "default", version, secret)
            return super().__contains__(tenant)

    portal.app.tenants = Late(portal.app.tenants)

    assert counts(run(event("force"))) == {"issued": 2}

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, NEW]
    assert noticed(log) == []
