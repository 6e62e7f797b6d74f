"""When to call: turns for calls that share a quota."""

import threading
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import NoTimeLeft
from token_issuer.foreign_errors import aws_code
from token_issuer.limits.deadline import Deadline

ATTEMPTS = 5  # of a call, each of them in a turn
EASING = 0.7  # of the pace is left when a call is throttled
SLOWEST = 0.1  # of the whole pace
RECOVERY_SECONDS = 60.0  # from nothing to the whole pace
THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded"}
BUSY = "TooManyUpdates"  # one parameter is, not the account
FIRST_SERVER_ERROR = 500


class Pacer:
    """Turns for calls that share a quota, so many a second at most; thread-safe.

    The last turn leaves a run the seconds that it still `need`s after it.

    A call that AWS throttles, or that fails in passing, slows the pace down and is made again in a
    later turn. So the SDK must not repeat it: that would be beside the pace.
    """

    def __init__(self, per_second: float, deadline: Deadline, *, need: float = 0.0) -> None:
        self._whole_pace = per_second
        self._clock = deadline.clock
        self._until = deadline.latest(need)
        self._turnstile = threading.Lock()  # one waits for the next turn, the others behind it
        self._lock = threading.Lock()
        self._next_turn = self._clock.seconds()
        self._slowed_at = self._next_turn - RECOVERY_SECONDS
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
        now = self._clock.seconds()
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
            while (now := self._clock.seconds()) < self._next_turn <= self._until:
                self._clock.sleep(self._next_turn - now)
            if max(now, self._next_turn) > self._until:
                raise NoTimeLeft
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
            now = self._clock.seconds()
            if passes and sent_at >= self._slowed_at:
                self._slowed_to = max(self._pace(now) * EASING, self._whole_pace * SLOWEST)
                self._slowed_at = now
                self._next_turn = max(self._next_turn, now + 1 / self._slowed_to)
        return passes


def _is_servers(error: ClientError) -> bool:
    return error.response["ResponseMetadata"]["HTTPStatusCode"] >= FIRST_SERVER_ERROR
