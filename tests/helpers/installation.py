"""A stack in simulated time: its runs, what they measure, and which alarms of the template fire."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tests.helpers.account import make_settings
from tests.helpers.cloudwatch import Alarm, Fired, Metric, Metrics, parse_alarms, watch
from tests.helpers.template import TEMPLATE
from tests.helpers.world import STACK, START, World
from token_issuer.errors import RunFailed

FUNCTION, QUEUE = "function", "failed-invocations"
ERRORS = Metric("AWS/Lambda", "Errors", frozenset({("FunctionName", FUNCTION)}))
MESSAGES = Metric(
    "AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({("QueueName", QUEUE)})
)
LATEST_TICK = 60.0  # seconds after its time

type Span = tuple[int, int | None]  # minutes from when an alarm fires until it recovers


def read_alarms(period: int = 5) -> list[Alarm]:
    """Return the template's alarms for a period of so many minutes."""
    references = {
        "SchedulePeriodMinutes": str(period),
        "AWS::StackName": STACK,
        "Function": FUNCTION,
        "FailedInvocations.QueueName": QUEUE,
    }
    return parse_alarms(TEMPLATE, references)


def names(count: int) -> list[str]:
    return [f"t{number:04}" for number in range(count)]


def minute(number: float) -> datetime:
    return START + timedelta(minutes=number)


@dataclass
class Installation:
    """Minutes are counted from the first tick; ticks are late by up to a minute, by lot."""

    tenants: int = 200
    period: int = 5  # minutes
    delay: timedelta = timedelta(0)  # until a metric is seen
    seed: int = 8  # of the ticks' lot
    is_scheduled: bool = True
    world: World = field(init=False)
    ticked: int = 0  # minutes, of the next tick
    _invoked: list[tuple[datetime, datetime, bool]] = field(default_factory=list)
    _purged_at: datetime = START
    _chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        settings = make_settings(concurrency=1, period_minutes=self.period)
        self.world = World(settings=settings)
        self.world.configure(names(self.tenants))
        self._chance = random.Random(self.seed)  # noqa: S311  to be the same each time

    def run_until(self, end: int) -> None:
        """Run at each tick before that minute."""
        while self.ticked < end:
            at = minute(self.ticked) + timedelta(seconds=self._chance.uniform(0, LATEST_TICK))
            if self.is_scheduled:
                self._run(max(at, self.world.now))
            self.ticked += self.period

    def _run(self, at: datetime) -> None:
        try:
            ended = self.world.tick(at) is not None
        except RunFailed:
            ended = False
        self._invoked.append((at, self.world.now, ended))

    def allow_writes(self, per_second: float, *, quota: float) -> None:
        """Have the account's quota raised, and use it."""
        self.world.settings = replace(self.world.settings, writes_per_second=per_second)
        self.world.quota = quota

    def purge_queue(self) -> None:
        """Empty the queue of failed invocations, as its alarm asks for."""
        self._purged_at = minute(self.ticked)

    def fired(self, *, begin: int | None = None) -> list[Fired]:
        """Return which alarms have fired from that minute on; else once the first run is seen."""
        _, seen_at, _ = self._invoked[0]
        first = minute(_minutes(seen_at) + 1) + self.delay if begin is None else minute(begin)
        alarms = read_alarms(self.period)
        return list(watch(alarms, self._metrics(), first, minute(self.ticked)))

    def alarms(self, *, since: int) -> dict[str, Span]:
        """Return the alarms that have fired, in minutes since that one; none may have twice."""
        spans: dict[str, Span] = {}
        for one in self.fired():
            assert one.alarm not in spans, f"{one.alarm} flaps"
            recovered = _minutes(one.recovered_at) - since if one.recovered_at else None
            spans[one.alarm] = (_minutes(one.at) - since, recovered)
        return spans

    def _metrics(self) -> Metrics:
        metrics = Metrics(delay=self.delay)
        metrics.put_emf(self.world.metrics.getvalue().splitlines())
        for at, ended_at, ended in self._invoked:
            metrics.put(ERRORS, 0 if ended else 1, at, seen_at=ended_at)
        failed_at = [ended_at for _, ended_at, ended in self._invoked if not ended]
        # SQS measures each minute a queue that has been used in the last six hours
        for number in range(self.ticked if failed_at else 0):
            at = minute(number)
            begin = self._purged_at if at >= self._purged_at else START
            metrics.put(MESSAGES, sum(begin <= one <= at for one in failed_at), at)
        return metrics


def _minutes(at: datetime) -> int:
    return (at - START) // timedelta(minutes=1)
