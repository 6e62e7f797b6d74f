"""A client secret from version to version, with the version stages of moto's Secrets Manager."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from local.authorization_server import Client, Fault, VismaConnect
from tests.conftest import Event, counts
from tests.issuer.conftest import CLIENT_SECRET, Account, Log, Run, make_settings, tenant_id
from token_issuer.credentials import ClientCredentials, promote
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    EndpointUnavailable,
    LedgerUnwritable,
    PendingSecretUndecided,
)
from token_issuer.ledger import ClientRecord, Memory, Pending
from token_issuer.renewal import Facts
from token_issuer.rollover import ClientSecret, Promoted, Rollover
from token_issuer.tenants import Configuration, Tenant

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


def test_after_a_promotion_tokens_come_from_it_at_once(
    portal: Portal, run: Run, event: Event
) -> None:
    run()
    portal.make(NEW)
    version = portal.stage(NEW)

    assert counts(run(event("force"))) == {"issued": 2}

    assert portal.asked[2:] == [NEW, NEW, NEW]
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
    assert portal.asked[2:] == [WRONG, CLIENT_SECRET, CLIENT_SECRET]
    assert noticed(log) == [("default", "PendingSecretRefused")]
    assert metrics(capsys.readouterr().out) == {"PendingSecretRefused": [1.0]}
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
    run()
    assert noticed(log) == [("default", "ClientSecretFallback")] * 3


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

    assert portal.asked[3:] == [CLIENT_SECRET, NEW, NEW]
    assert noticed(log)[-1] == ("default", "ClientSecretFallback")
    run()  # and is proved at once
    assert portal.secrets["AWSCURRENT"] == NEW
    assert portal.record is None


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
    assert portal.asked[asked:] == [WRONG, NEW, CLIENT_SECRET]
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
    limit = 20

    class Ending(set[str]):
        def __contains__(self, secret: object) -> bool:
            return len(visma_connect.received) <= limit and super().__contains__(secret)

    portal.app.client_secrets = Ending(portal.app.client_secrets)

    report = run()

    assert limit - 8 < report["issued"] <= limit
    assert report["failed"] == 62 - report["issued"]
    assert len(portal.asked) <= report["issued"] + 8  # those that were under way


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


# One client's secret


def credentials(version: str, client_id: str = "id") -> ClientCredentials:
    return ClientCredentials(
        client_id=client_id,
        client_secret=version,
        auth_method="client_secret_post",
        version=version,
    )


NO_VERSION = ClientSecretUnreadable("no such stage", code="ResourceNotFoundException")

type Version = ClientCredentials | ClientSecretInvalid | ClientSecretUnreadable


def reader(**stages: list[Version]) -> Callable[[str, str], ClientCredentials]:
    """Return a reader of versions by stage; one that is read again may be another one."""

    def read(client: str, stage: str) -> ClientCredentials:
        assert client == "default"
        versions = stages.get(stage, [NO_VERSION])
        found = versions.pop(0) if len(versions) > 1 else versions[0]
        if isinstance(found, ClientCredentials):
            return found
        raise found

    return read


REFUSED = ClientRefused("Client default: invalid_client")


def way(secret: ClientSecret) -> list[str]:
    """Refuse each version, and return them."""
    versions = []
    with suppress(ClientRefused, ClientSecretInvalid):
        while True:
            in_use = secret.in_use()
            versions.append(in_use.version)
            secret.refuse(in_use, REFUSED)
    return versions


def test_the_way_back_is_current_again_pending_previous() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[credentials("v3")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v2", "v3", "v1"]


def test_a_current_version_that_has_changed_meanwhile_is_asked_with() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2"), credentials("v4")],
        AWSPENDING=[credentials("v3")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v2", "v4", "v3"]  # three in all


def test_a_proof_that_was_refused_counts_and_is_not_repeated() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[credentials("v3")],
        AWSPREVIOUS=[credentials("v1")],
    )
    secret = ClientSecret("default", read)
    secret.refuse(secret.read_pending(), REFUSED)

    assert way(secret) == ["v2", "v1"]
    assert secret.tries_left == 0


def test_versions_that_cannot_be_used_are_passed_over() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[ClientSecretInvalid("not JSON")],
        AWSPREVIOUS=[ClientSecretUnreadable("throttled")],
    )

    assert way(ClientSecret("default", read)) == ["v2"]


def test_a_current_version_that_cannot_be_read_is_no_refusal() -> None:
    read = reader(AWSCURRENT=[ClientSecretUnreadable("denied")], AWSPREVIOUS=[credentials("v1")])

    with pytest.raises(ClientSecretUnreadable, match="denied"):
        ClientSecret("default", read).in_use()


def test_where_the_current_version_is_malformed_the_previous_one_says_whose_it_is() -> None:
    read = reader(
        AWSCURRENT=[ClientSecretInvalid("not JSON")],
        AWSPENDING=[credentials("v3", "other")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v1"]


def test_whose_a_pending_version_is_must_be_known() -> None:
    read = reader(
        AWSCURRENT=[ClientSecretInvalid("not JSON")],
        AWSPENDING=[credentials("v3", "other")],
        AWSPREVIOUS=[ClientSecretUnreadable("throttled", code="ThrottlingException")],
    )

    with pytest.raises(ClientSecretUnreadable, match="throttled"):
        ClientSecret("default", read).read_pending()
    assert way(ClientSecret("default", read)) == []


def test_where_no_version_says_whose_it_is_a_pending_one_does() -> None:
    read = reader(AWSCURRENT=[ClientSecretInvalid("not JSON")], AWSPENDING=[credentials("v3")])

    assert ClientSecret("default", read).read_pending().version == "v3"
    assert way(ClientSecret("default", read)) == ["v3"]


def test_a_malformed_current_version_without_another_is_the_failure() -> None:
    secret = ClientSecret("default", reader(AWSCURRENT=[ClientSecretInvalid("not JSON")]))

    with pytest.raises(ClientSecretInvalid, match="not JSON"):
        secret.in_use()


def test_a_promoted_version_that_is_refused_gives_way_and_nobody_follows_yet() -> None:
    secret = ClientSecret(
        "default",
        reader(AWSCURRENT=[credentials("v2")], AWSPREVIOUS=[credentials("v1")]),
    )
    proved = credentials("v2")
    secret.use(proved)

    secret.refuse(proved, REFUSED)

    assert not secret.works
    assert secret.in_use().version == "v1"
    assert secret.stage == "AWSPREVIOUS"


def test_a_defect_in_reading_shows_nothing() -> None:
    def read(_client: str, _stage: str) -> ClientCredentials:
        raise TypeError(NEW)

    with pytest.raises(ClientSecretUnreadable, match="failed: TypeError in") as raised:
        ClientSecret("default", read).in_use()

    assert NEW not in str(raised.value)


# All secrets of one run


class World:
    """A secret with a pending version, and what is done about it."""

    def __init__(self, stages: dict[str, str] | None = None) -> None:
        self.stages = stages or {"AWSCURRENT": "v1", "AWSPENDING": "v2"}
        self.asked: list[str] = []
        self.answer: Exception | None = None
        self.promotion: Exception | None = None
        self.unstaged: list[str] = []
        self.records: list[ClientRecord] = []
        self.unwritable: Exception | None = None
        self.unreadable: Exception | None = None
        self.has_time = True
        tenant = Tenant(
            name="acme", tenant_id=None, scope="", client="default", enabled=True, document="/d"
        )
        self.facts = Facts(
            memory=Memory(records={}, documents={}, checked=""),
            configuration=Configuration(
                path="/",
                tenants={"acme": tenant},
                invalid={},
                good_texts={},
                parameters=frozenset(),
            ),
            tenants=[tenant],
            whole=True,
            failures={},
            compared=frozenset(),
            lost=frozenset(),
            checked="",
            stages={"default": self.stages},
            secret_versions={},
        )
        self.rollover = Rollover(
            read=self.read,
            fetch_token=self.fetch_token,
            promote=self.promote,
            unstage=self.unstage,
            record=self.record,
            has_time=lambda: self.has_time,
            now=lambda: NOW,
            settings=make_settings(),
        )

    def read(self, _: str, stage: str) -> ClientCredentials:
        if self.unreadable:
            raise self.unreadable
        return credentials(self.stages[stage])

    def fetch_token(self, tenant: Tenant, credentials: ClientCredentials) -> Any:  # noqa: ANN401  none is looked at
        self.asked.append(f"{tenant.name} with {credentials.version}")
        if self.answer:
            raise self.answer

    def promote(self, client: str, pending: str, current: str) -> None:
        assert (client, pending, current) == ("default", "v2", "v1")
        if self.promotion:
            raise self.promotion

    def unstage(self, _: str, version: str) -> None:
        self.unstaged.append(version)

    def record(self, record: ClientRecord) -> None:
        if self.unwritable:
            raise self.unwritable
        self.records.append(record)

    def again(self) -> "World":
        """Return the next run."""
        following = World(self.stages)
        following.facts = self.facts
        return following

    def prove(self) -> list[Promoted | str]:
        notices = self.rollover.prove(self.facts)
        return [what if isinstance(what, Promoted) else str(what) for _, what in notices]


def test_what_is_promoted_is_asked_with() -> None:
    world = World()

    assert world.prove() == [Promoted(version="v2", tenant="acme")]

    assert world.rollover.secret("default").in_use().version == "v2"
    assert world.asked == ["acme with v2"]


def test_a_promotion_that_is_denied_is_told_and_the_current_one_serves() -> None:
    world = World()
    world.promotion = PendingSecretUndecided(
        "Promoting failed: AccessDeniedException", code="AccessDeniedException"
    )

    [notice] = world.prove()

    assert "UpdateSecretVersionStage" in str(notice)
    assert world.rollover.secret("default").in_use().version == "v1"
    assert world.records[-1].pending


def test_a_defect_in_a_proof_ends_no_run_and_shows_nothing() -> None:
    world = World()
    world.answer = TypeError("the secret is s3cret")

    [notice] = world.prove()

    assert "For acme: TypeError in" in str(notice)
    assert "s3cret" not in str(notice)


def test_back_off_counts_refusals_only() -> None:
    world = World()
    for answer in (EndpointUnavailable("503"), EndpointUnavailable("503"), REFUSED):
        world.answer = answer
        world.prove()
        world.facts.memory.clients.update({one.client: one for one in world.records})
        world = world.again()

    pending = world.facts.memory.clients["default"].pending
    assert pending
    assert pending.next_attempt_at == NOW + timedelta(minutes=2.5)


@pytest.mark.parametrize("stage", ["AWSCURRENT", "AWSPREVIOUS"])
def test_a_label_that_was_left_is_taken_off_and_displaces_nothing(stage: str) -> None:
    world = World({"AWSCURRENT": "v3", "AWSPREVIOUS": "v2"})
    world.stages["AWSPENDING"] = world.stages[stage]

    assert world.prove() == []

    assert world.asked == []
    assert world.unstaged == [world.stages[stage]]


def test_a_record_that_says_nonsense_ends_no_run() -> None:
    world = World()
    nonsense = Pending(version="v2", reason="?", detail="", tried_at=NOW, refusals=-10)
    world.facts.memory.clients["default"] = ClientRecord(client="default", pending=nonsense)
    world.answer = REFUSED

    [notice] = world.prove()

    assert "invalid_client" in str(notice)


def test_a_refusal_from_the_future_is_no_reason_to_wait() -> None:
    world = World()
    failed = Pending(
        version="v2",
        reason="PendingSecretRefused",
        detail="",
        tried_at=NOW + timedelta(days=1),
        next_attempt_at=NOW + timedelta(days=1, minutes=5),
        refusals=1,
    )
    world.facts.memory.clients["default"] = ClientRecord(client="default", pending=failed)

    world.prove()

    assert world.asked == ["acme with v2"]


def test_without_time_nothing_is_proved() -> None:
    world = World()

    world.has_time = False

    assert world.prove() == []

    assert world.asked == []
    assert list(world.rollover.settle(world.facts)) == []


def test_a_ledger_that_takes_nothing_is_told() -> None:
    world = World()
    world.answer = REFUSED
    world.unwritable = LedgerUnwritable("Writing client#default failed: AccessDeniedException")

    notices = world.prove()

    assert "Writing client#default failed" in str(notices[0])
    assert "invalid_client" in str(notices[1])


def test_a_pending_version_that_cannot_be_read_is_undecided() -> None:
    world = World()
    world.unreadable = ClientSecretUnreadable(
        "Reading the secret failed: DecryptionFailure", code="DecryptionFailure"
    )

    [notice] = world.prove()

    assert str(notice) == (
        "ClientSecretUnreadable for acme: Reading the secret failed: DecryptionFailure."
        f" {ClientSecretUnreadable.remedies['DecryptionFailure']}"
    )


def test_a_secret_without_a_current_version_has_no_pending_one() -> None:
    world = World({"AWSPENDING": "v2"})

    assert world.prove() == []

    assert world.asked == []


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
            if len(visma_connect.received) == 3:
                promote(portal.account.secretsmanager, "visma/clients", "default", version, secret)
            return super().__contains__(tenant)

    portal.app.tenants = Late(portal.app.tenants)

    assert counts(run(event("force"))) == {"issued": 2}

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.asked[2:] == [NEW] * 3
    assert noticed(log) == []
