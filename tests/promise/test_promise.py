"""The promise, as properties of the real run: only the clock and what is outside are simulated."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.account import make_settings
from tests.helpers.facts import minutes
from tests.helpers.world import CACHE, START, World
from token_issuer.gathering import CHECKED
from token_issuer.limits.deadline import ASK
from token_issuer.tokens.renewal import renew_at

PERIOD = timedelta(minutes=5)
SLOW = settings(max_examples=25)
FAST = settings(max_examples=100)


def names(count: int) -> list[str]:
    return [f"t{number:03}" for number in range(count)]


def ticks(count: int, jitter: Iterable[float] = ()) -> list[datetime]:
    """Return the times of ticks, each late by its jitter, in seconds."""
    late = [*jitter, *[0.0] * count]
    return [START + number * PERIOD + timedelta(seconds=late[number]) for number in range(count)]


@st.composite
def odd_ticks(draw: st.DrawFn, count: int) -> list[datetime]:
    """Ticks up to 60 s late, some missing, some twice."""
    jitter = draw(st.lists(st.floats(0, 60), min_size=count, max_size=count))
    times = dict(enumerate(ticks(count, jitter)))
    for missing in draw(st.sets(st.integers(1, count - 1), max_size=count // 4)):
        del times[missing]
    twice = draw(st.sets(st.sampled_from(sorted(times)), max_size=4))
    return sorted([*times.values(), *(times[number] + minutes(0.5) for number in twice)])


@FAST
@given(
    lifetime=st.floats(40, 24 * 60),
    times=odd_ticks(count=40),
    outages=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 40)), max_size=6),
    latency=st.floats(0.01, ASK),
    count=st.integers(1, 18),
)
def test_one_attempt_that_is_answered_in_time_keeps_the_promise(
    lifetime: float,
    times: list[datetime],
    outages: list[tuple[int, int]],
    latency: float,
    count: int,
) -> None:
    young = minutes(max(0, 0.35 * lifetime - 20))  # nothing happens before a long life's due time
    times = [times[0], *(time + young for time in times[1:])]

    def is_down(at: datetime) -> bool:
        return any(
            minutes(start) <= at - START - young < minutes(start + length)
            for start, length in outages
        )

    world = World(lifetime=minutes(lifetime), latency=timedelta(seconds=latency), is_down=is_down)
    world.configure(names(count))
    attempts: list[tuple[datetime, datetime]] = []  # of runs that reached an endpoint that answers
    for time in times:
        started = max(time, world.now)
        report = world.tick(time)
        tenth = (world.now - started) / 10
        answered = not any(is_down(started + number * tenth) for number in range(11))
        if report and not report.skipped and not report.deferred and answered:
            attempts.append((started, world.now))

    ends = dict.fromkeys(world.stored)
    lives = [(one.tenant, one.token, one.at) for one in world.replaced]
    lives += [(name, token, ends[name]) for name, token in world.stored.items()]  # type: ignore[misc]
    for name, token, replaced_at in lives:
        due = renew_at(name, token, world.settings)  # type: ignore[arg-type]
        begin, last = max(due, token.stored_at), token.expires_at - CACHE
        if any(begin <= start and end <= last for start, end in attempts):
            assert replaced_at is not None
            assert replaced_at + CACHE <= token.expires_at


@pytest.mark.long
@SLOW
@given(
    count=st.integers(1, 500),
    start=st.floats(60, 130),
    length=st.floats(0.1, 12),
    jitter=st.lists(st.floats(0, 60), max_size=40),
)
def test_an_outage_of_twelve_minutes_expires_no_read(
    count: int, start: float, length: float, jitter: list[float]
) -> None:
    begin, end = START + minutes(start), START + minutes(start + length)
    world = World(is_down=lambda at: begin <= at < end)
    world.configure(names(count))

    for time in ticks(40, jitter):
        world.tick(time)

    assert not [one for one in world.replaced if one.is_breach]
    assert all(token.expires_at > world.now + CACHE for token in world.stored.values())
    assert len(world.stored) == count


@SLOW
@given(
    count=st.integers(1, 30),
    refused=st.sets(st.integers(0, 29)),
    hanging=st.sets(st.integers(0, 29), max_size=5),
    times=odd_ticks(count=60),
)
def test_a_tenant_is_asked_for_once_a_run_and_never_while_it_waits(
    count: int, refused: set[int], hanging: set[int], times: list[datetime]
) -> None:
    world = World(
        refused={f"t{number:03}" for number in refused},
        hanging={f"t{number:03}" for number in hanging},
    )
    world.configure(names(count))

    for time in times:
        world.tick(time)
        assert set(world.asked_in_run.values()) <= {1}

    assert world.asked_too_soon == []


@pytest.mark.long
@SLOW
@given(
    healthy=st.integers(20, 40),
    hanging=st.integers(0, 40),
    refused=st.integers(0, 40),
    jitter=st.lists(st.floats(0, 60), max_size=60),
)
def test_tenants_that_failed_never_cost_a_healthy_one_the_promise(
    healthy: int, hanging: int, refused: int, jitter: list[float]
) -> None:
    bad = names(healthy)
    good = {f"u{number:03}" for number in range(healthy)}
    world = World()
    world.configure([*bad, *good])
    world.tick(START)
    world.hanging, world.refused = set(bad[:hanging]), set(bad[hanging : hanging + refused])

    for time in ticks(60, jitter)[1:]:
        world.tick(time)

    assert not [one for one in world.replaced if one.is_breach and one.tenant in good]
    assert {name for name in good if world.stored[name].expires_at > world.now + CACHE} == good


DOCUMENT = st.one_of(
    st.just({"scope": ""}),
    st.just({"scope": "b", "enabled": True}),
    st.just({"scope": "", "enabled": False}),
    st.just({"scop": ""}),
    st.just({"scope": "", "enabled": "no"}),
    st.just([]),
)
TENANTS = st.sampled_from(["acme", "globex", "hooli"])
TEXT = st.one_of(
    st.text(max_size=20),
    st.builds(json.dumps, DOCUMENT),
    st.builds(lambda packed: json.dumps({"tenants": packed}), st.dictionaries(TENANTS, DOCUMENT)),
)
EDIT = st.tuples(
    st.sampled_from(["acme", "globex", "packed-1", "packed-2", "eu/acme"]), st.none() | TEXT
)


def disabled_by_name(documents: dict[str, str]) -> set[str]:
    """Return whoever is told to be disabled, in whatever document."""
    found = set()
    for parameter, text in documents.items():
        try:
            content = json.loads(text)
        except ValueError:
            continue
        if not isinstance(content, dict):
            continue
        packed = content.get("tenants", {parameter.rpartition("/")[2]: content})
        for name, document in packed.items():
            if isinstance(document, dict) and document.get("enabled") is False:
                found.add(name)
    return found


@FAST
@given(
    edits=st.lists(st.tuples(st.lists(EDIT, max_size=3), st.booleans()), min_size=1, max_size=12)
)
def test_whatever_is_typed_no_live_token_disappears(
    edits: list[tuple[list[tuple[str, str | None]], bool]],
) -> None:
    world = World()
    world.documents = {
        "/visma/tenants/acme": '{"scope": ""}',
        "/visma/tenants/packed-1": '{"tenants": {"globex": {"scope": ""}, "hooli": {"scope": ""}}}',
    }
    world.tick(START)
    for number, (edit, world.is_unchecked) in enumerate(edits):
        for name, text in edit:
            if text is None:
                world.documents.pop(f"/visma/tenants/{name}", None)
            else:
                world.documents[f"/visma/tenants/{name}"] = text
        before = len(world.replaced)
        try:
            world.tick(START + (number + 1) * PERIOD)
        except Exception as error:  # noqa: BLE001  an empty listing fails the run
            assert type(error).__name__ == "TenantsGone"  # noqa: PT017  the only one that may
        for one in world.replaced[before:]:
            if one.by is None and one.token.expires_at > one.at:
                assert one.tenant in disabled_by_name(world.documents)


EARLIER = {
    "lost_at": st.integers(5, 30),
    "age": st.one_of(st.integers(1, 4), st.integers(1, 30)),  # of what it is set back to, in ticks
    "deleted": st.booleans(),
}


@pytest.mark.long
@FAST
@given(count=st.integers(1, 20), **EARLIER)
def test_a_ledger_that_is_lost_or_set_back_expires_nothing_and_converges(
    count: int, lost_at: int, age: int, *, deleted: bool
) -> None:
    assert_converges(count, lost_at, age, deleted=deleted)


@pytest.mark.long
@SLOW
@given(**EARLIER)
def test_so_does_one_of_more_tenants_than_are_looked_at_in_a_run(
    lost_at: int, age: int, *, deleted: bool
) -> None:
    assert_converges(2 * CHECKED, lost_at, age, deleted=deleted)


def assert_converges(count: int, lost_at: int, age: int, *, deleted: bool) -> None:
    world = World()
    world.configure(names(count))
    snapshots = []
    for number, time in enumerate(ticks(45)):
        snapshots.append(world.ledger.snapshot())
        if number == lost_at:
            state = {} if deleted else snapshots[max(0, number - age)]
            world.ledger.records = dict(state.get("records", {}))
        # forced at last, so that an older ledger is wrong though by its own account nobody is due
        world.tick(time, force=number == lost_at - 1)
        if number == lost_at + ceil(count / CHECKED):  # each token has been looked at
            recorded = {name: one.issued for name, one in world.ledger.records.items()}
            assert {name: one.version for name, one in recorded.items() if one} == {
                name: one.version for name, one in world.stored.items()
            }

    assert not [one for one in world.replaced if one.is_breach]
    assert make_settings().period == PERIOD
