"""Tenants side by side through the steps: ask, check, store, record."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, partial

from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.versions import ClientSecret
from token_issuer.errors import (
    ClientRefused,
    EndpointFailed,
    IssuerError,
    LedgerUnwritable,
    NoTimeLeft,
    ParameterUnwritable,
    TenantReassigned,
    TenantRefused,
    Unexpected,
)
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import Owner, Record
from token_issuer.limits.breaker import pause_before_repeat
from token_issuer.limits.deadline import ASK_SECONDS
from token_issuer.limits.pacer import Pacer
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.ownership import Ownership
from token_issuer.tokens.renewal import Renewal
from token_issuer.tokens.turns import ClientTurns, Outcome, StoreTurns

# failures that are recorded against the tenant: those of its client or of the store are not
OF_THE_TENANT = (TenantRefused, EndpointFailed, ParameterUnwritable, Unexpected)
type FetchToken = Callable[[Tenant, ClientCredentials], AccessToken]
type StoreToken = Callable[[str, AccessToken], int]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What one tenant goes through: ask (and check), tell, store, record.

    Without `store_token` a token is asked for and checked, and nothing is told or recorded.
    `tell_failing`, `tell_recovered` and `tell_reassigned` send an event, and tell whether it was
    delivered.
    """

    secret: Callable[[str], ClientSecret]
    fetch_token: FetchToken
    store_token: StoreToken | None
    record_token: Callable[[Record, Record | None], None]
    record_failure: Callable[[Record], None]
    shorten: Callable[[str, datetime], None]
    tell_failing: Callable[[Tenant, IssuerError, datetime | None], bool]
    tell_recovered: Callable[[Tenant, AccessToken], bool]
    tell_reassigned: Callable[[Tenant, TenantReassigned], bool]
    writes: Pacer
    sleep: Callable[[float], None]
    now: Callable[[], datetime]
    settings: Settings


def issue_tokens(
    renewals: Iterable[Renewal], started_at: datetime, ownership: Ownership, *, steps: Steps
) -> Iterator[tuple[Renewal, Outcome]]:
    """Yield each renewal once with its token or its failure, as they come.

    Some are under way side by side, in the order given as far as their clients allow; records say
    that the run began at `started_at`.
    """
    store = StoreTurns()
    clients, concurrency = _group_by_client(renewals, store, steps), steps.settings.concurrency
    running: dict[Future[Outcome], tuple[ClientTurns, Renewal]] = {}
    with ThreadPoolExecutor(max_workers=concurrency) as pool:
        while True:
            while (
                len(running) < concurrency
                and _has_time(steps, behind=len(running))
                and (client := _next(clients))
            ):
                renewal = client.start()
                running[pool.submit(_attempt, client, renewal, started_at, ownership, steps)] = (
                    client,
                    renewal,
                )
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                client, renewal = running.pop(future)
                client.settle(renewal.tenant, future.result())
                store.settle(future.result())
                yield renewal, future.result()
    for client in clients:
        yield from client.given_up()


def _attempt(
    client: "ClientTurns",
    renewal: Renewal,
    started_at: datetime,
    ownership: Ownership,
    steps: Steps,
) -> Outcome:
    """Return what came of one tenant, whatever is raised: a defect that it meets stops no other."""
    tell_owner = cache(partial(_tell_owner, renewal, steps))  # once
    try:
        client.secret.choose()  # the first of a client is alone, so it is read once
        if not _has_time(steps, behind=0):  # after reading a secret
            return NoTimeLeft("The run ended before its turn")
        token = _ask(client, renewal.tenant, steps)
        ownership.check(token, renewal.tenant)
        _keep(token, renewal, client.secret.version, started_at, steps, tell_owner=tell_owner)
    except Exception as error:  # noqa: BLE001  as said above
        failure = failure_of(error)
    else:
        return token
    try:
        _remember(failure, client, renewal, started_at, steps, tell_owner=tell_owner)
    except Exception as error:  # noqa: BLE001  likewise
        return failure_of(error)
    return failure


