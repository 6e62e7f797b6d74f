"""A read in progress, which all callers that want this tenant's token wait for."""

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
    """The last failed read for a tenant; `count` is the number of failures in a row."""

    error: TokenError
    at: float
    count: int

    def is_recent(self, now: float) -> bool:
        """Tell whether to raise this failure again rather than read."""
        seconds: float = min(REMEMBERED_SECONDS * 2 ** min(self.count - 1, 9), MOST_SECONDS)
        return 0 <= now - self.at < seconds

    def is_forgotten(self, now: float) -> bool:
        """Tell whether the failure is too old to count."""
        return not 0 <= now - self.at < FORGOTTEN_SECONDS


class Flight(Future["CachedToken | TokenError"]):
    """A read: its first caller makes it. Times are seconds since the epoch, by the wall clock."""

    def __init__(self, tenant: str, begun_at: float, kept: CachedToken | None = None) -> None:
        """Begin at `begun_at`; `kept` is served if the read fails."""
        super().__init__()
        self.tenant = tenant
        self.begun_at = begun_at
        self.kept = kept
        self.was_read = False
        self.set_running_or_notify_cancel()  # a cancelled task must not cancel it

    def alternative(self, now: float) -> CachedToken | None:
        """Return the token that can be served if the read fails."""
        return self.kept if self.kept is not None and now < self.kept.dies_at else None

    def land(self, outcome: "CachedToken | TokenError") -> "Flight":
        """Give the outcome to all callers that wait, unless they have one."""
        with suppress(InvalidStateError):
            self.set_result(outcome)
        return self

    def token(self) -> Secret:
        """Return the token; raises the failure, a copy for each caller."""
        outcome = self.result()
        if isinstance(outcome, TokenError):
            raise outcome.again()
        return outcome.token.value
