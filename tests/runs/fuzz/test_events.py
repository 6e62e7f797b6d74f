"""An event is whatever somebody sends to the function."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import PROJECT
from tests.helpers.fuzzed_values import objects, texts, values
from tests.runs.fuzz import cases
from token_issuer.errors import EventInvalid
from token_issuer.redaction import DETAIL_CHARACTERS
from token_issuer.tenants.invocation import MEMBERS, Invocation, parse_invocation

SCHEDULED = json.loads((PROJECT / "events/scheduled.json").read_text())
KNOWN: dict[str, list[Any]] = {
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
events = st.one_of(objects(KNOWN), scheduled, shortened, values, texts)


@cases("invocations")
@given(events)
def test_an_event_is_understood_or_named_as_invalid(event: object) -> None:
    found = understood(event)

    if isinstance(found, EventInvalid):
        assert found.detail.isprintable()
        assert len(found.detail) <= DETAIL_CHARACTERS
        return
    assert isinstance(event, dict)
    assert event.keys() <= MEMBERS or event.keys() == SCHEDULED.keys()
    assert all(name.isprintable() for name in found.tenants or ())
    assert found.is_full == (found.tenants is None and not found.dry_run)


def understood(event: object) -> Invocation | EventInvalid:
    try:
        return parse_invocation(event)
    except EventInvalid as error:
        return error
