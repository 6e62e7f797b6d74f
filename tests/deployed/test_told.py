"""Events on the default bus and alarms on the stack's topic, as a queue hears them."""

import json
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from local.authorization_server import SCOPES
from local.aws import Account
from local.demo import CLIENT_ID, Local
from tests.conftest import Event
from tests.deployed.conftest import Invoke, configure
from token_issuer.reporting.events import SOURCE
from token_issuer.reporting.telemetry import NAMESPACE

TENANT = "cyberdyne"  # a name that no other test has had a token for
TENANT_ID = str(uuid4())

type Received = Callable[[], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def queue(local: Local) -> tuple[str, str]:
    """Return URL and ARN of a queue that may be sent to."""
    sqs = local.account.sqs
    url = sqs.create_queue(QueueName="heard")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    arn = attributes["QueueArn"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    return url, arn


@pytest.fixture
def received(local: Local, queue: tuple[str, str]) -> Received:
    def receive() -> list[dict[str, Any]]:
        url, found = queue[0], []
        sqs = local.account.sqs
        while messages := sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=2
        ).get("Messages"):
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(json.loads(message["Body"]))
        return found

    return receive


def test_a_rule_hears_of_a_tenant_that_fails_recovers_and_goes(
    local: Local, invoke: Invoke, event: Event, queue: tuple[str, str], received: Received
) -> None:
    account = local.account

    def turn(*, enabled: bool) -> None:
        document = {"tenant_id": TENANT_ID, "scope": SCOPES[0], "enabled": enabled}
        configure(account, TENANT, json.dumps(document))

    account.events.put_rule(Name="heard", EventPattern=json.dumps({"source": [SOURCE]}))
    account.events.put_targets(Rule="heard", Targets=[{"Id": "queue", "Arn": queue[1]}])

    turn(enabled=True)
    invoke(event("all"))
    local.visma_connect.clients[CLIENT_ID].tenants.add(TENANT_ID)
    invoke(event("force"))
    turn(enabled=False)
    invoke(event("all"))

    account.ssm.delete_parameters(Names=[f"/visma/tenants/{TENANT}"])
    kinds = [(one["source"], one["detail-type"], one["detail"]["tenant"]) for one in received()]
    assert kinds == [
        (SOURCE, "Token Issuance Failing", TENANT),
        (SOURCE, "Token Issuance Recovered", TENANT),
        (SOURCE, "Token Removed", TENANT),
    ]


def test_an_alarm_is_heard_on_the_topic_and_says_what_to_do(
    account: Account, local: Local, queue: tuple[str, str], received: Received
) -> None:
    topic = local.stack.outputs["AlarmTopicArn"]
    account.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue[1])
    name = f"{local.stack.name}: client secret fallback"

    account.cloudwatch.put_metric_data(
        Namespace=NAMESPACE,
        MetricData=[
            {
                "MetricName": "ClientSecretFallback",
                "Dimensions": [{"Name": "service", "Value": local.stack.name}],
                "Value": 1,
            }
        ],
    )

    heard = [json.loads(one["Message"]) for one in received() if one.get("TopicArn") == topic]
    [message] = [one for one in heard if one["AlarmName"] == name]  # others may be OK by now
    assert message["NewStateValue"] == "ALARM"
    assert "docs/operations.md#secretfallbackalarm" in message["AlarmDescription"]


def test_the_dashboard_is_the_stacks(account: Account, local: Local) -> None:
    body = json.loads(
        account.cloudwatch.get_dashboard(DashboardName=local.stack.name)["DashboardBody"]
    )

    [query] = [one for one in body["widgets"] if one["type"] == "log"]
    assert local.stack.outputs["LogGroupName"] in query["properties"]["query"]
    assert "${" not in json.dumps(body)
