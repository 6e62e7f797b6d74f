"""The function is invoked once, whatever becomes of its answer, and its report is shown."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from typer.testing import CliRunner

from tests.cli.applying import make_stack
from tests.cli.conftest import Shelf
from token_issuer.errors import IssuerError, LedgerUnreadable, TenantsGone
from visma_tokens_cli.commands import app
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.function import exit_code, invoke, print_report, run_now
from visma_tokens_cli.options import CANT, NOT_WELL, WELL
from visma_tokens_cli.stack import Stack

HEAD = "HTTP/1.1 {}\r\nContent-Type: application/json\r\n"
REPORT: dict[str, Any] = {
    "issued": 0,
    "fresh": 1,
    "failed": 0,
    "deferred": 0,
    "removed": 0,
    "failures": [],
}


def answer(content: object, *headers: str, status: str = "200 OK", cut: int = 0) -> bytes:
    """Return an answer whose body lacks that many bytes."""
    body = json.dumps(content).encode()
    lines = [HEAD.format(status), *(f"{one}\r\n" for one in headers)]
    head = "".join([*lines, f"Content-Length: {len(body) + cut}\r\n\r\n"])
    return head.encode() + body


def failed_run(kind: str, message: str) -> bytes:
    return answer({"errorType": kind, "errorMessage": message}, "X-Amz-Function-Error: Unhandled")


@dataclass
class Lambda:
    """Lambda as the wire has it: what it answers, after how many seconds, and what it was sent."""

    stack: Stack
    answer: bytes = answer(REPORT)
    seconds: float = 0.0
    sent: list[Any] = field(default_factory=list)


@pytest.fixture
def function(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    assert shelf  # there are credentials, and no other AWS
    served = Lambda(stack=make_stack())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            served.sent.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            time.sleep(served.seconds)
            self.wfile.write(served.answer)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        yield served
        server.shutdown()
        thread.join()


def test_its_report_is_returned(function: Lambda) -> None:
    assert invoke(function.stack, {"tenants": ["acme"]}) == REPORT

    assert function.sent == [{"tenants": ["acme"]}]


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
    bytes_: bytes, function: Lambda
) -> None:
    function.answer = bytes_

    with pytest.raises(CommandFailed, match="its answer did not come") as caught:
        invoke(function.stack, {})

    assert caught.value.remedy.startswith("It may still be at work")
    assert function.sent == [{}]


def test_it_is_not_invoked_again_where_its_answer_is_late(function: Lambda) -> None:
    function.seconds = 1.5
    soon = replace(function.stack.settings, period=timedelta(seconds=-29))

    with pytest.raises(CommandFailed, match="its answer did not come"):
        invoke(replace(function.stack, settings=soon), {})

    assert function.sent == [{}]


@pytest.mark.parametrize("status", ["500 Internal Server Error", "429 Too Many Requests"])
def test_it_is_not_invoked_again_where_lambda_fails(status: str, function: Lambda) -> None:
    function.answer = answer({"message": "no"}, status=status)

    with pytest.raises(ClientError):
        invoke(function.stack, {})

    assert function.sent == [{}]


@pytest.mark.parametrize("minutes", [1, 2, 5, 10, 15])
def test_it_has_more_time_than_its_time_out(minutes: int, function: Lambda) -> None:
    period = timedelta(minutes=minutes)
    made = []

    class Session(boto3.Session):
        def client(self, *names: Any, **settings: Any) -> Any:  # noqa: ANN401  as boto3's
            made.append(super().client(*names, **settings))
            return made[-1]

    settings = replace(function.stack.settings, period=period)
    invoke(replace(function.stack, settings=settings, aws=Session()), {})

    [client] = made
    assert client.meta.config.read_timeout > period.total_seconds()  # ten seconds more than its
    assert client.meta.config.tcp_keepalive


@pytest.mark.parametrize(
    "error",
    [
        TenantsGone("Nothing is below /visma/tenants, while 3 tokens live"),
        LedgerUnreadable("Reading failed: Gone", code="ResourceNotFoundException"),
    ],
    ids=["its only remedy", "one of several"],
)
def test_a_run_that_failed_is_told_with_its_remedy(error: IssuerError, function: Lambda) -> None:
    function.answer = failed_run(error.reason, str(error))

    with pytest.raises(CommandFailed) as caught:
        invoke(function.stack, {})

    assert caught.value.detail == f"The run failed: {error.detail}"
    assert caught.value.remedy == error.remedy
    assert caught.value.code == CANT


def test_a_run_that_lambda_ended_is_in_the_log(function: Lambda) -> None:
    function.answer = failed_run("Sandbox.Timedout", "Error: Task timed out after 290.00 seconds")

    with pytest.raises(CommandFailed) as caught:
        invoke(function.stack, {})

    assert caught.value.detail == "The run failed: Error: Task timed out after 290.00 seconds"
    assert caught.value.remedy == "See its log: aws logs tail issuer-log --since 30m"


@pytest.mark.parametrize("is_terminal", [False, True], ids=["not a terminal", "a terminal"])
def test_a_terminal_shows_that_it_is_at_work(
    *,
    is_terminal: bool,
    function: Lambda,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")

    assert run_now(function.stack, {}) == REPORT

    assert ("The function is at work" in capsys.readouterr().err) == is_terminal


# Its report


def failure(tenant: str, detail: str, remedy: str) -> dict[str, str]:
    return {"tenant": tenant, "reason": "TokenRefused", "detail": detail, "remedy": remedy}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({}, WELL, id="well"),
        pytest.param({"failed": 1}, NOT_WELL, id="failed"),
        pytest.param({"deferred": 1}, NOT_WELL, id="deferred"),
        pytest.param({"fresh": 0, "skipped": True}, NOT_WELL, id="skipped"),
    ],
)
def test_a_script_goes_on_only_where_everybody_was_served(
    changes: dict[str, object], code: int
) -> None:
    assert exit_code(REPORT | changes) == code


def test_renew_is_well_where_everybody_was_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("visma_tokens_cli.stack.open_stack", lambda _: make_stack())
    codes = {}
    for name, report in {"served": REPORT, "deferred": REPORT | {"deferred": 1}}.items():
        monkeypatch.setattr("visma_tokens_cli.function.run_now", lambda *_, told=report: told)
        codes[name] = CliRunner().invoke(app, ["renew", "acme"]).exit_code

    assert codes == {"served": WELL, "deferred": NOT_WELL}


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
