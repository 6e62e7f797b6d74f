"""When to stop asking a server that fails, and when to ask it again."""

import random

from token_issuer.errors import EndpointFailed

UNANSWERED = 5  # tenants of a client in a row, after which no more of them are asked for
REPEATS = ((0.1, 0.5), (0.5, 1.5))  # of a token request: after how many seconds, drawn between
PATIENCE_SECONDS = 10.0  # of the longest Retry-After that is waited for


class Breaker:
    """Whether to go on asking: no more after so many failures in a row, for the rest of a run."""

    def __init__(self, most_failures: int) -> None:
        self._most_failures = most_failures
        self._failures = 0
        self.is_open = False

    def worked(self) -> None:
        """Count from nothing again."""
        self._failures = 0

    def failed(self, *, for_long: bool = False) -> None:
        """Count a failure; one that will last opens at once."""
        self._failures += 1
        self.is_open |= for_long or self._failures >= self._most_failures


def asks_for_long(error: EndpointFailed) -> bool:
    """Tell whether the token endpoint wants to be left alone for longer than a run waits."""
    return error.retry_after is not None and error.retry_after > PATIENCE_SECONDS


def pause_before_repeat(error: EndpointFailed, repeats: int) -> float | None:
    """Return for how many seconds to wait before asking again, None where that is no use.

    As long as the endpoint says (RFC 9110 §10.2.3), and a moment that is drawn, so that those who
    failed together don't come back together.
    """
    if error.is_timeout or asks_for_long(error) or repeats == len(REPEATS):
        return None
    least, most = REPEATS[repeats]
    return (error.retry_after or 0.0) + random.uniform(least, most)  # noqa: S311  no secret
