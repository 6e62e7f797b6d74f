"""What the authorization server may answer when acme asks for a token."""

import base64
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from local.authorization_server import SCOPES, Fault
from tests.helpers.account import tenant_id
from tests.helpers.scene import ALL, ECHO, Case, Scene, hitting

ACME = frozenset({"acme"})
ECHOED = ECHO.encode()
WITHOUT = object()  # the value of a member that the answer lacks

type Body = Callable[[Scene], bytes]


def token_answer(**members: object) -> Body:
    """Return an answer that is well but for these members; a callable makes its value."""

    def body(scene: Scene) -> bytes:
        answer = {"token_type": "Bearer", "expires_in": 3600, "scope": SCOPES[0]} | members
        if "access_token" not in members:
            answer["access_token"] = scene.token(tenant_id=tenant_id("acme"))
        answer = {
            name: value(scene) if callable(value) else value
            for name, value in answer.items()
            if value is not WITHOUT
        }
        return json.dumps(answer).encode()

    return body


def claiming(**claims: object) -> Body:
    """Return an answer whose token is a JWT with these claims."""
    return token_answer(access_token=lambda scene: scene.token(**claims))


def opaque(token: str) -> Callable[[Scene], str]:
    def offer(scene: Scene) -> str:
        scene.offered = token
        scene.opaque.append(token)
        return token

    return offer


def answers(  # noqa: PLR0913  what a server may answer has this many parts
    words: str,
    reason: str | None,
    detail: str = "",
    *,
    status: int = 200,
    body: Body | bytes = ECHOED,
    headers: dict[str, str] | None = None,
    hit: frozenset[str] = ACME,
    warning: str | None = None,
    lifetime: int = 3600,
) -> Case:
    def arrange(scene: Scene) -> None:
        content = body(scene) if callable(body) else body
        sent = {"Content-Type": "application/json"} | (headers or {})
        for tenant in hit:  # whoever goes first, which is drawn by lot
            scene.answer(Fault(status=status, body=content, headers=sent), tenant)

    if reason:
        return hitting(hit, words, arrange, reason, detail)
    return Case(words=words, arrange=arrange, warning=warning, lifetime=lifetime)


def redirect(status: int) -> Case:
    def arrange(scene: Scene) -> None:
        port = scene.elsewhere.getsockname()[1]
        elsewhere = f"http://localhost:{port}/connect/token"
        scene.answer(Fault(status=status, body=ECHOED, headers={"Location": elsewhere}))

    words, detail = f"HTTP {status} to another host", f"HTTP {status}, is a redirect"
    return hitting(ACME, words, arrange, "AnswerInvalid", detail)


def outage(words: str, status: int, body: bytes = ECHOED) -> Case:
    return answers(words, "EndpointUnavailable", f"HTTP {status}", status=status, body=body)


def to_be_left_alone() -> Case:
    """Have no other tenant of the client, which would be deferred if the lot had acme first."""
    said = answers(
        "HTTP 429 with Retry-After",
        "EndpointUnavailable",
        "HTTP 429",
        status=429,
        headers={"Retry-After": "120"},
    )

    def arrange(scene: Scene) -> None:
        said.arrange(scene)
        scene.account.configure("globex", client="sales")

    return replace(said, arrange=arrange)


def error(code: object, **members: object) -> bytes:
    return json.dumps({"error": code, "debug": ECHO} | members).encode()


def quoting(said: Callable[[Scene], str]) -> Body:
    """Return an error that quotes something."""
    return lambda scene: error(f"invalid_request: {said(scene)}")


def describing(said: Callable[[Scene], str]) -> Body:
    """Return an error whose description quotes something."""
    return lambda scene: error("invalid_request", error_description=said(scene))


def refusal(words: str, detail: str, body: Body | bytes, status: int = 400) -> Case:
    return answers(words, "TokenRefused", detail, status=status, body=body)


def refused(code: str) -> Case:
    return refusal(f"400 {code}", code, error(code))


