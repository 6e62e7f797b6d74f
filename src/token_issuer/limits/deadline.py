"""The time that a run has: its clock, its end, and what each step needs of it."""

import time
from datetime import UTC, datetime, timedelta

from token_issuer.errors import NoTimeLeft

# What each step takes at most, in seconds, with every connection and repeat that it makes.
ASK = 14.0  # a token request: 3 to connect, 3 for TLS, 8 for the answer
STORE = 7.0  # a call of Parameter Store: 2 to connect, 5 for the answer
TELL = 4.0  # up to ten events: 2 attempts of 1.5, a second between them
RECORD = 7.0  # a call of DynamoDB or Secrets Manager: 2 attempts of 3, a second between them
LAST_WORDS = 1.0  # what a run says when the events are put
REPORT = TELL + LAST_WORDS  # at the end; every need includes it
GATHER = 5.0  # after the listing, before the first tenant starts
KEEP = STORE + RECORD  # once a token is there, for all that follows
SERVE = ASK + KEEP  # a tenant
REMOVE = 2 * RECORD  # to mark and delete parameters, or to forget a tenant
PROMOTE = 3 * RECORD  # to read a pending secret and those that it is compared with, or to move it


class Clock:
    """The time of this machine; a simulation has its own."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return seconds that only go on, since no particular moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        time.sleep(seconds)


class Deadline:
    """The end of a run, and its clock."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.clock = clock
        self._total = seconds
        self._end = clock.seconds() + seconds

    def now(self) -> datetime:
        """Return the time in UTC."""
        return self.clock.now()

    @property
    def left(self) -> float:
        """Return how many seconds are left."""
        return self._end - self.clock.seconds()

    @property
    def at(self) -> datetime:
        """Return when the run ends at the latest."""
        return self.now() + timedelta(seconds=self.left)

    @property
    def is_in_first_half(self) -> bool:
        """Tell whether there is time for what no token depends on."""
        return self.left >= self._total / 2

    @property
    def listing(self) -> float:
        """Return how many seconds a listing must leave: half of all, or more for one tenant."""
        last_start = self._total - REPORT - SERVE
        # a run that is shorter than any of the template's lists for a part of that time at least
        until = min(self._total / 2, max(last_start - GATHER, last_start / 2))
        return self._total - REPORT - until

    def latest(self, need: float) -> float:
        """Return the last moment to begin what needs so many seconds, in seconds of the clock."""
        return self._end - need - REPORT

    def has(self, need: float) -> bool:
        """Tell whether so many seconds are left, and those for the report."""
        return self.clock.seconds() <= self.latest(need)

    def require(self, need: float) -> None:
        """Raise NoTimeLeft unless so many seconds are left, and those for the report."""
        if not self.has(need):
            raise NoTimeLeft
