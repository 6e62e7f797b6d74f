"""At the write quota: thousands of tenants, an outage with a backlog, tenants that always fail."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from tests.conftest import Show
from tests.helpers.account import make_settings
from tests.helpers.world import CACHE, START, Replaced, World
from token_issuer.reporting.report import Report
from token_issuer.tokens.renewal import OUTAGE_MINUTES

PERIOD = timedelta(minutes=5)
FLOOR = 2 * PERIOD + timedelta(minutes=OUTAGE_MINUTES)  # of remaining life
HOUR = timedelta(hours=1)
RECOVERY_MINUTES = 30  # as docs/benchmarks.md promises for as many tenants as the README recommends
MOST_RUNS = 12
SCOUTS = 3  # five tenants and a scout or two fail in each run of an outage
BROKEN = [f"broken-{number}" for number in range(5)]


def make_world(*, writes_per_second: float, quota: float) -> World:
    settings = replace(make_settings(concurrency=1), writes_per_second=writes_per_second)
    return World(settings=settings, quota=quota)


def names(count: int) -> list[str]:
    return [f"t{number:05}" for number in range(count)]


def run_until(world: World, end: datetime) -> list[Report | None]:
    """Run at each tick that is left before the end."""
    tick = START + (world.now - START) // PERIOD * PERIOD + PERIOD * (world.runs > 0)
    reports = []
    while tick < end:
        reports.append(world.tick(tick))
        tick += PERIOD
    return reports


@pytest.mark.long
def test_three_hours_of_ten_thousand_tenants(show: Show) -> None:
    world = make_world(writes_per_second=8, quota=10)
    world.configure(names(10_000))

    run_until(world, START + 3 * HOUR)

    shortest = min(one.token.expires_at - one.at for one in world.replaced)
    show(
        f"{len(world.tokens):,} tokens, {world.throttled} throttled; the shortest life that was"
        f" left at a renewal: {shortest}"
    )
    assert world.throttled == world.killed == 0
    assert world.stored.keys() == set(names(10_000))
    assert min(token.expires_at for token in world.stored.values()) > world.now + FLOOR
    assert shortest > CACHE + PERIOD


@pytest.mark.long
@pytest.mark.parametrize("outage", [12, 20])
@pytest.mark.parametrize("start", [0, 2])  # minutes after a tick: between two runs, or in one
def test_recovery_from_an_outage(outage: int, start: int, show: Show) -> None:
    world = make_world(writes_per_second=2.4, quota=3)
    world.configure(names(3000))
    begin = START + 2 * HOUR + timedelta(minutes=start)
    end = begin + timedelta(minutes=outage)
    world.is_down = lambda at: begin <= at < end
    run_until(world, end)
    floors = [token.expires_at - FLOOR for token in world.stored.values()]
    done = len(world.replaced)

    for _ in range(MOST_RUNS):
        if all(token.expires_at >= world.now + FLOOR for token in world.stored.values()):
            break
        run = len(world.replaced)
        run_until(world, world.now + PERIOD)
        assert_most_urgent_first(world.replaced[run:])

    recovered_at = max(
        one.at for one in world.replaced[done:] if one.token.expires_at < one.at + FLOOR
    )
    minutes = (recovered_at - end) / timedelta(minutes=1)
    show(
        f"{outage} minutes: all above the floor {minutes:.1f} minutes later;"
        f" {ideal_minutes(floors, end, 2.4):.1f} at 2.4 writes a second without a pause"
    )
    assert minutes <= RECOVERY_MINUTES
    assert world.throttled == 0
    if outage <= OUTAGE_MINUTES:
        assert not [one for one in world.replaced if one.is_breach]


def assert_most_urgent_first(renewed: list[Replaced]) -> None:
    """By remaining life, within a minute by lot, but for scouts before those who have failed."""
    too_early = [
        one
        for one, following in pairwise(renewed)
        if one.token.expires_at >= following.token.expires_at + timedelta(minutes=1)
    ]
    assert len(too_early) <= SCOUTS


def ideal_minutes(floors: list[datetime], end: datetime, per_second: float) -> float:
    """Return how long it takes at a steady pace until no token is below its floor."""
    turns = [end + timedelta(seconds=number / per_second) for number in range(len(floors) + 1)]
    reached = (turn for turn, floor in zip(turns, sorted(floors), strict=False) if turn < floor)
    return (next(reached, turns[-1]) - end) / timedelta(minutes=1)


@pytest.mark.long
def test_five_that_always_fail_cost_a_thousand_healthy_ones_nothing() -> None:
    world = make_world(writes_per_second=2.4, quota=3)
    healthy = names(1000)
    world.configure([*healthy, *BROKEN])
    world.broken = BROKEN

    run_until(world, START + HOUR / 4)  # until everybody has a token
    reports = run_until(world, START + 3 * HOUR)

    for report in reports:
        assert report
        assert report.failures.keys() | report.deferred.keys() <= set(BROKEN)
    assert world.stored.keys() == set(healthy)
    assert not [one for one in world.replaced if one.is_breach]
    assert min(token.expires_at for token in world.stored.values()) > world.now + FLOOR
