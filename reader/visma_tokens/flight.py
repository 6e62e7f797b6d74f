"""A read under way, for all who want that tenant's token."""

from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass

from visma_tokens.cache import CachedToken
from visma_tokens.errors import TokenError
from visma_tokens.secret import Secret

REMEMBERED_SECONDS, MOST_SECONDS = 1.0, 10.0  # a failure after the first; after several in a row
FORGOTTEN_SECONDS = 60.0  # after which the next failure is a first one


@dataclass(frozen=True)
class Failure:
    """What is known of a tenant without a token; `count` are those in a row."""

    error: TokenError
    at: float
    count: int

    def is_recent(self, now: float) -> bool:
        """Tell whether it need not be tried again yet."""
        seconds: float = min(REMEMBERED_SECONDS * 2 ** min(self.count - 1, 9), MOST_SECONDS)
        return 0 <= now - self.at < seconds

    def is_forgotten(self, now: float) -> bool:
        """Tell whether it is too old to count."""
        return not 0 <= now - self.at < FORGOTTEN_SECONDS


class Flight(Future["CachedToken | TokenError"]):
    """Whoever begins it does the read; times are seconds since the epoch, by the wall clock."""

    def __init__(self, tenant: str, begun_at: float, kept: CachedToken | None = None) -> None:
        """Take what is served if it fails."""
        super().__init__()
        self.tenant = tenant
        self.begun_at = begun_at
        self.kept = kept
        self.was_read = False
        self.set_running_or_notify_cancel()  # so that a task that is cancelled doesn't cancel it

    def alternative(self, now: float) -> CachedToken | None:
        """Return what can be served if it fails."""
        return self.kept if self.kept is not None and now < self.kept.dies_at else None

    def land(self, outcome: "CachedToken | TokenError") -> "Flight":
        """Let go all who wait for it, unless they have been let go already."""
        with suppress(InvalidStateError):
            self.set_result(outcome)
        return self

    def token(self) -> Secret:
        """Return what it has found; raises the failure, of which each who waits gets their own."""
        outcome = self.result()
        if isinstance(outcome, TokenError):
            raise outcome.again()
        return outcome.token.value
