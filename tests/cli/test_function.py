"""The function is invoked once, whatever becomes of its answer, and its report is shown."""

import io
from contextlib import redirect_stderr
from dataclasses import replace
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.cli.conftest import Run, refused
from tests.helpers.applying import make_stack
from tests.helpers.deployed_aws import Deployed
from tests.helpers.invoked import HEAD, NOTHING, answer, failed_run
from tests.helpers.tenants import Issuer
from token_issuer.errors import IssuerError, LedgerUnreadable, TenantsGone
from token_issuer.redaction import Quoted
from visma_tokens_cli.exit_codes import CANT, NOT_WELL, WELL
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.function import invoke, print_report, run_now
from visma_tokens_cli.stack import Stack

REPORT = NOTHING | {"fresh": 1}


@pytest.fixture
def stack(issuer: Issuer) -> Stack:
    issuer.answers = [REPORT]
    return make_stack()


def test_its_report_is_returned(issuer: Issuer, stack: Stack) -> None:
    assert invoke(stack, {"tenants": ["acme"]}) == REPORT

    assert issuer.sent == [{"tenants": ["acme"]}]


@pytest.mark.parametrize(
    "bytes_",
    [
        pytest.param(b"", id="none"),
        pytest.param(answer(REPORT, cut=1), id="cut"),
        pytest.param(
            (HEAD.format("200 OK") + "Transfer-Encoding: chunked\r\n\r\n50\r\n{").encode(),
            id="cut in a chunk",
        ),
    ],
)
def test_it_is_not_invoked_again_where_its_answer_does_not_come(
    bytes_: bytes, issuer: Issuer, stack: Stack
) -> None:
    issuer.answers = [bytes_]

    with pytest.raises(CommandFailed, match="its answer did not come") as caught:
        invoke(stack, {})

    assert caught.value.remedy.startswith("It may still be at work")
    assert issuer.sent == [{}]


def test_it_is_not_invoked_again_where_its_answer_is_late(issuer: Issuer, stack: Stack) -> None:
    issuer.delay = 1.5
    soon = replace(stack.settings, period=timedelta(seconds=-29))

    with pytest.raises(CommandFailed, match="its answer did not come"):
        invoke(replace(stack, settings=soon), {})

    assert issuer.sent == [{}]


@pytest.mark.parametrize("status", ["500 Internal Server Error", "429 Too Many Requests"])
def test_it_is_not_invoked_again_where_lambda_fails(
    status: str, issuer: Issuer, stack: Stack
) -> None:
    issuer.answers = [answer({"message": "no"}, status=status)]

    with pytest.raises(ClientError):
        invoke(stack, {})

    assert issuer.sent == [{}]


@pytest.mark.parametrize("minutes", [1, 2, 5, 10, 15])
def test_it_has_more_time_than_its_time_out(minutes: int, stack: Stack) -> None:
    period = timedelta(minutes=minutes)
    made = []

    class Session(boto3.Session):
        def client(self, *names: Any, **settings: Any) -> Any:  # noqa: ANN401  as boto3's
            made.append(super().client(*names, **settings))
            return made[-1]

    settings = replace(stack.settings, period=period)
    invoke(replace(stack, settings=settings, aws=Session()), {})

    [client] = made
    assert client.meta.config.read_timeout > period.total_seconds()  # ten seconds more than its
    assert client.meta.config.tcp_keepalive


@pytest.mark.parametrize(
    "error",
    [
        TenantsGone("Nothing is below /visma/tenants, while 3 tokens live"),
        LedgerUnreadable("Reading failed: Gone", code=Quoted("ResourceNotFoundException")),
    ],
    ids=["its only remedy", "one of several"],
)
def test_a_run_that_failed_is_told_with_its_remedy(
    error: IssuerError, issuer: Issuer, stack: Stack
) -> None:
    issuer.answers = [failed_run(error.reason, str(error))]

    with refused(code=CANT) as caught:
        invoke(stack, {})

    assert caught.value.detail == f"The run failed: {error.detail}"
    assert caught.value.remedy == error.remedy


def test_a_run_that_lambda_ended_is_in_the_log(issuer: Issuer, stack: Stack) -> None:
    issuer.answers = [failed_run("Sandbox.Timedout", "Error: Task timed out after 290.00 seconds")]

    with pytest.raises(CommandFailed) as caught:
        invoke(stack, {})

    assert caught.value.detail == "The run failed: Error: Task timed out after 290.00 seconds"
    assert caught.value.remedy == "See its log: aws logs tail issuer-log --since 30m"


class Screen(io.StringIO):
    """What is written on a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("is_terminal", [False, True], ids=["not a terminal", "a terminal"])
def test_a_terminal_shows_that_it_is_at_work(
    *, is_terminal: bool, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a build, whose log is no terminal
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stderr(Screen() if is_terminal else io.StringIO()) as told:
        assert run_now(stack, {}) == REPORT

    assert ("The function is at work" in told.getvalue()) == is_terminal


# Its report


def failure(tenant: str, detail: str, remedy: str) -> dict[str, str]:
    return {"tenant": tenant, "reason": "TokenRefused", "detail": detail, "remedy": remedy}


@pytest.mark.parametrize(
    ("changes", "code"), [({}, WELL), ({"failed": 1}, NOT_WELL), ({"deferred": 1}, NOT_WELL)]
)
def test_renew_is_well_where_everybody_was_served(
    changes: dict[str, int], code: int, aws: Deployed, invoked: Run
) -> None:
    aws.report = REPORT | changes

    done = invoked("renew", "acme")

    assert done.stdout.startswith("0 issued, 1 fresh")
    assert done.returncode == code


def test_what_failed_alike_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [
        failure("acme", "Client default: invalid_client", "Compare."),
        failure("globex", "[b]refused", "Ask."),
        failure("hooli", "Client default: invalid_client", "Compare."),
    ]

    print_report(REPORT | {"failed": 3, "failures": failures}, as_json=False)

    assert capsys.readouterr().out.splitlines() == [
        "0 issued, 1 fresh, 3 failed, 0 deferred, 0 removed",
        "",
        "acme, hooli: Client default: invalid_client",
        "Compare.",
        "",
        "globex: [b]refused",
        "Ask.",
    ]


def test_failures_that_are_left_out_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    failures = [failure(f"t{number}", "Refused", "Ask.") for number in range(100)]

    print_report(REPORT | {"failed": 1234, "failures": failures}, as_json=False)

    assert capsys.readouterr().out.splitlines()[2:] == [
        "t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 90 more: Refused",
        "Ask.",
        "",
        "… and 1,134 more",
    ]


def test_a_run_that_was_skipped_is_said_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(REPORT | {"skipped": True}, as_json=False)

    assert (
        capsys.readouterr().out == "Skipped: another run is at work; see `visma-tokens status`.\n"
    )
