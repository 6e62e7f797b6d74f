"""A week of a thousand tenants: each is asked for as often as its tokens' lives need, no more."""

import random
from datetime import datetime, timedelta

import pytest

from tests.conftest import Show
from tests.helpers.world import START, World
from token_issuer.tokens.renewal import TURN_SECONDS

pytestmark = pytest.mark.long

WEEK = timedelta(days=7)
PERIOD = timedelta(minutes=5)
OUTAGES = [START + timedelta(days=day, hours=5 * day, minutes=7) for day in range(7)]
OUTAGE = timedelta(minutes=12)


def is_down(at: datetime) -> bool:
    return any(begin <= at < begin + OUTAGE for begin in OUTAGES)


def test_requests_per_tenant_and_day(show: Show) -> None:
    chance = random.Random(1770)  # noqa: S311  to be the same each time
    world = World(is_down=is_down)
    tenants = [f"t{number}" for number in range(1000)]
    tenant_time = timedelta(0)
    for number in range(WEEK // PERIOD):
        at = START + number * PERIOD + timedelta(seconds=chance.uniform(0, 60))
        if number % 12 == 0:  # each hour one in a hundred leaves, and as many come
            for left in range(10):
                tenants[chance.randrange(1000)] = f"n{number}-{left}"
        world.configure(tenants)
        world.tick(at)
        if not is_down(at):
            tenant_time += PERIOD * len(tenants)

    requests = sum(not is_down(at) for at in world.requests)
    per_day = requests / (tenant_time / timedelta(days=1))
    show(f"{per_day:.1f} requests per tenant and day, {len(world.requests)} in all")
    assert 0.9 < per_day / (86_400 / TURN_SECONDS) < 1.1
    assert not [one for one in world.replaced if one.is_breach and one.by]
    assert world.stored.keys() >= set(tenants)
