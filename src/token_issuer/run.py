"""One run: read the tenants, issue a token for each, report."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    ClientFailed,
    DocumentInvalid,
    EndpointFailed,
    IssuerError,
    TenantDisabled,
    UnknownTenant,
)
from token_issuer.invocation import Invocation
from token_issuer.telemetry import Telemetry
from token_issuer.tenants import Configuration, Tenant

FAILURES_SHOWN = 100
TRIALS = 2  # tenants that go alone before an authorization server that gives no OAuth answer

type IssueToken = Callable[[Tenant, ClientCredentials], AccessToken]
type ReadCredentials = Callable[[str], ClientCredentials]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to; failures are keyed by tenant, or by a parameter that can't be read."""

    issued: int
    failures: dict[str, IssuerError]

    def as_dict(self) -> dict[str, Any]:
        """Return the function's answer; counts are exact, failures are cut."""
        shown = list(self.failures.items())[:FAILURES_SHOWN]
        return {
            "issued": self.issued,
            "failed": len(self.failures),
            "failures": [
                {
                    "tenant": subject,
                    "reason": error.reason,
                    "detail": error.detail,
                    "remedy": error.remedy,
                }
                for subject, error in shown
            ],
        }


def run(
    invocation: Invocation,
    *,
    read_tenants: Callable[[], Configuration],
    read_credentials: ReadCredentials,
    issue_token: IssueToken,
    telemetry: Telemetry,
    concurrency: int,
) -> Report:
    """Serve the tenants that the invocation asks for; raises RunFailed when none can be."""
    started = time.monotonic()
    tenants, failures = select_tenants(read_tenants(), invocation)
    for subject, error in failures.items():
        telemetry.token_failed(subject, error)
    issued = 0
    if not invocation.dry_run:
        clients = _group_by_client(tenants)
        for tenant, outcome in _issue_side_by_side(
            clients, read_credentials, issue_token, concurrency
        ):
            if isinstance(outcome, IssuerError):
                failures[tenant.name] = outcome
                telemetry.token_failed(tenant.name, outcome)
            elif not invocation.probe:
                issued += 1
                telemetry.token_issued(tenant, outcome)
    telemetry.run_finished(
        issued=issued, failed=len(failures), seconds=time.monotonic() - started
    )
    return Report(issued=issued, failures=failures)


def select_tenants(
    configuration: Configuration, invocation: Invocation
) -> tuple[list[Tenant], dict[str, IssuerError]]:
    """Return the tenants to serve, and why the others that were asked for are not."""
    if invocation.tenants is None:
        enabled = [tenant for tenant in configuration.tenants.values() if tenant.enabled]
        return enabled, dict(configuration.invalid)
    tenants: list[Tenant] = []
    failures: dict[str, IssuerError] = {}
    for name in invocation.tenants:
        tenant = configuration.tenants.get(name)
        if tenant is None:
            failures[name] = _why_unknown(name, configuration.invalid)
        elif tenant.enabled or invocation.probe:
            tenants.append(tenant)
        else:
            failures[name] = TenantDisabled(f"Tenant {name} is disabled in its document")
    return tenants, failures


def _why_unknown(name: str, invalid: dict[str, DocumentInvalid]) -> IssuerError:
    for subject, error in invalid.items():
        if subject == name or subject.endswith(f"/{name}"):
            return error
    unread = f", and {len(invalid)} documents can't be used" if invalid else ""
    return UnknownTenant(f"Tenant {name} is not configured{unread}")


@dataclass
class _Client:
    """The tenants of one client that wait, and whether they may start.

    They start one at a time until the authorization server has answered one of them, so that a
    dead client secret costs one refusal.
    """

    name: str
    waiting: deque[tuple[int, Tenant]] = field(default_factory=deque)
    credentials: ClientCredentials | None = None
    running: int = 0
    trials: int = 0
    answered: bool = False
    failure: ClientFailed | None = None

    def may_start(self) -> bool:
        if not self.waiting or self.failure:
            return False
        return self.answered or self.trials >= TRIALS or self.running == 0

    def settle(self, outcome: AccessToken | IssuerError) -> None:
        self.running -= 1
        self.trials += 1
        if isinstance(outcome, ClientFailed):
            self.failure = outcome
        elif not isinstance(outcome, EndpointFailed):
            self.answered = True


def _group_by_client(tenants: Iterable[Tenant]) -> list[_Client]:
    clients: dict[str, _Client] = {}
    for rank, tenant in enumerate(tenants):
        clients.setdefault(tenant.client, _Client(tenant.client)).waiting.append((rank, tenant))
    return list(clients.values())


def _issue_side_by_side(
    clients: list[_Client],
    read_credentials: ReadCredentials,
    issue_token: IssueToken,
    concurrency: int,
) -> Iterable[tuple[Tenant, AccessToken | IssuerError]]:
    """Yield each tenant with its outcome as it comes, at most `concurrency` of them under way."""

    def attempt(client: _Client, tenant: Tenant) -> AccessToken | IssuerError:
        try:
            if client.credentials is None:  # the first of a client is alone: read once
                client.credentials = read_credentials(client.name)
            return issue_token(tenant, client.credentials)
        except IssuerError as error:
            return error

    running: dict[Future[AccessToken | IssuerError], tuple[_Client, Tenant]] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        while True:
            while len(running) < concurrency:
                ready = [client for client in clients if client.may_start()]
                if not ready:
                    break
                client = min(ready, key=lambda client: client.waiting[0][0])
                _, tenant = client.waiting.popleft()
                client.running += 1
                running[pool.submit(attempt, client, tenant)] = (client, tenant)
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                client, tenant = running.pop(future)
                client.settle(future.result())
                yield tenant, future.result()
    for client in clients:
        if client.failure:
            for _, tenant in client.waiting:
                yield tenant, client.failure
