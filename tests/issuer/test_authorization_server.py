import base64
import hashlib
import html
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import quote

import pytest
import requests
import responses

from local.authorization_server import SCOPES, Client, Fault, VismaConnect
from token_issuer.authorization_server import (
    AccessToken,
    fetch_token,
    parse_retry_after,
    parse_token,
    token_request,
)
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    ClientRefused,
    EndpointUnavailable,
    TokenInvalid,
    TokenRefused,
    WrongTenant,
)
from token_issuer.tenants import Tenant
from token_issuer.token_endpoint import open_session, post

type Fetch = Callable[..., AccessToken]

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENDPOINT = "https://connect.visma.com/connect/token"
TENANT = Tenant(
    name="acme",
    tenant_id="af1140c1-52e0-46c7-b684-df894d4b8a5a",
    scope=SCOPES[0],
    client="default",
    enabled=True,
    document="/visma/tenants/acme",
)
CREDENTIALS = ClientCredentials(
    client_id="demoapp",
    client_secret="correct-horse+staple",
    auth_method="client_secret_post",
    version="v1",
)
ANSWER = {"access_token": "opaque-token", "token_type": "Bearer", "expires_in": 3600}


def jwt(**claims: object) -> str:
    def encode(part: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")

    return f"{encode({'alg': 'RS256'})}.{encode(claims)}.c2lnbmF0dXJl"


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with open_session(8) as one:
        yield one


@pytest.fixture
def fetch(session: requests.Session) -> Fetch:
    def call(
        endpoint: str = ENDPOINT,
        tenant: Tenant = TENANT,
        credentials: ClientCredentials = CREDENTIALS,
        now: datetime = NOW,
    ) -> AccessToken:
        return fetch_token(
            tenant, credentials, post=partial(post, session, endpoint), now=lambda: now
        )

    return call


# The wire, against the local authorization server


@pytest.fixture
def client(visma_connect: VismaConnect) -> Client:
    registered = visma_connect.add_client("demoapp", "correct-horse+staple")
    registered.tenants.add(TENANT.tenant_id or "")
    return registered


@pytest.mark.usefixtures("client")
def test_the_request_is_what_visma_documents(visma_connect: VismaConnect, fetch: Fetch) -> None:
    fetch(visma_connect.token_endpoint, now=datetime.now(UTC))

    [received] = visma_connect.received
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "Authorization" not in received.headers
    assert received.form == {
        "grant_type": "client_credentials",
        "scope": "vismanet_erp_service_api:read",
        "client_id": "demoapp",
        "client_secret": "correct-horse+staple",
        "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a",
    }
    assert received.headers["Accept"] == "application/json"
    assert received.body.startswith(
        b"grant_type=client_credentials&scope=vismanet_erp_service_api%3Aread&client_id=demoapp"
    )


def test_what_is_not_configured_is_not_sent(
    client: Client, visma_connect: VismaConnect, fetch: Fetch
) -> None:
    tenant = replace(TENANT, tenant_id=None, scope="")

    token = fetch(visma_connect.token_endpoint, tenant=tenant, now=datetime.now(UTC))

    assert visma_connect.received[0].form.keys() == {"grant_type", "client_id", "client_secret"}
    assert "tenant_id" not in visma_connect.claims(token.value)
    assert token.scope == frozenset(client.scopes)


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("secret", ["plain", "a:b", "a b+c%20d/e=&", "blåbær€"])
def test_both_methods_carry_any_secret(
    method: str, secret: str, visma_connect: VismaConnect, fetch: Fetch
) -> None:
    visma_connect.add_client("id with:colon", secret).tenants.add(TENANT.tenant_id or "")
    credentials = ClientCredentials(
        client_id="id with:colon", client_secret=secret, auth_method=method, version="v1"
    )

    token = fetch(visma_connect.token_endpoint, credentials=credentials, now=datetime.now(UTC))

    assert visma_connect.claims(token.value)["client_id"] == "id with:colon"


def test_basic_authentication_keeps_the_secret_out_of_the_form() -> None:
    credentials = replace(CREDENTIALS, auth_method="client_secret_basic")

    form, headers = token_request(TENANT, credentials)

    assert form.keys() == {"grant_type", "scope", "tenant_id"}
    assert headers["Authorization"] == "Basic ZGVtb2FwcDpjb3JyZWN0LWhvcnNlJTJCc3RhcGxl"


def test_the_token_is_the_tenants_own(
    client: Client, visma_connect: VismaConnect, fetch: Fetch
) -> None:
    asked = datetime.now(UTC)

    token = fetch(visma_connect.token_endpoint, now=asked)

    claims = visma_connect.claims(token.value)
    assert claims["tenant_id"] == TENANT.tenant_id
    assert claims["client_id"] == client.client_id
    assert token.issued_at == asked
    assert timedelta(minutes=59) < token.expires_at - asked <= timedelta(minutes=60)
    assert token.scope == frozenset(SCOPES[:1])


def test_a_tenant_that_has_not_granted_is_refused_with_the_remedy(
    client: Client, visma_connect: VismaConnect, fetch: Fetch
) -> None:
    client.tenants.clear()

    with pytest.raises(TokenRefused, match="invalid_tenant") as caught:
        fetch(visma_connect.token_endpoint)

    assert "administrator to grant" in caught.value.remedy


@pytest.mark.usefixtures("client")
def test_an_unknown_scope_is_refused_with_the_remedy(
    visma_connect: VismaConnect, fetch: Fetch
) -> None:
    with pytest.raises(TokenRefused, match="invalid_scope") as caught:
        fetch(visma_connect.token_endpoint, tenant=replace(TENANT, scope="no.such:scope"))

    assert "scopes of the application" in caught.value.remedy


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_a_wrong_client_secret_is_the_clients_failure(
    method: str, client: Client, visma_connect: VismaConnect, fetch: Fetch
) -> None:
    client.client_secrets.clear()

    with pytest.raises(ClientRefused, match=r"^Client default: invalid_client"):
        fetch(visma_connect.token_endpoint, credentials=replace(CREDENTIALS, auth_method=method))


@pytest.mark.usefixtures("client")
def test_the_clock_is_read_before_the_request_is_sent(
    visma_connect: VismaConnect, session: requests.Session
) -> None:
    sent_by_then: list[int] = []

    def now() -> datetime:
        sent_by_then.append(len(visma_connect.received))
        return datetime.now(UTC)

    fetch_token(
        TENANT, CREDENTIALS, post=partial(post, session, visma_connect.token_endpoint), now=now
    )

    assert sent_by_then == [0]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("120", 120.0),
        ("0", 0.0),
        pytest.param("9" * 5000, float("inf"), id="for ever"),
        ("Mon, 23 Nov 2026 12:02:00 GMT", 120.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("Mon, 23 Nov 2026 13:02:00 +0100", 120.0),
        ("Mon, 23 Nov 2026 12:02:00 -0000", 120.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, b""), (503, b""), (400, b'{"error": "temporarily_unavailable"}')],
)
def test_a_server_may_want_to_be_left_alone(
    status: int, body: bytes, visma_connect: VismaConnect, session: requests.Session
) -> None:
    visma_connect.faults[None] = Fault(status=status, body=body, headers={"Retry-After": "120"})
    ask = partial(post, session, visma_connect.token_endpoint)

    with pytest.raises(EndpointUnavailable) as raised:
        fetch_token(TENANT, CREDENTIALS, post=ask, now=lambda: NOW)

    assert raised.value.retry_after == 120.0


