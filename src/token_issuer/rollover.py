"""A client secret from version to version: prove the pending one, promote it, and a way back."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import CURRENT, PENDING, PREVIOUS, ClientCredentials
from token_issuer.errors import (
    ClientFailed,
    ClientRefused,
    ClientSecretFallback,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    IssuerError,
    LedgerUnwritable,
    PendingClientDiffers,
    PendingSecretInvalid,
    PendingSecretKept,
    PendingSecretRefused,
    PendingSecretUndecided,
    name_and_place,
)
from token_issuer.ledger import ClientRecord, Fallback, Pending
from token_issuer.renewal import Facts, back_off
from token_issuer.settings import Settings
from token_issuer.tenants import Tenant

NO_VERSION = "ResourceNotFoundException"  # has this stage
MOST_REFUSALS = 3  # of a client in a run, whatever the number of its tenants

type Notice = tuple[str, Promoted | IssuerError]  # a client, and what became of its secret


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """A pending version has been proved for a tenant, and is current now."""

    version: str
    tenant: str


class ClientSecret:
    """The versions of a client's secret in one run: the current one, where it is refused another.

    One tenant at a time moves it on; once a version works, many may ask with it.
    """

    def __init__(self, client: str, read: Callable[[str, str], ClientCredentials]) -> None:
        """Take how to read the version of a client's secret that a stage is on."""
        self.client = client
        self.stage, self.version = CURRENT, ""  # of what is or was in use
        self.works = False
        self._read_version = read
        self._way = iter((CURRENT, CURRENT, PENDING, PREVIOUS))  # again: it may have changed
        self._in_use: ClientCredentials | None = None
        self._client_id: str | None = None
        self.failure: ClientFailed | None = None  # of the current version
        self._refused: dict[str, ClientRefused] = {}

    @property
    def tries_left(self) -> int:
        """Return how many refusals there may still be."""
        return MOST_REFUSALS - len(self._refused)

    def in_use(self) -> ClientCredentials:
        """Return the version to ask with; raises ClientFailed where there is none."""
        return self._in_use or self._next()

    def read_pending(self) -> ClientCredentials:
        """Read the pending version.

        Raises ClientFailed, and PendingClientDiffers where it isn't the same application's.
        """
        credentials = self._read(PENDING)
        if not self._is_ours(credentials):
            raise PendingClientDiffers(
                f"The pending secret of client {self.client} has another client_id"
            )
        return credentials

    def use(self, credentials: ClientCredentials) -> None:
        """Ask with a version that works, and is current now."""
        self._in_use, self.version, self.works = credentials, credentials.version, True

    def refuse(self, credentials: ClientCredentials, error: ClientRefused) -> None:
        """Take a version for refused."""
        self.works = False
        self._refused[credentials.version] = error
        if credentials is self._in_use:
            self._in_use = None
            if self.stage == CURRENT:
                self.failure = self.failure or error

    def _next(self) -> ClientCredentials:
        for stage in self._way:
            if not self.tries_left:
                break
            if found := self._usable(stage):
                self._in_use, self.stage, self.version = found, stage, found.version
                return found
        why = self.failure or next(iter(self._refused.values()))
        if len(self._refused) == 1:
            raise why
        raise type(why)(f"{why.detail}; no other version of its secret works", code=why.code)

    def _usable(self, stage: str) -> ClientCredentials | None:
        try:
            found = self._read(stage)
            if stage == CURRENT:
                self._client_id = found.client_id
            if found.version in self._refused or not self._is_ours(found):
                return None
        except ClientSecretInvalid as error:
            if stage == CURRENT:
                self.failure = self.failure or error
            return None
        except ClientSecretUnreadable:
            if not self.failure:  # the current version may be well
                raise
            return None
        return found

    def _read(self, stage: str) -> ClientCredentials:
        try:
            return self._read_version(self.client, stage)
        except IssuerError:
            raise
        except Exception as error:  # noqa: BLE001  each tenant would meet a defect here anew
            place = name_and_place(error)
        raise ClientSecretUnreadable(f"Reading the secret of client {self.client} failed: {place}")

    def _is_ours(self, found: ClientCredentials) -> bool:
        """Tell whether a version is of the same application as the current one.

        Where that is malformed, as the previous one; any is where there is no such version.
        """
        for stage in (CURRENT, PREVIOUS):
            if self._client_id is not None:
                break
            try:
                self._client_id = self._read(stage).client_id
            except ClientSecretInvalid:
                continue
            except ClientSecretUnreadable as error:
                if error.code != NO_VERSION:
                    raise
        return self._client_id in {None, found.client_id}


