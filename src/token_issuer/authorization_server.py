"""Tenant + ClientCredentials → AccessToken (RFC 6749 §4.4), checked before anybody stores it."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote
from uuid import UUID

from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    AnswerInvalid,
    ClientRefused,
    EndpointUnavailable,
    TokenInvalid,
    TokenRefused,
    WrongTenant,
)
from token_issuer.tenants import Tenant

TOKEN_BYTES = 8 * 1024  # of an advanced parameter
LIFETIME_SECONDS = 24 * 3600

BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
PASSING_ERRORS = {"server_error", "temporarily_unavailable"}
KNOWN_ERRORS = PASSING_ERRORS | {  # RFC 6749 §5.2, and Visma's own
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_tenant",
}
OK, TOO_MANY_REQUESTS, SERVER_ERROR = 200, 429, 500
REDIRECTION = 3  # the hundreds of a status
UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
NO_LETTER = re.compile(r"[\W_]")
ANY_LONG_WORD = re.compile(r"[A-Za-z0-9._~+/=%-]{40,}")  # tokens and secrets; a UUID has 36


type Post = Callable[[dict[str, str], dict[str, str]], tuple[int, bytes]]


@dataclass(frozen=True, kw_only=True)
class AccessToken:
    """A bearer token; times are UTC, and `scope` is what was granted, where the answer says so."""

    value: str = field(repr=False)
    issued_at: datetime
    expires_at: datetime
    scope: frozenset[str] | None

    @property
    def fingerprint(self) -> str:
        """Return the first 16 hex digits of the token's SHA-256."""
        return hashlib.sha256(self.value.encode()).hexdigest()[:16]


def fetch_token(
    tenant: Tenant,
    credentials: ClientCredentials,
    *,
    post: Post,
    now: Callable[[], datetime],
) -> AccessToken:
    """Ask once for a token and check the answer; `post` takes form and headers.

    Raises ClientRefused, TokenRefused, TokenInvalid, WrongTenant, EndpointUnavailable or
    AnswerInvalid.
    Source: RFC 6749 §4.4.2, §5.1, §5.2; tenant_id is Visma Connect's own parameter.
    """
    form, headers = token_request(tenant, credentials)
    issued_at = now()
    status, body = post(form, headers)
    answer = _parse_answer(status, body)
    error, is_token = answer.get("error"), "access_token" in answer
    if error is not None or not is_token or status != OK:
        raise _refusal(status, answer, tenant, credentials)
    token = parse_token(answer, issued_at=issued_at)
    _check_owner(token.value, tenant, credentials)
    return token


def token_request(
    tenant: Tenant, credentials: ClientCredentials
) -> tuple[dict[str, str], dict[str, str]]:
    """Return form and headers of the token request."""
    form = {"grant_type": "client_credentials"}
    headers = {"Accept": "application/json"}
    if tenant.scope:
        form["scope"] = tenant.scope
    if credentials.auth_method == "client_secret_basic":
        headers["Authorization"] = f"Basic {_basic(credentials)}"
    else:
        form["client_id"] = credentials.client_id
        form["client_secret"] = credentials.client_secret
    if tenant.tenant_id is not None:
        form["tenant_id"] = tenant.tenant_id
    return form, headers


def _basic(credentials: ClientCredentials) -> str:
    # form-encoded first (RFC 6749 §2.3.1); %20 for a space, since some servers keep a +
    pair = f"{quote(credentials.client_id, safe='')}:{quote(credentials.client_secret, safe='')}"
    return base64.b64encode(pair.encode()).decode()


def _parse_answer(status: int, body: bytes) -> dict[str, Any]:
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        raise EndpointUnavailable(f"The token endpoint answered HTTP {status}", code=str(status))
    if status // 100 == REDIRECTION:
        raise AnswerInvalid(f"The answer, HTTP {status}, is a redirect, and none is followed")
    try:
        answer = json.loads(body, object_pairs_hook=_members)
    except (ValueError, RecursionError):
        answer = None  # no cause is chained: it would carry the body, and with it a token
    if not isinstance(answer, dict):
        raise AnswerInvalid(f"The answer, HTTP {status}, is {_kind(body)}")
    return answer


def _kind(body: bytes) -> str:
    if not body:
        return "empty"
    return "HTML" if body.lstrip().startswith(b"<") else "not a JSON object"


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what stands twice (RFC 6749 §3.2): another parser might take the other one."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise AnswerInvalid("The answer names a member twice")
    return members


def _refusal(
    status: int, answer: dict[str, Any], tenant: Tenant, credentials: ClientCredentials
) -> Exception:
    """Return the failure that an OAuth error stands for; the status says less than the error."""
    code, description = answer.get("error"), answer.get("error_description")
    if not isinstance(code, str) or not code:
        return AnswerInvalid(f"The answer, HTTP {status}, is neither a token nor an OAuth error")
    # the id too, since id and secret are easily swapped
    unspeakable = [credentials.client_id, credentials.client_secret, _basic(credentials)]
    if token := answer.get("access_token"):
        unspeakable.append(str(token))
    detail = code if code in KNOWN_ERRORS else _scrub(code, unspeakable, 60)
    if isinstance(description, str) and description:
        detail = f"{detail}: {_scrub(description, unspeakable, 200)}"
    if code in PASSING_ERRORS:
        return EndpointUnavailable(f"The token endpoint answered {detail}")
    if code == "invalid_client":
        return ClientRefused(f"Client {tenant.client}: {detail}")
    return TokenRefused(detail, code=code)


