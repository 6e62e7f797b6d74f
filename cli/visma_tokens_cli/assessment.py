"""The state of each tenant, from ledger, configuration and parameters; pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from token_issuer.errors import IssuerError
from token_issuer.ledger.records import Failure, Issued, Memory, Record
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.plan import waited_for
from token_issuer.tokens.renewal import purpose_of, renew_at
from visma_tokens_cli.screen import plain


class State(StrEnum):
    """The state of a tenant, the worst first."""

    WITHOUT = "no token"
    LOST = "lost"  # the parameter holds another token than the ledger knows, or none
    FAILING = "failing"  # its token is valid, but the last attempt to renew it failed
    NEW = "new"  # configured; no run has asked for its token yet
    DUE = "due"
    LEAVING = "leaving"  # no longer configured; removed when its token has expired
    FRESH = "fresh"
    DISABLED = "disabled"


ORDER = {state: number for number, state in enumerate(State)}
WORRYING = frozenset({State.WITHOUT, State.LOST, State.FAILING, State.NEW})


@dataclass(frozen=True, kw_only=True)
class TenantStatus:
    """The state of one tenant; times are None without a token, `reason` is without a failure."""

    tenant: str
    client: str
    state: State
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    renews_at: datetime | None = None
    version: int | None = None
    stored_version: int | None = None
    reason: str | None = None
    detail: str | None = None
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return plain(self)


@dataclass(frozen=True, kw_only=True)
class Status:
    """All tenants, the worst first; `documents` are errors, by parameter or tenant.

    `compared` counts the tenants whose parameter has been compared with the ledger.
    """

    at: datetime
    tenants: list[TenantStatus]
    documents: dict[str, IssuerError]
    compared: int = 0

    def only(self, *, failing: bool) -> "Status":
        """Return the status, if `failing` with those tenants only that need attention."""
        if not failing:
            return self
        return replace(self, tenants=[one for one in self.tenants if one.state in WORRYING])

    @property
    def is_well(self) -> bool:
        """Tell whether no tenant needs attention, and all documents can be used."""
        return not self.documents and not any(one.state in WORRYING for one in self.tenants)

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "counts": Counter(str(one.state) for one in self.tenants),
            "compared": self.compared,
            "tenants": [one.as_dict() for one in self.tenants],
            "documents": {
                name: {"detail": error.detail, "remedy": error.remedy}
                for name, error in self.documents.items()
            },
        }


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A tenant's configuration and its record in the ledger, each None where there is none."""

    name: str
    tenant: Tenant | None
    record: Record | None
    now: datetime
    settings: Settings

    @property
    def issued(self) -> Issued | None:
        """Return what the ledger knows of the tenant's last token."""
        return self.record.issued if self.record else None

    @property
    def failure(self) -> Failure | None:
        """Return the last attempt if it failed, None for a tenant that isn't configured."""
        return self.record.failure if self.record and self.tenant else None

    def next_attempt(self) -> datetime | None:
        """Return when the tenant's token is renewed, None where that is not known."""
        if self.failure and self.record and waited_for(self.record, self.now):
            return self.failure.next_attempt_at
        if self.issued is None:
            return None
        if self.tenant and self.issued.purpose != purpose_of(self.tenant, self.settings):
            return self.now
        return renew_at(self.name, self.issued, self.settings)

    def is_due(self) -> bool:
        """Tell whether the next run renews the token."""
        due = self.next_attempt()
        return due is not None and due <= self.now


@dataclass(frozen=True)
class Rule:
    """A state, which tenants are in it, and when their tokens are renewed."""

    state: State
    applies: Callable[[Situation], bool]
    renews_at: Callable[[Situation], datetime | None] = Situation.next_attempt


CHAIN = (  # the first rule that applies decides
    Rule(State.DISABLED, lambda one: one.tenant is not None and not one.tenant.enabled),
    Rule(State.LEAVING, lambda one: one.tenant is None),
    Rule(State.NEW, lambda one: one.record is None, lambda one: one.now),
    Rule(State.WITHOUT, lambda one: one.issued is None or one.issued.expires_at <= one.now),
    Rule(State.LOST, lambda one: one.issued is not None and one.issued.lost_at is not None),
    Rule(State.FAILING, lambda one: one.failure is not None),
    Rule(State.DUE, Situation.is_due),
    Rule(State.FRESH, lambda _: True),
)


def assess(
    memory: Memory, configuration: Configuration, now: datetime, settings: Settings
) -> Status:
    """Decide the state of each tenant from ledger and configuration."""
    tenants = [
        assess_tenant(
            Situation(
                name=name,
                tenant=configuration.tenants.get(name),
                record=memory.records.get(name),
                now=now,
                settings=settings,
            )
        )
        for name in configuration.tenants.keys() | memory.records.keys()
    ]
    return Status(at=now, tenants=in_order(tenants), documents=dict(configuration.invalid))


def assess_tenant(situation: Situation) -> TenantStatus:
    """Decide the state of a tenant by the chain, and say why its last attempt failed."""
    rule = next(one for one in CHAIN if one.applies(situation))
    issued, failure = situation.issued, situation.failure
    known = situation.tenant or situation.record
    recalled = failure and IssuerError.recall(failure.reason, failure.detail, failure.code)
    return TenantStatus(
        tenant=situation.name,
        client=known.client if known else "",
        state=rule.state,
        issued_at=issued.issued_at if issued else None,
        expires_at=issued.expires_at if issued else None,
        renews_at=rule.renews_at(situation),
        version=issued.version if issued else None,
        reason=failure.reason if failure else None,
        detail=recalled.detail if recalled else None,
        remedy=recalled.remedy if recalled else None,
    )


def compare(status: TenantStatus, stored: Mapping[str, int]) -> TenantStatus:
    """Mark a tenant as lost if its parameter is gone, or holds another token than the ledger's."""
    if status.version is None:
        return status
    version = stored.get(status.tenant)
    if version == status.version:
        return replace(status, stored_version=version)
    detail = (
        "The parameter holds another version than the ledger"
        if version
        else "The parameter is gone"
    )
    is_to_have = status.state in {State.FRESH, State.DUE, State.FAILING, State.LOST}
    return replace(
        status,
        state=State.LOST if is_to_have else status.state,
        stored_version=version,
        reason=status.reason or "TokenLost",
        detail=status.detail or detail,
        remedy=status.remedy or "Nothing: a run within the hour finds out and issues a new one.",
    )


def in_order(tenants: Iterable[TenantStatus]) -> list[TenantStatus]:
    """Sort tenants: the worst first, then the least time left."""
    late = datetime.max.replace(tzinfo=UTC)
    return sorted(tenants, key=lambda one: (ORDER[one.state], one.expires_at or late, one.tenant))
