"""Which tenant may start next: one of a client at first, none where a breaker is open."""

from collections import deque
from collections.abc import Iterator

from token_issuer import errors
from token_issuer.clients.versions import ClientSecret
from token_issuer.limits.breaker import UNANSWERED, Breaker, asks_for_long
from token_issuer.tokens.plan import Outcome
from token_issuer.tokens.renewal import Renewal

MOST_UNSTORED = 3  # tokens in a row, after which no more are asked for at all
MOST_UNWRITABLE = 20  # parameters before any token could be stored, likewise
OF_THE_NAME = {  # codes for a name that Parameter Store doesn't take: the path is in all of them
    "HierarchyLevelLimitExceededException",
    "ParameterPatternMismatchException",
    "ValidationException",
}


class StoreTurns:
    """Whether tokens can be stored; where some in a row could not, no more are asked for.

    A parameter that can't be written is its own tenant's trouble, once a token could be stored.
    """

    def __init__(self) -> None:
        self.stopped: errors.StoreBreakerOpen | None = None
        self._has_stored = False
        self._breaker, self._unwritable = Breaker(MOST_UNSTORED), Breaker(MOST_UNWRITABLE)

    def settle(self, outcome: Outcome) -> None:
        """Count what came of a tenant."""
        failure = outcome.failure
        is_stored = outcome.token is not None or isinstance(failure, errors.LedgerUnwritable)
        self._has_stored |= is_stored
        is_failure = isinstance(failure, errors.StoreDenied | errors.StoreUnavailable)
        if isinstance(failure, errors.ParameterUnwritable) and not self._has_stored:
            self._unwritable.failed()
            is_failure = failure.code in OF_THE_NAME
        if is_failure:
            self._breaker.failed()
        elif is_stored or isinstance(failure, errors.ParameterUnwritable):
            self._breaker.worked()
        if isinstance(failure, errors.StoreFailed) and (
            self._breaker.is_open or self._unwritable.is_open
        ):
            why = f"Several tokens in a row could not be stored: {failure.detail}"
            self.stopped = self.stopped or errors.StoreBreakerOpen(why)


class ClientTurns:
    """The tenants of one client that wait, and whether they may start.

    They start one at a time until the authorization server has given one of them an OAuth answer,
    so that a dead client secret costs a refusal for each version of it, not for each tenant.
    """

    def __init__(self, secret: ClientSecret, store: StoreTurns) -> None:
        self.secret = secret
        self.queue: deque[tuple[int, Renewal]] = deque()
        self.is_on_trial = True
        self._store = store
        self._running = 0
        self._breaker = Breaker(UNANSWERED)
        self._stopped: errors.ClientFailed | errors.EndpointBreakerOpen | None = None

    @property
    def stopped(self) -> errors.ClientFailed | errors.Deferred | None:
        """Return why no more is asked for."""
        return self._stopped or self._store.stopped

    def may_start(self) -> bool:
        """Tell whether one more tenant may start."""
        if not self.queue or self.stopped:
            return False
        return self._running == 0 or not self.is_on_trial

    def start(self) -> Renewal:
        """Return the next tenant, which is under way now."""
        self._running += 1
        return self.queue.popleft()[1]

    def settle(self, outcome: Outcome) -> None:
        """Count what came of a tenant."""
        self._running -= 1
        failure = outcome.failure
        if isinstance(failure, errors.EndpointFailed):
            self._breaker.failed(for_long=asks_for_long(failure))
            if self._breaker.is_open:
                why = f"Client {self.secret.client} is not asked for any more: {failure.detail}"
                self._stopped = self._stopped or errors.EndpointBreakerOpen(why)
        elif isinstance(failure, errors.ClientFailed):
            self._stopped = failure
        elif not isinstance(failure, errors.Deferred | errors.Unexpected):
            self._breaker.worked()
            self.is_on_trial = False
            self.secret.worked(outcome.decision.name if outcome.token else None)
        if self._stopped:
            self.secret.close(self._stopped)

    def given_up(self) -> Iterator[Outcome]:
        """Yield the tenants that were not started, and why."""
        why = self.stopped or errors.NoTimeLeft()
        for _, renewal in self.queue:
            yield Outcome(decision=renewal, failure=why)
