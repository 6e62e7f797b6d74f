"""Read a token parameter, and the claims of its token."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from token_issuer.names import NAME
from visma_tokens_cli.failures import answer_unless
from visma_tokens_cli.stack import Stack


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The content of a token parameter."""

    version: int
    value: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """Return the first 16 hex digits of the token's SHA-256, as the ledger has them."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]

    @property
    def expires_at(self) -> datetime | None:
        """Return the time in the claim `exp`, None without one."""
        exp = claims_of(self.value).get("exp")
        if isinstance(exp, bool) or not isinstance(exp, int | float):
            return None
        try:
            return datetime.fromtimestamp(exp, UTC)
        except (OverflowError, ValueError):
            return None


def claims_of(token: str) -> dict[str, Any]:
    """Return a JWT's claims without verifying it, {} for anything else (RFC 7519 §7.2)."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004  header, claims, signature
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def parameter_of(stack: Stack, tenant: str) -> str:
    """Return the name of the parameter with a tenant's token."""
    return f"{stack.settings.tokens_path}/{tenant}"


def read_token(stack: Stack, tenant: str) -> Stored | None:
    """Read and decrypt a token, None if there is none; raises ClientError.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html
    """
    if not NAME.fullmatch(tenant):  # acme:3 would read an earlier version
        return None
    read = partial(stack.aws.client("ssm").get_parameter, Name=parameter_of(stack, tenant))
    answer = answer_unless(partial(read, WithDecryption=True), "ParameterNotFound")
    found = answer and answer["Parameter"]
    return Stored(version=found["Version"], value=found["Value"]) if found else None
