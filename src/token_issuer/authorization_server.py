"""Tenant + ClientCredentials → AccessToken (RFC 6749 §4.4), checked before anybody stores it."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote
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

DIGITS = re.compile(r"[0-9]{1,15}")
DELAY_SECONDS = re.compile(r"[0-9]+")
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
NO_LETTER = re.compile(r"[\W_]")
PIECE = 12  # letters and digits of a secret that are not shown
# of few characters, of letters as people write them (scopes too), or a UUID
PLAIN_WORD = re.compile(
    r"[!-~]{1,5}|[\"'(]*[A-Za-z]?[a-z]+([._:/'-][a-z]+)*[\"').,:;!?]*"
    r"|[\"'(]*[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}[\"').,:;!?]*"
)


type Post = Callable[[dict[str, str], dict[str, str]], Answer]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, body, and the header Retry-After, where there is one."""

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None


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
    answer = post(form, headers)
    retry_after = parse_retry_after(answer.retry_after, issued_at)
    members = _parse_answer(answer.status, answer.body, retry_after)
    error, is_token = members.get("error"), "access_token" in members
    if error is not None or not is_token or answer.status != OK:
        raise _refusal(answer.status, members, retry_after, tenant, credentials)
    token = parse_token(members, issued_at=issued_at)
    _check_owner(_claims(token.value), tenant, credentials)
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


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that the header says, or that are left to its date (RFC 9110 §10.2.3)."""
    if text is None:
        return None
    if DELAY_SECONDS.fullmatch(text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _parse_answer(status: int, body: bytes, retry_after: float | None) -> dict[str, Any]:
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        raise EndpointUnavailable(
            f"The token endpoint answered HTTP {status}", code=str(status), retry_after=retry_after
        )
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
    status: int,
    answer: dict[str, Any],
    retry_after: float | None,
    tenant: Tenant,
    credentials: ClientCredentials,
) -> Exception:
    """Return the failure that an OAuth error stands for; the status says less than the error."""
    code, description = answer.get("error"), answer.get("error_description")
    if not isinstance(code, str) or not code:
        return AnswerInvalid(f"The answer, HTTP {status}, is neither a token nor an OAuth error")
    # the id too, since id and secret are easily swapped
    unspeakable = [credentials.client_id, credentials.client_secret, _basic(credentials)]
    if isinstance(token := answer.get("access_token"), str):
        unspeakable.append(token)
    detail = code if code in KNOWN_ERRORS else _scrub(code, unspeakable, 60)
    if isinstance(description, str) and description:
        detail = f"{detail}: {_scrub(description, unspeakable, 200)}"
    if code in PASSING_ERRORS:
        return EndpointUnavailable(f"The token endpoint answered {detail}", retry_after=retry_after)
    if code == "invalid_client":
        return ClientRefused(f"Client {tenant.client}: {detail}")
    return TokenRefused(detail, code=code)


def _scrub(said: str, unspeakable: list[str], length: int) -> str:
    """Show of a server's words what can be no secret, and none of them where they quote one."""
    bare = _bare(said)
    pieces = (piece for secret in unspeakable for piece in _pieces(_bare(secret)))
    if any(secret in said for secret in unspeakable) or any(piece in bare for piece in pieces):
        return "[withheld: it quotes a secret]"
    words = " ".join(word if PLAIN_WORD.fullmatch(word) else "[…]" for word in said.split())
    return words if len(words) <= length else f"{words[:length]}…"


def _pieces(bare: str) -> Iterator[str]:
    """Yield each run of 12 characters, or the whole where it is shorter."""
    for start in range(max(1, len(bare) - PIECE + 1) if bare else 0):
        yield bare[start : start + PIECE]


def _bare(text: str) -> str:
    """Return letters and digits only, in lower case: quoting and escaping change the rest."""
    return NO_LETTER.sub("", text).lower()


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
    if isinstance(exp, str) and DIGITS.fullmatch(exp):
        exp = int(exp)  # some servers write a text (RFC 7519 §2 wants a number)
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
    if not is_number or not re.fullmatch(r"[0-9]{1,9}(\.0)?", str(expires_in)):
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
    """Return a JWT's claims unverified, {} for anything else (RFC 7519 §7.2).

    The signature needs no check: the token comes straight from the token endpoint over TLS.
    """
    parts = token.split(".")
    if len(parts) != 3 or "alg" not in (_object(parts[0]) or {}):  # noqa: PLR2004  header, claims, signature
        return {}
    claims = _object(parts[1])
    if claims is None:  # it may be anybody's
        raise TokenInvalid("The token is a JWT whose claims can't be read")
    return claims


def _object(part: str) -> dict[str, Any] | None:
    try:
        decoded = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        found = json.loads(decoded, object_pairs_hook=_members)
    except (ValueError, RecursionError, AnswerInvalid):
        return None
    return found if isinstance(found, dict) else None


def _check_owner(claims: dict[str, Any], tenant: Tenant, credentials: ClientCredentials) -> None:
    """Refuse a token that says it is another tenant's or another client's; raises WrongTenant."""
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
