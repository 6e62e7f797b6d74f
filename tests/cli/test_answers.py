"""An answer that AWS does not give, from a proxy or a page to sign in, is a sentence, no defect."""

import json
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.cli.conftest import Run
from tests.conftest import rarely
from tests.helpers.deployed_aws import DOCUMENT, Deployed

COMMANDS = {
    "status": ("status",),
    "token": ("token", "acme", "--show"),
    "renew": ("renew", "acme"),
    "secret stage": ("secret", "stage", "--file", "-"),
    "secret stage --create": ("secret", "stage", "--create", "--client", "new", "--file", "-"),
    "secret status": ("secret", "status"),
    "disable": ("disable", "acme"),
    "doctor": ("doctor",),
}
NOT_NEEDED = {"token": {"Scan"}}  # the token itself says most
PAGE = b"<!doctype html><p>Sign in, please"
XML = b"<html><body>Sign in, please</body></html>"
BODIES = (XML, b"", b"[]", b"null", b"\xff\xfe", b"[" * 9999)
OTHERS: list[object] = [None, 7, 1e400, "text", True, [], {}, [None], [{}], {"a": 1}]
OTHER_TEXTS = ["", "7", "text"]
TOPIC = "arn:aws:sns:eu-north-1:123456789012:alarms"
ALARM = {"AlarmName": "alarm", "AlarmActions": [TOPIC], "StateValue": "OK", "ActionsEnabled": True}


def in_xml(operation: str, content: str) -> bytes:
    result = f"<{operation}Result>{content}</{operation}Result>"
    return f"<{operation}Response>{result}</{operation}Response>".encode()


def chain() -> dict[str, bytes]:
    """Return what the doctor looks at and the account of the tests has not, by operation."""
    run = {"RunSeconds": 1, "TokensIssued": [1], "TokensFailed": 0}
    events = [{"message": json.dumps(run), "timestamp": round(time.time() * 1000)}]
    alarm = "<PhysicalResourceId>alarm</PhysicalResourceId>"
    alarm += "<ResourceType>AWS::CloudWatch::Alarm</ResourceType>"
    count = "<key>SubscriptionsConfirmed</key><value>1</value>"
    texts = {
        "DescribeStackResource": "<StackResourceDetail><PhysicalResourceId>schedule"
        "</PhysicalResourceId></StackResourceDetail>",
        "GetRole": "<Role><RoleName>issuer</RoleName><AssumeRolePolicyDocument>%7B%7D"
        "</AssumeRolePolicyDocument></Role>",
        "GetTopicAttributes": f"<Attributes><entry>{count}</entry></Attributes>",
        "ListStackResources": f"<StackResourceSummaries><member>{alarm}</member>"
        "</StackResourceSummaries>",
    }
    return {name: in_xml(name, text) for name, text in texts.items()} | {
        "DescribeAlarms": spelled({"MetricAlarms": [ALARM]}),
        "FilterLogEvents": spelled({"events": events}),
        "GetSchedule": spelled({"State": "ENABLED", "ScheduleExpression": "rate(5 minutes)"}),
    }


@pytest.fixture
def aws(aws: Deployed) -> Iterator[Deployed]:
    """Have all of the chain in the account too."""
    aws.given = chain()
    yield aws
    aws.given = {}


def others(answer: Any) -> Iterator[object]:  # noqa: ANN401  any JSON
    """Return what an answer is no more where one of its values is missing, or is another."""
    yield from OTHERS
    if isinstance(answer, dict):
        for name, value in answer.items():
            yield {other: one for other, one in answer.items() if other != name}
            yield from ({**answer, name: other} for other in others(value))
    if isinstance(answer, list) and answer:
        yield from ([other, *answer[1:]] for other in others(answer[0]))
    if isinstance(answer, str):
        yield "\ud800"
        if answer.startswith("{"):  # a document, or a line of the log
            yield from (json.dumps(other) for other in others(json.loads(answer)))


def others_in_xml(answer: bytes) -> Iterator[bytes]:
    """Return an answer with an element that is gone, is there twice, or has another content."""
    true = ET.fromstring(answer)  # noqa: S314  from these tests
    for number in range(1, len([*true.iter()])):
        for content in ("gone", "twice", *OTHER_TEXTS):
            root = deepcopy(true)
            element = [*root.iter()][number]
            [parent] = (one for one in root.iter() if element in [*one])
            if content == "gone":
                parent.remove(element)
            elif content == "twice":
                parent.append(element)
            else:
                element.clear()
                element.text = content
            yield ET.tostring(root)


