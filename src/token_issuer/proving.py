"""A new client secret: prove the pending version, promote it, tell where another one serves."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import CURRENT, MISSING, PENDING, PREVIOUS
from token_issuer.clients.versions import ClientSecret
from token_issuer.errors import (
    ClientRefused,
    ClientSecretFallback,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    IssuerError,
    NoTimeLeft,
    PendingSecretInvalid,
    PendingSecretKept,
    PendingSecretRefused,
    PendingSecretUndecided,
    PendingSecretWithdrawn,
)
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import ClientRecord, Fallback, Pending
from token_issuer.limits.deadline import ASK_SECONDS, RECORD_SECONDS, TELL_SECONDS
from token_issuer.limits.waiting import back_off, was_told
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken

REFUSED = (ClientRefused, ClientSecretInvalid, ClientSecretFallback, PendingSecretRefused)

type Notice = tuple[str, Promoted | IssuerError]  # a client, and what became of its secret


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """A pending version has been proved for a tenant, and is current now."""

    version: str
    tenant: str


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
    tell_refused: Callable[[str, IssuerError], bool]
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
                yield record.client, failure_of(error)
        if facts.whole:
            for name in records.keys() - clients:
                yield from self._record(ClientRecord(client=name))

    def _conclude(
        self, record: ClientRecord, facts: Facts, *, probe: bool, force: bool
    ) -> Iterator[Notice]:
        client, pending, notice = record.client, record.pending, None
        if client in facts.stages and not probe:
            pending, notice = self._prove(record, facts, force=force)
        fallback = None if isinstance(notice, Promoted) else self._fallback(record, facts)
        if notice:
            yield client, notice
        if fallback:
            yield client, _notice_of(fallback)
        if probe:
            return
        secret = self.secret(client)
        refusals = [
            one
            for one in (secret.closed, notice, fallback and _notice_of(fallback))
            if isinstance(one, REFUSED)
        ]
        lasting = {one.reason for one in refusals} | ({pending.reason} if pending else set())
        if not secret.works and not isinstance(notice, Promoted):
            # that no version works is known in those runs only that ask
            lasting |= {ClientRefused.__name__, ClientSecretInvalid.__name__}
        last_told = {reason: at for reason, at in record.told_at.items() if reason in lasting}
        concluded = ClientRecord(
            client=client,
            pending=pending,
            fallback=fallback,
            told_at=last_told | self._tell(client, refusals, last_told),
        )
        if concluded != record:
            yield from self._record(concluded)

    def _tell(
        self, client: str, refusals: Iterable[IssuerError], last_told: Mapping[str, datetime]
    ) -> dict[str, datetime]:
        """Put an event for each refusal that none has told of within a day; return when."""
        now = self.now()
        return {
            refusal.reason: now
            for refusal in refusals
            if not was_told(last_told.get(refusal.reason), now)
            and self.has_time(TELL_SECONDS + RECORD_SECONDS)
            and self.tell_refused(client, refusal)
        }

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
            return None, self._withdraw(client, version, current)
        if last and last.version != version:
            last = None
        is_known = secret.refusal_of(version) or secret.proved_for(version)
        if last and _waits(last, now) and not (force or is_known):
            until = f"{last.next_attempt_at:%Y-%m-%dT%H:%M:%SZ}"
            return last, PendingSecretRefused(f"{last.detail}; tried again at {until}")
        tenant, asked = _proof_tenant(secret, last.tried if last else None, facts), False
        try:
            self._need(3 * RECORD_SECONDS)  # its application may have to be read, too
            credentials = secret.read_pending()
            version = credentials.version  # which may have been staged a moment ago
            proved_for = secret.proved_for(version)
            if not proved_for:
                self._may_ask(secret, version)
                asked = True
                self.fetch_token(tenant, credentials)
            # to move two stages, to look where they are, to tell
            self._need(3 * RECORD_SECONDS + TELL_SECONDS)
            self.promote(client, version, current)
        except IssuerError as error:
            if isinstance(error, ClientSecretUnreadable) and error.code == MISSING:
                # another run has promoted it, or somebody has taken it back
                return None, None
            failure = _why_kept(error, tenant if asked else None)
        else:
            return None, Promoted(version=version, tenant=proved_for or tenant.name)
        tried = tenant.name if asked else last.tried if last else None
        return self._still_pending(version, failure, last, tried), failure

    def _withdraw(self, client: str, version: str, current: str) -> PendingSecretWithdrawn | None:
        """Take the label off what is or was current: it would displace a later version."""
        if not self.has_time(RECORD_SECONDS):
            return None  # the next run does
        self.unstage(client, version)
        if version == current:  # a run was ended between the two moves
            return None
        return PendingSecretWithdrawn(
            f"{version} of client {client}'s secret has been current before"
        )

    def _still_pending(
        self, version: str, failure: PendingSecretKept, last: Pending | None, tried: str | None
    ) -> Pending:
        now, is_refused = self.now(), isinstance(failure, PendingSecretRefused)
        before = max(0, last.refusals) if last and last.version == version else 0
        wait = back_off(before, self.settings) if is_refused else None
        return Pending(
            version=version,
            reason=failure.reason,
            detail=failure.detail,
            tried_at=now,
            refusals=before + is_refused,
            tried=None if is_refused else tried,
            next_attempt_at=now + wait if wait else None,
        )

    def _may_ask(self, secret: ClientSecret, version: str) -> None:
        """Raise where a version is known to be refused, or nothing is to be asked for."""
        if refusal := secret.refusal_of(version):
            raise refusal
        if secret.closed:
            raise PendingSecretUndecided(
                f"Nothing more is asked for with client {secret.client} in this run"
            )
        self._need(ASK_SECONDS)

    def _need(self, seconds: float) -> None:
        if not self.has_time(seconds):
            raise NoTimeLeft("The run ended before its turn")

    def _fallback(self, record: ClientRecord, facts: Facts) -> Fallback | None:
        """Return which version serves in place of the current one, as far as is known."""
        secret, last = self.secret(record.client), record.fallback
        current = facts.stages.get(record.client, {}).get(CURRENT)
        if not secret.works:
            return None if last and last.version == current else last
        if secret.failure is None or secret.stage == CURRENT:
            return None
        goes_on = last is not None and last.version == secret.version
        return Fallback(
            version=secret.version,
            stage=secret.stage,
            current=current,
            detail=secret.failure.detail,
            since=last.since if last and goes_on else self.now(),
        )

    def _record(self, record: ClientRecord) -> Iterator[Notice]:
        if not self.has_time(RECORD_SECONDS):
            return  # the next run does
        try:
            self.record(record)
        except Exception as error:  # noqa: BLE001  what one client meets stops nothing
            yield record.client, failure_of(error)


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


def _why_kept(error: IssuerError, tenant: Tenant | None) -> PendingSecretKept:
    """Return what a failure means for the pending version, with the remedy of that failure."""
    match error:
        case PendingSecretKept():
            return error
        case ClientRefused():
            return PendingSecretRefused(error.detail)
        case ClientSecretInvalid():
            return PendingSecretInvalid(error.detail)
    whose = f" for {tenant.name}" if tenant else ""
    kept = PendingSecretUndecided(f"{error.reason}{whose}: {error.detail}")
    kept.remedy = error.remedy
    return kept
