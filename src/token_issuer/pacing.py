"""When to call: turns for calls that share a quota."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

ATTEMPTS = 5  # of a call, each of them in a turn
EASING = 0.7  # of the pace is left when a call is throttled
SLOWEST = 0.1  # of the whole pace
RECOVERY_SECONDS = 60.0  # from nothing to the whole pace
THROTTLED = {"ThrottlingException", "TooManyUpdates", "RequestLimitExceeded"}
SERVER_ERROR = 500


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

    def __init__(self, per_second: float, clock: Clock) -> None:
        """Take the pace and the clock."""
        self._whole_pace = per_second
        self._clock = clock
        self._turnstile = threading.Lock()  # one waits for the next turn, the others behind it
        self._lock = threading.Lock()
        self._next_turn = clock.now()
        self._slowed_at = clock.now() - RECOVERY_SECONDS
        self._slowed_to = per_second
        self._taken: list[float] = []
        self.throttled = 0

    def send[T](self, call: Callable[[], T]) -> T:
        """Make the call in its turn; raises what it raises, at last."""
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

    @property
    def achieved(self) -> float | None:
        """Return how many calls a second were made, from the first to the last."""
        seconds = max(self._taken, default=0) - min(self._taken, default=0)
        return (len(self._taken) - 1) / seconds if seconds else None

    def _take_turn(self) -> float:
        with self._turnstile:
            while (now := self._clock.now()) < self._next_turn:
                self._clock.sleep(self._next_turn - now)
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
        is_throttled = isinstance(error, ClientError) and _code(error) in THROTTLED
        passes = is_throttled or not isinstance(error, ClientError) or _is_servers(error)
        with self._lock:
            self.throttled += is_throttled
            now = self._clock.now()
            if passes and sent_at >= self._slowed_at:
                self._slowed_to = max(self._pace(now) * EASING, self._whole_pace * SLOWEST)
                self._slowed_at = now
                self._next_turn = max(self._next_turn, now + 1 / self._slowed_to)
        return passes


def _code(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def _is_servers(error: ClientError) -> bool:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] >= SERVER_ERROR
