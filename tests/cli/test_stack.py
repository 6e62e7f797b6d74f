"""Which stack can be used, and what is said of one that can't."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.authorization_server import serving_wsgi
from tests.cli.terminal import run
from tests.issuer.conftest import ENVIRONMENT

OUTPUTS = """
<member><OutputKey>LedgerTableName</OutputKey><OutputValue>ledger</OutputValue></member>
<member><OutputKey>FunctionName</OutputKey><OutputValue>issuer</OutputValue></member>
"""


@contextmanager
def account(
    status: str, outputs: str = "", *, report: dict[str, Any] | None = None
) -> Iterator[str]:
    """Serve an AWS with that stack, and with a function where there is a report to return."""
    stack = f"<StackName>token-issuer</StackName><StackStatus>{status}</StackStatus>"
    stacks = f"<Stacks><member>{stack}<Outputs>{outputs}</Outputs></member></Stacks>"
    result = f"<DescribeStacksResult>{stacks}</DescribeStacksResult>"
    variables = ENVIRONMENT | {"TOKEN_ENDPOINT": "https://connect.visma.com/connect/token"}
    configuration = {
        "Role": "arn:aws:iam::123456789012:role/issuer",
        "Environment": {"Variables": variables},
    }

    def answer(
        environment: dict[str, str], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        path = environment["PATH_INFO"]
        if path == "/":
            start_response("200 OK", [("Content-Type", "text/xml")])
            return [f"<DescribeStacksResponse>{result}</DescribeStacksResponse>".encode()]
        if report is None:
            headers = [("x-amzn-ErrorType", "ResourceNotFoundException")]
            start_response("404 Not Found", headers)
            return [b"{}"]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(report if path.endswith("/invocations") else configuration).encode()]

    with serving_wsgi(answer) as url:
        yield url


def told(status: str, outputs: str = "") -> list[str]:
    """Return what is said of such a stack, whose function is gone."""
    with account(status, outputs) as url:
        done = run("status", "--endpoint-url", url, "--region", "eu-north-1")
    assert (done.stdout, done.returncode) == ("", 3)
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        ("CREATE_IN_PROGRESS", "is not deployed yet: CREATE_IN_PROGRESS.", "Wait until"),
        ("ROLLBACK_COMPLETE", "could not be deployed: ROLLBACK_COMPLETE.", "See its events"),
        ("CREATE_FAILED", "could not be deployed: CREATE_FAILED.", "See its events"),
        ("CREATE_COMPLETE", "is no token issuer: CREATE_COMPLETE.", "Give --stack-name"),
        ("DELETE_IN_PROGRESS", "is no token issuer: DELETE_IN_PROGRESS.", "Give --stack-name"),
    ],
)
def test_a_stack_without_our_outputs_is_told_by_its_status(
    status: str, words: str, remedy: str
) -> None:
    detail, advice = told(status)

    assert detail == f"Stack token-issuer in eu-north-1 {words}"
    assert advice.startswith(remedy)


def test_a_stack_that_has_lost_its_function_is_deployed_anew() -> None:
    detail, advice = told("UPDATE_COMPLETE", OUTPUTS)

    assert detail == "Stack token-issuer in eu-north-1 has lost its function, issuer."
    assert "`sam delete` the stack, and deploy it anew" in advice
