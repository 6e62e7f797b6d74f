"""A client secret from version to version, with the version stages of moto's Secrets Manager."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local.authorization_server import Client, Fault, VismaConnect
from tests.conftest import Event, counts
from tests.helpers.account import CLIENT_SECRET, Account, Log, Run, names, tenant_id
from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.ledger.records import ClientRecord

NEW, WRONG = (f"{name}-7zR2pXw9Lm4Tb8YcH6vKq" for name in ("new", "wrong"))
SECRETS = (CLIENT_SECRET, NEW, WRONG)
FORCE = {"force": True}


@dataclass
class Portal:
    """A client's secret as its operator handles it: in the developer portal, and here."""

    account: Account
    app: Client

    def make(self, secret: str) -> None:
        self.app.client_secrets.add(secret)

    def delete(self, *secrets: str) -> None:
        self.app.client_secrets.difference_update(secrets)

    def make_and_stage(self, secret: str) -> str:
        self.make(secret)
        return self.stage(secret)

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
    def visma_connect(self) -> VismaConnect:
        return self.account.visma_connect

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
        return [one.form["client_secret"] for one in self.visma_connect.received]


@pytest.fixture
def portal(
    account: Account,
    log_stream: io.StringIO,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Portal]:
    """Give the client of acme and globex; nothing may show a secret of it."""
    account.configure("acme", "globex")
    yield Portal(account, account.app)
    items = account.dynamodb.scan(TableName="ledger")["Items"]
    said = log_stream.getvalue() + capsys.readouterr().out + str(items)
    assert not [secret for secret in SECRETS if secret in said]


def noticed(log: Log) -> list[tuple[str, str]]:
    """Return client and warning of each notice."""
    lines = [line for line in log() if line["message"] == "Client secret noticed"]
    assert all(line["level"] == "WARNING" and line["remedy"] for line in lines)
    return [(line["client"], line["warning"]) for line in lines]


def metrics(measured: Log) -> dict[str, Any]:
    [whole] = [line for line in measured() if "RunSeconds" in line]
    return {name: value for name, value in whole.items() if "Secret" in name or "Client" in name}


# Staging


@pytest.mark.parametrize(("event", "fresh"), [({}, 2), ({"tenants": ["acme"]}, 1)])
def test_a_pending_secret_that_works_is_current_after_one_run(
    event: object, fresh: int, portal: Portal, run: Run, log: Log
) -> None:
    run()
    version = portal.make_and_stage(NEW)

    assert counts(run(event)) == {"fresh": fresh}

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.asked == [CLIENT_SECRET, CLIENT_SECRET, NEW]
    [line] = [line for line in log() if line["message"] == "Client secret promoted"]
    assert (line["client"], line["secret_version"]) == ("default", version)
    assert noticed(log) == []
    assert portal.record is None


def test_tokens_come_before_the_proof_and_from_what_was_proved_after_it(
    portal: Portal, run: Run
) -> None:
    run()
    version = portal.make_and_stage(NEW)

    assert counts(run(FORCE)) == {"issued": 2}
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, NEW]

    assert counts(run(FORCE)) == {"issued": 2}
    assert portal.asked[5:] == [NEW, NEW]
    records = portal.account.ledger.read().records.values()
    assert {one.issued and one.issued.client_secret_version for one in records} == {version}


def test_a_wrong_pending_secret_is_reported_and_hits_nobody(
    portal: Portal, run: Run, log: Log, measured: Log
) -> None:
    run()
    measured()
    version = portal.stage(WRONG)

    report = run(FORCE)

    assert counts(report) == {"issued": 2}
    assert report["failures"] == []
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, WRONG]
    assert noticed(log) == [("default", "PendingSecretRefused")]
    assert metrics(measured) == {
        "PendingSecretRefused": [1.0],
        "ClientSecretFallback": [0.0],
    }
    assert portal.record
    assert portal.record.pending
    assert portal.record.pending.version == version
    assert portal.record.pending.reason == "PendingSecretRefused"
    assert portal.secrets["AWSPENDING"] == WRONG


@pytest.mark.parametrize("name", ["dry_run", "probe"])
def test_a_dry_run_and_a_probe_prove_nothing(
    name: str, portal: Portal, run: Run, event: Event
) -> None:
    run()
    portal.make_and_stage(NEW)

    run(event(name))

    assert NEW not in portal.asked
    assert portal.secrets["AWSPENDING"] == NEW


# The way back


def test_where_the_current_one_is_refused_the_previous_one_serves_and_is_reported_meanwhile(
    portal: Portal, run: Run, log: Log, measured: Log
) -> None:
    run()
    measured()
    portal.stage(WRONG, "AWSCURRENT")

    report = run(FORCE)

    assert counts(report) == {"issued": 2}
    assert report["failures"] == []
    assert portal.asked[2:] == [WRONG, CLIENT_SECRET, CLIENT_SECRET]
    assert noticed(log) == [("default", "ClientSecretFallback")]
    assert metrics(measured) == {"ClientSecretFallback": [1.0]}
    assert portal.record
    assert portal.record.fallback
    assert portal.record.fallback.stage == "AWSPREVIOUS"
    assert portal.secrets["AWSCURRENT"] == WRONG
    since = portal.record.fallback.since

    run()  # asks for nothing

    assert noticed(log) == [("default", "ClientSecretFallback")] * 2
    assert metrics(measured) == {"ClientSecretFallback": [1.0]}
    run(FORCE)
    assert portal.record.fallback
    assert portal.record.fallback.since == since
    portal.make(WRONG)
    run(FORCE)
    assert portal.record is None
    assert noticed(log) == [("default", "ClientSecretFallback")] * 3
    measured()
    run()
    assert noticed(log) == [("default", "ClientSecretFallback")] * 3
    assert metrics(measured) == {"ClientSecretFallback": [0.0]}


