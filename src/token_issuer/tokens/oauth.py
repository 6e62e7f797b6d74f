"""Tenant + ClientCredentials → AccessToken (RFC 6749 §4.4), checked before anybody stores it."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

from token_issuer import errors
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.redaction import READ_CHARACTERS, WITHHELD, Quoted, plain_words, quotes_secret
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import TOKEN_BYTES, AccessToken, claims_of, with_owner
from token_issuer.tokens.strict_json import decode, unique_members

DELAY_SECONDS = re.compile(r"[0-9]+")
SHORTEST_TOKEN = 8  # characters; "" and "none" beside an error are no tokens
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
TOO_MANY_REQUESTS = 429
SUCCESS, REDIRECTION, SERVER_ERROR = 2, 3, 5  # the hundreds of a status
GZIP = b"\x1f\x8b"  # RFC 1952 §2.3.1
CODE_CHARACTERS, DESCRIPTION_CHARACTERS = 60, 200  # that are shown
NEITHER = "neither a token nor an OAuth error"


DIGITS = re.compile(r"[0-9]{1,15}")
LIFETIME_SECONDS = 24 * 3600
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Status, body, and the header Retry-After, where there is one.

    `is_early` where it came before the body was sent, which says who asks.
    """

    status: int
    body: bytes = field(repr=False)
    retry_after: str | None = None
    is_early: bool = False


def is_outage(status: int) -> bool:
    """Tell whether a server says that it can't answer now, whatever else it says."""
    return status == TOO_MANY_REQUESTS or status // 100 >= SERVER_ERROR


def is_redirect(status: int) -> bool:
    """Tell whether a server sends us elsewhere, where we don't go."""
    return status // 100 == REDIRECTION


type Post = Callable[[dict[str, str], dict[str, str]], Answer]


@dataclass(frozen=True, kw_only=True)
class TokenResponse:
    """The members of an answer (RFC 6749 §5.1, §5.2): tokens and secrets in no other text here."""

    access_token: object = field(repr=False)
    token_type: object = field(repr=False)
    expires_in: object = field(repr=False)
    scope: frozenset[Quoted] | None
    error: Quoted | None
    error_description: Quoted | None


