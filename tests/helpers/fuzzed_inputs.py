"""Whatever another party may send or write: documents, secrets, ledger items, events."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tests.conftest import PROJECT
from tests.helpers.account import CLIENT_SECRET
from tests.helpers.fuzzed_table import Table, Value
from tests.helpers.fuzzed_values import objects, spelled, texts, values
from tests.helpers.fuzzed_world import configured
from tests.helpers.ledger_records import FALLBACK, FULL, NOT_TIMES, ODD, OWNER, PENDING, RECORD
from token_issuer.ledger.records import ClientRecord

# Tenant documents

NAMES = ["acme", "globex", "initech", "a/b", "x" * 65, ".."]
DOCUMENT_MEMBERS: dict[str, list[Any]] = {
    "scope": ["", "a", "a b"],
    "tenant_id": ["af1140c1-52e0-46c7-b684-df894d4b8a5a", "t"],
    "client": ["default", "sales"],
    "enabled": [True, False],
    "note": ["ticket 4711"],
}

documents = objects(DOCUMENT_MEMBERS)
packed = st.builds(
    lambda tenants: {"tenants": tenants},
    st.dictionaries(st.sampled_from(NAMES) | texts, documents | values, max_size=4) | values,
)
contents = spelled(documents | packed | values) | texts
names = st.sampled_from(NAMES) | st.text("azAZ09_.-/", min_size=1, max_size=10)
parameters = st.lists(
    st.builds(
        configured,
        names,
        contents,
        st.sampled_from(["String", "String", "String", "StringList", "SecureString"]),
    ),
    max_size=4,
    unique_by=lambda one: one["Name"],
)

# Client secrets

client_secrets = st.one_of(
    spelled(
        objects(
            {
                "client_id": ["id", CLIENT_SECRET],
                "client_secret": [CLIENT_SECRET, f"{CLIENT_SECRET}\ud83d", [CLIENT_SECRET]],
                "auth_method": ["client_secret_post", "client_secret_basic", CLIENT_SECRET],
                CLIENT_SECRET: ["", CLIENT_SECRET],
            }
        )
        | values
    ),
    st.sampled_from([CLIENT_SECRET, None, 7]),
    texts,
)

# Events

SCHEDULED = json.loads((PROJECT / "events/scheduled.json").read_text())
EVENT_MEMBERS: dict[str, list[Any]] = {
    "tenants": [["acme"], ["acme", "globex"], ["\u001b[2J"], ["\u202e"], [7], []],
    "force": [True, False],
    "dry_run": [True, False],
    "probe": ["acme", "", "\n"],
}

scheduled = st.builds(
    lambda name, value: SCHEDULED | {name: value}, st.sampled_from([*SCHEDULED]), values
)
shortened = st.builds(
    lambda name: {other: SCHEDULED[other] for other in SCHEDULED if other != name},
    st.sampled_from([*SCHEDULED]),
)
events = st.one_of(objects(EVENT_MEMBERS), scheduled, shortened, values, texts)

# Items of the ledger

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
        table.ledger.record_token(replace(FULL, tenant=name), None)
        table.ledger.record_failure(replace(FULL, tenant=name))
    table.ledger.record_token(replace(RECORD, owner=OWNER, tenant="globex"), None)
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
