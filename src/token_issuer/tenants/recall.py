"""Pure: records → the tenants that their tokens were issued for."""

import json

from token_issuer.errors import DocumentInvalid
from token_issuer.ledger.records import Memory, Record
from token_issuer.tenants.documents import JsonObject, Tenant, parse_tenant


def tenant_of(name: str, purpose: str, document: str) -> Tenant | None:
    """Return the tenant that a token was issued for; None where the purpose can't be read."""
    try:
        members = json.loads(purpose)
        kept = [(one, members[one]) for one in ("tenant_id", "scope", "client")]
        found = JsonObject([(one, value) for one, value in kept if value is not None])
        return parse_tenant(name, found, document)
    except (DocumentInvalid, KeyError, RecursionError, TypeError, ValueError):
        return None


def last_tenant(record: Record) -> Tenant | None:
    """Return the tenant that the last token was issued for; None where that isn't known."""
    issued = record.issued
    return tenant_of(record.tenant, issued.purpose, issued.document) if issued else None


def last_tenants(memory: Memory) -> dict[str, Tenant]:
    """Return the tenants that the ledger knows, as their tokens were issued for.

    Not those that a run has begun to remove: they are disabled, or gone.
    """
    staying = (one for one in memory.records.values() if one.issued and not one.issued.removing_at)
    return {one.tenant: tenant for one in staying if (tenant := last_tenant(one))}
