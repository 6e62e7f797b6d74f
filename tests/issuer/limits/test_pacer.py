import itertools
import threading
import time
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from token_issuer.errors import EndpointUnavailable, NoTimeLeft
from token_issuer.limits.breaker import Breaker, pause_before_repeat
from token_issuer.limits.deadline import ASK, GATHER, Clock, last_turns
from token_issuer.limits.pacer import ATTEMPTS, Pacer


class VirtualTime:
    """A clock that goes on when somebody sleeps, or as a call takes time."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = Clock(now=lambda: self.seconds, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.seconds += seconds


class Quota:
    """A token bucket, as AWS keeps one for each account and operation."""

    def __init__(self, time: VirtualTime, per_second: float) -> None:
        self.time = time
        self.per_second = per_second
        self.level = per_second
        self.filled_at = time.seconds
        self.calls: list[float] = []
        self.refused = 0

    def take(self) -> None:
        filled = (self.time.seconds - self.filled_at) * self.per_second
        self.level = min(self.per_second, self.level + filled)
        self.filled_at = self.time.seconds
        self.time.seconds += 0.02
        if self.level < 1:
            self.refused += 1
            raise error("ThrottlingException")
        self.level -= 1
        self.calls.append(self.time.seconds)


def error(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "PutParameter",
    )


def failing(*errors: Exception, answer: str = "done") -> Callable[[], str]:
    left = list(errors)

    def call() -> str:
        if left:
            raise left.pop(0)
        return answer

    return call


@pytest.fixture
def virtual() -> VirtualTime:
    return VirtualTime()


def test_calls_keep_the_pace(virtual: VirtualTime) -> None:
    pacer, times = Pacer(4, virtual.clock), []

    for _ in range(9):
        pacer.send(lambda: times.append(virtual.seconds))

    assert times == [1000 + 0.25 * number for number in range(9)]
    assert pacer.achieved == 4


def test_what_comes_late_costs_the_next_ones_no_more_than_a_turn(virtual: VirtualTime) -> None:
    pacer = Pacer(4, virtual.clock)
    times: list[float] = []
    for pause in (0, 0, 0.3, 0, 5, 0, 0):
        virtual.seconds += pause
        pacer.send(lambda: times.append(virtual.seconds - 1000))

    assert times == pytest.approx([0, 0.25, 0.55, 0.75, 5.75, 5.75, 6.0])


def test_threads_share_the_pace() -> None:
    pacer = Pacer(100, Clock(now=time.monotonic, sleep=time.sleep))
    times: list[float] = []
    threads = [
        threading.Thread(
            target=lambda: [pacer.send(lambda: times.append(time.monotonic())) for _ in range(10)]
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(times) == 80
    assert max(times) - min(times) >= 78 / 100  # 79 intervals, of which one may be caught up


def test_threads_that_wait_together_go_one_after_the_other() -> None:
    pacer = Pacer(20, Clock(now=time.monotonic, sleep=time.sleep))
    times: list[float] = []
    threads = [
        threading.Thread(target=lambda: pacer.send(lambda: times.append(time.monotonic())))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    times.sort()  # one may be caught up, so of three there is a turn between the first and the last
    assert all(third - first > 0.5 / 20 for first, third in zip(times, times[2:], strict=False))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(error("ThrottlingException"), id="throttled"),
        pytest.param(error("Throttling"), id="throttled, by its other name"),
        pytest.param(error("InternalServerError", 500), id="a server error"),
        pytest.param(EndpointConnectionError(endpoint_url="x"), id="no connection"),
        pytest.param(ReadTimeoutError(endpoint_url="x"), id="no answer"),
    ],
)
def test_what_passes_is_tried_again_ever_later(failure: Exception, virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)

    assert pacer.send(failing(failure, failure)) == "done"

    assert virtual.seconds - 1000 == pytest.approx(0.1 / 0.7 + 0.1 / 0.49, rel=0.05)


def test_what_hits_one_parameter_is_tried_again_and_slows_nobody(virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)
    busy = error("TooManyUpdates")

    assert pacer.send(failing(busy, busy)) == "done"

    assert virtual.seconds - 1000 == pytest.approx(0.2)
    assert pacer.throttled == 0
    with pytest.raises(ClientError):
        pacer.send(failing(*[busy] * ATTEMPTS))


def test_it_is_tried_five_times(virtual: VirtualTime) -> None:
    throttled = error("ThrottlingException")
    pacer = Pacer(10, virtual.clock)

    assert pacer.send(failing(*[throttled] * 4)) == "done"
    with pytest.raises(ClientError):
        pacer.send(failing(*[throttled] * 5))

    assert pacer.throttled == 9


def test_what_does_not_pass_is_not_tried_again_and_slows_nobody(virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)
    times: list[float] = []

    for _ in range(3):
        with pytest.raises(ClientError):
            pacer.send(failing(error("AccessDeniedException")))
        times.append(virtual.seconds - 1000)

    assert times == pytest.approx([0, 0.1, 0.2])
    assert pacer.throttled == 0


def test_however_often_it_is_throttled_a_tenth_of_the_pace_is_left(virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)
    times: list[float] = []

    def throttled() -> None:
        times.append(virtual.seconds)
        raise error("ThrottlingException")

    for _ in range(5):
        with pytest.raises(ClientError):
            pacer.send(throttled)

    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[-1] == max(gaps) == pytest.approx(1.0)


@pytest.mark.parametrize(("seconds", "pace"), [(1, 7.17), (9, 8.5), (17, 9.83), (18, 10), (60, 10)])
def test_the_pace_recovers_by_a_sixtieth_of_the_whole_a_second(
    seconds: float, pace: float, virtual: VirtualTime
) -> None:
    pacer = Pacer(10, virtual.clock)
    pacer.send(failing(error("ThrottlingException")))  # after which 7 a second are left
    virtual.seconds = 1000 + seconds
    times: list[float] = []

    for _ in range(3):  # of which the second is caught up
        pacer.send(lambda: times.append(virtual.seconds))

    assert times[2] - times[1] == pytest.approx(1 / pace, rel=0.01)


def test_the_pace_follows_what_others_leave_and_recovers(virtual: VirtualTime) -> None:
    pacer = Pacer(2.4, virtual.clock)
    quota = Quota(virtual, 1.0)  # of 3 a second others take 2

    while virtual.seconds < 1600:
        pacer.send(quota.take)
    with_others = len(quota.calls)
    refused, quota.per_second = quota.refused, 3.0
    while virtual.seconds < 1660:  # a minute later it has forgotten
        pacer.send(quota.take)
    before = len(quota.calls)
    while virtual.seconds < 1700:
        pacer.send(quota.take)

    assert with_others > 600 * 0.75
    assert refused < with_others * 0.2
    assert quota.refused == pacer.throttled == refused
    assert len(quota.calls) - before == pytest.approx(2.4 * 40, abs=2)


def test_calls_that_are_throttled_together_slow_it_once(virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)
    throttled = failing(error("ThrottlingException"))

    def under_way_with_another() -> str:
        if not pacer.throttled:
            pacer.send(failing(error("ThrottlingException")))
        return throttled()

    pacer.send(under_way_with_another)
    before = virtual.seconds
    pacer.send(failing())

    assert pacer.throttled == 2
    assert virtual.seconds - before == pytest.approx(0.1 / 0.7, rel=0.05)


def test_the_pace_that_was_achieved_needs_two_calls(virtual: VirtualTime) -> None:
    pacer = Pacer(10, virtual.clock)

    pacer.send(failing())

    assert pacer.achieved is None


def test_two_calls_that_follow_at_once_were_made_in_a_second(virtual: VirtualTime) -> None:
    pacer = Pacer(2, virtual.clock)
    virtual.seconds += 10  # so that the first turn is late
    pacer.send(failing())
    virtual.seconds += 0.1

    pacer.send(failing())

    assert pacer.achieved == 1


# The end of a run


def test_no_turn_is_after_the_end() -> None:
    time = VirtualTime()
    pacer = Pacer(1, time.clock, until=time.seconds + 2.5)
    made: list[float] = []
    for _ in range(3):
        pacer.send(lambda: made.append(time.seconds))

    with pytest.raises(NoTimeLeft):
        pacer.send(lambda: made.append(time.seconds))

    assert len(made) == 3
    assert time.seconds <= 1002.5


def test_whether_a_call_will_have_a_turn() -> None:
    time = VirtualTime()
    pacer = Pacer(2, time.clock, until=time.seconds + 20)

    assert pacer.has_turn(after=14, behind=12)
    assert not pacer.has_turn(after=14, behind=13)
    assert not pacer.has_turn(after=21, behind=0)


# Breakers, and repeats of a token request


def test_a_breaker_opens_after_so_many_in_a_row_and_stays_open() -> None:
    breaker = Breaker(3)
    breaker.failed()
    breaker.failed()
    breaker.worked()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open

    breaker.failed()
    breaker.worked()

    assert breaker.is_open


def test_a_failure_that_lasts_opens_it_at_once() -> None:
    breaker = Breaker(3)

    breaker.failed(for_long=True)

    assert breaker.is_open


@pytest.mark.parametrize(
    ("error", "repeats", "pause"),
    [
        (EndpointUnavailable("503"), 0, (0.1, 0.5)),
        (EndpointUnavailable("503"), 1, (0.5, 1.5)),
        (EndpointUnavailable("503"), 2, None),
        (EndpointUnavailable("late", is_timeout=True), 0, None),
        (EndpointUnavailable("429", retry_after=0.0), 0, (0.1, 0.5)),
        (EndpointUnavailable("429", retry_after=7.0), 0, (7.1, 7.5)),
        (EndpointUnavailable("429", retry_after=10.0), 1, (10.5, 11.5)),
        (EndpointUnavailable("429", retry_after=10.1), 0, None),
    ],
)
def test_how_long_to_wait_before_a_repeat(
    error: EndpointUnavailable, repeats: int, pause: tuple[float, float] | None
) -> None:
    found = {pause_before_repeat(error, repeats) for _ in range(50)}

    if pause is None:
        assert found == {None}
        return
    assert all(one is not None and pause[0] <= one <= pause[1] for one in found)
    assert len(found) > 1


@pytest.mark.parametrize("run_seconds", [50, 110, 290, 590, 890])
def test_after_the_longest_listing_a_tenant_can_still_be_started(run_seconds: float) -> None:
    time = VirtualTime()
    read_seconds, write_seconds = last_turns(run_seconds)
    reads = Pacer(8, time.clock, until=time.seconds + read_seconds)
    writes = Pacer(2.4, time.clock, until=time.seconds + write_seconds)

    with pytest.raises(NoTimeLeft):
        all(reads.send(lambda: True) for _ in itertools.count())

    time.seconds += GATHER
    assert writes.has_turn(after=ASK, behind=0)


def test_a_run_that_is_shorter_than_the_templates_still_lists() -> None:
    read_seconds, write_seconds = last_turns(40)

    assert 0 < read_seconds < write_seconds - ASK
