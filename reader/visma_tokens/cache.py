"""A cached token, and how long it is served; times are seconds since the epoch, by wall clock."""

from dataclasses import dataclass, replace
from datetime import datetime, timezone

from visma_tokens.errors import ReadFailed, TokenError, TokenExpired
from visma_tokens.parameter_store import StoredToken

EARLIER = 0.1  # of the cache time: in this last part, a look-up reads anew
MOST_SECONDS = 300.0  # the issuer promises that a token which is read is valid for longer
NOT_RENEWED = (
    "The issuer has stopped, or Visma refuses the tenant: the issuer's command"
    " `visma-tokens doctor` tells; else check that clock"
)


@dataclass(frozen=True)
class CachedToken:
    """A token that is served until `renew_at`, during a read until `deadline`.

    If a read fails, it may be served until `dies_at`, and never later.
    """

    token: StoredToken
    read_at: float
    renew_at: float
    deadline: float
    dies_at: float

    def is_served(self, now: float, *, is_renewed: bool) -> bool:
        """Tell whether to serve it; not if it was read in the future, as after a clock change."""
        return self.read_at <= now < (self.deadline if is_renewed else self.renew_at)

    def prolonged(self, now: float, until: float) -> "CachedToken":
        """Return a copy that is served until the next attempt at `until`, and while that lasts."""
        dies_at = self.dies_at
        if self.token.expires_at is None:
            dies_at = min(dies_at, now + MOST_SECONDS)  # even if the clock is set back
        return replace(
            self,
            read_at=min(self.read_at, now),
            renew_at=min(until, dies_at),
            deadline=dies_at,
            dies_at=dies_at,
        )


def keep(
    token: StoredToken, tenant: str, *, read_at: float, now: float, seconds: float
) -> CachedToken | TokenError:
    """Return the token to cache for `seconds` from `read_at`, or the error if it is too old."""
    if token.expires_at is None:
        if now - read_at >= MOST_SECONDS:  # the process was frozen meanwhile
            return ReadFailed(tenant, "the answer is older than five minutes", "Try again")
        dies_at = read_at + seconds
    elif token.expires_at <= now:
        when = f"{datetime.fromtimestamp(token.expires_at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
        ago = f"{now - token.expires_at:.0f} s ago by this machine's clock"
        detail = f"the one that is stored expired on {when}, {ago}"
        return TokenExpired(tenant, detail, NOT_RENEWED)
    else:
        dies_at = token.expires_at
    deadline = min(read_at + seconds, dies_at)
    renew_at = deadline - EARLIER * (deadline - read_at)
    return CachedToken(token, read_at, renew_at, deadline, dies_at)