# Answers


SECRET = "Zk9/x+Q2mB=7tR4w&Lp8sVn3c"
SIGNATURE = "aYIrdmw4zfsBOWnLT0CKmWCmKeBwk4bQ"


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(SECRET, id="as it is"),
        pytest.param(quote(SECRET, safe=""), id="percent-encoded"),
        pytest.param(quote(SECRET, safe="").lower(), id="percent-encoded in lower case"),
        pytest.param(quote(quote(quote(SECRET, safe=""), safe=""), safe=""), id="three times"),
        pytest.param(SECRET.replace("/", "\\/").replace("&", "\\&"), id="with backslashes"),
        pytest.param(SECRET.replace("/", "\\x2f").replace("+", "\\x2b"), id="with hexadecimals"),
        pytest.param(SECRET.replace("&", "\\u0026"), id="in JSON"),
        pytest.param(html.escape(html.escape(SECRET)), id="in HTML twice"),
        pytest.param(SECRET.upper(), id="in upper case"),
        pytest.param(SECRET[:12], id="its first half"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="in base64"),
        pytest.param(
            base64.b64encode(f"demoapp:{quote(SECRET, safe='')}".encode()).decode(),
            id="as Basic credentials",
        ),
        pytest.param(SIGNATURE, id="the signature of a token"),
        pytest.param(f"{SIGNATURE[:16]} {SIGNATURE[16:]}", id="a signature in two words"),
        pytest.param("opaque token", id="the token of the same answer, without its hyphen"),
        pytest.param("demoapp", id="the client's id, where the secret may stand"),
        pytest.param("&#" + "9" * 5000, id="a character of 5000 digits"),
        pytest.param("\ud83d", id="half a character"),
    ],
)
@pytest.mark.parametrize("member", ["error", "error_description"])
def test_words_that_may_be_a_secret_are_not_shown(member: str, spelling: str, fetch: Fetch) -> None:
    answer = {"error": "invalid_request", "access_token": "opaque-token"}
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, status=400, json=answer | {member: f"got {spelling}!"})

        with pytest.raises(TokenRefused) as caught:
            fetch(credentials=replace(CREDENTIALS, client_secret=SECRET))

    shown = caught.value.detail.removeprefix("invalid_request: ")
    assert set(shown.split()) <= {"got", "[…]", "[withheld:", "it", "quotes", "a", "secret]"}


