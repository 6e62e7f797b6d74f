"""Pure: which tenants are due, why, in what order, and when one that failed is tried again."""

import hashlib
import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import (
    DocumentInvalid,
    IssuerError,
    ParameterUnwritable,
    TenantReassigned,
    TenantRefused,
)
from token_issuer.ledger import Failure, Issued, Memory, Record
from token_issuer.redaction import quote
from token_issuer.settings import Settings
from token_issuer.tenants import Configuration, Tenant, check_document

SPREAD = 0.1  # of the lifetime, by which tenants that were added together part
OUTAGE_MINUTES = 12  # of the token endpoint, that the promise survives
WAITS = (1, 2, 4, 8, 12)  # periods
CHECKED = 300  # token parameters a run that are compared with the ledger
ROW = 4  # tenants of a client that have failed, at most, before a scout: five would end its run
FORGIVEN = 2.5  # periods after which a broken tenant has its place in the order again
WITHOUT_TOKEN = 1  # in the order: those whose token is gone, or not what it should be
JITTER = 0.5  # of a period, by which ticks may come early: so much less is waited
MOST_COUNTED = 999_999_999  # a longer number counts as malformed in the ledger
TOLD_AGAIN = 24  # hours after which an event says again what lasts


class Reason(StrEnum):
    """Why a tenant gets a new token."""

    MISSING = "missing"  # it has no live token
    LOST = "lost"  # its parameter is gone, or holds another version than the ledger's
    CHANGED = "changed"  # what the token was issued for differs
    DUE = "due"
    FORCED = "forced"


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A tenant to ask a token for, why, for what, and what the ledger knew of it.

    `reassigned` says that its last token was another owner's, until that is told. Nothing is told
    or remembered of the owner where `is_recalled`: no document says whose token it is to be.
    """

    tenant: Tenant
    reason: Reason
    parameter: str
    purpose: str
    record: Record | None
    reassigned: TenantReassigned | None = None
    is_recalled: bool = False

    @property
    def issued(self) -> Issued | None:
        """Return what is known of the tenant's last token."""
        return self.record.issued if self.record else None

    @property
    def failure(self) -> Failure | None:
        """Return the last attempt, if it failed."""
        return self.record.failure if self.record else None

    @property
    def because(self) -> str:
        """Return why, for people."""
        if self.reassigned is None:
            return str(self.reason)
        return f"{self.reason}. {self.reassigned.reason}: {self.reassigned.detail}"

    def succeeded(
        self,
        token: AccessToken,
        *,
        version: int,
        client_secret_version: str,
        attempted_at: datetime,
    ) -> Record:
        """Return what the ledger is to know once a token is stored."""
        return Record(
            tenant=self.tenant.name,
            client=self.tenant.client,
            attempted_at=attempted_at,
            issued=Issued(
                issued_at=token.issued_at,
                expires_at=token.expires_at,
                fingerprint=token.fingerprint,
                scope=None if token.scope is None else quote(" ".join(sorted(token.scope))),
                parameter=self.parameter,
                version=version,
                client_secret_version=client_secret_version,
                purpose=self.purpose,
                document=self.tenant.document,
            ),
        )

    def live_until(self, now: datetime) -> datetime | None:
        """Return until when consumers have a token, None where they have none."""
        issued = self.issued
        is_there = issued and issued.lives(now) and self.reason != Reason.LOST
        return issued.expires_at if issued and is_there else None

    def is_to_be_told(self, error: IssuerError, now: datetime) -> bool:
        """Tell whether a failure is lasting, and no event has said so within a day."""
        told_at = self.failure.told_at if self.failure else None
        return isinstance(error, TenantRefused) and not was_told(told_at, now)

    def failed(  # noqa: PLR0913  what a record says
        self,
        error: IssuerError,
        *,
        told: bool,
        client_secret_version: str,
        now: datetime,
        attempted_at: datetime,
        settings: Settings,
    ) -> Record:
        """Return what the ledger is to know once an attempt has failed.

        A lasting refusal is waited for, once there is no live token.
        """
        last = self.failure
        steps = last.waits if last and last.purpose == self.purpose else 0
        lasting = isinstance(error, TenantRefused) and not self.live_until(now)
        return Record(
            tenant=self.tenant.name,
            client=self.tenant.client,
            attempted_at=attempted_at,
            issued=self.issued,
            failure=Failure(
                reason=error.reason,
                code=error.code,
                detail=error.detail,
                failed_at=now,
                count=min(last.count + 1, MOST_COUNTED) if last else 1,
                waits=min(steps + lasting, MOST_COUNTED),
                next_attempt_at=now + back_off(steps, settings) if lasting else None,
                purpose=self.purpose,
                client_secret_version=client_secret_version,
                told_at=now if told else last.told_at if last else None,
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was read: `tenants` are those that the run is about, `failures` what is wrong already.

    `whole` says that these are all. `compared` are the tenants whose parameters were looked at,
    `lost` those of them where another token is stored or none, and `checked` is the bookmark;
    `stages` says by client and stage which version of its secret it is on, and `secret_versions`
    which one is asked with; `unchecked` and `unread` say what could not be looked at.
    """

    memory: Memory
    configuration: Configuration
    tenants: list[Tenant]
    whole: bool
    failures: dict[str, IssuerError]
    compared: frozenset[str]
    lost: frozenset[str]
    checked: str
    stages: dict[str, dict[str, str]]
    secret_versions: dict[str, str]
    unread: Mapping[str, IssuerError] = field(default_factory=dict)
    unchecked: IssuerError | None = None


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A tenant to forget, with its parameter where that is ours to delete."""

    record: Record
    parameter: str | None
    because: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does: `renewals` in order; `expiries` are those of all that are to have tokens.

    `refused` are the tenants whose last OAuth answer without a live token was a refusal, and
    `doubtful` those whose last attempt was refused, with one or without.
    """

    renewals: list[Renewal]
    fresh: dict[str, datetime]  # when they are due
    waiting: dict[str, IssuerError]
    removals: list[Removal]
    leaving: dict[str, datetime]  # vanished, with a token that lives until then
    expiries: dict[str, datetime]
    refused: frozenset[str]
    doubtful: frozenset[str]

    def rows(self, failures: Iterable[tuple[str, IssuerError]]) -> list[tuple[str, str, str]]:
        """Return tenant, action and reason, as a dry run reports them: what changes comes first."""
        return [
            *((one.record.tenant, "remove", one.because) for one in self.removals),
            *(
                (name, "wait", f"vanished, its token expires at {_shown(end)}")
                for name, end in self.leaving.items()
            ),
            *((one.tenant.name, "issue", one.because) for one in self.renewals),
            *((name, "fail", error.detail) for name, error in failures),
            *((name, "wait", error.detail) for name, error in self.waiting.items()),
            *((name, "fresh", f"due at {_shown(due)}") for name, due in self.fresh.items()),
        ]


def plan_run(facts: Facts, *, force: bool, now: datetime, settings: Settings) -> Plan:
    """Decide for each tenant that the run is about, and what goes of the others."""
    records, configured = facts.memory.records, facts.configuration.tenants
    renewals: list[Renewal] = []
    fresh: dict[str, datetime] = {}
    waiting: dict[str, IssuerError] = {}
    is_recalled = not facts.configuration.is_complete
    for tenant in facts.tenants:
        renewal = Renewal(
            tenant=tenant,
            reason=Reason.FORCED,
            parameter=_parameter(tenant.name, settings),
            purpose=purpose_of(tenant, settings),
            record=records.get(tenant.name),
            reassigned=None if is_recalled else _reassigned(tenant, facts.memory),
            is_recalled=is_recalled,
        )
        reason = _reason(renewal, now, settings, lost=tenant.name in facts.lost)
        failure = renewal.record and waits(renewal.record, now)
        if force:
            renewals.append(renewal)
        elif reason is None and renewal.issued:
            fresh[tenant.name] = renew_at(tenant.name, renewal.issued, settings)
        elif failure and not _has_changed(failure, renewal, facts.secret_versions):
            waiting[tenant.name] = _failure_again(failure)
        else:
            renewals.append(replace(renewal, reason=reason or Reason.MISSING))
    served = {name: one for name, one in records.items() if _is_served(name, configured)}
    refusals = {kind.__name__ for kind in TenantRefused.kinds()}
    removals = _removals(facts, now, settings) if facts.whole else []
    gone = configured.keys() | {one.record.tenant for one in removals}
    return Plan(
        renewals=_in_order(renewals, records.values(), now, settings),
        fresh=fresh,
        waiting=waiting,
        removals=removals,
        leaving={
            name: _end_of(one, facts, now)
            for name, one in records.items()
            if facts.whole and name not in gone
        },
        expiries={name: one.issued.expires_at for name, one in served.items() if one.issued},
        refused=frozenset(
            name for name, one in served.items() if one.failure and one.failure.waits
        ),
        doubtful=frozenset(
            name for name, one in served.items() if one.failure and one.failure.reason in refusals
        ),
    )


def _is_served(name: str, configured: Mapping[str, Tenant]) -> bool:
    return name in configured and configured[name].enabled


def _removals(facts: Facts, now: datetime, settings: Settings) -> list[Removal]:
    """Return who goes: disabled now, vanished once what is stored has surely expired."""
    removals = []
    for record in facts.memory.records.values():
        tenant, issued = facts.configuration.tenants.get(record.tenant), record.issued
        if tenant and tenant.enabled:
            continue
        ours = issued is not None and issued.parameter == _parameter(record.tenant, settings)
        is_known = not ours or record.tenant in facts.compared
        if not tenant and (now < _end_of(record, facts, now) or not is_known):
            continue
        removals.append(
            Removal(
                record=record,
                parameter=issued.parameter if issued and ours else None,
                because="disabled" if tenant else "vanished",
            )
        )
    return removals


def _end_of(record: Record, facts: Facts, now: datetime) -> datetime:
    """Return when the stored token will have expired; one that the ledger doesn't know lives on."""
    issued = record.issued
    if issued is None:
        return now
    end = issued.may_live_until or issued.expires_at
    lost_at = issued.lost_at or (now if record.tenant in facts.lost else issued.issued_at)
    return max(end, lost_at + (end - issued.issued_at))


def expired(
    records: Mapping[str, Record], configured: Collection[str], now: datetime
) -> dict[str, Record]:
    """Return those of vanished tenants that are to be looked at before they are removed."""
    return {
        name: one
        for name, one in records.items()
        if name not in configured and one.issued and one.issued.expires_at <= now
    }


def to_check(records: Mapping[str, Record], checked: str, settings: Settings) -> dict[str, Record]:
    """Return the records, by parameter, to compare with what is stored, round robin.

    Those after the tenant `checked`: 300, or as many more as it takes to see each once an hour.
    """
    ours = sorted(
        name
        for name, record in records.items()
        if record.issued and record.issued.parameter == _parameter(name, settings)
    )
    start = bisect_right(ours, checked)
    count = max(CHECKED, ceil(len(ours) * (settings.period / timedelta(hours=1))))
    names = [*ours[start:], *ours[:start]][:count]
    return {_parameter(name, settings): records[name] for name in names}


def _parameter(tenant: str, settings: Settings) -> str:
    return f"{settings.tokens_path}/{tenant}"


def purpose_of(tenant: Tenant, settings: Settings) -> str:
    """Return what a token is issued for, so that another one is a change."""
    return json.dumps(
        {
            "tenant_id": tenant.tenant_id,
            "scope": tenant.scope,
            "client": tenant.client,
            "token_endpoint": settings.token_endpoint,
            "key": settings.token_key_arn,
        },
        ensure_ascii=False,
    )


def tenant_of(name: str, purpose: str, document: str) -> Tenant | None:
    """Return the tenant that a token was issued for; None where the purpose can't be read."""
    try:
        members = json.loads(purpose)
        kept = {one: members[one] for one in ("tenant_id", "scope", "client")}
        text = json.dumps({one: value for one, value in kept.items() if value is not None})
        return check_document(name, text, document)
    except (DocumentInvalid, KeyError, RecursionError, TypeError, ValueError):
        return None


def last_tenant(record: Record) -> Tenant | None:
    """Return the tenant that the last token was issued for; None where that isn't known."""
    issued = record.issued
    return tenant_of(record.tenant, issued.purpose, issued.document) if issued else None


def last_tenants(memory: Memory) -> dict[str, Tenant]:
    """Return the tenants that the ledger knows, as their tokens were issued for."""
    return {name: one for name, record in memory.records.items() if (one := last_tenant(record))}


def _reassigned(tenant: Tenant, memory: Memory) -> TenantReassigned | None:
    """Return a report if a token for another owner was asked for last."""
    record = memory.records.get(tenant.name)
    last = last_tenant(record) if record else None
    before = memory.owners.get(tenant.name) or (last.owner if last else None)
    if before is None or before.is_same(tenant.owner):
        return None
    return TenantReassigned(
        f"Tenant {tenant.name} had {before}; it has {tenant.owner} now, in {tenant.document}"
    )


def renew_at(tenant: str, issued: Issued, settings: Settings) -> datetime:
    """Return when a token is due: spread, and never later than its floor."""
    lifetime = issued.expires_at - issued.issued_at
    spread = SPREAD * _fraction(tenant)
    due = issued.issued_at + lifetime * (settings.renew_at_fraction - spread)
    return min(due, floor_of(issued, settings))


def floor_of(issued: Issued | AccessToken, settings: Settings) -> datetime:
    """Return the last moment at which the promise survives a late tick, a slow run, an outage."""
    return issued.expires_at - (2 * settings.period + timedelta(minutes=OUTAGE_MINUTES))


def is_too_short(issued: Issued | AccessToken, settings: Settings) -> bool:
    """Tell whether a token was below the floor from its first moment."""
    return floor_of(issued, settings) <= issued.issued_at


def waits(record: Record, now: datetime) -> Failure | None:
    """Return the failure for which a tenant waits, while it has no live token.

    One from the future is none: the clock was set back.
    """
    failure = record.failure
    if failure and failure.next_attempt_at and failure.failed_at <= now < failure.next_attempt_at:
        return None if record.issued and record.issued.lives(now) else failure
    return None


def was_told(at: datetime | None, now: datetime) -> bool:
    """Tell whether an event has been put within a day; not in the future: a clock set back."""
    return at is not None and at <= now < at + timedelta(hours=TOLD_AGAIN)


def back_off(steps: int, settings: Settings) -> timedelta:
    """Return how long to wait after so many refusals before this one: 1, 2, 4, 8, 12 periods."""
    return (WAITS[min(steps, len(WAITS) - 1)] - JITTER) * settings.period


def _reason(renewal: Renewal, now: datetime, settings: Settings, *, lost: bool) -> Reason | None:
    issued = renewal.issued
    if issued is None or issued.expires_at <= now:
        return Reason.MISSING
    if lost or issued.lost_at:
        return Reason.LOST
    if (issued.purpose, issued.parameter) != (renewal.purpose, renewal.parameter):
        return Reason.CHANGED
    # one from the future was issued before the clock was set back
    if not issued.issued_at <= now < renew_at(renewal.tenant.name, issued, settings):
        return Reason.DUE
    return None


def _has_changed(failure: Failure, renewal: Renewal, secret_versions: Mapping[str, str]) -> bool:
    """Tell whether there is a new document or client secret to try."""
    version = secret_versions.get(renewal.tenant.client, failure.client_secret_version)
    return (failure.purpose, failure.client_secret_version) != (renewal.purpose, version)


def _failure_again(failure: Failure) -> IssuerError:
    until = _shown(failure.next_attempt_at) if failure.next_attempt_at else "now"
    detail = f"{failure.detail}; backing off until {until}"
    return TenantRefused.recall(failure.reason, detail, failure.code)


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _in_order(
    renewals: list[Renewal], records: Collection[Record], now: datetime, settings: Settings
) -> list[Renewal]:
    """Return the most urgent first, but for broken tenants and scouts.

    A tenant is broken whose last attempt failed in a run that served others of its client, or whose
    parameter could not be written: it comes last, and starves nobody. Not for long, since an outage
    that begins or ends in a run leaves a few that merely look it. Of those without a token, who has
    not failed comes first: five that hang end a client's run, and the next one tries others.
    """
    served = {(one.client, one.attempted_at) for one in records if one.failure is None}

    def is_broken(renewal: Renewal) -> bool:
        record = renewal.record
        if record is None or record.failure is None:
            return False
        is_recent = now - record.attempted_at < FORGIVEN * settings.period
        # a few that can't be written end the run, as long as no token could be stored
        is_unwritable = record.failure.reason == ParameterUnwritable.__name__
        return is_recent and (is_unwritable or (record.client, record.attempted_at) in served)

    def lot(renewal: Renewal) -> float:
        return _fraction(f"{renewal.tenant.name} {now}")

    def place(renewal: Renewal) -> tuple[bool, int, int, bool, float]:
        rank, minutes = _urgency(renewal, now, settings)
        tried = rank == WITHOUT_TOKEN and renewal.failure is not None
        return is_broken(renewal), rank, minutes, tried, lot(renewal)

    ordered = sorted(renewals, key=place)
    return _with_scouts(ordered, sorted(renewals, key=lot))


def _with_scouts(ordered: list[Renewal], drawn: list[Renewal]) -> list[Renewal]:
    """Put one that has not failed before each four of its client that have, drawn by lot.

    So they tell an outage from tenants that hang, which would take up run after run.
    """
    not_failed: dict[str, list[Renewal]] = {one.tenant.client: [] for one in drawn}
    for renewal in drawn:
        if not renewal.failure:
            not_failed[renewal.tenant.client].append(renewal)
    scouts = {client: iter(some) for client, some in not_failed.items()}
    row = dict.fromkeys(scouts, ROW)
    placed: dict[str, Renewal] = {}
    for renewal in ordered:
        client = renewal.tenant.client
        if renewal.tenant.name in placed:
            continue
        if not renewal.failure:
            row[client] = 0
        elif row[client] < ROW:
            row[client] += 1
        elif scout := next((one for one in scouts[client] if one.tenant.name not in placed), None):
            placed[scout.tenant.name] = scout
            row[client] = 1
        placed[renewal.tenant.name] = renewal
    return list(placed.values())


def _fraction(text: str) -> float:
    """Return a number from 0 to 1 that is always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def _urgency(renewal: Renewal, now: datetime, settings: Settings) -> tuple[int, int]:
    """Order: live tokens below the floor, then those without, then the rest, by remaining life.

    In minutes, so that a lot decides within one: tenants that hang and were added together would
    else come in a row, and look like an outage.
    """
    issued = renewal.issued
    life = issued.expires_at - now if issued else timedelta(0)
    minutes = life // timedelta(minutes=1)
    gone = life <= timedelta(0) or renewal.reason == Reason.LOST
    if issued and not gone and now >= floor_of(issued, settings):
        return 0, minutes
    return (WITHOUT_TOKEN if gone or renewal.reason == Reason.CHANGED else 2), minutes
