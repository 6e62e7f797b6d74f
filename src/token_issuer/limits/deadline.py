"""How long a run may take, and what each step of it needs."""

from collections.abc import Callable
from dataclasses import dataclass

# seconds that a tenant takes at most: connections, TLS and answer of each
ASK_SECONDS = 14.0
STORE_SECONDS = 7.0
TELL_SECONDS = 5.0  # an event
RECORD_SECONDS = 7.0
REPORT_SECONDS = 2.0  # for what a run says at its end
GATHER_SECONDS = 5.0  # after the listing, before the first tenant is started


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Seconds that only go on, and how to let them pass."""

    now: Callable[[], float]
    sleep: Callable[[float], None]


def last_turns(run_seconds: float) -> tuple[float, float]:
    """Return after how many seconds a run lists parameters, and stores tokens, for the last time.

    It lists for half of its time, or for less where a tenant could not be started after that.
    """
    last_write = run_seconds - STORE_SECONDS - TELL_SECONDS - RECORD_SECONDS - REPORT_SECONDS
    last_start = last_write - ASK_SECONDS
    # a run that is shorter than any of the template's lists for a part of that time at least
    return min(run_seconds / 2, max(last_start - GATHER_SECONDS, last_start / 2)), last_write
