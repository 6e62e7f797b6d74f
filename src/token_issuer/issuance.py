"""Tenants side by side through the steps: ask, check, store."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from traceback import walk_tb

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    ClientFailed,
    ClientSecretUnreadable,
    EndpointFailed,
    IssuerError,
    Unexpected,
)
from token_issuer.tenants import Tenant

TRIALS = 2  # tenants of a client that go alone while the authorization server gives no OAuth answer

type Outcome = AccessToken | IssuerError
type ReadCredentials = Callable[[str], ClientCredentials]
type FetchToken = Callable[[Tenant, ClientCredentials], AccessToken]
type StoreToken = Callable[[str, AccessToken], None]


def issue_tokens(
    tenants: Iterable[Tenant],
    *,
    read_credentials: ReadCredentials,
    fetch_token: FetchToken,
    store_token: StoreToken | None,
    concurrency: int,
) -> Iterator[tuple[Tenant, Outcome]]:
    """Yield each tenant once with its token or its failure, as they come.

    At most `concurrency` are under way, in the order given as far as their clients allow.
    Without `store_token` a token is asked for and checked, no more.
    """
    clients = _group_by_client(tenants)
    attempt = partial(
        _attempt, read_credentials=read_credentials, fetch=fetch_token, store=store_token
    )
    running: dict[Future[Outcome], tuple[_Client, Tenant]] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        while True:
            while len(running) < concurrency and (client := _next(clients)):
                tenant = client.start()
                running[pool.submit(attempt, client, tenant)] = (client, tenant)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                client, tenant = running.pop(future)
                client.settle(future.result())
                yield tenant, future.result()
    for client in clients:
        yield from client.given_up()


def _attempt(
    client: "_Client",
    tenant: Tenant,
    *,
    read_credentials: ReadCredentials,
    fetch: FetchToken,
    store: StoreToken | None,
) -> Outcome:
    try:
        credentials = client.credentials or _read(client.name, read_credentials)
        client.credentials = credentials  # the first of a client is alone, so they are read once
        token = fetch(tenant, credentials)
        if store:
            store(tenant.name, token)
    except IssuerError as error:
        return error
    except Exception as error:  # noqa: BLE001  a defect that one tenant meets stops no other
        return Unexpected(_name_and_place(error))
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
    waiting: deque[tuple[int, Tenant]] = field(default_factory=deque)
    credentials: ClientCredentials | None = None
    failure: ClientFailed | None = None
    running: int = 0
    trials: int = 0

    def may_start(self) -> bool:
        if not self.waiting or self.failure:
            return False
        return self.trials >= TRIALS or self.running == 0

    def start(self) -> Tenant:
        self.running += 1
        return self.waiting.popleft()[1]

    def settle(self, outcome: Outcome) -> None:
        self.running -= 1
        if isinstance(outcome, ClientFailed):
            self.failure = outcome
        self.trials = self.trials + 1 if isinstance(outcome, EndpointFailed) else TRIALS

    def given_up(self) -> Iterator[tuple[Tenant, ClientFailed]]:
        if self.failure:
            for _, tenant in self.waiting:
                yield tenant, self.failure


def _group_by_client(tenants: Iterable[Tenant]) -> list[_Client]:
    clients: dict[str, _Client] = {}
    for rank, tenant in enumerate(tenants):
        clients.setdefault(tenant.client, _Client(tenant.client)).waiting.append((rank, tenant))
    return list(clients.values())


def _next(clients: list[_Client]) -> _Client | None:
    ready = [client for client in clients if client.may_start()]
    return min(ready, key=lambda client: client.waiting[0][0], default=None)