def _scrub(said: str, unspeakable: list[str], length: int) -> str:
    """Cut a server's words; withhold them where they quote a secret, however it is spelled."""
    plain = UNICODE_ESCAPE.sub(lambda match: chr(int(match[1], 16)), html.unescape(said))
    spellings = [_bare(one) for one in (said, plain, unquote(plain), unquote(unquote(plain)))]
    if any(_quotes(secret, said, spellings) for secret in unspeakable):
        return "[withheld: it quotes a secret]"
    words = "".join(character if character.isprintable() else " " for character in said)
    words = ANY_LONG_WORD.sub("[…]", words)
    return words if len(words) <= length else f"{words[:length]}…"


def _quotes(secret: str, said: str, spellings: list[str]) -> bool:
    bare = _bare(secret)
    return secret in said or (bare != "" and any(bare in spelling for spelling in spellings))


def _bare(text: str) -> str:
    """Return letters and digits only: quoting and escaping change the rest."""
    return NO_LETTER.sub("", text)


def parse_token(answer: dict[str, Any], *, issued_at: datetime) -> AccessToken:
    """Check a successful answer (RFC 6749 §5.1); raises TokenInvalid."""
    value, token_type = answer.get("access_token"), answer.get("token_type")
    if not isinstance(value, str) or not BEARER_TOKEN.fullmatch(value):
        raise TokenInvalid("access_token is missing or not a bearer token (RFC 6750 §2.1)")
    if len(value) > TOKEN_BYTES:
        raise TokenInvalid(f"access_token is longer than {TOKEN_BYTES} bytes")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise TokenInvalid("token_type is not Bearer")
    return AccessToken(
        value=value,
        issued_at=issued_at,
        expires_at=_expiry(answer.get("expires_in"), _claims(value).get("exp"), issued_at),
        scope=_granted_scope(answer.get("scope")),
    )


def _expiry(expires_in: object, exp: object, issued_at: datetime) -> datetime:
    """Return the earlier of issued_at + expires_in and the JWT's `exp`, whichever are there."""
    lifetimes = []
    if expires_in is not None:
        lifetimes.append(_lifetime(expires_in))
    if isinstance(exp, int | float) and not isinstance(exp, bool):
        now = issued_at.timestamp()
        if not exp > now:  # also when it is no number at all (NaN)
            raise TokenInvalid("The token has expired already: its exp has passed")
        lifetimes.append(min(exp, now + LIFETIME_SECONDS) - now)
    if not lifetimes:
        raise TokenInvalid("expires_in is missing, and the token has no exp")
    return issued_at + timedelta(seconds=min(lifetimes))


def _lifetime(expires_in: object) -> float:
    # some servers answer "3600" or 3600.0 (RFC 6749 Appendix A.14 wants digits)
    is_number = isinstance(expires_in, int | float | str) and not isinstance(expires_in, bool)
    if not is_number or not re.fullmatch(r"\d{1,9}(\.0)?", str(expires_in)):
        raise TokenInvalid("expires_in is not a positive whole number of seconds")
    seconds = float(str(expires_in))
    if not 0 < seconds <= LIFETIME_SECONDS:
        raise TokenInvalid(f"expires_in is {seconds:.0f}, not between 1 and {LIFETIME_SECONDS}")
    return seconds


def _granted_scope(scope: object) -> frozenset[str] | None:
    if isinstance(scope, str):
        return frozenset(scope.split())
    if isinstance(scope, list):  # some servers answer a list
        return frozenset(word for word in scope if isinstance(word, str))
    return None


def _claims(token: str) -> dict[str, Any]:
    """Return a JWT's claims unverified, {} for anything else (RFC 7519 §3).

    The signature needs no check: the token comes straight from the token endpoint over TLS.
    """
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) and len(parts) == 3 else {}  # noqa: PLR2004  header, claims, signature


def _check_owner(token: str, tenant: Tenant, credentials: ClientCredentials) -> None:
    """Refuse a token that says it is another tenant's or another client's; raises WrongTenant."""
    claims = _claims(token)
    owner, client_id = claims.get("tenant_id"), claims.get("client_id")
    if client_id is not None and client_id != credentials.client_id:
        raise WrongTenant("The token is for another client_id than the one that asked")
    if tenant.tenant_id is None or owner is None:
        return
    theirs, ours = _comparable(owner), _comparable(tenant.tenant_id)
    if theirs != ours:
        named = theirs if isinstance(theirs, UUID) else "of another kind"
        raise WrongTenant(f"The token is for a tenant_id {named}, not {tenant.tenant_id}")


def _comparable(tenant_id: object) -> object:
    """Return equal values for the spellings of one UUID (RFC 9562 §4: case doesn't count)."""
    try:
        return UUID(str(tenant_id))
    except ValueError:
        return tenant_id
