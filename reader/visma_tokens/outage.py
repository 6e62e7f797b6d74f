"""While Parameter Store is down, who has a token to serve waits with the next attempt."""

FIRST_PAUSE, MOST = 10.0, 60.0  # seconds between attempts, doubling
NEVER = float("-inf")


class Outage:
    """Of all tenants together: an attempt may take seconds, and none of them is to blame."""

    def __init__(self) -> None:
        """Begin without one."""
        self.until = NEVER  # the next attempt; seconds since the epoch
        self._pause = 0.0

    def note(self, now: float, *, is_down: bool) -> None:
        """Take what an attempt has shown."""
        if not is_down:
            self.until, self._pause = NEVER, 0.0
        elif not self.is_on(now):  # else others have begun before the pause did
            self._pause = min(2 * self._pause or FIRST_PAUSE, MOST)
            self.until = now + self._pause

    def is_on(self, now: float) -> bool:
        """Tell whether the next attempt is to wait; not for longer because the clock was set."""
        return now < self.until <= now + MOST