@pytest.mark.parametrize("client_id", ["client", "id", "a"])
def test_a_known_error_is_told_whatever_the_clients_id_is(client_id: str, fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, status=400, json={"error": "invalid_client"})

        with pytest.raises(ClientRefused, match=r"^Client default: invalid_client\. "):
            fetch(credentials=replace(CREDENTIALS, client_id=client_id))


def test_other_words_are_not_withheld(fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        answer = {"error": "invalid_request", "error_description": "None of the scopes is known"}
        mock.post(ENDPOINT, status=400, json=answer)

        with pytest.raises(TokenRefused, match="None of the scopes is known"):
            fetch()


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param("two words", "client_secret=two+words", id="a space as a plus"),
        pytest.param("two\u00a0words", "got two\u00a0words", id="a space that doesn't print"),
        pytest.param("&&//", "got &&//", id="without a letter"),
        pytest.param("correct-horse-staple", "Correct Horse Staple", id="as people write it"),
    ],
)
def test_odd_secrets_are_withheld_too(secret: str, words: object, fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        answer = {"error": "invalid_request", "error_description": words}
        mock.post(ENDPOINT, status=400, json=answer)

        with pytest.raises(TokenRefused, match="withheld"):
            fetch(credentials=replace(CREDENTIALS, client_secret=secret))


def test_long_words_are_taken_out_of_a_description(fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        words = f"token {jwt(client_id='demoapp')} of {TENANT.tenant_id} revoked"
        mock.post(ENDPOINT, json={"error": "invalid_request", "error_description": words})

        with pytest.raises(TokenRefused) as caught:
            fetch()

    assert caught.value.detail == f"invalid_request: token […] of {TENANT.tenant_id} revoked"


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_id_and_secret_that_were_swapped_do_not_show(method: str, fetch: Fetch) -> None:
    swapped = ClientCredentials(
        client_id="correct-horse+staple", client_secret="demoapp", auth_method=method, version="v1"
    )
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, status=401, json={"error": "invalid_client"})

        with pytest.raises(ClientRefused) as caught:
            fetch(credentials=swapped)

    assert "staple" not in str(caught.value)


def test_a_description_is_cut_and_stays_on_one_line(fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        answer = {"error": "invalid_request", "error_description": "one\ntwo\x1b[31m " + "w " * 200}
        mock.post(ENDPOINT, status=400, json=answer)

        with pytest.raises(TokenRefused) as caught:
            fetch()

    assert caught.value.detail.isprintable()
    assert caught.value.detail.endswith("…")
    assert len(caught.value.detail) < 230


# Tokens


def test_a_token_says_when_it_expires() -> None:
    token = parse_token(ANSWER | {"scope": "a b"}, issued_at=NOW)

    assert token.value == "opaque-token"
    assert token.issued_at == NOW
    assert token.expires_at == NOW + timedelta(hours=1)
    assert token.scope == frozenset("ab")
    assert token.fingerprint == hashlib.sha256(b"opaque-token").hexdigest()[:16]


def test_a_token_does_not_print() -> None:
    assert "opaque-token" not in repr(parse_token(ANSWER, issued_at=NOW))


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        pytest.param("a b", {"a", "b"}, id="a text"),
        pytest.param(["a", "b", 7], {"a", "b"}, id="a list"),
        pytest.param("", set(), id="empty"),
        pytest.param(None, None, id="missing"),
        pytest.param(7, None, id="a number"),
    ],
)
def test_the_granted_scope_is_read(scope: object, granted: set[str] | None) -> None:
    token = parse_token(ANSWER | {"scope": scope}, issued_at=NOW)

    assert token.scope == (None if granted is None else frozenset(granted))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"access_token": "a" * 8193}, id="more than 8 KB"),
        pytest.param({"token_type": ["Bearer"]}, id="a list as type"),
        pytest.param({"expires_in": float("inf")}, id="infinity"),
        pytest.param({"expires_in": float("nan")}, id="not a number"),
        pytest.param({"expires_in": 3600.5}, id="a fraction"),
        pytest.param({"expires_in": 86_401}, id="more than a day"),
        pytest.param({"expires_in": [3600]}, id="a list"),
        pytest.param({"access_token": jwt(exp=NOW.timestamp())}, id="exp is now"),
        pytest.param({"access_token": jwt(exp=0)}, id="exp has passed"),
        pytest.param({"access_token": jwt(exp=-(10**400))}, id="exp far below zero"),
        pytest.param({"access_token": jwt(exp=float("nan"))}, id="exp is not a number"),
    ],
)
def test_a_token_that_cannot_be_used_is_refused(answer: dict[str, object]) -> None:
    with pytest.raises(TokenInvalid):
        parse_token(ANSWER | answer, issued_at=NOW)


