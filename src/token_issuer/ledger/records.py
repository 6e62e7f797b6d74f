"""What the ledger knows: values, no work."""

from dataclasses import dataclass, field
from datetime import datetime

from token_issuer.names import comparable
from token_issuer.redaction import Quoted


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose token it is: a company's, or its client's where it is asked for without tenant_id."""

    tenant_id: str | None
    client: str

    def __str__(self) -> str:
        """Return words for people."""
        if self.tenant_id:
            return f"tenant_id {self.tenant_id}"
        return f"no tenant_id (client {self.client})"

    def is_same(self, other: "Owner") -> bool:
        """Compare as UUIDs where they are, whatever the client is."""
        if self.tenant_id or other.tenant_id:
            return comparable(self.tenant_id) == comparable(other.tenant_id)
        return self.client == other.client


@dataclass(frozen=True, kw_only=True)
class Issued:
    """The token in a tenant's parameter; `purpose` and `parameter` are what it was issued for.

    `lost_at` is when the parameter was found gone, or with another version than this;
    `removing_at` is when a run began to remove it, so that nobody asks for another.
    """

    issued_at: datetime
    expires_at: datetime
    fingerprint: str
    scope: Quoted | None
    parameter: str
    version: int
    client_secret_version: str
    purpose: str
    document: str
    lost_at: datetime | None = None
    removing_at: datetime | None = None

    def lives(self, now: datetime) -> bool:
        """Tell whether consumers can have this token."""
        return now < self.expires_at and self.lost_at is None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last attempt, which failed.

    `refusals` counts the lasting ones since there was no live token; `told_at` is when an event
    last told of it.
    """

    reason: str
    code: Quoted | None
    detail: Quoted
    failed_at: datetime
    refusals: int
    next_attempt_at: datetime | None
    purpose: str
    client_secret_version: str
    told_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the ledger knows of a tenant; `attempted_at` is when that run began.

    `owner` is to be remembered of this attempt; None leaves it as it was.
    """

    tenant: str
    client: str
    attempted_at: datetime
    issued: Issued | None = None
    failure: Failure | None = None
    owner: Owner | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Why a pending version of a client secret is not current yet; `tried` is for which tenant.

    `refusals` counts those of the authorization server.
    """

    version: str
    reason: str
    detail: Quoted
    tried_at: datetime
    refusals: int
    tried: str | None = None
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """The version of a client secret that works where `current` doesn't, and since when."""

    version: str
    stage: str
    current: str | None
    detail: Quoted
    since: datetime


@dataclass(frozen=True, kw_only=True)
class ClientRecord:
    """What the ledger knows of a client's secret beside what Secrets Manager does.

    `told_at` says by reason when an event last told of it.
    """

    client: str
    pending: Pending | None = None
    fallback: Fallback | None = None
    told_at: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The whole ledger: records by tenant and by client.

    `owners` says by name whose token was asked for last, also of tenants that are gone.
    `left_over` are the keys of items that an earlier version has left.
    """

    records: dict[str, Record] = field(default_factory=dict)
    clients: dict[str, ClientRecord] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)
    left_over: tuple[str, ...] = ()
