"""Pure: what a run does with each tenant, and why."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from token_issuer.errors import IssuerError, TenantReassigned, TenantRefused
from token_issuer.facts import Facts
from token_issuer.ledger.records import Failure, Memory, Record
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.recall import last_tenant
from token_issuer.tokens.order import in_order
from token_issuer.tokens.renewal import Reason, Renewal, purpose_of, renew_at


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
            parameter=settings.token_parameter(tenant.name),
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
        renewals=in_order(renewals, records.values(), now, settings),
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
        ours = issued is not None and issued.parameter == settings.token_parameter(record.tenant)
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


def waits(record: Record, now: datetime) -> Failure | None:
    """Return the failure for which a tenant waits, while it has no live token.

    One from the future is none: the clock was set back.
    """
    failure = record.failure
    if failure and failure.next_attempt_at and failure.failed_at <= now < failure.next_attempt_at:
        return None if record.issued and record.issued.lives(now) else failure
    return None


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