@dataclass(frozen=True, kw_only=True)
class Rollover:
    """The client secrets of one run.

    `promote` takes a client, its pending and its current version, `unstage` a client and a version.
    """

    read: Callable[[str, str], ClientCredentials]
    fetch_token: Callable[[Tenant, ClientCredentials], AccessToken]
    promote: Callable[[str, str, str], None]
    unstage: Callable[[str, str], None]
    record: Callable[[ClientRecord], None]
    has_time: Callable[[], bool]
    now: Callable[[], datetime]
    settings: Settings
    _secrets: dict[str, ClientSecret] = field(default_factory=dict, init=False)
    _known: dict[str, ClientRecord] = field(default_factory=dict, init=False)

    def secret(self, client: str) -> ClientSecret:
        """Return a client's secret, always the same one."""
        return self._secrets.setdefault(client, ClientSecret(client, self.read))

    def prove(self, facts: Facts) -> Iterator[Notice]:
        """Prove each pending version with one token request, and promote those that are good."""
        for client, stages in facts.stages.items():
            if not self.has_time():
                return  # the next run does
            known, pending = self._remembered(client, facts), stages.get(PENDING)
            if pending and pending in {stages.get(CURRENT), stages.get(PREVIOUS)}:
                # what is or was current is not pending: it would displace a later version
                self.unstage(client, pending)
                pending = None
            if pending and CURRENT in stages:
                yield from self._prove(client, known, facts)
            else:
                yield from self._keep(replace(known, pending=None))

    def _prove(self, client: str, known: ClientRecord, facts: Facts) -> Iterator[Notice]:
        secret, stages, now = self.secret(client), facts.stages[client], self.now()
        version, last = stages[PENDING], known.pending
        if last and last.version != version:
            last = None
        if last and last.next_attempt_at and last.tried_at <= now < last.next_attempt_at:
            until = f"{last.next_attempt_at:%Y-%m-%dT%H:%M:%SZ}"
            yield client, PendingSecretRefused(f"{last.detail}; tried again at {until}")
            return
        tenant = _proof_tenant(client, last.tried if last else None, facts)
        try:
            credentials = secret.read_pending()
            version = credentials.version
            self.fetch_token(tenant, credentials)
            self.promote(client, version, stages[CURRENT])
        except Exception as error:  # noqa: BLE001  a defect here must not end a run
            failure = _why_kept(error, tenant)
            is_refused = isinstance(error, ClientRefused)
            if isinstance(error, ClientRefused):
                secret.refuse(credentials, error)
        else:
            secret.use(credentials)
            yield from self._keep(ClientRecord(client=client))
            yield client, Promoted(version=version, tenant=tenant.name)
            return
        refusals = (max(0, last.refusals) if last else 0) + is_refused
        pending = Pending(
            version=version,
            reason=failure.reason,
            detail=failure.detail,
            tried_at=now,
            refusals=refusals,
            tried=None if is_refused else tenant.name,
            next_attempt_at=now + back_off(refusals - 1, self.settings) if is_refused else None,
        )
        yield from self._keep(replace(known, pending=pending))
        yield client, failure

    def settle(self, facts: Facts) -> Iterator[Notice]:
        """Tell of each client whose current version is refused while another one works."""
        for client in sorted({*facts.stages, *facts.unread}):
            known, secret = self._remembered(client, facts), self.secret(client)
            fallback, pending = known.fallback, known.pending
            if secret.works and secret.stage == CURRENT:
                fallback = None
            elif secret.works and secret.failure:
                goes_on = fallback and fallback.version == secret.version
                fallback = Fallback(
                    version=secret.version,
                    stage=secret.stage,
                    current=facts.stages.get(client, {}).get(CURRENT),
                    detail=secret.failure.detail,
                    since=fallback.since if fallback and goes_on else self.now(),
                )
                pending = None if secret.stage == PENDING else pending  # to be proved at once
            yield from self._keep(replace(known, fallback=fallback, pending=pending))
            if fallback:
                yield (
                    client,
                    ClientSecretFallback(
                        f"{fallback.detail}; since {fallback.since:%Y-%m-%dT%H:%M:%SZ}"
                        f" {fallback.stage} is used in place of AWSCURRENT"
                    ),
                )

    def _remembered(self, client: str, facts: Facts) -> ClientRecord:
        read = facts.memory.clients.get(client) or ClientRecord(client=client)
        return self._known.setdefault(client, read)

    def _keep(self, record: ClientRecord) -> Iterator[Notice]:
        if record == self._known[record.client]:
            return
        self._known[record.client] = record
        try:
            self.record(record)
        except LedgerUnwritable as error:
            yield record.client, error


def _proof_tenant(client: str, tried: str | None, facts: Facts) -> Tenant:
    """Return the tenant that succeeded last, or the next by name after the one tried last."""
    records = facts.memory.records

    def issued_at(tenant: Tenant) -> float:
        record = records.get(tenant.name)
        issued = record.issued if record and record.client == client else None
        return issued.issued_at.timestamp() if issued else 0.0

    tenants = facts.configuration.tenants.values()
    ours = sorted(
        (one for one in tenants if one.enabled and one.client == client), key=lambda one: one.name
    )
    candidates = [one for one in ours if issued_at(one)] or ours
    if tried is None:
        return max(candidates, key=issued_at)
    following = bisect_right([one.name for one in candidates], tried)
    return candidates[following % len(candidates)]


def _why_kept(error: Exception, tenant: Tenant) -> PendingSecretKept:
    """Return what a failure means for the pending version, with the remedy of that failure."""
    match error:
        case PendingSecretKept():
            return error
        case ClientRefused():
            return PendingSecretRefused(error.detail)
        case ClientSecretInvalid():
            return PendingSecretInvalid(error.detail)
        case IssuerError():
            kept = PendingSecretUndecided(f"{error.reason} for {tenant.name}: {error.detail}")
            kept.remedy = error.remedy
            return kept
    return PendingSecretUndecided(f"For {tenant.name}: {name_and_place(error)}")
