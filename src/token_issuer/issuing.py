"""Tokens side by side: request, check, store, record."""

from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime

from token_issuer import errors
from token_issuer.clients.versions import SecretsInUse
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.limits.breaker import pause_before_repeat
from token_issuer.limits.deadline import ASK
from token_issuer.outside import Outside
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.oauth import fetch_token
from token_issuer.tokens.ownership import Ownership
from token_issuer.tokens.plan import Decision, Outcome
from token_issuer.tokens.renewal import Renewal
from token_issuer.tokens.turns import ClientTurns, StoreTurns


def issue(
    decisions: Iterable[Decision], facts: Facts, secrets: SecretsInUse, outside: Outside
) -> Iterator[Outcome]:
    """Yield what came of each renewal, as it comes; a probe stores and records nothing.

    Some are under way side by side, in the order given as far as their clients allow.
    """
    ownership = Ownership(facts.memory.records.values(), facts.configuration.tenants.values())
    attempts = _Attempts(outside, ownership, facts.at, facts.invocation.probe)
    store, concurrency = StoreTurns(), outside.settings.concurrency
    renewals = [one for one in decisions if isinstance(one, Renewal)]
    clients = _group_by_client(renewals, store, secrets)
    running: dict[Future[Outcome], ClientTurns] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        while True:
            while (
                len(running) < concurrency
                and attempts.has_time(behind=len(running))
                and (client := _next(clients))
            ):
                running[pool.submit(attempts.make, client.start(), client)] = client
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                client, outcome = running.pop(future), future.result()
                client.settle(outcome)
                store.settle(outcome)
                yield outcome
    for client in clients:
        yield from client.given_up()


def _group_by_client(
    renewals: Iterable[Renewal], store: StoreTurns, secrets: SecretsInUse
) -> list[ClientTurns]:
    clients: dict[str, ClientTurns] = {}
    for rank, renewal in enumerate(renewals):
        name = renewal.tenant.client
        client = clients.setdefault(name, ClientTurns(secrets.of(name), store))
        client.queue.append((rank, renewal))
    return list(clients.values())


def _next(clients: list[ClientTurns]) -> ClientTurns | None:
    ready = [client for client in clients if client.may_start()]
    return min(ready, key=lambda client: client.queue[0][0], default=None)


@dataclass(frozen=True)
class _Attempts:
    """The attempts of one run; thread-safe."""

    _outside: Outside
    _ownership: Ownership
    _began_at: datetime
    _is_probe: bool

    def make(self, renewal: Renewal, client: ClientTurns) -> Outcome:
        """Return what came of one tenant, whatever is raised: a defect stops no other tenant."""
        try:
            client.secret.choose()  # the first of a client is alone, so it is read once
            self._require_time()  # after reading a secret
            token = self._ask(renewal, client)
            self._ownership.check(token, renewal.tenant)
            if not self._is_probe:
                self._keep(token, renewal, client)
        except Exception as error:  # noqa: BLE001  as said above
            failure = failure_of(error)
        else:
            return Outcome(decision=renewal, token=token)
        outcome = Outcome(decision=renewal, failure=failure)
        try:
            if outcome.is_recorded and not self._is_probe:
                self._record(failure, renewal, client)
        except Exception as error:  # noqa: BLE001  likewise
            return Outcome(decision=renewal, failure=failure_of(error))
        return outcome

    def has_time(self, *, behind: int, pause: float = 0.0) -> bool:
        """Tell whether a token that is asked for after a pause can still be stored."""
        if self._is_probe:
            return self._outside.deadline.has(pause + ASK)
        return self._outside.tokens.writes.has_turn(after=pause + ASK, behind=behind)

    def _require_time(self) -> None:
        if not self.has_time(behind=0):
            raise errors.NoTimeLeft

    def _ask(self, renewal: Renewal, client: ClientTurns) -> AccessToken:
        """Ask for a token, and again after a failure that may pass in a moment.

        While nobody else of the client asks, a refused version of its secret gives way to another.
        """
        repeats, post, clock = 0, self._outside.endpoint.post, self._outside.deadline.clock
        while True:
            credentials = client.secret.choose()
            try:
                return fetch_token(renewal.tenant, credentials, post=post, now=clock.now)
            except errors.ClientRefused as refusal:
                if not client.is_on_trial:
                    raise
                client.secret.refuse(credentials, refusal)
                self._require_time()  # to read more versions
                client.secret.choose()
                self._require_time()  # to ask with one
            except errors.EndpointFailed as error:
                pause = pause_before_repeat(error, repeats)
                behind = self._outside.settings.concurrency
                if pause is None or not self.has_time(pause=pause, behind=behind):
                    raise
                clock.sleep(pause)
                if client.is_on_trial or client.stopped:
                    raise
                repeats += 1

    def _keep(self, token: AccessToken, renewal: Renewal, client: ClientTurns) -> None:
        """Store a token, then record it."""
        version = self._outside.tokens.put(renewal.parameter, token)
        record = renewal.succeeded(
            token,
            version=version,
            client_secret_version=client.secret.version,
            attempted_at=self._began_at,
        )
        self._outside.ledger.record_token(record, renewal.record)

    def _record(self, failure: errors.IssuerError, renewal: Renewal, client: ClientTurns) -> None:
        record = renewal.failed(
            failure,
            client_secret_version=client.secret.version,
            now=self._outside.deadline.now(),
            attempted_at=self._began_at,
            settings=self._outside.settings,
        )
        try:
            self._outside.ledger.record_failure(record)
        except errors.LedgerUnwritable as error:
            failure.detail += f"; {error.detail}"
