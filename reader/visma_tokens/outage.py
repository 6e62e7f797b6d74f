"""Whether Parameter Store is down for all tenants, so that they need not all try it."""

FIRST_PAUSE, LONGEST_PAUSE = 10.0, 60.0  # seconds between attempts, doubling
SEVERAL = 3  # tenants that failed with nobody between them who did not: it is not theirs
NEVER = float("-inf")


def pause(failures: int) -> float:
    """Return the seconds to the next attempt after so many in a row, from 1 on."""
    return float(min(FIRST_PAUSE * 2 ** min(failures - 1, 9), LONGEST_PAUSE))


class Outage:
    """Known to those who have a token to serve; an attempt may cost one of them seconds."""

    def __init__(self) -> None:
        """Begin without one."""
        self._tenants: set[str] = set()
        self._attempts = 0
        self._until = NEVER  # seconds since the epoch

    @property
    def is_known(self) -> bool:
        """Tell whether several have failed, and nobody has not."""
        return len(self._tenants) >= SEVERAL

    def holds_back(self, now: float) -> float | None:
        """Return until when nobody need try it; not for longer because the clock was set."""
        is_on = self.is_known and now < self._until <= now + LONGEST_PAUSE
        return self._until if is_on else None

    def begin_attempt(self, now: float) -> None:
        """Let the others wait for one who tries it again."""
        if self.is_known:
            self._until = now + FIRST_PAUSE

    def note(self, tenant: str, now: float, *, is_down: bool) -> None:
        """Take what an attempt has shown."""
        if not is_down:
            self._tenants, self._attempts, self._until = set(), 0, NEVER
            return
        self._tenants.add(tenant)
        if self.is_known:
            self._attempts += 1
            self._until = now + pause(self._attempts)
