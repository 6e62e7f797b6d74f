"""A simulated day of 300 tenants, one of whom withdraws its grant, with an outage of Visma's."""

import io
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.emf import Sample, read_samples
from tests.helpers.world import START, World

PERIOD = timedelta(minutes=5)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MIDNIGHT = START + DAY
WARM_UP = 3 * HOUR
COME = 6  # runs before which the tenants are added, so that their tokens end at different times
OUTAGE = MIDNIGHT + 18 * HOUR + timedelta(minutes=2), timedelta(minutes=15)
WITHDRAWN, GRANTED_AGAIN = MIDNIGHT + 4 * HOUR, MIDNIGHT + 13 * HOUR


@dataclass
class WatchedWorld(World):
    """One that keeps its log lines, too."""

    said: io.StringIO = field(default_factory=io.StringIO)
    log: list[dict[str, Any]] = field(default_factory=list)

    def logger(self) -> Logger:
        logger = Logger(service="watched", stream=self.said)
        logger.registered_handler.setStream(self.said)  # type: ignore[attr-defined]
        return logger

    def watch(self, at: datetime) -> None:
        """Run once, and keep what the run says; its log lines have the time of its end."""
        self.tick(at)
        stamp = {"@timestamp": f"{self.now:%Y-%m-%d %H:%M}"}
        self.log += [json.loads(line) | stamp for line in self.said.getvalue().splitlines()]
        self.said.seek(0)
        self.said.truncate()

    def samples(self) -> list[Sample]:
        """Return what the runs have measured."""
        return list(read_samples(self.metrics.getvalue().splitlines()))


def simulate(*, tenants: int = 300, until: datetime = MIDNIGHT + DAY) -> WatchedWorld:
    """Return the world after that day."""
    world = WatchedWorld()
    begin, length = OUTAGE
    world.is_down = lambda at: begin <= at < begin + length
    names = [f"t{number:03}" for number in range(tenants)]
    begun_at = MIDNIGHT - WARM_UP
    for number in range((until - begun_at) // PERIOD):
        at = begun_at + number * PERIOD
        world.configure(names[: (number + 1) * tenants // COME])
        world.refused = names[-1:] if WITHDRAWN <= at < GRANTED_AGAIN else []
        world.watch(at)
    return world
