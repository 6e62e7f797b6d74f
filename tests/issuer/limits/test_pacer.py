import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from tests.helpers.account import client_error
from tests.helpers.virtual_clock import VirtualClock
from token_issuer.errors import NoTimeLeft
from token_issuer.limits.deadline import REPORT, Clock, Deadline
from token_issuer.limits.pacer import ATTEMPTS, Pacer


class Quota:
    """A token bucket, as AWS keeps one for each account and operation."""

    def __init__(self, clock: VirtualClock, per_second: float) -> None:
        self.clock = clock
        self.per_second = per_second
        self.level = per_second
        self.filled_at = clock.passed
        self.calls: list[float] = []
        self.refused = 0

    def take(self) -> None:
        filled = (self.clock.passed - self.filled_at) * self.per_second
        self.level = min(self.per_second, self.level + filled)
        self.filled_at = self.clock.passed
        self.clock.passed += 0.02
        if self.level < 1:
            self.refused += 1
            raise client_error("ThrottlingException")
        self.level -= 1
        self.calls.append(self.clock.passed)


def failing(*errors: Exception, answer: str = "done") -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return answer

    return call


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def make_pacer(per_second: float, clock: Clock, seconds: float = math.inf) -> Pacer:
    """Return a pacer that has turns for so many seconds."""
    return Pacer(per_second, Deadline(seconds + REPORT, clock))


def test_calls_keep_the_pace(clock: VirtualClock) -> None:
    pacer, times = make_pacer(4, clock), []

    for _ in range(9):
        pacer.send(lambda: times.append(clock.passed))

    assert times == [0.25 * number for number in range(9)]
    assert pacer.achieved == 4


def test_what_comes_late_costs_the_next_ones_no_more_than_a_turn(clock: VirtualClock) -> None:
    pacer = make_pacer(4, clock)
    times: list[float] = []
    for pause in (0, 0, 0.3, 0, 5, 0, 0):
        clock.passed += pause
        pacer.send(lambda: times.append(clock.passed))

    assert times == pytest.approx([0, 0.25, 0.55, 0.75, 5.75, 5.75, 6.0])


def times_of_threads(threads: int, calls: int, per_second: float) -> list[float]:
    """Return when threads that share a pacer make so many calls each."""
    pacer, times = make_pacer(per_second, Clock()), list[float]()

    def send(_: int) -> None:
        for _call in range(calls):
            pacer.send(lambda: times.append(time.monotonic()))

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(send, range(threads)))
    return sorted(times)


def test_threads_share_the_pace() -> None:
    times = times_of_threads(8, 10, per_second=100)

    assert len(times) == 80
    assert max(times) - min(times) >= 78 / 100  # 79 intervals, of which one may be caught up


def test_threads_that_wait_together_go_one_after_the_other() -> None:
    times = times_of_threads(16, 1, per_second=20)

    # one may be caught up, so of three there is a turn between the first and the last
    assert all(third - first > 0.5 / 20 for first, third in zip(times, times[2:], strict=False))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(client_error("ThrottlingException"), id="throttled"),
        pytest.param(client_error("Throttling"), id="throttled, by its other name"),
        pytest.param(client_error("InternalServerError", status=500), id="a server error"),
        pytest.param(EndpointConnectionError(endpoint_url="x"), id="no connection"),
        pytest.param(ReadTimeoutError(endpoint_url="x"), id="no answer"),
    ],
)
def test_what_passes_is_tried_again_ever_later(failure: Exception, clock: VirtualClock) -> None:
    pacer = make_pacer(10, clock)

    assert pacer.send(failing(failure, failure)) == "done"

    assert clock.passed == pytest.approx(0.1 / 0.7 + 0.1 / 0.49, rel=0.05)


def test_what_hits_one_parameter_is_tried_again_and_slows_nobody(clock: VirtualClock) -> None:
    pacer = make_pacer(10, clock)
    busy = client_error("TooManyUpdates")

    assert pacer.send(failing(busy, busy)) == "done"

    assert clock.passed == pytest.approx(0.2)
    assert pacer.throttled == 0
    with pytest.raises(ClientError):
        pacer.send(failing(*[busy] * ATTEMPTS))


def test_it_is_tried_five_times(clock: VirtualClock) -> None:
    throttled = client_error("ThrottlingException")
    pacer = make_pacer(10, clock)

    assert pacer.send(failing(*[throttled] * 4)) == "done"
    with pytest.raises(ClientError):
        pacer.send(failing(*[throttled] * 5))

    assert pacer.throttled == 9