def fetch_token(
    tenant: Tenant, credentials: ClientCredentials, *, post: Post, now: Callable[[], datetime]
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
    if answer.is_early:  # to another request
        raise errors.EndpointUnavailable("The token endpoint answered before it was asked")
    secrets = _secrets(members, credentials)
    response = parse_response(
        members, asked_for=tenant.scope, secrets=secrets, tenant_id=tenant.tenant_id or ""
    )
    if response.error is not None:
        raise _refusal(response.error, response.error_description, retry_after, tenant)
    if "access_token" not in members or answer.status // 100 != SUCCESS:
        raise errors.AnswerInvalid(f"The answer, HTTP {answer.status}, is {NEITHER}")
    return with_owner(parse_token(response, issued_at=issued_at), tenant, credentials, secrets)


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
    except (ValueError, OverflowError):  # whatever a server calls a date
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


def _parse_answer(status: int, body: bytes, retry_after: float | None) -> dict[str, Any]:
    if is_outage(status):
        why = f"The token endpoint answered HTTP {status}"
        raise errors.EndpointUnavailable(why, code=Quoted(status), retry_after=retry_after)
    if is_redirect(status):
        why = f"The answer, HTTP {status}, is a redirect, and none is followed"
        raise errors.AnswerInvalid(why)
    try:
        answer = json.loads(decode(body), object_pairs_hook=unique_members)
    except (ValueError, RecursionError):
        answer = None  # no cause is chained: it would carry the body, and with it a token
    if not isinstance(answer, dict):
        raise errors.AnswerInvalid(f"The answer, HTTP {status}, is {_kind(body)}")
    return answer


def _kind(body: bytes) -> str:
    if not body:
        return "empty"
    if body.startswith(GZIP):
        return "compressed, though no compression was asked for"
    return "HTML" if body.lstrip().startswith(b"<") else "not a JSON object"


def _secrets(members: dict[str, Any], credentials: ClientCredentials) -> list[str]:
    """Return what no word of this answer may quote: the id too, since people swap id and secret."""
    secrets = [credentials.client_id, credentials.client_secret, _basic(credentials)]
    token = members.get("access_token")
    if isinstance(token, str) and len(token) >= SHORTEST_TOKEN:
        secrets.append(token[:TOKEN_BYTES])
    return secrets


def parse_response(
    members: dict[str, Any], *, asked_for: str, secrets: list[str], tenant_id: str = ""
) -> TokenResponse:
    """Quote the words of the authorization server; raises AnswerInvalid where an error is no text.

    Of UUIDs only `tenant_id` is shown: any other may be a token.
    An empty error is none: some servers send `"error": ""` beside a token.
    """
    error, description = members.get("error"), members.get("error_description")
    if not error or (isinstance(error, str) and not error.strip()):
        error = None
    elif not isinstance(error, str):
        raise errors.AnswerInvalid(f"The answer is {NEITHER}: its error is not a text")
    # cut first, so that what is shown is what is searched
    description = description[:READ_CHARACTERS] if isinstance(description, str) else ""
    error = error and error[:READ_CHARACTERS]
    is_known = error is None or error in KNOWN_ERRORS
    # together, since a secret may begin in one and end in the other
    hides = quotes_secret(description if is_known else f"{error} {description}", secrets)
    said = WITHHELD if hides else plain_words(description, DESCRIPTION_CHARACTERS, tenant_id)
    if error is not None and not is_known:
        error = WITHHELD if hides else plain_words(error, CODE_CHARACTERS)
    return TokenResponse(
        access_token=members.get("access_token"),
        token_type=members.get("token_type"),
        expires_in=members.get("expires_in"),
        scope=_granted_scope(members.get("scope"), set(asked_for.split())),
        error=None if error is None else Quoted(error),
        error_description=Quoted(said) if description else None,
    )


def _granted_scope(scope: object, asked_for: set[str]) -> frozenset[Quoted] | None:
    """Return the words of a scope that were asked for: any other word could be a secret."""
    if isinstance(scope, str):
        scope = scope.split()
    if not isinstance(scope, list) or not asked_for:  # some servers answer a list
        return None
    words = {word for word in scope if isinstance(word, str)}
    return frozenset(map(Quoted, words & asked_for))


def _refusal(
    error: Quoted, description: Quoted | None, retry_after: float | None, tenant: Tenant
) -> errors.IssuerError:
    """Return the failure that an OAuth error stands for; the status says less than the error."""
    detail = f"{error}: {description}" if description else error
    if error in PASSING_ERRORS:
        why = f"The token endpoint answered {detail}"
        return errors.EndpointUnavailable(why, retry_after=retry_after)
    if error == "invalid_client":
        return errors.ClientRefused(f"Client {tenant.client}: {detail}")
    return errors.TokenRefused(detail, code=error)


def parse_token(response: TokenResponse, *, issued_at: datetime) -> AccessToken:
    """Check a successful response (RFC 6749 §5.1); raises TokenInvalid."""
    value, token_type = response.access_token, response.token_type
    if not isinstance(value, str) or not BEARER_TOKEN.fullmatch(value):
        raise errors.TokenInvalid("access_token is not a bearer token (RFC 6750 §2.1)")
    if len(value) > TOKEN_BYTES:
        raise errors.TokenInvalid(f"access_token is longer than {TOKEN_BYTES} bytes")
    if not isinstance(token_type, str) or token_type.lower() != "bearer":
        raise errors.TokenInvalid("token_type is not Bearer")
    return AccessToken(
        value=value,
        issued_at=issued_at,
        expires_at=_expiry(response.expires_in, claims_of(value).get("exp"), issued_at),
        scope=response.scope,
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
            raise errors.TokenInvalid("The token has expired already: its exp has passed")
        lifetimes.append(min(exp, now + LIFETIME_SECONDS) - now)
    if not lifetimes:
        raise errors.TokenInvalid("expires_in is missing, and the token has no exp")
    return issued_at + timedelta(seconds=min(lifetimes))


def _lifetime(expires_in: object) -> float:
    # some servers answer "3600" or 3600.0 (RFC 6749 Appendix A.14 wants digits)
    is_number = isinstance(expires_in, int | float | str) and not isinstance(expires_in, bool)
    if not is_number or not re.fullmatch(r"[0-9]{1,9}(\.0)?", str(expires_in)):
        raise errors.TokenInvalid("expires_in is not a positive whole number of seconds")
    seconds = float(str(expires_in))
    if not 0 < seconds <= LIFETIME_SECONDS:
        why = f"expires_in is {seconds:.0f}, not between 1 and {LIFETIME_SECONDS}"
        raise errors.TokenInvalid(why)
    return seconds
