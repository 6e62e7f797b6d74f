"""Pure: what a run does with each tenant, and why."""

from dataclasses import dataclass, replace
from datetime import datetime

from token_issuer import errors
from token_issuer.clients.credentials import CURRENT
from token_issuer.facts import Facts
from token_issuer.ledger.records import Failure, Issued, Memory, Record
from token_issuer.redaction import shown
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.recall import last_tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.order import in_order
from token_issuer.tokens.renewal import OfTenant, Reason, Renewal, purpose_of, renew_at

RECORDED = (  # failures of a tenant; the others are its client's, or the store's
    errors.TenantRefused,
    errors.EndpointFailed,
    errors.ParameterUnwritable,
    errors.Unexpected,
)


@dataclass(frozen=True, kw_only=True)
class Fresh(OfTenant):
    """A tenant whose token is good, and not due yet.

    `reassigned` where nobody was told yet that it is another owner's than the one before.
    """

    due: datetime
    reassigned: errors.TenantReassigned | None = None
    action = "fresh"

    @property
    def because(self) -> str:
        """Return why, for people."""
        return f"due at {shown(self.due)}"


@dataclass(frozen=True, kw_only=True)
class Waiting(OfTenant):
    """A tenant that was refused, and is not asked for yet: its failure, again."""

    failure: errors.IssuerError
    told_at: datetime | None = None  # when an event last said so
    action = "wait"

    @property
    def because(self) -> str:
        """Return why, for people."""
        return self.failure.detail


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """A tenant that has vanished from the documents, and whose token still lives."""

    name: str
    until: datetime
    action = "wait"

    @property
    def because(self) -> str:
        """Return why, for people."""
        return f"vanished, its token expires at {shown(self.until)}"


@dataclass(frozen=True, kw_only=True)
class Removal:
    """A tenant to forget, with its parameter where that is ours to delete."""

    record: Record
    parameter: str | None
    because: str
    action = "remove"

    @property
    def name(self) -> str:
        """Return the tenant's name."""
        return self.record.tenant


type Decision = Renewal | Fresh | Waiting | Leaving | Removal


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a decision: a token, a failure, or neither."""

    decision: Renewal | Removal | Fresh | Waiting
    token: AccessToken | None = None
    failure: errors.IssuerError | None = None

    @property
    def is_recorded(self) -> bool:
        """Tell whether the ledger keeps a failure: not where its client or the store has failed."""
        return isinstance(self.failure, RECORDED)

    @property
    def is_routine(self) -> bool:
        """Tell whether a tenant has a new token, as it had one before."""
        one = self.decision
        is_plain = isinstance(one, Renewal) and not (one.failure or one.reassigned)
        return is_plain and self.token is not None

    @property
    def reassigned(self) -> errors.TenantReassigned | None:
        """Return that a token was asked for another owner than before, if it was."""
        decision = self.decision
        is_stored = self.token is not None or isinstance(self.failure, errors.LedgerUnwritable)
        if isinstance(decision, Renewal) and (is_stored or self.is_recorded):
            return decision.reassigned
        return decision.reassigned if isinstance(decision, Fresh) else None


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A tenant that is to have a token, as it would be renewed, and the facts."""

    renewal: Renewal
    facts: Facts
    now: datetime
    settings: Settings

    @property
    def issued(self) -> Issued | None:
        return self.renewal.issued


def decide(facts: Facts, *, now: datetime, settings: Settings) -> list[Decision]:
    """Return one decision for each tenant that the run is about; those to issue in order.

    A full run is also about the tenants that are in the ledger, and are disabled or gone.
    """
    records, configured = facts.memory.records, facts.configuration.tenants
    served = [_decide(tenant, facts, now, settings) for tenant in facts.tenants]
    gone = [
        _of_gone(record, configured.get(name), facts, now, settings)
        for name, record in records.items()
        if facts.whole and not (name in configured and configured[name].enabled)
    ]
    renewals = [one for one in served if isinstance(one, Renewal)]
    return [
        *gone,
        *in_order(renewals, records.values(), now, settings),
        *(one for one in served if not isinstance(one, Renewal)),
    ]


def _of_gone(
    record: Record, tenant: Tenant | None, facts: Facts, now: datetime, settings: Settings
) -> Removal | Leaving:
    """Remove who is disabled; and who has vanished, once what is stored has surely expired."""
    parameter, issued = settings.token_parameter(record.tenant), record.issued
    is_ours = issued is not None and issued.parameter == parameter
    end = _end_of(record, facts, now)
    is_seen = record.tenant in facts.compared or not is_ours  # else a newer token may be there
    if not tenant and (now < end or not is_seen):
        return Leaving(name=record.tenant, until=end)
    return Removal(
        record=record,
        parameter=parameter if is_ours else None,
        because="disabled" if tenant else "vanished",
    )


