"""Whatever reaches a line, an event or the report is quoted on its way out."""

from datetime import UTC, datetime

from aws_lambda_powertools import Logger

from tests.helpers.account import Log
from token_issuer.errors import DocumentInvalid
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ODD, SHOWN = "acme\x1b[2J\u202e" + "x" * 600, r"acme\x1b[2J\u202e" + "x" * 482 + "…"


def test_an_odd_text_is_quoted_in_lines_and_events(log: Log) -> None:
    events: list[object] = []
    telemetry = Telemetry(
        Logger(service="token-issuer"), "stack", lambda _, detail: events.append(detail)
    )

    telemetry.token_removed(ODD, because="disabled")

    assert events == [{"stack": "stack", "tenant": SHOWN, "because": "disabled"}]
    [line] = log()
    assert line["tenant"] == SHOWN


def test_an_odd_text_is_quoted_in_the_report() -> None:
    report = Report(started_at=NOW, finished_at=NOW, failures={ODD: DocumentInvalid(ODD)})

    [failure] = report.as_dict()["failures"]

    assert (failure["tenant"], failure["detail"]) == (SHOWN, SHOWN)