def _tell_owner(renewal: Renewal, steps: Steps) -> Owner | None:
    """Tell of a change of owner; return whom to remember: None where nobody was told."""
    if renewal.is_recalled:
        return None
    if renewal.reassigned and not steps.tell_reassigned(renewal.tenant, renewal.reassigned):
        return None
    return renewal.tenant.owner


def _remember(  # noqa: PLR0913  what a record says
    failure: IssuerError,
    client: "ClientTurns",
    renewal: Renewal,
    started_at: datetime,
    steps: Steps,
    *,
    tell_owner: Callable[[], Owner | None],
) -> None:
    """Tell of a failure, and record it, where it is the tenant's."""
    if steps.store_token and isinstance(failure, OF_THE_TENANT):
        now = steps.now()
        # first, since a run may end after any step: told twice at worst
        told = renewal.is_to_be_told(failure, now) and steps.tell_failing(
            renewal.tenant, failure, renewal.live_until(now)
        )
        record = renewal.failed(
            failure,
            told=told,
            client_secret_version=client.secret.version,
            now=now,
            attempted_at=started_at,
            settings=steps.settings,
        )
        try:
            steps.record_failure(replace(record, owner=tell_owner()))
        except LedgerUnwritable as error:
            failure.detail += f"; {error.detail}"


def _ask(client: "ClientTurns", tenant: Tenant, steps: Steps) -> AccessToken:
    """Ask for a token, and again after a failure that may pass in a moment.

    While nobody else of the client asks, a refused version of its secret gives way to another.
    """
    repeats = 0
    while True:
        credentials = client.secret.choose()
        try:
            return steps.fetch_token(tenant, credentials)
        except ClientRefused as refusal:
            if not client.is_on_trial:
                raise
            client.secret.refuse(credentials, refusal)
            if not _has_time(steps, behind=0):  # to read more versions
                raise NoTimeLeft("The run ended before its turn") from None
            client.secret.choose()
            if not _has_time(steps, behind=0):  # to ask with one
                raise NoTimeLeft("The run ended before its turn") from None
        except EndpointFailed as error:
            pause = pause_before_repeat(error, repeats)
            if pause is None or not _has_time(steps, pause, behind=steps.settings.concurrency):
                raise
            steps.sleep(pause)
            if client.is_on_trial or client.stopped:
                raise
            repeats += 1


def _has_time(steps: Steps, pause: float = 0, *, behind: int) -> bool:
    """Tell whether a token that is asked for after a pause can still be stored."""
    is_kept = steps.store_token is not None
    return not is_kept or steps.writes.has_turn(after=pause + ASK_SECONDS, behind=behind)


def _keep(  # noqa: PLR0913  likewise
    token: AccessToken,
    renewal: Renewal,
    client_secret_version: str,
    started_at: datetime,
    steps: Steps,
    *,
    tell_owner: Callable[[], Owner | None],
) -> None:
    """Store a token, then record it."""
    if not steps.store_token:
        return
    owner = tell_owner()  # first, since a run may end after any step: told twice at worst
    if renewal.issued and token.expires_at < renewal.issued.expires_at:
        # first, since a run may end after any step, and the ledger must not claim too much
        steps.shorten(renewal.tenant.name, token.expires_at)
    version = steps.store_token(renewal.parameter, token)
    if renewal.failure and renewal.failure.told_at:
        steps.tell_recovered(renewal.tenant, token)
    record = renewal.succeeded(
        token,
        version=version,
        client_secret_version=client_secret_version,
        attempted_at=started_at,
    )
    steps.record_token(replace(record, owner=owner), renewal.record)


def _group_by_client(
    renewals: Iterable[Renewal], store: StoreTurns, steps: Steps
) -> list[ClientTurns]:
    clients: dict[str, ClientTurns] = {}
    for rank, renewal in enumerate(renewals):
        name = renewal.tenant.client
        client = clients.setdefault(name, ClientTurns(steps.secret(name), store))
        client.waiting.append((rank, renewal))
    return list(clients.values())


def _next(clients: list[ClientTurns]) -> ClientTurns | None:
    ready = [client for client in clients if client.may_start()]
    return min(ready, key=lambda client: client.waiting[0][0], default=None)
