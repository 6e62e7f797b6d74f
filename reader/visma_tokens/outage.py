"""Notice that Parameter Store is down for all tenants, so that not each of them tries it."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 60.0  # seconds between attempts, doubling
SEVERAL = 3  # tenants that failed in a row: the cause is not one tenant's
NEVER = float("-inf")


def pause(failures: int) -> float:
    """Return the seconds to the next attempt; `failures` in a row are at least 1."""
    return float(min(FIRST_PAUSE * 2 ** min(failures - 1, 9), LONGEST_PAUSE))


class Outage:
    """An outage holds back reads for tenants with a cached token: each attempt may take seconds."""

    def __init__(self) -> None:
        """Begin without an outage."""
        self._tenants: set[str] = set()
        self._attempts = 0
        self._until = NEVER  # seconds since the epoch

    @property
    def is_known(self) -> bool:
        """Tell whether three tenants have failed in a row."""
        return len(self._tenants) >= SEVERAL

    def holds_back(self, now: float) -> float | None:
        """Return when reads may be tried again, None for now; bounded if the clock was set back."""
        is_on = self.is_known and now < self._until <= now + LONGEST_PAUSE
        return self._until if is_on else None

    def begin_attempt(self, now: float) -> None:
        """Hold the other reads back while one caller tries again."""
        if self.is_known:
            self._until = now + FIRST_PAUSE

    def note(self, tenant: str, now: float, *, is_down: bool) -> None:
        """Record how a tenant's attempt ended, at `now` in seconds since the epoch."""
        if not is_down:
            self._tenants, self._attempts, self._until = set(), 0, NEVER
            return
        self._tenants.add(tenant)
        if self.is_known:
            self._attempts += 1
            self._until = now + pause(self._attempts)
