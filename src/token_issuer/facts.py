"""What a run decides upon."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from token_issuer.errors import IssuerError
from token_issuer.ledger.records import Memory
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was read, by a run that began `at`, for its invocation.

    `tenants` are those that the run is about, `failures` what is wrong already. `whole` says that
    these are all. `compared` are the tenants whose parameters were looked at, `lost` those of them
    where another token is stored or none. `stages` says by client and stage which version of its
    secret it is on; `unchecked` and `unread` say what could not be looked at.
    """

    at: datetime
    invocation: Invocation
    memory: Memory
    configuration: Configuration
    tenants: list[Tenant]
    whole: bool
    failures: dict[str, IssuerError]
    compared: frozenset[str]
    lost: frozenset[str]
    stages: dict[str, dict[str, str]]
    unread: Mapping[str, IssuerError] = field(default_factory=dict)
    unchecked: IssuerError | None = None