def lifetime(words: str, expires_in: object, detail: str = "") -> Case:
    reason = "TokenInvalid" if detail else None
    body = token_answer(expires_in=expires_in)
    return answers(f"expires_in {words}", reason, detail, body=body)


def bad_token(words: str, token: object, detail: str = "access_token is") -> Case:
    return answers(
        f"a token {words}", "TokenInvalid", detail, body=token_answer(access_token=token)
    )


def jwt_of(words: str, reason: str | None, detail: str, **claims: object) -> Case:
    return answers(f"a JWT {words}", reason, detail, body=claiming(**claims))


def looks_like_a_jwt(words: str, token: str) -> Case:
    body = token_answer(access_token=opaque(token))
    return answers(f"what merely looks like a JWT: {words}", None, body=body)


def granted(words: str, scope: object, warning: str | None = None) -> Case:
    return answers(f"scope {words}", None, body=token_answer(scope=scope), warning=warning)


def unreadable_claims(scene: Scene) -> str:
    """Return a JWT for another tenant, with a number that Python doesn't parse."""
    head, _, signature = scene.token().split(".")
    claims = f'{{"tenant_id": "{tenant_id("globex")}", "n": {"7" * 4400}}}'
    return f"{head}.{base64.urlsafe_b64encode(claims.encode()).decode().rstrip('=')}.{signature}"


def jwt(header: str, claims: object, scene: Scene) -> str:
    parts = (header, json.dumps(claims), "signature")
    token = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    scene.opaque.append(token)
    return token


def of_globex_with_header(words: str, header: str, reason: str, detail: str) -> Case:
    claims = {"tenant_id": tenant_id("globex")}
    token = partial(jwt, header, claims)
    return answers(
        f"a JWT for another tenant, {words}", reason, detail, body=token_answer(access_token=token)
    )


def twice(scene: Scene) -> bytes:
    first, second = scene.token(), scene.token(tenant_id=tenant_id("globex"))
    return f'{{"access_token": "{first}", "expires_in": 60, "access_token": "{second}"}}'.encode()


OURS, NO_TOKEN = tenant_id("acme"), token_answer(access_token=WITHOUT)
DEBUG, LISTED = json.dumps({"debug": ECHO}).encode(), json.dumps(["access_token", ECHO]).encode()
RANDOM = secrets.token_urlsafe(8192)

STATUSES = [
    answers("HTTP 204", "AnswerInvalid", "HTTP 204", status=204),
    redirect(307),
    redirect(302),
    *(
        answers(f"HTTP {status} without OAuth", "AnswerInvalid", f"HTTP {status}", status=status)
        for status in (401, 403, 404)
    ),
    *(outage(f"HTTP {status}", status) for status in (429, 500, 502, 503)),
    to_be_left_alone(),
    outage("HTTP 503 with an OAuth error", 503, error("invalid_client")),
]

BODIES = [
    answers("HTML", "AnswerInvalid", "is HTML", body=f"<html>{ECHO}</html>".encode()),
    answers("nothing", "AnswerInvalid", "HTTP 200, is empty", body=b""),
    answers("null", "AnswerInvalid", "not a JSON object", body=b"null"),
    answers("a list", "AnswerInvalid", "not a JSON object", body=LISTED),
    answers("a number", "AnswerInvalid", "not a JSON object", body=b"7"),
    answers("a number of 9,000 digits", "AnswerInvalid", "not a JSON", body=b"7" * 9_000),
    answers("invalid UTF-8", "AnswerInvalid", "not a JSON object", body=ECHOED + b"\xff"),
    answers("deep nesting", "AnswerInvalid", "not a JSON object", body=b"[" * 20_000),
    answers("a BOM", None, body=lambda scene: b"\xef\xbb\xbf" + token_answer()(scene)),
    answers("duplicate keys", "AnswerInvalid", "names a member twice", body=twice),
    answers("longer than 20 KB", "AnswerInvalid", "longer than 20480", body=b" " * 20_480),
]

