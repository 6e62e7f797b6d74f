"""Whatever reaches a line, an event or the report is quoted on its way out."""

from aws_lambda_powertools import Logger

from tests.helpers.account import Log
from tests.helpers.event_bus import EventBus
from tests.helpers.facts import NOW
from token_issuer.errors import DocumentInvalid
from token_issuer.ledger.records import Record
from token_issuer.reporting import events
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.tokens.plan import Outcome, Removal

ODD, SHOWN = "acme\x1b[2J\u202e" + "x" * 600, r"acme\x1b[2J\u202e" + "x" * 482 + "…"


def test_an_odd_text_is_quoted_in_lines(log: Log) -> None:
    record = Record(tenant=ODD, client="default", attempted_at=NOW)
    removal = Removal(record=record, parameter="/visma/tokens/acme", because="disabled")

    telemetry = Telemetry(Logger(service="token-issuer"), "stack")
    telemetry.outcome(Outcome(decision=removal), is_probe=False)

    [line] = log()
    assert (line["message"], line["tenant"]) == ("Token removed", SHOWN)


def test_an_odd_text_is_quoted_in_events() -> None:
    bus = EventBus()

    assert bus.events.put([events.removed(ODD, "disabled")]) == [None]

    [(_, detail)] = bus.delivered
    assert detail == {"stack": "issuer", "tenant": SHOWN, "because": "disabled"}


def test_an_odd_text_is_quoted_in_the_report() -> None:
    report = Report(started_at=NOW, finished_at=NOW, failures={ODD: DocumentInvalid(ODD)})

    [failure] = report.as_dict()["failures"]

    assert (failure["tenant"], failure["detail"]) == (SHOWN, SHOWN)