def _decide(
    tenant: Tenant, facts: Facts, now: datetime, settings: Settings
) -> Renewal | Waiting | Fresh:
    """Renew for the first of the reasons that holds, unless a refusal is waited for."""
    is_recalled = not facts.configuration.is_complete
    reassigned = None if is_recalled else _reassigned(tenant, facts.memory)
    renewal = Renewal(
        tenant=tenant,
        reason=Reason.FORCED,  # until one of REASONS takes its place
        parameter=settings.token_parameter(tenant.name),
        purpose=purpose_of(tenant, settings),
        record=facts.memory.records.get(tenant.name),
        reassigned=reassigned,
        owner=None if is_recalled or reassigned else tenant.owner,
    )
    case = _Case(renewal=renewal, facts=facts, now=now, settings=settings)
    reason = next((reason for reason, holds in REASONS.items() if holds(case)), None)
    if reason is None:
        return Fresh(tenant=tenant, due=_due_at(case), reassigned=reassigned)
    failure = waited_for(renewal.record, now) if renewal.record else None
    if failure and reason != Reason.FORCED and not _has_changed_since(failure, case):
        again = f"{failure.detail}; backing off until {shown(failure.next_attempt_at or now)}"
        error = errors.TenantRefused.recall(failure.reason, again, failure.code)
        return Waiting(tenant=tenant, failure=error, told_at=failure.told_at)
    return replace(renewal, reason=reason)


def _is_forced(case: _Case) -> bool:
    return case.facts.invocation.force or case.facts.invocation.probe


def _is_missing(case: _Case) -> bool:
    return case.issued is None or case.issued.expires_at <= case.now


def _is_lost(case: _Case) -> bool:
    return case.renewal.name in case.facts.lost or bool(case.issued and case.issued.lost_at)


def _is_changed(case: _Case) -> bool:
    known = case.issued and (case.issued.purpose, case.issued.parameter)
    return known != (case.renewal.purpose, case.renewal.parameter)


def _is_due(case: _Case) -> bool:
    """Tell whether its time has come; also where it is from the future: the clock was set back."""
    return case.now >= _due_at(case) or bool(case.issued and case.now < case.issued.issued_at)


REASONS = {  # in this order: the first that holds counts
    Reason.FORCED: _is_forced,
    Reason.MISSING: _is_missing,
    Reason.LOST: _is_lost,
    Reason.CHANGED: _is_changed,
    Reason.DUE: _is_due,
}


def _due_at(case: _Case) -> datetime:
    return renew_at(case.renewal.name, case.issued, case.settings) if case.issued else case.now


def _has_changed_since(failure: Failure, case: _Case) -> bool:
    """Tell whether there is a new document or client secret to try."""
    known = failure.client_secret_version
    version = _asked_with(case.renewal.tenant.client, case.facts) or known
    return (failure.purpose, known) != (case.renewal.purpose, version)


def _asked_with(client: str, facts: Facts) -> str | None:
    """Return the version that tokens are asked for with: another one where that doesn't work."""
    current, record = facts.stages.get(client, {}).get(CURRENT), facts.memory.clients.get(client)
    if current and record and record.fallback and record.fallback.current == current:
        return record.fallback.version
    return current


def _end_of(record: Record, facts: Facts, now: datetime) -> datetime:
    """Return when what is stored has surely expired.

    Another token than the ledger's may have been issued until that was noticed, and lives as long.
    """
    issued = record.issued
    if issued is None:
        return now
    end = issued.expires_at
    lost_at = issued.lost_at or (now if record.tenant in facts.lost else issued.issued_at)
    return max(end, lost_at + (end - issued.issued_at))


def _reassigned(tenant: Tenant, memory: Memory) -> errors.TenantReassigned | None:
    """Return a report if a token for another owner was asked for last."""
    before, record = memory.owners.get(tenant.name), memory.records.get(tenant.name)
    if before is None and record and (last := last_tenant(record)):  # as an earlier version left it
        before = last.owner
    if before is None or before.is_same(tenant.owner):
        return None
    return errors.TenantReassigned(
        f"Tenant {tenant.name} had {before}; it has {tenant.owner} now, in {tenant.document}"
    )


def waited_for(record: Record, now: datetime) -> Failure | None:
    """Return the failure for which a tenant waits, while it has no live token.

    One from the future is none: the clock was set back.
    """
    failure = record.failure
    if failure and failure.next_attempt_at and failure.failed_at <= now < failure.next_attempt_at:
        return None if record.issued and record.issued.lives(now) else failure
    return None
