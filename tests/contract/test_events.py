"""Events on the default bus, as a rule that matches their source receives them."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.stub import Stubber

from local.authorization_server import Client, VismaConnect
from tests.conftest import PROJECT, Event, counts
from tests.helpers.account import Account, Log, Run, tenant_id
from tests.helpers.event_bus import EventBus
from token_issuer.errors import EventUndelivered
from token_issuer.handler import events_client
from token_issuer.limits.deadline import TELL
from token_issuer.reporting import events
from token_issuer.reporting.events import SOURCE, Events

NEW = "new-7zR2pXw9Lm4Tb8YcH6vKq"
REMOVED = events.removed("acme", "disabled")
SAMPLES = sorted((PROJECT / "events/put").glob("*.json"))

type Received = Callable[[], list[tuple[str, dict[str, Any]]]]


@pytest.fixture
def received(account: Account) -> Received:
    """Return a reader of kind and detail of the events that came since it was last called."""
    assert account
    sqs, bus = boto3.client("sqs"), boto3.client("events")
    url = sqs.create_queue(QueueName="events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    bus.put_rule(Name="all", EventPattern=json.dumps({"source": [SOURCE]}))
    bus.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn["QueueArn"]}])

    def receive() -> list[tuple[str, dict[str, Any]]]:
        found = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                event = json.loads(message["Body"])
                assert event["source"] == SOURCE
                assert event["detail"].pop("stack") == "issuer"
                found.append((event["detail-type"], event["detail"]))
        return found

    return receive


def test_a_tenant_fails_and_recovers(account: Account, run: Run, received: Received) -> None:
    account.configure("acme")
    account.revoke("acme")
    run()
    run({"force": True})

    [(kind, detail)] = received()
    assert kind == "Token Issuance Failing"
    assert (detail["tenant"], detail["client"]) == ("acme", "default")
    assert (detail["reason"], detail["code"]) == ("TokenRefused", "invalid_tenant")
    assert detail["token_expires_at"] is None
    assert "grant the application" in detail["remedy"]

    account.app.tenants.add(tenant_id("acme"))
    run({"force": True})
    run({"force": True})

    [(kind, detail)] = received()
    assert kind == "Token Issuance Recovered"
    assert (detail["tenant"], detail["client"]) == ("acme", "default")


def test_a_token_for_another_company_is_told(
    account: Account, run: Run, received: Received
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))

    run()

    kinds = dict(received())
    assert kinds.keys() == {"Token Issuance Failing", "Tenant Reassigned"}
    detail = kinds["Tenant Reassigned"]
    assert (detail["tenant"], detail["client"]) == ("acme", "default")
    assert tenant_id("acme") in detail["detail"]
    assert tenant_id("other") in detail["detail"]
    assert "CloudTrail" in detail["remedy"]


def put_secret(account: Account, secret: str, stage: str) -> None:
    document = {"client_id": "default-id", "client_secret": secret}
    account.secretsmanager.put_secret_value(
        SecretId="visma/clients/default", SecretString=json.dumps(document), VersionStages=[stage]
    )


@pytest.fixture
def app(account: Account, visma_connect: VismaConnect) -> Client:
    account.configure("acme")
    return visma_connect.clients["default-id"]


def test_a_refused_client_secret_is_told_once_and_when_it_is_refused_again(
    account: Account, app: Client, run: Run, received: Received
) -> None:
    run()
    put_secret(account, NEW, "AWSCURRENT")

    for _ in range(2):
        assert counts(run({"force": True})) == {"issued": 1}
    [(kind, detail)] = received()
    assert (kind, detail["reason"]) == ("Client Secret Refused", "ClientSecretFallback")

    app.client_secrets.clear()
    for event in ({"force": True}, {}, {"force": True}):
        run(event)
    [(kind, detail)] = received()
    assert (kind, detail["reason"]) == ("Client Secret Refused", "ClientRefused")

    app.client_secrets |= {NEW}
    run({"force": True})
    assert received() == []
    app.client_secrets.clear()
    run({"force": True})
    assert [detail["reason"] for _, detail in received()] == ["ClientRefused"]


@pytest.mark.parametrize("name", ["dry_run", "probe"])
def test_a_dry_run_and_a_probe_tell_nothing(
    name: str, app: Client, run: Run, event: Event, received: Received
) -> None:
    app.tenants.clear()

    run(event(name))

    assert received() == []


REFUSED = {"FailedEntryCount": 2, "Entries": [{"ErrorCode": "InternalFailure"}] * 2}


@pytest.mark.parametrize("is_call", [True, False], ids=["the call", "its entries"])
def test_without_events_a_run_goes_on_and_says_so(
    account: Account, app: Client, run: Run, log: Log, *, is_call: bool
) -> None:
    account.configure("globex", "hooli")
    app.tenants.difference_update({tenant_id("acme"), tenant_id("hooli")})

    with Stubber(events_client()) as stubber:
        if is_call:
            stubber.add_client_error("put_events", "AccessDeniedException")
        else:
            stubber.add_response("put_events", REFUSED)
        assert counts(run()) == {"issued": 1, "failed": 2}
        stubber.assert_no_pending_responses()

    [line] = [line for line in log() if line["message"] == "Events undelivered"]
    assert (line["level"], line["warning"], line["events"]) == ("WARNING", "EventUndelivered", 2)
    code = "AccessDeniedException" if is_call else "InternalFailure"
    assert line["detail"] == f"Putting Token Issuance Failing failed: {code}"
    assert ("events:PutEvents" in line["remedy"]) is is_call


def test_a_call_of_the_bus_takes_no_longer_than_the_deadline_reckons_with() -> None:
    config: Any = events_client().meta.config

    attempts = config.retries["total_max_attempts"]
    assert attempts == 2
    seconds = attempts * (config.connect_timeout + config.read_timeout) + (attempts - 1)
    assert seconds <= TELL  # a second between two attempts at most


def test_a_bus_that_is_not_reached_takes_no_event(environment: dict[str, str]) -> None:
    nowhere = boto3.client(
        "events",
        region_name=environment["AWS_DEFAULT_REGION"],
        endpoint_url="http://127.0.0.1:9",
        config=Config(
            signature_version=UNSIGNED, connect_timeout=1, retries={"total_max_attempts": 1}
        ),
    )

    [failure] = Events(lambda: nowhere, "issuer").put([REMOVED])

    assert str(failure).startswith("Putting Token Removed failed: EndpointConnectionError")


@pytest.mark.parametrize(
    ("entries", "detail"),
    [
        pytest.param([], {}, id="no answer"),
        pytest.param([{}, {}], {}, id="two answers"),
        pytest.param(None, {}, id="no list"),
        pytest.param([{}], {"at": object()}, id="a detail that is no JSON"),
    ],
)
def test_a_defect_of_the_bus_or_of_an_event_is_an_event_that_is_not_delivered(
    entries: object, detail: dict[str, object]
) -> None:
    client: Any = SimpleNamespace(put_events=lambda **_: {"Entries": entries})

    [failure] = Events(lambda: client, "issuer").put([replace(REMOVED, detail=detail)])

    assert isinstance(failure, EventUndelivered)
    assert re.match(r"Putting Token Removed failed: \w+Error in events.py", failure.detail)


def test_the_client_is_made_once_and_only_for_an_event() -> None:
    made: list[EventBus] = []

    def make() -> Any:  # noqa: ANN401  a part of boto3's
        made.append(EventBus())
        return made[-1]

    events = Events(make, "issuer")
    assert made == []

    assert events.put([REMOVED]) == events.put([REMOVED]) == [None]

    assert [bus.tried for bus in made] == [[1, 1]]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_the_samples_are_of_what_is_put(
    sample: Path, account: Account, app: Client, run: Run, received: Received
) -> None:
    """Make each kind of event once, and compare its members and their types."""
    account.configure("globex")
    run()
    app.tenants.discard(tenant_id("acme"))
    run({"force": True})
    app.tenants.add(tenant_id("acme"))
    put_secret(account, NEW, "AWSPENDING")
    run({"force": True})
    app.client_secrets.add(NEW)
    account.configure("globex", enabled=False)
    app.tenants.add(tenant_id("another"))
    account.configure("acme", tenant_id=tenant_id("another"))
    run({"force": True})
    kinds = dict(received())

    content = json.loads(sample.read_text())

    assert sample.stem == content["detail-type"].lower().replace(" ", "-")
    assert len(SAMPLES) == len(kinds) == 6
    shown = {name: type(value) for name, value in content["detail"].items() if name != "stack"}
    put = kinds[content["detail-type"]]
    assert shown == {name: type(value) for name, value in put.items()}
    assert (content["source"], content["detail"]["stack"]) == (SOURCE, "token-issuer")