def test_a_token_of_8_kb_is_taken() -> None:
    assert len(parse_token(ANSWER | {"access_token": "a" * 8192}, issued_at=NOW).value) == 8192


@pytest.mark.parametrize(
    ("expires_in", "exp", "minutes"),
    [
        pytest.param(3600, 1800, 30, id="exp is earlier"),
        pytest.param(1800, 3600, 30, id="expires_in is earlier"),
        pytest.param(None, 3600, 60, id="exp alone"),
        pytest.param(3600, None, 60, id="expires_in alone"),
        pytest.param(None, 1e300, 24 * 60, id="exp in the far future"),
        pytest.param(None, 10**400, 24 * 60, id="exp of four hundred digits"),
    ],
)
def test_the_earlier_end_counts(expires_in: object, exp: float | None, minutes: int) -> None:
    claims = {} if exp is None else {"exp": exp + int(NOW.timestamp())}
    answer = ANSWER | {"access_token": jwt(**claims), "expires_in": expires_in}

    assert parse_token(answer, issued_at=NOW).expires_at == NOW + timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(f"{jwt(exp=0)}.d", id="four parts"),
        pytest.param(jwt(exp="soon"), id="exp as a word"),
        pytest.param(jwt(exp=True), id="exp true"),
        pytest.param("a._w.c", id="no text as claims"),
    ],
)
def test_what_merely_looks_like_a_jwt_is_opaque(token: str) -> None:
    answer = ANSWER | {"access_token": token}

    assert parse_token(answer, issued_at=NOW).expires_at == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"tenant_id": "not-a-uuid"}, id="a tenant that is no UUID"),
        pytest.param({"client_id": "other"}, id="another client without tenant"),
    ],
)
def test_somebody_elses_token_is_not_taken(claims: dict[str, str], fetch: Fetch) -> None:
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, json=ANSWER | {"access_token": jwt(**claims)})

        with pytest.raises(WrongTenant):
            fetch()


@pytest.mark.parametrize(
    ("tenant_id", "claims"),
    [
        pytest.param(TENANT.tenant_id, {}, id="no claims"),
        pytest.param("not-a-uuid", {"tenant_id": "not-a-uuid"}, id="no UUID"),
        pytest.param(None, {"tenant_id": "anything"}, id="no tenant asked for"),
    ],
)
def test_our_own_token_is_taken(
    tenant_id: str | None, claims: dict[str, str], fetch: Fetch
) -> None:
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, json=ANSWER | {"access_token": jwt(**claims)})

        assert fetch(tenant=replace(TENANT, tenant_id=tenant_id)).value == jwt(**claims)
