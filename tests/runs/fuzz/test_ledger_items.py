"""A ledger item is whatever a person, or another version, has written into the table."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import example, given

from tests.helpers.facts import NOW, SETTINGS, make_facts, make_tenant, renewals_in
from tests.helpers.fuzzed_inputs import changed, changes
from tests.helpers.fuzzed_table import Table
from tests.helpers.fuzzed_world import TENANTS
from tests.runs.fuzz import cases
from token_issuer.errors import TokenRefused
from token_issuer.ledger.records import Memory
from token_issuer.reporting.report import Report
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import decide


@cases("ledger items")
@example([("tenant#acme", "failure", "waits", {"N": "999999999"})])
@given(changes)
def test_whoever_wrote_an_item_it_is_planned_with_and_replaced(
    changes: list[tuple[str, str | None, str | None, dict[str, Any]]],
) -> None:
    table = Table(changed(changes))
    ledger = table.ledger
    before = ledger.read()

    forced = Invocation(force=True)
    facts = make_facts(map(make_tenant, TENANTS), memory=before, invocation=forced)
    decisions = decide(facts, now=NOW, settings=SETTINGS)

    report = Report.of(decisions, facts)
    assert report.planned
    assert all(end - NOW < timedelta(days=400_000) for end in report.expiries.values())
    [acme, globex] = sorted(renewals_in(decisions), key=lambda one: one.name)
    failure = acme.failed(
        TokenRefused("no"),
        client_secret_version="v1",
        now=NOW,
        attempted_at=NOW,
        settings=SETTINGS,
    )
    ledger.record_failure(failure)
    token = AccessToken(value="t", issued_at=NOW, expires_at=NOW + timedelta(hours=1), scope=None)
    success = globex.succeeded(token, version=1, client_secret_version="v1", attempted_at=NOW)
    ledger.record_token(success, globex.record)
    for record in before.clients.values():
        ledger.record_client(replace(record, fallback=None))
    after = ledger.read()
    assert after.records["acme"] == failure
    assert after.records["globex"] == success
    assert all(one.fallback is None for one in after.clients.values())
    assert all(text.isprintable() for text in shown(after))


def shown(memory: Memory) -> Iterator[str]:
    """Yield what people may be shown of a ledger."""
    for record in memory.records.values():
        yield from texts(record, record.issued, record.failure)
    for client in memory.clients.values():
        yield from texts(client, client.pending, client.fallback)


def texts(*values: object) -> Iterator[str]:
    for value in filter(None, values):
        yield from (text for text in vars(value).values() if isinstance(text, str))