ERRORS = [
    refusal("200 with error", "invalid_tenant", token_answer(error="invalid_tenant"), 200),
    answers("400 without error", "AnswerInvalid", "neither a token", status=400, body=DEBUG),
    answers("201 with a token", None, "", status=201, body=token_answer()),
    answers("206 without a token", "AnswerInvalid", "HTTP 206", status=206, body=DEBUG),
    answers("400 with a token", "AnswerInvalid", "HTTP 400", status=400, body=token_answer()),
    refused("invalid_request"),
    *(
        answers(
            f"{status} invalid_client",
            "ClientRefused",
            "Client default: invalid_client",
            status=status,
            body=error("invalid_client"),
            hit=ALL - {"hooli"},
        )
        for status in (401, 400)
    ),
    refused("invalid_grant"),
    refused("unauthorized_client"),
    refused("unsupported_grant_type"),
    refused("invalid_scope"),
    refused("invalid_tenant"),
    refused("invalid_moon_phase"),
    refusal(
        "403 unauthorized_client", "unauthorized_client", error("unauthorized_client"), status=403
    ),
    *(
        answers(f"error is {words} beside a token", None, body=token_answer(error=value))
        for words, value in (
            ("null", None),
            ("empty", ""),
            ("a space", " "),
            ("false", False),
            ("0", 0),
            ("an empty list", []),
            ("an empty object", {}),
        )
    ),
    *(
        answers(
            f"error is {words} beside a token",
            "AnswerInvalid",
            "its error is not a text",
            body=token_answer(error=value),
        )
        for words, value in (("true", True), ("an object", {"code": "invalid_tenant"}))
    ),
    *(
        answers(f"400 {code}", "EndpointUnavailable", code, status=400, body=error(code))
        for code in ("server_error", "temporarily_unavailable")
    ),
    *(
        answers(
            f"an error that is {words}", "AnswerInvalid", "neither", status=400, body=error(code)
        )
        for words, code in (("a number", 7), ("a list", ["invalid_tenant"]), ("empty", ""))
    ),
    refusal(
        "a description that quotes the secret",
        "invalid_request: [withheld",
        describing(lambda scene: f"got {scene.secrets[0]}"),
    ),
    refusal(
        "a description that quotes a token",
        "invalid_request: the token […]",
        describing(lambda scene: f"the token {scene.token()} is revoked"),
    ),
    *(
        refusal(f"{words} in the error", "[withheld", quoting(said))
        for words, said in (
            ("the client secret", lambda scene: scene.secrets[0]),
            ("the client's id and secret", lambda scene: f"default-id:{scene.secrets[0]}"),
            ("half of the client secret", lambda scene: scene.secrets[0][:20]),
        )
    ),
    refusal("a token in the error", "invalid_request: […]", quoting(lambda scene: scene.token())),
    refusal(
        "19 KB of text in the error",
        "many words and",
        json.dumps({"error": "many words and " * 1300}).encode(),
    ),
    refusal("control characters in the error", "[…]", error("\x1b[2J\u202ered\u0000")),
    refusal("a secret as the error", "[withheld", lambda scene: error(scene.secrets[0])),
]