def test_what_does_not_pass_is_not_tried_again_and_slows_nobody(clock: VirtualClock) -> None:
    pacer = make_pacer(10, clock)
    times: list[float] = []

    for _ in range(3):
        with pytest.raises(ClientError):
            pacer.send(failing(client_error("AccessDeniedException")))
        times.append(clock.passed)

    assert times == pytest.approx([0, 0.1, 0.2])
    assert pacer.throttled == 0


def test_however_often_it_is_throttled_a_tenth_of_the_pace_is_left(clock: VirtualClock) -> None:
    pacer = make_pacer(10, clock)
    times: list[float] = []

    def throttled() -> None:
        times.append(clock.passed)
        raise client_error("ThrottlingException")

    for _ in range(5):
        with pytest.raises(ClientError):
            pacer.send(throttled)

    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[-1] == max(gaps) == pytest.approx(1.0)


@pytest.mark.parametrize(("seconds", "pace"), [(1, 7.17), (9, 8.5), (17, 9.83), (18, 10), (60, 10)])
def test_the_pace_recovers_by_a_sixtieth_of_the_whole_a_second(
    seconds: float, pace: float, clock: VirtualClock
) -> None:
    pacer = make_pacer(10, clock)
    pacer.send(failing(client_error("ThrottlingException")))  # after which 7 a second are left
    clock.passed = seconds
    times: list[float] = []

    for _ in range(3):  # of which the second is caught up
        pacer.send(lambda: times.append(clock.passed))

    assert times[2] - times[1] == pytest.approx(1 / pace, rel=0.01)


def test_the_pace_follows_what_others_leave_and_recovers(clock: VirtualClock) -> None:
    pacer = make_pacer(2.4, clock)
    quota = Quota(clock, 1.0)  # of 3 a second others take 2

    while clock.passed < 600:
        pacer.send(quota.take)
    with_others = len(quota.calls)
    refused, quota.per_second = quota.refused, 3.0
    while clock.passed < 660:  # a minute later it has forgotten
        pacer.send(quota.take)
    before = len(quota.calls)
    while clock.passed < 700:
        pacer.send(quota.take)

    assert with_others > 600 * 0.75
    assert refused < with_others * 0.2
    assert quota.refused == pacer.throttled == refused
    assert len(quota.calls) - before == pytest.approx(2.4 * 40, abs=2)


def test_calls_that_are_throttled_together_slow_it_once(clock: VirtualClock) -> None:
    pacer = make_pacer(10, clock)
    throttled = failing(client_error("ThrottlingException"))

    def under_way_with_another() -> str:
        if not pacer.throttled:
            pacer.send(failing(client_error("ThrottlingException")))
        return throttled()

    pacer.send(under_way_with_another)
    before = clock.passed
    pacer.send(failing())

    assert pacer.throttled == 2
    assert clock.passed - before == pytest.approx(0.1 / 0.7, rel=0.05)


def test_two_calls_that_follow_at_once_were_made_in_a_second_and_one_says_nothing(
    clock: VirtualClock,
) -> None:
    pacer = make_pacer(2, clock)
    clock.passed += 10  # so that the first turn is late
    pacer.send(failing())
    assert pacer.achieved is None
    clock.passed += 0.1

    pacer.send(failing())

    assert pacer.achieved == 1


# The end of a run


def test_no_turn_is_after_the_end(clock: VirtualClock) -> None:
    pacer, made = make_pacer(1, clock, 2.5), list[float]()
    for _ in range(3):
        pacer.send(lambda: made.append(clock.passed))

    with pytest.raises(NoTimeLeft):
        pacer.send(lambda: made.append(clock.passed))

    assert len(made) == 3
    assert clock.passed <= 2.5


def test_a_run_has_time_for_what_it_needs_after_the_last_turn(clock: VirtualClock) -> None:
    pacer = Pacer(1, Deadline(2.5 + 14 + REPORT, clock), need=14)

    with pytest.raises(NoTimeLeft):
        all(pacer.send(lambda: True) for _ in itertools.count())

    assert clock.passed == 2


def test_whether_a_call_will_have_a_turn(clock: VirtualClock) -> None:
    pacer = make_pacer(2, clock, 20)

    assert pacer.has_turn(after=14, behind=12)
    assert not pacer.has_turn(after=14, behind=13)
    assert not pacer.has_turn(after=21, behind=0)
