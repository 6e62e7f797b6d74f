"""Which tokens a run compares with what is stored."""

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.helpers.account import make_settings
from tests.helpers.world import START, World
from token_issuer.gathering import CHECKED, gather, in_turn
from token_issuer.ledger.records import Record
from token_issuer.tenants.invocation import Invocation

NAMES = [f"t{number}" for number in range(1_000)]


def turns(count: int, period_minutes: int, late: timedelta = timedelta()) -> list[set[str]]:
    """Return the parameters that the runs of an hour compare."""
    settings = make_settings(period_minutes=period_minutes)
    stored = {
        f"/visma/tokens/t{number}": Record(
            tenant=f"t{number}", client="default", attempted_at=START
        )
        for number in range(count)
    }
    times = [START + late + number * settings.period for number in range(60 // period_minutes)]
    return [set(in_turn(stored, at, settings)) for at in times]


@pytest.mark.parametrize("count", [0, 1, 299, 300, 301, 599, 601, 2_000, 3_600, 5_000, 10_000])
@pytest.mark.parametrize("period", [1, 2, 5, 10, 15])
def test_each_token_has_its_turn_once_an_hour(count: int, period: int) -> None:
    runs = turns(count, period, late=timedelta(minutes=period * 7, seconds=29))

    often = [sum(parameter in run for run in runs) for parameter in set[str]().union(*runs)]
    assert len(often) == count
    at_most = max(CHECKED, count * period / 60)
    assert all(len(run) < at_most * 1.25 for run in runs)
    if count <= CHECKED:
        assert all(len(run) == count for run in runs)
    if count > CHECKED * 60 / period:
        assert set(often) == {1}


@pytest.mark.parametrize("count", [301, 1_000, 10_000])
def test_runs_that_follow_each_other_compare_others(count: int) -> None:
    assert not any(one & following for one, following in pairwise(turns(count, 5)))


@pytest.fixture
def world() -> World:
    """Return one whose tenants have tokens."""
    world = World()
    world.configure(["acme", "globex"])
    world.tick(START)
    return world


def test_those_that_were_asked_for_are_compared(world: World) -> None:
    facts = gather(Invocation(tenants=("acme", "hooli")), world.outside())

    assert facts.compared == {"acme"}


def test_a_token_that_is_stored_elsewhere_or_that_never_was_is_not_compared(world: World) -> None:
    world.configure(["acme", "globex", "hooli"])
    world.settings = replace(world.settings, tokens_path="/elsewhere")

    facts = gather(Invocation(), world.outside())

    assert facts.compared == set()


@pytest.fixture
def large_world() -> World:
    """Return one whose thousand tenants have tokens."""
    world = World()
    world.configure(NAMES)
    while len(world.stored) < len(NAMES):
        world.tick(world.now)
    world.deadline = world.now + world.settings.period
    return world


def test_of_those_that_were_asked_for_some_300_are_compared(large_world: World) -> None:
    facts = gather(Invocation(tenants=tuple(NAMES[:900])), large_world.outside())

    assert facts.compared < set(NAMES[:900])
    assert 200 < len(facts.compared) < 400


def test_of_those_that_have_vanished_and_expired_at_most_300_are_compared_besides(
    large_world: World,
) -> None:
    large_world.configure(NAMES[:500])
    large_world.now += timedelta(hours=2)
    large_world.deadline += timedelta(hours=2)

    facts = gather(Invocation(), large_world.outside())

    records = large_world.ledger.records
    in_their_turn = in_turn(records, facts.at, large_world.settings).keys()
    gone = [name for name in records if name not in set(NAMES[:500])]
    assert facts.whole
    assert facts.compared == in_their_turn | set(gone[:CHECKED])
