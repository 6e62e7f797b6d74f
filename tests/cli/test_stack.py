"""Which stack can be used, and what is said of one that can't."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local.authorization_server import serving_wsgi
from tests.conftest import rarely
from tests.helpers.account import ENVIRONMENT
from tests.helpers.terminal import run

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


STATUSES = {
    "CREATE_IN_PROGRESS": ("is not deployed yet: CREATE_IN_PROGRESS.", "Wait until"),
    "ROLLBACK_COMPLETE": ("could not be deployed: ROLLBACK_COMPLETE.", "See its events"),
    "CREATE_FAILED": ("could not be deployed: CREATE_FAILED.", "See its events"),
    "CREATE_COMPLETE": ("is no token issuer: CREATE_COMPLETE.", "Give --stack-name"),
    "DELETE_FAILED": ("is being deleted, or its deletion failed: DELETE_FAILED.", "See its"),
    "DELETE_COMPLETE": ("is deleted: DELETE_COMPLETE.", "Deploy it anew"),
    "REVIEW_IN_PROGRESS": ("is not deployed yet: REVIEW_IN_PROGRESS.", "Execute its change"),
}

OFTEN = {"CREATE_COMPLETE", "DELETE_COMPLETE"}


@pytest.mark.parametrize("status", [*sorted(OFTEN), *rarely(*sorted(STATUSES.keys() - OFTEN))])
def test_a_stack_without_our_outputs_is_told_by_its_status(status: str) -> None:
    words, remedy = STATUSES[status]
    detail, advice = told(status)

    assert detail == f"Stack token-issuer in eu-north-1 {words}"
    assert advice.startswith(remedy)


@pytest.mark.parametrize("status", ["DELETE_COMPLETE", *rarely("DELETE_FAILED")])
def test_a_stack_that_is_deleted_has_lost_nothing_by_hand(status: str) -> None:
    words, _ = STATUSES[status]

    assert told(status, OUTPUTS)[0] == f"Stack token-issuer in eu-north-1 {words}"


def test_a_stack_that_has_lost_its_function_is_deployed_anew() -> None:
    detail, advice = told("UPDATE_COMPLETE", OUTPUTS)

    assert detail == "Stack token-issuer in eu-north-1 has lost its function, issuer."
    assert "`sam delete` the stack, and deploy it anew" in advice
