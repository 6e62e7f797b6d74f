"""When to call: turns for calls that share a quota, the end of a run, and when to stop asking."""

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import EndpointFailed, NoTimeLeft, aws_code

ATTEMPTS = 5  # of a call, each of them in a turn
EASING = 0.7  # of the pace is left when a call is throttled
SLOWEST = 0.1  # of the whole pace
RECOVERY_SECONDS = 60.0  # from nothing to the whole pace
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded"}
BUSY = "TooManyUpdates"  # one parameter is, not the account
SERVER_ERROR = 500

# seconds that a tenant takes at most: connections, TLS and answer of each
ASK_SECONDS = 14.0
STORE_SECONDS = 7.0
TELL_SECONDS = 5.0  # an event
RECORD_SECONDS = 7.0
REPORT_SECONDS = 2.0  # for what a run says at its end
GATHER_SECONDS = 5.0  # after the listing, before the first tenant is started

REPEATS = ((0.1, 0.5), (0.5, 1.5))  # of a token request: after how many seconds, drawn between
PATIENCE_SECONDS = 10.0  # of the longest Retry-After that is waited for


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Seconds that only go on, and how to let them pass."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


class Pacer:
    """Turns for calls that share a quota, so many a second at most; thread-safe.

    A call that AWS throttles, or that fails in passing, slows the pace down and is made again in a
    later turn. So the SDK must not repeat it: that would be beside the pace.
    """

    def __init__(self, per_second: float, clock: Clock, *, until: float = inf) -> None:
        """Take the pace, the clock, and when by that clock the last turn may be."""
        self._whole_pace = per_second
        self._until = until
        self._clock = clock
        self._turnstile = threading.Lock()  # one waits for the next turn, the others behind it
        self._lock = threading.Lock()
        self._next_turn = clock.now()
        self._slowed_at = clock.now() - RECOVERY_SECONDS
        self._slowed_to = per_second
        self._taken: list[float] = []
        self.throttled = 0

    def send[T](self, call: Callable[[], T]) -> T:
        """Make the call in its turn; raises what it raises, at last, or NoTimeLeft."""
        attempt = 1
        while True:
            sent_at = self._take_turn()
            try:
                answer = call()
            except (ClientError, BotoCoreError) as error:
                if not self._slow_down(error, sent_at) or attempt == ATTEMPTS:
                    raise
                attempt += 1
            else:
                self._taken.append(sent_at)
                return answer

    def has_turn(self, *, after: float, behind: int) -> bool:
        """Tell whether a call in `after` seconds still has a turn behind so many others."""
        now = self._clock.now()
        with self._lock:
            turn = max(now + after, self._next_turn) + behind / self._pace(now)
        return turn <= self._until

    @property
    def achieved(self) -> float | None:
        """Return how many calls a second were made, from the first to the last."""
        if not self._taken[1:]:
            return None
        seconds = max(self._taken) - min(self._taken)
        return (len(self._taken) - 1) / max(1.0, seconds)  # two may follow at once

    def _take_turn(self) -> float:
        with self._turnstile:
            while (now := self._clock.now()) < self._next_turn <= self._until:
                self._clock.sleep(self._next_turn - now)
            if max(now, self._next_turn) > self._until:
                raise NoTimeLeft("The run ended before its turn")
            with self._lock:
                interval = 1 / self._pace(now)
                # a turn that was taken late, by no more than another, costs the next ones nothing
                self._next_turn = max(self._next_turn, now - interval) + interval
            return now

    def _pace(self, now: float) -> float:
        recovered = self._whole_pace * (now - self._slowed_at) / RECOVERY_SECONDS
        return min(self._whole_pace, self._slowed_to + recovered)

    def _slow_down(self, error: ClientError | BotoCoreError, sent_at: float) -> bool:
        """Tell whether the failure passes, and go slower: once for all that were under way."""
        code = aws_code(error)
        if code == BUSY:
            return True
        is_throttled = code in THROTTLED
        passes = is_throttled or not isinstance(error, ClientError) or _is_servers(error)
        with self._lock:
            self.throttled += is_throttled
            now = self._clock.now()
            if passes and sent_at >= self._slowed_at:
                self._slowed_to = max(self._pace(now) * EASING, self._whole_pace * SLOWEST)
                self._slowed_at = now
                self._next_turn = max(self._next_turn, now + 1 / self._slowed_to)
        return passes


def last_turns(run_seconds: float) -> tuple[float, float]:
    """Return after how many seconds a run lists parameters, and stores tokens, for the last time.

    It lists for half of its time, or for less where a tenant could not be started after that.
    """
    last_write = run_seconds - STORE_SECONDS - TELL_SECONDS - RECORD_SECONDS - REPORT_SECONDS
    last_start = last_write - ASK_SECONDS
    # a run that is shorter than any of the template's lists for a part of that time at least
    return min(run_seconds / 2, max(last_start - GATHER_SECONDS, last_start / 2)), last_write


class Breaker:
    """Whether to go on asking: no more after so many failures in a row, for the rest of a run."""

    def __init__(self, most_failures: int) -> None:
        """Take how many in a row open it."""
        self._most_failures = most_failures
        self._failures = 0
        self.is_open = False

    def worked(self) -> None:
        """Count from nothing again."""
        self._failures = 0

    def failed(self, *, for_long: bool = False) -> None:
        """Count a failure; one that will last opens at once."""
        self._failures += 1
        self.is_open |= for_long or self._failures >= self._most_failures


def asks_for_long(error: EndpointFailed) -> bool:
    """Tell whether the token endpoint wants to be left alone for longer than a run waits."""
    return error.retry_after is not None and error.retry_after > PATIENCE_SECONDS


def pause_before_repeat(error: EndpointFailed, repeats: int) -> float | None:
    """Return for how many seconds to wait before asking again, None where that is no use.

    As long as the endpoint says (RFC 9110 §10.2.3), and a moment that is drawn, so that those who
    failed together don't come back together.
    """
    if error.is_timeout or asks_for_long(error) or repeats == len(REPEATS):
        return None
    least, most = REPEATS[repeats]
    return (error.retry_after or 0.0) + random.uniform(least, most)  # noqa: S311  no secret


def _is_servers(error: ClientError) -> bool:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] >= SERVER_ERROR
