"""Whole runs, in which everything that comes in may be odd at once."""

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.account import token_answer
from tests.helpers.fuzzed_inputs import changed, changes, client_secrets, events, parameters
from tests.helpers.fuzzed_table import Value
from tests.helpers.fuzzed_world import SECRET, TENANTS, World, configured, later
from tests.runs.fuzz import cases
from token_issuer.clients.credentials import CURRENT, PENDING, PREVIOUS
from token_issuer.errors import EventInvalid
from token_issuer.tenants.invocation import Invocation, parse_invocation
from token_issuer.tokens.oauth import Answer

ISSUED, ANOTHER = token_answer("t"), token_answer("u")
answers = st.sampled_from(
    [
        ISSUED,
        Answer(status=400, body=b'{"error": "invalid_client"}'),
        Answer(status=401, body=b'{"error": "invalid_client", "error_description": "who is it"}'),
        Answer(status=400, body=b'{"error": "invalid_tenant"}'),
        Answer(status=503, body=b"", retry_after="1"),
    ]
)
contents = client_secrets | st.just(SECRET)
secrets = st.dictionaries(
    st.sampled_from([CURRENT, PENDING, PREVIOUS, "mine"]), contents, min_size=1
)
items = st.builds(changed, changes)
WELL = [*map(configured, TENANTS)]


@cases("runs")
@given(items, parameters, secrets, events, answers)
def test_whatever_comes_in_everybody_is_served_a_day_after_it_is_mended(
    items: list[Mapping[str, Value]],
    parameters: list[dict[str, Any]],
    secrets: dict[str, object],
    event: object,
    answer: Answer,
) -> None:
    world = World(items, [*parameters, configured("hooli")], secrets)
    world.versions = {"/visma/tokens/acme": 5, "/visma/tokens/globex": 4, "/visma/tokens/gone": 5}
    world.answer = answer
    try:
        invocation = parse_invocation(event)
    except EventInvalid:
        invocation = Invocation(force=True)

    first = world.run(invocation)
    world.parameters, world.secrets, world.answer = [*WELL], {CURRENT: SECRET}, ANOTHER
    last = later(world, hours=26).run()

    world.check(first, last)
    assert (last.issued, last.skipped) == (2, False)
    records = world.table.ledger.read().records
    assert records.keys() >= set(TENANTS)
    for name in TENANTS:
        record = records[name]
        assert record.failure is None
        assert record.issued is not None
        assert record.issued.version == world.versions[f"/visma/tokens/{name}"]
