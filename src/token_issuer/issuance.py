"""Tenants side by side through the steps: ask, check, store, record."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from traceback import walk_tb

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    ClientFailed,
    ClientSecretUnreadable,
    EndpointFailed,
    IssuerError,
    LedgerUnwritable,
    ParameterUnwritable,
    TenantRefused,
    Unexpected,
)
from token_issuer.ledger import Record
from token_issuer.renewal import Renewal
from token_issuer.settings import Settings
from token_issuer.tenants import Tenant

TRIALS = 2  # tenants of a client that go alone while the authorization server gives no OAuth answer
# failures that are recorded against the tenant: those of its client or of the store are not
OF_THE_TENANT = (TenantRefused, EndpointFailed, ParameterUnwritable, Unexpected)

type Outcome = AccessToken | IssuerError
type ReadCredentials = Callable[[str], ClientCredentials]
type FetchToken = Callable[[Tenant, ClientCredentials], AccessToken]
type StoreToken = Callable[[str, AccessToken], int]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What one tenant goes through: ask (and check), store, record.

    Without `store_token` a token is asked for and checked, and nothing is recorded.
    """

    read_credentials: ReadCredentials
    fetch_token: FetchToken
    store_token: StoreToken | None
    record_token: Callable[[Record, Record | None], None]
    record_failure: Callable[[Record], None]
    shorten: Callable[[str, datetime], None]
    now: Callable[[], datetime]
    settings: Settings


def issue_tokens(
    renewals: Iterable[Renewal], started_at: datetime, *, steps: Steps
) -> Iterator[tuple[Renewal, Outcome]]:
    """Yield each renewal once with its token or its failure, as they come.

    Some are under way side by side, in the order given as far as their clients allow; records say
    that the run began at `started_at`.
    """
    clients, concurrency = _group_by_client(renewals), steps.settings.concurrency
    running: dict[Future[Outcome], tuple[_Client, Renewal]] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        while True:
            while len(running) < concurrency and (client := _next(clients)):
                renewal = client.start()
                running[pool.submit(_attempt, client, renewal, started_at, steps)] = (
                    client,
                    renewal,
                )
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                client, renewal = running.pop(future)
                client.settle(future.result())
                yield renewal, future.result()
    for client in clients:
        yield from client.given_up()


def _attempt(client: "_Client", renewal: Renewal, started_at: datetime, steps: Steps) -> Outcome:
    try:
        credentials = client.credentials or _read(client.name, steps.read_credentials)
    except IssuerError as error:
        return error
    client.credentials = credentials  # the first of a client is alone, so they are read once
    try:
        return _issue(renewal, credentials, started_at, steps)
    except IssuerError as error:
        failure = error
    except Exception as error:  # noqa: BLE001  a defect that one tenant meets stops no other
        failure = Unexpected(_name_and_place(error))
    if steps.store_token and isinstance(failure, OF_THE_TENANT):
        try:
            steps.record_failure(
                renewal.failed(
                    failure,
                    client_secret_version=credentials.version,
                    now=steps.now(),
                    attempted_at=started_at,
                    settings=steps.settings,
                )
            )
        except LedgerUnwritable as error:
            return type(failure)(f"{failure.detail}; {error.detail}", code=failure.code)
    return failure


def _issue(
    renewal: Renewal, credentials: ClientCredentials, started_at: datetime, steps: Steps
) -> AccessToken:
    token = steps.fetch_token(renewal.tenant, credentials)
    if steps.store_token:
        if renewal.issued and token.expires_at < renewal.issued.expires_at:
            # first, since a run may end after any step, and the ledger must not claim too much
            steps.shorten(renewal.tenant.name, token.expires_at)
        version = steps.store_token(renewal.parameter, token)
        record = renewal.succeeded(
            token,
            version=version,
            client_secret_version=credentials.version,
            attempted_at=started_at,
        )
        steps.record_token(record, renewal.record)
    return token


def _read(client: str, read_credentials: ReadCredentials) -> ClientCredentials:
    try:
        return read_credentials(client)
    except IssuerError:
        raise
    except Exception as error:  # noqa: BLE001  a defect here would be met by each tenant anew
        place = _name_and_place(error)
    raise ClientSecretUnreadable(f"Reading the secret of client {client} failed: {place}")


def _name_and_place(error: Exception) -> str:
    """Return what is safe to show of a defect: its text may quote a secret."""
    *_, (code, line) = (
        (frame.f_code, line)
        for frame, line in walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].startswith(__package__)
    )
    return f"{type(error).__name__} in {PurePath(code.co_filename).name}, line {line}"


@dataclass
class _Client:
    """The tenants of one client that wait, and whether they may start.

    They start one at a time until the authorization server has given one of them an OAuth answer,
    so that a dead client secret costs one refusal, not `concurrency` of them.
    """

    name: str
    waiting: deque[tuple[int, Renewal]] = field(default_factory=deque)
    credentials: ClientCredentials | None = None
    failure: ClientFailed | None = None
    running: int = 0
    trials: int = 0

    def may_start(self) -> bool:
        if not self.waiting or self.failure:
            return False
        return self.trials >= TRIALS or self.running == 0

    def start(self) -> Renewal:
        self.running += 1
        return self.waiting.popleft()[1]

    def settle(self, outcome: Outcome) -> None:
        self.running -= 1
        if isinstance(outcome, ClientFailed):
            self.failure = outcome
        self.trials = self.trials + 1 if isinstance(outcome, EndpointFailed) else TRIALS

    def given_up(self) -> Iterator[tuple[Renewal, ClientFailed]]:
        if self.failure:
            for _, renewal in self.waiting:
                yield renewal, self.failure


def _group_by_client(renewals: Iterable[Renewal]) -> list[_Client]:
    clients: dict[str, _Client] = {}
    for rank, renewal in enumerate(renewals):
        name = renewal.tenant.client
        clients.setdefault(name, _Client(name)).waiting.append((rank, renewal))
    return list(clients.values())


def _next(clients: list[_Client]) -> _Client | None:
    ready = [client for client in clients if client.may_start()]
    return min(ready, key=lambda client: client.waiting[0][0], default=None)
