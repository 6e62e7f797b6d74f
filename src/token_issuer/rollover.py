"""A client secret from version to version: another where one is refused, then prove and promote."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
    NoTimeLeft,
    PendingClientDiffers,
    PendingSecretInvalid,
    PendingSecretKept,
    PendingSecretRefused,
    PendingSecretUndecided,
    Unexpected,
    name_and_place,
)
from token_issuer.ledger import ClientRecord, Fallback, Pending
from token_issuer.pacing import ASK_SECONDS, RECORD_SECONDS
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
        self.works = False  # what is in use
        self.token_for: str | None = None  # the tenant that had one last
        self.closed = False  # nothing more is asked for in this run
        self.failure: ClientFailed | None = None  # of the current version
        self._read_version = read
        self._fallbacks = iter((CURRENT, CURRENT, PENDING, PREVIOUS))  # again: it may have changed
        self._in_use: ClientCredentials | None = None
        self._client_id: str | None = None
        self._refused: dict[str, ClientRefused] = {}

    def choose(self) -> ClientCredentials:
        """Return the version to ask with, which may have to be read; raises ClientFailed."""
        return self._in_use or self._next()

    def refuse(self, credentials: ClientCredentials, error: ClientRefused) -> None:
        """Take a version for refused."""
        self._refused[credentials.version] = error
        if credentials is self._in_use:
            self._in_use = None
            if self.stage == CURRENT:
                self.failure = self.failure or error

    def refusal_of(self, version: str) -> ClientRefused | None:
        """Return how a version was refused in this run."""
        return self._refused.get(version)

    def proved_for(self, version: str) -> str | None:
        """Return the tenant that a version has had a token for in this run, if it works still."""
        return self.token_for if self.works and self.version == version else None

    @property
    def may_be_refused(self) -> bool:
        """Tell whether there may be one more refusal."""
        return not self.closed and len(self._refused) < MOST_REFUSALS

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

    def _next(self) -> ClientCredentials:
        for stage in self._fallbacks:
            if not self.may_be_refused:
                break
            if found := self._usable(stage):
                self._in_use, self.stage, self.version = found, stage, found.version
                return found
        why = self.failure or ClientSecretUnreadable(f"Client {self.client} has no version to try")
        if len(self._refused) == isinstance(why, ClientRefused):  # nothing else was tried
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

    `promote` takes a client, its pending and its current version, `unstage` a client and a version;
    `has_time` tells whether so many seconds are left.
    """

    read: Callable[[str, str], ClientCredentials]
    fetch_token: Callable[[Tenant, ClientCredentials], AccessToken]
    promote: Callable[[str, str, str], None]
    unstage: Callable[[str, str], None]
    record: Callable[[ClientRecord], None]
    has_time: Callable[[float], bool]
    now: Callable[[], datetime]
    settings: Settings
    _secrets: dict[str, ClientSecret] = field(default_factory=dict, init=False)

    def secret(self, client: str) -> ClientSecret:
        """Return a client's secret, always the same one."""
        return self._secrets.setdefault(client, ClientSecret(client, self.read))

    def conclude(self, facts: Facts, *, probe: bool, force: bool) -> Iterator[Notice]:
        """Prove and promote pending versions, and record and tell what is remarkable.

        After the tokens, so as not to hold them up; what was tried longest ago comes first. A
        probe tells only; `force` tries a refused version whose time has not come.
        """
        records = facts.memory.clients
        clients = {one.client for one in facts.tenants}
        known = [records.get(name) or ClientRecord(client=name) for name in sorted(clients)]
        for record in sorted(known, key=_tried_at):
            try:
                yield from self._conclude(record, facts, probe=probe, force=force)
            except Exception as error:  # noqa: BLE001  a defect that one client meets stops nothing
                yield record.client, Unexpected(name_and_place(error))
        if facts.whole:
            for name in records.keys() - clients:
                yield from self._record(ClientRecord(client=name))

    def _conclude(
        self, record: ClientRecord, facts: Facts, *, probe: bool, force: bool
    ) -> Iterator[Notice]:
        client, pending, what = record.client, record.pending, None
        if client in facts.stages and not probe:
            pending, what = self._prove(record, facts, force=force)
        fallback = None if isinstance(what, Promoted) else self._fallback(record, facts)
        if what:
            yield client, what
        if fallback:
            yield client, _notice_of(fallback)
        concluded = ClientRecord(client=client, pending=pending, fallback=fallback)
        if concluded != record and not probe:
            yield from self._record(concluded)

    def _prove(
        self, record: ClientRecord, facts: Facts, *, force: bool
    ) -> tuple[Pending | None, Promoted | PendingSecretKept | None]:
        """Return what is still pending, and what is to be told of it."""
        client, last, now = record.client, record.pending, self.now()
        secret, stages = self.secret(client), facts.stages[client]
        current, version = stages.get(CURRENT), stages.get(PENDING)
        if current is None or version is None:
            return None, None
        if version in {current, stages.get(PREVIOUS)}:
            # what is or was current is not pending: it would displace a later version
            if self.has_time(RECORD_SECONDS):
                self.unstage(client, version)
            return None, None
        if last and last.version != version:
            last = None
        is_known = secret.refusal_of(version) or secret.proved_for(version)
        if last and _waits(last, now) and not (force or is_known):
            until = f"{last.next_attempt_at:%Y-%m-%dT%H:%M:%SZ}"
            return last, PendingSecretRefused(f"{last.detail}; tried again at {until}")
        tenant = _proof_tenant(secret, last.tried if last else None, facts)
        try:
            self._need(2 * RECORD_SECONDS)
            credentials = secret.read_pending()
            version = credentials.version  # which may have been staged a moment ago
            proved_for = secret.proved_for(version) or self._ask(secret, credentials, tenant)
            self._need(2 * RECORD_SECONDS)
            self.promote(client, version, current)
        except IssuerError as error:
            failure = _why_kept(error, tenant)
        else:
            return None, Promoted(version=version, tenant=proved_for)
        is_refused = isinstance(failure, PendingSecretRefused)
        before = last.refusals if last and last.version == version else 0
        refusals = max(0, before) + is_refused
        return (
            Pending(
                version=version,
                reason=failure.reason,
                detail=failure.detail,
                tried_at=now,
                refusals=refusals,
                tried=None if is_refused else tenant.name,
                next_attempt_at=now + back_off(refusals - 1, self.settings) if is_refused else None,
            ),
            failure,
        )

    def _ask(self, secret: ClientSecret, credentials: ClientCredentials, tenant: Tenant) -> str:
        """Ask for a token, drop it, and return for whom it was."""
        if refusal := secret.refusal_of(credentials.version):
            raise refusal
        if not secret.may_be_refused:
            raise PendingSecretUndecided(
                f"Nothing more is asked for with client {secret.client} in this run"
            )
        self._need(ASK_SECONDS)
        self.fetch_token(tenant, credentials)
        return tenant.name

    def _need(self, seconds: float) -> None:
        if not self.has_time(seconds):
            raise NoTimeLeft("The run ended before its turn")

    def _fallback(self, record: ClientRecord, facts: Facts) -> Fallback | None:
        """Return which version serves in place of the current one, as far as is known."""
        secret, last = self.secret(record.client), record.fallback
        if not secret.works:
            return last
        if secret.failure is None or secret.stage == CURRENT:
            return None
        goes_on = last is not None and last.version == secret.version
        return Fallback(
            version=secret.version,
            stage=secret.stage,
            current=facts.stages.get(record.client, {}).get(CURRENT),
            detail=secret.failure.detail,
            since=last.since if last and goes_on else self.now(),
        )

    def _record(self, record: ClientRecord) -> Iterator[Notice]:
        if not self.has_time(RECORD_SECONDS):
            return  # the next run does
        try:
            self.record(record)
        except LedgerUnwritable as error:
            yield record.client, error