def wrong_answers(true: bytes) -> Iterator[bytes]:
    if true.startswith(b"{"):
        yield from map(spelled, others(json.loads(true)))
    elif true.startswith(b"<"):
        yield from others_in_xml(true)


def spelled(value: object) -> bytes:
    return json.dumps(value).encode()


def true_answers(arguments: tuple[str, ...], aws: Deployed, invoked: Run) -> dict[str, bytes]:
    """Return what AWS answers a command, by operation."""
    answers: dict[str, bytes] = {}

    def keep(operation: str, answer: bytes) -> bytes:
        answers[operation] = answer
        return answer

    aws.alter = keep
    done = invoked(*arguments, said=DOCUMENT)
    assert done.returncode in {0, 1}, done.stderr
    aws.alter = None
    aws.reset()
    aws.arrange()
    return answers


def ending(
    arguments: tuple[str, ...], asked: str, answer: bytes, aws: Deployed, invoked: Run
) -> tuple[int, str]:
    """Return how a command ends where one operation has another answer."""
    aws.alter = lambda operation, true: answer if operation == asked else true
    done = invoked(*arguments, said=DOCUMENT)
    aws.alter = None
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("body", "every"),
    [(PAGE, 2), *(pytest.param(body, 1, marks=pytest.mark.long) for body in (PAGE, *BODIES))],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_body_that_is_none_of_aws(
    name: str, body: bytes, every: int, aws: Deployed, invoked: Run
) -> None:
    asked = true_answers(COMMANDS[name], aws, invoked).keys() - NOT_NEEDED.get(name, set())

    endings = {
        one: ending(COMMANDS[name], one, body, aws, invoked) for one in sorted(asked)[::every]
    }

    assert {one: said for one, (code, said) in endings.items() if code in {0, 70}} == {}


# found by the long test below
@pytest.mark.parametrize(
    ("name", "operation", "answer"),
    [
        ("status", "DescribeStacks", in_xml("DescribeStacks", "<Stacks/>")),
        ("token", "GetParameter", spelled({"Parameter": {"Version": 1, "Value": "\ud800abc"}})),
    ],
)
def test_an_answer_that_cannot_be_used(
    name: str, operation: str, answer: bytes, aws: Deployed, invoked: Run
) -> None:
    code, said = ending(COMMANDS[name], operation, answer, aws, invoked)

    assert said.startswith("What answered is not AWS.\n")
    assert code == 3


ODD: dict[str, tuple[str, bytes]] = {
    "a time out of range": (
        "FilterLogEvents",
        spelled({"events": [{"message": '{"RunSeconds": 1}', "timestamp": 10**17}]}),
    ),
    "a line nested deeply": (
        "FilterLogEvents",
        spelled({"events": [{"message": "[" * 20_000, "timestamp": 1}]}),
    ),
    "an action that is no topic": (
        "DescribeAlarms",
        spelled({"MetricAlarms": [ALARM | {"AlarmActions": ["x"]}]}),
    ),
    "an alarm without actions": (
        "DescribeAlarms",
        spelled({"MetricAlarms": [{"AlarmName": "alarm", "StateValue": "OK"}]}),
    ),
    "a count that is none": (
        "GetTopicAttributes",
        in_xml(
            "GetTopicAttributes",
            "<Attributes><entry><key>SubscriptionsConfirmed</key><value/></entry></Attributes>",
        ),
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_value_keeps_the_doctor_from_nothing_else(
    kind: str, aws: Deployed, invoked: Run
) -> None:
    code, said = ending(COMMANDS["doctor"], *ODD[kind], aws, invoked)

    assert "What answered is not AWS" not in said
    assert "quota" in said
    assert code == 1


@pytest.mark.parametrize("every", [199, *rarely(7)])
@pytest.mark.parametrize("name", COMMANDS)
def test_any_value_of_an_answer_may_be_missing_or_another(
    name: str, every: int, aws: Deployed, invoked: Run
) -> None:
    wrong = [
        (operation, other)
        for operation, true in true_answers(COMMANDS[name], aws, invoked).items()
        for other in wrong_answers(true)
    ][::every]

    endings = {one: ending(COMMANDS[name], *one, aws, invoked) for one in wrong}

    assert {one: said for one, (code, said) in endings.items() if code == 70} == {}


def test_what_botocore_makes_of_a_text_is_an_answer(invoked: Run) -> None:
    """It decodes the policies of a role."""
    assert "✓ role            issuer" in invoked("doctor").stdout
