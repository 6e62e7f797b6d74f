"""AccessToken, and whose it says it is (RFC 7519)."""

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from token_issuer.clients.credentials import ClientCredentials
from token_issuer.errors import AnswerInvalid, TokenInvalid, WrongTenant
from token_issuer.names import comparable
from token_issuer.redaction import Quoted, scrub
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.strict_json import decode, unique_members

TOKEN_BYTES = 8 * 1024  # of an advanced parameter


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A bearer token; times are UTC, and `scope` is what was granted, where the answer says so."""

    value: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    scope: frozenset[Quoted] | None
    names_tenant: bool = False  # the token itself says that it is this tenant's
    company: object = field(default=None, repr=False)  # the tenant_id that it names, comparable

    @property
    def fingerprint(self) -> str:
        """Return the first 16 hex digits of the token's SHA-256."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]


def claims_of(token: str) -> dict[str, Any]:
    """Return a JWT's claims unverified, {} for an opaque token; raises TokenInvalid.

    Three parts of which the first is a JSON object are a JWT (RFC 7519 §7.2), whatever that says.
    The signature needs no check: the token comes straight from the token endpoint over TLS.
    """
    parts = token.split(".")
    if len(parts) != 3 or not _is_object(parts[0]):  # noqa: PLR2004  header, claims, signature
        return {}
    try:
        claims = json.loads(_decoded(parts[1]), object_pairs_hook=unique_members, strict=False)
    except (ValueError, RecursionError, AnswerInvalid):
        claims = None
    if not isinstance(claims, dict):  # the token may be anybody's
        raise TokenInvalid("The token is a JWT whose claims can't be read")
    return claims


def _is_object(part: str) -> bool:
    try:
        return isinstance(json.loads(_decoded(part), parse_int=float, strict=False), dict)
    except (ValueError, RecursionError):  # a header of 8 KB is not nested so deeply
        return False


def _decoded(part: str) -> str:
    return decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def with_owner(
    token: AccessToken, tenant: Tenant, credentials: ClientCredentials, secrets: list[str]
) -> AccessToken:
    """Return the token with what it says of its owner.

    Raises WrongTenant where it says that it is another tenant's, or another client's.
    """
    claims = claims_of(token.value)
    owner, client_id = claims.get("tenant_id"), claims.get("client_id")
    if client_id is not None and client_id != credentials.client_id:
        raise WrongTenant("The token is for another client_id than the one that asked")
    theirs, ours = comparable(owner), comparable(tenant.tenant_id)
    if tenant.tenant_id is None or owner is None:
        return replace(token, company=theirs if isinstance(owner, str) else None)
    if theirs != ours:
        named: str = "of another kind"
        if isinstance(theirs, UUID):
            named = scrub(str(theirs), secrets, 60, known=str(theirs))
        raise WrongTenant(f"The token is for a tenant_id {named}, not {tenant.tenant_id}")
    return replace(token, names_tenant=True, company=theirs)
