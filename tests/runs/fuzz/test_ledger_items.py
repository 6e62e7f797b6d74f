"""A ledger item is whatever a person, or another version, has written into the table."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.facts import NOW, SETTINGS, make_facts, make_tenant, renewals_in
from tests.helpers.fuzzed_table import Table, Value
from tests.helpers.fuzzed_world import TENANTS
from tests.issuer.ledger.test_table import FALLBACK, FULL, NOT_TIMES, ODD, OWNER, PENDING, RECORD
from tests.runs.fuzz import cases
from token_issuer.errors import TokenRefused
from token_issuer.ledger.records import ClientRecord, Memory
from token_issuer.reporting.report import Report
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import decide

KEYS = ["tenant#acme", "tenant#globex", "tenant#gone", "client#default", "client#gone", "lease"]
TIMES = [
    *NOT_TIMES.values(),
    "2000-01-01T00:00:00.000Z",
    "2026-11-24T11:00:00.000Z",
    "2026-11-24T11:59:59.999Z",
    "2026-11-24T12:00:00.000Z",
    "2026-11-24T12:30:00.000Z",
    "2026-11-25T12:00:00.000Z",
    "2999-12-31T23:59:59.999Z",
]
WORDS = ["acme", "TokenRefused", "Unexpectéd", "AWSPENDING", "\u001b[2J", "/visma/tokens/acme"]
NUMBERS = ["0", "1", "2", "-1", "5", "999999999", "1000000000", "0.1", "1E+125", "-1E-130"]


def written() -> dict[str, dict[str, Value]]:
    """Return the items that the ledger itself writes."""
    table = Table()
    for name in ("acme", "gone"):
        table.ledger.record_token(_of(FULL, name), None)
        table.ledger.record_failure(_of(FULL, name))
    table.ledger.record_token(_of(replace(RECORD, owner=OWNER), "globex"), None)
    for client in ("default", "gone"):
        told = {"ClientRefused": PENDING.tried_at}
        table.ledger.record_client(
            ClientRecord(client=client, pending=PENDING, fallback=FALLBACK, told_at=told)
        )
    left_over = "document#/visma/tenants/acme"
    table.items[left_over] = {"key": {"S": left_over}, "text": {"S": "{}"}}
    table.items["lease"] = {
        "key": {"S": "lease"},
        "checked": {"S": "acme"},
        "holder": {"S": "other"},
        "held_until": {"S": "2026-11-24T12:03:00.000Z"},
    }
    return table.items


def _of(record: Any, name: str) -> Any:  # noqa: ANN401  a record
    return type(record)(**vars(record) | {"tenant": name})


WRITTEN = written()
MEMBERS = sorted({name for item in WRITTEN.values() for name in item} - {"key"})
NESTED = sorted(
    {
        name
        for item in WRITTEN.values()
        for value in item.values()
        if "M" in value
        for name in value["M"]
    }
)

scalars = st.one_of(
    st.sampled_from([{"S": one} for one in [*TIMES, *WORDS]]),
    st.sampled_from([{"N": one} for one in NUMBERS]),
    st.sampled_from([*ODD.values()]),
    st.builds(lambda text: {"S": text}, st.text(max_size=30)),
    st.builds(lambda number: {"N": str(number)}, st.integers(-(10**12), 10**12)),
)
maps = st.builds(
    lambda members: {"M": members},
    st.dictionaries(st.sampled_from(NESTED) | st.text(max_size=5), scalars, max_size=4),
)
changes = st.lists(
    st.tuples(
        st.sampled_from([*KEYS, "document#/visma/tenants/acme", "tenant#é", "else"]),
        st.sampled_from([*MEMBERS, None]),  # or the whole item
        st.sampled_from([None, *NESTED]),  # a member of that member
        scalars | maps,
    ),
    min_size=1,
    max_size=5,
)


def changed(
    changes: list[tuple[str, str | None, str | None, dict[str, Any]]],
) -> list[Mapping[str, Value]]:
    """Return the items of the ledger with some values in the place of others."""
    items: dict[str, dict[str, Any]] = {key: dict(item) for key, item in WRITTEN.items()}
    for key, member, nested, value in changes:
        item = items.setdefault(key, {"key": {"S": key}})
        if member is None:
            items[key] = {"key": {"S": key}} | value.get("M", {})
        elif nested and "M" in item.get(member, {}):
            item[member] = {"M": item[member]["M"] | {nested: value}}
        else:
            item[member] = value
    return [*items.values()]


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
