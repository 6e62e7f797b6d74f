import itertools
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.account import make_settings
from tests.helpers.virtual_clock import NOON, VirtualClock
from token_issuer.errors import NoTimeLeft
from token_issuer.limits.deadline import ASK, GATHER, KEEP, REPORT, Clock, Deadline
from token_issuer.limits.pacer import Pacer
from token_issuer.outside import READS_PER_SECOND


def test_a_clock_is_that_of_the_machine() -> None:
    clock, before = Clock(), time.monotonic()
    clock.sleep(0.01)

    assert clock.seconds() - before >= 0.01
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=10)


def test_time_that_passes_is_not_left() -> None:
    clock = VirtualClock()
    deadline = Deadline(240, clock)
    assert (deadline.left, deadline.at) == (240, NOON + timedelta(minutes=4))

    clock.passed = 60

    assert (deadline.left, deadline.at) == (180, NOON + timedelta(minutes=4))
    assert deadline.now() == NOON + timedelta(minutes=1)


def test_what_is_needed_leaves_time_for_the_report() -> None:
    clock = VirtualClock()
    deadline = Deadline(100, clock)

    clock.passed = 100 - 7 - REPORT
    assert deadline.has(7)
    deadline.require(7)
    assert clock.seconds() == deadline.latest(7)

    clock.passed += 0.1
    assert not deadline.has(7)
    with pytest.raises(NoTimeLeft, match="The run had no time left"):
        deadline.require(7)


def test_what_no_token_depends_on_is_for_the_first_half() -> None:
    clock = VirtualClock()
    deadline = Deadline(100, clock)

    clock.passed = 50
    assert deadline.is_in_first_half

    clock.passed = 50.1
    assert not deadline.is_in_first_half


@pytest.mark.parametrize("run_seconds", [50, 110, 290, 590, 890])
def test_after_the_longest_listing_a_tenant_can_still_be_started(run_seconds: float) -> None:
    clock = VirtualClock()
    deadline = Deadline(run_seconds, clock)
    reads = Pacer(READS_PER_SECOND, deadline, need=deadline.listing)
    writes = Pacer(make_settings().writes_per_second, deadline, need=KEEP)

    with pytest.raises(NoTimeLeft):
        all(reads.send(lambda: True) for _ in itertools.count())

    assert clock.passed <= run_seconds / 2
    clock.passed += GATHER
    assert writes.has_turn(after=ASK, behind=0)


def test_a_run_that_is_shorter_than_the_templates_still_lists() -> None:
    deadline = Deadline(40, VirtualClock())
    begin = deadline.clock.seconds()

    assert begin < deadline.latest(deadline.listing) < deadline.latest(KEEP + ASK)
