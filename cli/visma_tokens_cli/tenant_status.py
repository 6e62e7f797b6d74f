"""How tenants are: the states that they can be in, and what is told of each."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from token_issuer.errors import IssuerError
from visma_tokens_cli.screen import plain


class State(StrEnum):
    """How a tenant is, the worst first."""

    WITHOUT = "no token"
    LOST = "lost"  # the parameter holds another token than the ledger knows, or none
    FAILING = "failing"  # its token lives, the last attempt to renew it failed
    NEW = "new"  # configured, and not asked for yet
    DUE = "due"
    LEAVING = "leaving"  # vanished from the configuration; goes when its token has expired
    FRESH = "fresh"
    DISABLED = "disabled"


ORDER = {state: number for number, state in enumerate(State)}
WORRYING = frozenset({State.WITHOUT, State.LOST, State.FAILING, State.NEW})


@dataclass(frozen=True, kw_only=True)
class TenantStatus:
    """One tenant; times are None where there is no token, `reason` where nothing failed."""

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
    """All tenants, the worst first, and what is wrong with documents by parameter or name.

    `compared` counts those whose parameter has been compared with the ledger.
    """

    at: datetime
    tenants: list[TenantStatus]
    documents: dict[str, IssuerError]
    compared: int = 0

    def only(self, *, failing: bool) -> "Status":
        """Return it with those only that need attention, where it is to be about these."""
        if not failing:
            return self
        return replace(self, tenants=[one for one in self.tenants if one.state in WORRYING])

    @property
    def is_well(self) -> bool:
        """Tell whether each tenant that is to have a token has one, and can be renewed."""
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


def in_order(tenants: Iterable[TenantStatus]) -> list[TenantStatus]:
    """Return them sorted: the worst first, then who has the least time left."""
    late = datetime.max.replace(tzinfo=UTC)
    return sorted(tenants, key=lambda one: (ORDER[one.state], one.expires_at or late, one.tenant))