def test_a_pending_one_that_is_left_alone_serves_where_the_current_one_is_dead(
    portal: Portal, run: Run, log: Log
) -> None:
    run()
    portal.stage(NEW)
    run()  # it does not act yet
    portal.make(NEW)
    portal.delete(CLIENT_SECRET)

    assert counts(run(FORCE)) == {"issued": 2}

    assert portal.asked[3:] == [CLIENT_SECRET, NEW, NEW]  # which proves it
    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.record is None
    assert noticed(log) == [("default", "PendingSecretRefused")]


def test_a_probe_goes_the_way_back_and_records_nothing(portal: Portal, run: Run, log: Log) -> None:
    run()
    portal.stage(WRONG, "AWSCURRENT")

    report = run({"probe": "acme"})

    assert report["failures"] == []
    assert portal.asked[2:] == [WRONG, CLIENT_SECRET]
    assert noticed(log) == [("default", "ClientSecretFallback")]
    assert portal.record is None


def test_the_way_back_is_taken_after_tenants_without_an_answer(portal: Portal, run: Run) -> None:
    portal.account.configure("hooli", "initech", "umbrella")
    for name in ("acme", "globex", "hooli", "initech"):
        portal.visma_connect.faults[tenant_id(name)] = Fault(status=503)
    portal.stage(WRONG, "AWSCURRENT")

    assert counts(run()) == {"issued": 1, "failed": 4}


def test_where_no_more_is_asked_for_nothing_is_proved(portal: Portal, run: Run, log: Log) -> None:
    portal.account.configure(*names(5))
    portal.make_and_stage(NEW)
    portal.visma_connect.faults[None] = Fault(status=503)

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

    report = run(FORCE)

    assert counts(report) == {"failed": 200}
    assert portal.asked[asked:] == [NEW, WRONG, CLIENT_SECRET]
    assert noticed(log) == [("default", "PendingSecretRefused")]
    assert portal.account.tokens() == tokens
    [reason] = {one["reason"] for one in report["failures"]}
    [detail] = {one["detail"] for one in report["failures"]}
    assert reason == "ClientRefused"
    assert detail.endswith("no other version of its secret works")


def test_a_malformed_current_version_counts_as_refused_without_a_request(
    portal: Portal, run: Run, log: Log
) -> None:
    run()
    portal.put("not JSON", "AWSCURRENT")

    assert counts(run(FORCE)) == {"issued": 2}

    assert portal.asked == [CLIENT_SECRET] * 4
    assert noticed(log) == [("default", "ClientSecretFallback")]


def test_a_malformed_current_version_is_mended_by_a_pending_one_of_the_same_client(
    portal: Portal, run: Run
) -> None:
    run()
    portal.put("not JSON", "AWSCURRENT")
    portal.make_and_stage(NEW)

    run()

    assert NEW in portal.stages["AWSCURRENT"]
    assert portal.stages["AWSPREVIOUS"] == "not JSON"
    assert portal.asked[2:] == [NEW]


def test_versions_of_another_client_are_skipped_on_the_way_back(portal: Portal, run: Run) -> None:
    portal.visma_connect.add_client("other-id", NEW).tenants.update(portal.app.tenants)
    portal.stage(NEW, "AWSCURRENT", client_id="other-id")
    run()
    portal.stage(WRONG, "AWSCURRENT")

    report = run(FORCE)

    assert counts(report) == {"failed": 2}
    assert portal.asked[2:] == [WRONG]


def test_a_refusal_that_comes_later_in_the_run_stops_the_client(portal: Portal, run: Run) -> None:
    portal.account.configure(*names(60))
    portal.visma_connect.faults[None] = Fault(seconds=0.05)
    portal.stage(CLIENT_SECRET, "AWSCURRENT")
    portal.stage(NEW)
    limit = 20

    class Ending(set[str]):
        def __contains__(self, secret: object) -> bool:
            return len(portal.visma_connect.received) <= limit and super().__contains__(secret)

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


# Two runs at once


def test_a_run_whose_promotion_comes_second_goes_on(portal: Portal, run: Run, log: Log) -> None:
    run()
    version = portal.make_and_stage(NEW)
    current = portal.account.ledger.read().records["acme"].issued
    assert current
    secret = current.client_secret_version
    secrets = ClientSecrets(portal.account.secretsmanager, "visma/clients")

    class Late(set[str]):
        def __contains__(self, tenant: object) -> bool:  # while the proof is under way
            if len(portal.visma_connect.received) == 5:
                secrets.promote("default", version, secret)
            return super().__contains__(tenant)

    portal.app.tenants = Late(portal.app.tenants)

    assert counts(run(FORCE)) == {"issued": 2}

    assert portal.secrets == {"AWSCURRENT": NEW, "AWSPREVIOUS": CLIENT_SECRET}
    assert portal.asked[2:] == [CLIENT_SECRET, CLIENT_SECRET, NEW]
    assert noticed(log) == []
