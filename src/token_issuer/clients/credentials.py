"""Pure: text of a secret → ClientCredentials."""

import json
from dataclasses import dataclass, field

from token_issuer.errors import ClientSecretInvalid

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"  # stages of versions
MEMBERS = {"client_id", "client_secret", "auth_method"}
AUTH_METHODS = ("client_secret_post", "client_secret_basic")  # the first is the default


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """How a client authenticates at the token endpoint (RFC 6749 §2.3.1).

    `version` is that of the secret in Secrets Manager.
    """

    client_id: str
    client_secret: str = field(repr=False)
    auth_method: str
    version: str


def parse_credentials(secret_id: str, text: object, version: str) -> ClientCredentials:
    """Check the text of a version of a secret; raises ClientSecretInvalid, which quotes nothing."""
    if not isinstance(text, str):
        raise ClientSecretInvalid(f"Secret {secret_id} is binary, not text")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        # from None: a JSONDecodeError carries the whole document
        raise ClientSecretInvalid(f"Secret {secret_id} is not JSON") from None
    if not isinstance(document, dict):
        raise ClientSecretInvalid(f"Secret {secret_id} is not a JSON object")
    if document.keys() - MEMBERS:
        # not named: the secret itself may stand where a member's name should
        raise ClientSecretInvalid(f"Secret {secret_id} has other members than it may have")
    for member in ("client_id", "client_secret"):
        where, value = f"Secret {secret_id}: {member}", document.get(member)
        if not isinstance(value, str) or not value:
            raise ClientSecretInvalid(f"{where} is missing, empty or not a text")
        if not _is_unicode(value):
            raise ClientSecretInvalid(f"{where} has an incomplete Unicode character")
    auth_method = document.get("auth_method", AUTH_METHODS[0])
    if auth_method not in AUTH_METHODS:
        methods = " or ".join(AUTH_METHODS)
        raise ClientSecretInvalid(f"Secret {secret_id}: auth_method must be {methods}")
    return ClientCredentials(
        client_id=document["client_id"],
        client_secret=document["client_secret"],
        auth_method=auth_method,
        version=version,
    )


def _is_unicode(text: str) -> bool:
    """Tell lone surrogates, which JSON can spell and UTF-8 can't (RFC 8259 §8.2)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
