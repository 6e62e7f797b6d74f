"""Pure: what to do with a pending version of a client secret, and what is told of a secret."""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from token_issuer import errors
from token_issuer.clients.credentials import CURRENT, PENDING, PREVIOUS
from token_issuer.facts import Facts
from token_issuer.ledger.records import ClientRecord, Fallback, Pending
from token_issuer.limits.waiting import back_off
from token_issuer.redaction import shown
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant

if TYPE_CHECKING:
    from token_issuer.clients.versions import ClientSecret

REFUSED = (
    errors.ClientRefused,
    errors.ClientSecretInvalid,
    errors.ClientSecretFallback,
    errors.PendingSecretRefused,
)


@dataclass(frozen=True, kw_only=True)
class Keep:
    """Leave the stages as they are."""

    pending: Pending | None = None
    notice: errors.PendingSecretKept | None = None


@dataclass(frozen=True, kw_only=True)
class Withdraw:
    """Remove AWSPENDING from what is or was current: it would displace a later version."""

    version: str
    notice: errors.PendingSecretWithdrawn | None = None


@dataclass(frozen=True, kw_only=True)
class Prove:
    """Ask for a token with the pending version, and make it current if one is given."""

    version: str
    current: str
    tenant: Tenant  # to ask for
    last: Pending | None


@dataclass(frozen=True, kw_only=True)
class Promoted:
    """A pending version has been proved for a tenant, and is current now."""

    version: str
    tenant: str


def decide(
    record: ClientRecord, secret: "ClientSecret", facts: Facts, now: datetime
) -> Keep | Withdraw | Prove:
    """Return what to do with the version that is pending, if one is."""
    stages = facts.stages.get(record.client, {})
    current, version = stages.get(CURRENT), stages.get(PENDING)
    if current is None or version is None:
        return Keep()
    if version == current:  # a run was ended between the two moves
        return Withdraw(version=version)
    if version == stages.get(PREVIOUS):
        why = f"{version} of client {record.client}'s secret has been current before"
        return Withdraw(version=version, notice=errors.PendingSecretWithdrawn(why))
    last = record.pending if record.pending and record.pending.version == version else None
    is_known = secret.refusal_of(version) or secret.proved_for(version)
    if last and _waits(last, now) and not (facts.invocation.force or is_known):
        again = f"{last.detail}; tried again at {shown(last.next_attempt_at or now)}"
        return Keep(pending=last, notice=errors.PendingSecretRefused(again))
    tenant = _proof_tenant(secret, last.tried if last else None, facts)
    return Prove(version=version, current=current, tenant=tenant, last=last)


def still_pending(  # noqa: PLR0913  what a record says
    version: str,
    failure: errors.PendingSecretKept,
    *,
    last: Pending | None,
    tried: str | None,
    now: datetime,
    settings: Settings,
) -> Pending:
    """Return what the ledger is to know of a version that was not promoted."""
    is_refused = isinstance(failure, errors.PendingSecretRefused)
    before = max(0, last.refusals) if last and last.version == version else 0
    wait = back_off(before, settings) if is_refused else None
    return Pending(
        version=version,
        reason=failure.reason,
        detail=failure.detail,
        tried_at=now,
        refusals=before + is_refused,
        tried=None if is_refused else tried,
        next_attempt_at=now + wait if wait else None,
    )


def fallback_of(
    last: Fallback | None, secret: "ClientSecret", stages: Mapping[str, str], now: datetime
) -> Fallback | None:
    """Return which version serves in place of the current one, as far as is known."""
    current = stages.get(CURRENT)
    if not secret.works:  # nothing new is known
        is_current_by_now = last is not None and last.version == current
        return None if is_current_by_now else last
    if secret.failure is None or secret.stage == CURRENT:
        return None
    return Fallback(
        version=secret.version,
        stage=secret.stage,
        current=current,
        detail=secret.failure.detail,
        since=last.since if last and last.version == secret.version else now,
    )


def lasting_reasons(
    secret: "ClientSecret",
    refusals: list[errors.IssuerError],
    pending: Pending | None,
    *,
    promoted: bool,
) -> set[str]:
    """Return for which reasons it stays known when they were told."""
    lasting = {one.reason for one in refusals} | ({pending.reason} if pending else set())
    if not secret.works and not promoted:
        # that no version works is known in those runs only that ask
        lasting |= {errors.ClientRefused.__name__, errors.ClientSecretInvalid.__name__}
    return lasting


def _waits(pending: Pending, now: datetime) -> bool:
    """Tell whether a refused version is left alone; not one from the future: a clock set back."""
    return pending.next_attempt_at is not None and pending.tried_at <= now < pending.next_attempt_at


def notice_of(fallback: Fallback) -> errors.ClientSecretFallback:
    """Return what is told while another version serves."""
    return errors.ClientSecretFallback(
        f"{fallback.detail}; since {shown(fallback.since)}"
        f" {fallback.stage} is used in place of AWSCURRENT"
    )


def _proof_tenant(secret: "ClientSecret", tried: str | None, facts: Facts) -> Tenant:
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


def why_kept(error: errors.IssuerError, tenant: Tenant | None) -> errors.PendingSecretKept:
    """Return what a failure means for the pending version, with the remedy of that failure."""
    match error:
        case errors.PendingSecretKept():
            return error
        case errors.ClientRefused():
            return errors.PendingSecretRefused(error.detail)
        case errors.ClientSecretInvalid():
            return errors.PendingSecretInvalid(error.detail)
    whose = f" for {tenant.name}" if tenant else ""
    kept = errors.PendingSecretUndecided(f"{error.reason}{whose}: {error.detail}")
    kept.remedy = error.remedy
    return kept