TOKENS = [
    answers("no access_token", "AnswerInvalid", "neither a token nor", body=NO_TOKEN),
    bad_token("that is null", None),
    bad_token("that is empty", ""),
    bad_token("that is a number", 7),
    bad_token("with a space", lambda scene: f"{scene.token()} x"),
    bad_token("with a line break", lambda scene: f"{scene.token()}\n"),
    bad_token("beyond ASCII", lambda scene: f"{scene.token()}ø"),
    bad_token("of 9 KB", opaque(RANDOM[: 9 * 1024]), "longer than 8192 bytes"),
    answers("a token of 5 KB", None, body=token_answer(access_token=opaque(RANDOM[: 5 * 1024]))),
    *(
        answers(f"token_type {word}", None, body=token_answer(token_type=word))
        for word in ("bearer", "BEARER")
    ),
    *(
        answers(words, "TokenInvalid", "token_type is not", body=token_answer(token_type=value))
        for words, value in (("token_type missing", WITHOUT), ("token_type mac", "mac"))
    ),
    lifetime("0", 0, "expires_in is 0, not"),
    lifetime("-1", -1, "not a positive whole number"),
    lifetime("3600.0", 3600.0),
    lifetime("3600 as a text", "3600"),
    lifetime("soon", "soon", "not a positive whole number"),
    lifetime("true", True, "not a positive whole number"),  # noqa: FBT003  the value of a member
    lifetime("1e99", 1e99, "not a positive whole number"),
    lifetime("two days", 172_800, "expires_in is 172800, not"),
    lifetime("missing, and no exp", WITHOUT, "expires_in is missing"),
    answers(
        "expires_in missing, and a JWT's exp",
        None,
        body=token_answer(
            expires_in=WITHOUT, access_token=lambda scene: scene.token(exp=int(time.time()) + 1800)
        ),
        lifetime=1800,
    ),
    jwt_of(
        "whose exp has passed", "TokenInvalid", "has expired already", exp=int(time.time()) - 60
    ),
    jwt_of("whose exp is an old text", "TokenInvalid", "expired already", exp="1600000000"),
    jwt_of(
        "for another tenant",
        "WrongTenant",
        f"for a tenant_id {tenant_id('globex')}, not {OURS}",
        tenant_id=tenant_id("globex"),
    ),
    jwt_of("for a tenant that is a list", "WrongTenant", "of another kind", tenant_id=[OURS]),
    jwt_of("for the tenant in upper case", None, "", tenant_id=tenant_id("acme").upper()),
    jwt_of(
        "for another client",
        "WrongTenant",
        "another client_id",
        tenant_id=OURS,
        client_id="sales-id",
    ),
    bad_token("with claims that can't be read", unreadable_claims, "whose claims can't be read"),
    *(
        of_globex_with_header(words, header, "WrongTenant", "for a tenant_id")
        for words, header in (
            ("without alg", '{"typ": "JWT"}'),
            ("with an empty header", "{}"),
            ("with a header that repeats a member", '{"alg": "RS256", "alg": "none"}'),
            ("with a number that Python doesn't parse", f'{{"alg": "RS256", "n": {"7" * 4400}}}'),
            ("with a header after a space", ' {"alg": "RS256"}'),
            ("with a header that is not UTF-8 text", '{"alg": "RS256", "x": "\\ud83d"}'),
            ("with a deep header", '{"a":' * 200 + "{}" + "}" * 200),
        )
    ),
    jwt_of("without tenant", None, "", client_id="default-id"),
    jwt_of("with aud as a list", None, "", aud=["a", "b"], tenant_id=tenant_id("acme")),
    jwt_of("with aud as a text", None, "", aud="a", tenant_id=tenant_id("acme")),
    looks_like_a_jwt("two parts", f"{RANDOM[:30]}.{RANDOM[30:60]}"),
    looks_like_a_jwt("three parts of nothing", f"{RANDOM[:30]}.{RANDOM[30:60]}.{RANDOM[60:90]}"),
    looks_like_a_jwt("a list as claims", f"{RANDOM[:30]}.W10.{RANDOM[60:90]}"),
    looks_like_a_jwt("dots only in the middle", f"{RANDOM[:30]}..{RANDOM[30:60]}"),
    granted("narrower", SCOPES[1], "ScopeNarrowed"),
    granted("empty", "", "ScopeNarrowed"),
    granted("wider", " ".join(SCOPES)),
    granted("missing", WITHOUT),
    granted("as an array", [SCOPES[0]]),
    granted("with the client secret", lambda scene: f"{SCOPES[0]} {scene.secrets[0]}"),
    granted("with another token", lambda scene: f"{SCOPES[0]} {scene.opaque[0]}"),
    granted("with the token itself", lambda scene: f"{SCOPES[0]} {scene.offered}"),
    granted("with control characters", f"{SCOPES[0]} \x1b[2J \u202ered"),
    granted("with 19 KB of other words", f"{SCOPES[0]} {' '.join(map(str, range(3600)))}"),
]

ANSWERS = [*STATUSES, *BODIES, *ERRORS, *TOKENS]