def _tried_at(record: ClientRecord) -> float:
    return record.pending.tried_at.timestamp() if record.pending else 0.0


def _waits(pending: Pending, now: datetime) -> bool:
    """Tell whether a refused version is left alone; not one from the future: a clock set back."""
    return pending.next_attempt_at is not None and pending.tried_at <= now < pending.next_attempt_at


def _notice_of(fallback: Fallback) -> ClientSecretFallback:
    return ClientSecretFallback(
        f"{fallback.detail}; since {fallback.since:%Y-%m-%dT%H:%M:%SZ}"
        f" {fallback.stage} is used in place of AWSCURRENT"
    )


def _proof_tenant(secret: ClientSecret, tried: str | None, facts: Facts) -> Tenant:
    """Return the tenant that succeeded last, or the next by name after the one tried last."""
    records, configured = facts.memory.records, facts.configuration.tenants

    def issued_at(tenant: Tenant) -> float:
        record = records.get(tenant.name)
        issued = record.issued if record and record.client == secret.client else None
        return issued.issued_at.timestamp() if issued else 0.0

    if tried is None and secret.token_for:
        return configured[secret.token_for]
    ours = sorted(
        (one for one in configured.values() if one.enabled and one.client == secret.client),
        key=lambda one: one.name,
    )
    candidates = [one for one in ours if issued_at(one)] or ours
    if tried is None:
        return max(candidates, key=issued_at)
    following = bisect_right([one.name for one in candidates], tried)
    return candidates[following % len(candidates)]


def _why_kept(error: IssuerError, tenant: Tenant) -> PendingSecretKept:
    """Return what a failure means for the pending version, with the remedy of that failure."""
    match error:
        case PendingSecretKept():
            return error
        case ClientRefused():
            return PendingSecretRefused(error.detail)
        case ClientSecretInvalid():
            return PendingSecretInvalid(error.detail)
    kept = PendingSecretUndecided(f"{error.reason} for {tenant.name}: {error.detail}")
    kept.remedy = error.remedy
    return kept
