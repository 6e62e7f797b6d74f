"""A read under way, for all who want that tenant's token."""

from concurrent.futures import Future

from visma_tokens.cache import CachedToken
from visma_tokens.errors import TokenError
from visma_tokens.secret import Secret

MOST_SECONDS = 10  # for which a failure is remembered; the first one for a second


class Flight(Future["CachedToken | TokenError"]):
    """Whoever begins it does the read; times are seconds since the epoch, by the wall clock."""

    def __init__(
        self, tenant: str, begun_at: float, kept: CachedToken | None = None, failures: int = 0
    ) -> None:
        """Take what is served if it fails, and how many have failed before it."""
        super().__init__()
        self.tenant = tenant
        self.begun_at = begun_at
        self.landed_at = begun_at
        self.kept = kept
        self.failures = failures
        self.was_read = False
        self.set_running_or_notify_cancel()  # so that a task that is cancelled doesn't cancel it

    def alternative(self, now: float) -> CachedToken | None:
        """Return what can be served if it fails."""
        return self.kept if self.kept is not None and now < self.kept.dies_at else None

    def is_recent(self, now: float) -> bool:
        """Tell whether a failure need not be tried again yet."""
        seconds: int = min(2**self.failures, MOST_SECONDS)
        return 0 <= now - self.landed_at < seconds

    def land(self, outcome: "CachedToken | TokenError") -> "Flight":
        """Let go all who wait for it, unless they have been let go already."""
        if not self.done():
            self.set_result(outcome)
        return self

    def token(self) -> Secret:
        """Return what it has found; raises the failure, of which each who waits gets their own."""
        outcome = self.result()
        if isinstance(outcome, TokenError):
            raise outcome.again()
        return outcome.token.value
