import base64
import gzip
import hashlib
import html
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
import responses
from hypothesis import given
from hypothesis import strategies as st

from local.authorization_server import SCOPES, Client, Fault, VismaConnect
from tests.helpers.account import credentials, token_body
from tests.helpers.facts import make_tenant
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.errors import (
    AnswerInvalid,
    ClientRefused,
    EndpointUnavailable,
    TokenInvalid,
    TokenRefused,
    WrongTenant,
)
from token_issuer.redaction import Quoted
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.endpoint import TokenEndpoint
from token_issuer.tokens.oauth import (
    Answer,
    fetch_token,
    parse_response,
    parse_retry_after,
    parse_token,
    token_request,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ENDPOINT = "https://connect.visma.com/connect/token"
TENANT = make_tenant("acme", tenant_id="af1140c1-52e0-46c7-b684-df894d4b8a5a", scope=SCOPES[0])
CREDENTIALS = credentials("correct-horse+staple", "demoapp")
HEADER = b'{"alg": "RS256"}'
ANSWER: dict[str, object] = json.loads(token_body("opaque-token"))


def token_with(header: bytes, claims: bytes) -> str:
    """Return a JWT with this header and these claims, as they are spelled."""
    parts = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (header, claims))
    return f"{'.'.join(parts)}.c2lnbmF0dXJl"


def jwt(**claims: object) -> str:
    return token_with(HEADER, json.dumps(claims).encode())


def token_of(**members: object) -> AccessToken:
    response = parse_response(ANSWER | members, asked_for=TENANT.scope, secrets=["demoapp"])
    return parse_token(response, issued_at=NOW)


def fetch(
    visma_connect: VismaConnect,
    tenant: Tenant = TENANT,
    credentials: ClientCredentials = CREDENTIALS,
    now: datetime | None = None,
) -> AccessToken:
    post = TokenEndpoint(visma_connect.token_endpoint).post
    return fetch_token(tenant, credentials, post=post, now=lambda: now or datetime.now(UTC))


def answered(
    content: object, status: int = 400, *, tenant: Tenant = TENANT, **credentials: str
) -> AccessToken:
    """Fetch a token with such credentials from a token endpoint that answers this."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    own, post = replace(CREDENTIALS, **credentials), TokenEndpoint(ENDPOINT).post
    with responses.RequestsMock() as mock:
        mock.post(ENDPOINT, status=status, body=body)
        return fetch_token(tenant, own, post=post, now=lambda: NOW)


def dates() -> st.SearchStrategy[str]:
    """Return what may stand for a date: its parts in any order, some of them beyond numbers."""
    number = st.integers(-(10**25), 10**25).map(str)
    part = st.sampled_from(
        ["Mon,", "23", "Nov", "2026", "12:00:00", "GMT", "1:2:3.4", ":", "-", ""]
    )
    zone = number.map(lambda text: f"+{text}")
    return st.lists(number | part | zone | st.text(max_size=3), max_size=8).map(" ".join)


# The wire, against the local authorization server


@pytest.fixture
def client(visma_connect: VismaConnect) -> Client:
    registered = visma_connect.add_client("demoapp", "correct-horse+staple")
    registered.tenants.add(TENANT.tenant_id or "")
    return registered


@pytest.mark.parametrize(
    ("status", "members", "told"),
    [
        (200, ANSWER, "The token endpoint answered before it was asked"),
        (400, {"error": "invalid_tenant"}, "The token endpoint answered before it was asked"),
        (401, {"error": "invalid_client"}, "The token endpoint answered before it was asked"),
        (503, {}, "The token endpoint answered HTTP 503"),
    ],
)
def test_an_early_answer_is_another_requests(
    status: int, members: dict[str, object], told: str
) -> None:
    answer = Answer(status=status, body=json.dumps(members).encode(), is_early=True)

    with pytest.raises(EndpointUnavailable, match=told):
        fetch_token(TENANT, CREDENTIALS, post=lambda *_: answer, now=lambda: NOW)


@pytest.mark.usefixtures("client")
def test_the_request_is_what_visma_documents(visma_connect: VismaConnect) -> None:
    fetch(visma_connect)

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


@pytest.mark.usefixtures("client")
def test_what_is_not_configured_is_not_sent(visma_connect: VismaConnect) -> None:
    tenant = replace(TENANT, tenant_id=None, scope="")

    token = fetch(visma_connect, tenant)

    assert visma_connect.received[0].form.keys() == {"grant_type", "client_id", "client_secret"}
    assert "tenant_id" not in visma_connect.claims(token.value)
    assert token.scope is None


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
@pytest.mark.parametrize("secret", ["plain", "a:b", "a b+c%20d/e=&", "blåbær€"])
def test_both_methods_carry_any_secret(
    method: str, secret: str, visma_connect: VismaConnect
) -> None:
    visma_connect.add_client("id with:colon", secret).tenants.add(TENANT.tenant_id or "")
    own = replace(credentials(secret, "id with:colon"), auth_method=method)

    token = fetch(visma_connect, credentials=own)

    assert visma_connect.claims(token.value)["client_id"] == "id with:colon"


def test_basic_authentication_keeps_the_secret_out_of_the_form() -> None:
    form, headers = token_request(TENANT, replace(CREDENTIALS, auth_method="client_secret_basic"))

    assert form.keys() == {"grant_type", "scope", "tenant_id"}
    assert headers["Authorization"] == "Basic ZGVtb2FwcDpjb3JyZWN0LWhvcnNlJTJCc3RhcGxl"


def test_the_token_is_the_tenants_own(client: Client, visma_connect: VismaConnect) -> None:
    asked = datetime.now(UTC)

    token = fetch(visma_connect, now=asked)

    claims = visma_connect.claims(token.value)
    assert claims["tenant_id"] == TENANT.tenant_id
    assert claims["client_id"] == client.client_id
    assert token.issued_at == asked
    assert timedelta(minutes=59) < token.expires_at - asked <= timedelta(minutes=60)
    assert token.scope == frozenset(SCOPES[:1])


@pytest.mark.usefixtures("client")
def test_an_unknown_scope_is_refused_with_the_remedy(visma_connect: VismaConnect) -> None:
    with pytest.raises(TokenRefused, match="invalid_scope") as caught:
        fetch(visma_connect, replace(TENANT, scope="no.such:scope"))

    assert "scopes of the application" in caught.value.remedy


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_a_wrong_client_secret_is_the_clients_failure(
    method: str, client: Client, visma_connect: VismaConnect
) -> None:
    client.client_secrets.clear()

    with pytest.raises(ClientRefused, match=r"^Client default: invalid_client"):
        fetch(visma_connect, credentials=replace(CREDENTIALS, auth_method=method))


@pytest.mark.usefixtures("client")
def test_the_clock_is_read_before_the_request_is_sent(visma_connect: VismaConnect) -> None:
    sent_by_then: list[int] = []

    def now() -> datetime:
        sent_by_then.append(len(visma_connect.received))
        return datetime.now(UTC)

    fetch_token(TENANT, CREDENTIALS, post=TokenEndpoint(visma_connect.token_endpoint).post, now=now)

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
        ("١٢", None),
        ("12, 12", None),
        ("Sat, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        pytest.param(f"23 Nov 2026 12:00:00 +{'9' * 20}", None, id="a zone beyond the world"),
        pytest.param(f"23 Nov 12:00:00 23 {'9' * 20}", None, id="a year beyond numbers"),
        pytest.param(f"23 Nov {'9' * 5000} 12:00:00 GMT", None, id="a year beyond digits"),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert parse_retry_after(text, NOW) == seconds


@given(text=dates())
def test_no_retry_after_is_an_error(text: str) -> None:
    seconds = parse_retry_after(text, NOW)

    assert seconds is None or seconds >= 0


def test_a_retry_after_at_the_end_of_all_time_is_one() -> None:
    assert (parse_retry_after("Fri, 31 Dec 9999 23:59:59 -2359", NOW) or 0) > 1e11


@pytest.mark.parametrize(
    ("status", "body"),
    [(429, b""), (503, b""), (400, b'{"error": "temporarily_unavailable"}')],
)
def test_a_server_may_want_to_be_left_alone(
    status: int, body: bytes, visma_connect: VismaConnect
) -> None:
    visma_connect.faults[None] = Fault(status=status, body=body, headers={"Retry-After": "120"})
    ask = TokenEndpoint(visma_connect.token_endpoint).post

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
def test_words_that_may_be_a_secret_are_not_shown(member: str, spelling: str) -> None:
    answer = {"error": "invalid_request", "access_token": "opaque-token"}
    with pytest.raises(TokenRefused) as caught:
        answered(answer | {member: f"got {spelling}!"}, client_secret=SECRET)

    shown = caught.value.detail.removeprefix("invalid_request: ")
    assert set(shown.split()) <= {"got", "[…]", "[withheld:", "it", "quotes", "a", "secret]"}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"error": "aB3xY 9kQ2z", "error_description": "77fGh"}, id="in two members"),
        pytest.param({"error": "not 1 aB3xY 2 9kQ2z 3 77fGh 4 mN4pR"}, id="in numbered pieces"),
        pytest.param({"error": "a", "error_description": "is aB3xY"}, id="its first letters"),
    ],
)
def test_the_pieces_of_a_secret_are_not_shown(answer: dict[str, str]) -> None:
    with pytest.raises(TokenRefused) as caught:
        answered(answer, client_secret="aB3xY+9kQ2z+77fGh+mN4pR")

    assert not {"aB3xY", "9kQ2z", "77fGh", "mN4pR"} & set(caught.value.detail.split())


@pytest.mark.parametrize("token", ["", "n", "none"])
def test_what_is_no_token_hides_no_error(token: str) -> None:
    answer = {"access_token": token, "error": "invalid_tenant", "error_description": "not known"}

    with pytest.raises(TokenRefused, match="invalid_tenant: not known"):
        answered(answer)


@pytest.mark.parametrize("client_id", ["client", "id", "a"])
def test_a_known_error_is_told_whatever_the_clients_id_is(client_id: str) -> None:
    with pytest.raises(ClientRefused, match=r"^Client default: invalid_client\. "):
        answered({"error": "invalid_client"}, client_id=client_id)


OF_ANOTHER = "0b9c1f4e-52e0-46c7-b684-df894d4b8a5b"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        pytest.param("None of the scopes is known", "None of the scopes is known", id="plain"),
        pytest.param(
            f"Token {OF_ANOTHER} is not for tenant {TENANT.tenant_id}",
            f"Token […] is not for tenant {TENANT.tenant_id}",
            id="of UUIDs only the tenant's own",
        ),
        pytest.param(
            f"token {jwt(client_id='demoapp')} of {TENANT.tenant_id} revoked",
            f"token […] of {TENANT.tenant_id} revoked",
            id="without long words",
        ),
    ],
)
def test_of_a_description_this_is_shown(words: str, shown: str) -> None:
    with pytest.raises(TokenRefused) as caught:
        answered({"error": "invalid_request", "error_description": words})

    assert caught.value.detail == f"invalid_request: {shown}"


UUID_SECRET = "0d4e3b1c-1111-2222-3333-444455556666"  # a plain word: tenants have such ids


@pytest.mark.parametrize(
    ("secret", "error", "words"),
    [
        pytest.param(secret, "invalid_request", words, id=name)
        for name, secret, words in (
            ("a space as a plus", "two words", "client_secret=two+words"),
            ("a space that doesn't print", "two\u00a0words", "got two\u00a0words"),
            ("without a letter", "&&//", "got &&//"),
            ("as people write it", "correct-horse-staple", "Correct Horse Staple"),
        )
    ]
    + [
        pytest.param(UUID_SECRET, error, words, id=name)
        for name, error, words in (
            ("behind a long error", "x " * 500, f"unknown client_secret {UUID_SECRET}"),
            ("over both", f"{'x ' * 489}{UUID_SECRET[:20]}", UUID_SECRET[20:]),
            ("at the end of what is read", "odd", f"{'x ' * 482}{UUID_SECRET}"),
            ("over the end of what is read", "odd", f"{'x ' * 490}{UUID_SECRET}"),
            ("with a known error", "invalid_request", f"{'x ' * 80}{UUID_SECRET}"),
        )
    ],
)
def test_a_secret_is_withheld_however_it_is_spelled_and_wherever_it_stands(
    secret: str, error: str, words: str
) -> None:
    with pytest.raises(TokenRefused, match="withheld"):
        answered({"error": error, "error_description": words}, client_secret=secret)


def test_an_answer_in_another_encoding_is_read() -> None:
    body = '{"error": "invalid_client", "error_description": "nyckel för Åsa"}'.encode("latin-1")

    with pytest.raises(ClientRefused, match=r"invalid_client: nyckel \[…\] \[…\]"):
        answered(body, 401)


def test_a_compressed_answer_is_named_as_such() -> None:
    with pytest.raises(AnswerInvalid, match="HTTP 200, is compressed"):
        answered(gzip.compress(b"{}"), 200)


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_id_and_secret_that_were_swapped_do_not_show(method: str) -> None:
    the_id, secret = CREDENTIALS.client_id, CREDENTIALS.client_secret

    with pytest.raises(ClientRefused) as caught:
        answered(
            {"error": "invalid_client"},
            401,
            auth_method=method,
            client_id=secret,
            client_secret=the_id,
        )

    assert "staple" not in str(caught.value)


def test_a_description_is_cut_and_stays_on_one_line() -> None:
    words = "one\ntwo\x1b[31m " + "w " * 200

    with pytest.raises(TokenRefused) as caught:
        answered({"error": "invalid_request", "error_description": words})

    assert caught.value.detail.isprintable()
    assert caught.value.detail.endswith("…")
    assert len(caught.value.detail) < 230


# Tokens


def test_a_token_says_when_it_expires() -> None:
    token = token_of(scope=TENANT.scope)

    assert token.value == "opaque-token"
    assert token.issued_at == NOW
    assert token.expires_at == NOW + timedelta(hours=1)
    assert token.scope == frozenset({Quoted(TENANT.scope)})
    assert token.fingerprint == hashlib.sha256(b"opaque-token").hexdigest()[:16]


def test_a_token_does_not_print() -> None:
    assert "opaque-token" not in repr(token_of())


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        pytest.param(TENANT.scope, {TENANT.scope}, id="a text"),
        pytest.param([TENANT.scope, "b", 7], {TENANT.scope}, id="a list"),
        pytest.param("other", set(), id="another"),
        pytest.param("", set(), id="empty"),
        pytest.param([], set(), id="an empty list"),
        pytest.param(None, None, id="missing"),
        pytest.param(7, None, id="a number"),
    ],
)
def test_the_granted_scope_is_read(scope: object, granted: set[str] | None) -> None:
    token = token_of(scope=scope)

    assert token.scope == (None if granted is None else frozenset(granted))


def test_of_a_scope_only_the_words_that_were_asked_for_are_kept() -> None:
    words = f"{TENANT.scope} read correct horse \x1b[2J \u202ered {jwt()} demoapp"

    assert token_of(scope=words).scope == frozenset({Quoted(TENANT.scope)})


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
        token_of(**answer)


def test_a_token_of_8_kb_is_taken() -> None:
    assert len(token_of(access_token="a" * 8192).value) == 8192


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
    token = token_of(access_token=jwt(**claims), expires_in=expires_in)

    assert token.expires_at == NOW + timedelta(minutes=minutes)


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
    assert token_of(access_token=token).expires_at == NOW + timedelta(hours=1)


ANOTHERS = b'{"tenant_id": "another"}'


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        pytest.param(HEADER, b'{"tenant_id": "not-a-uuid"}', id="a tenant that is no UUID"),
        pytest.param(HEADER, b'{"client_id": "other"}', id="another client without tenant"),
        pytest.param(
            b'{"alg": "RS256", "kid": "caf\xe9"}', ANOTHERS, id="a header in another encoding"
        ),
        pytest.param(b'{"alg":\t"RS256", "x": "\t"}', ANOTHERS, id="a tab in the header"),
        pytest.param(b"{}", ANOTHERS, id="nothing in the header"),
    ],
)
def test_somebody_elses_token_is_not_taken(header: bytes, claims: bytes) -> None:
    with pytest.raises(WrongTenant):
        answered(ANSWER | {"access_token": token_with(header, claims)}, 200)


def test_a_name_in_another_encoding_costs_nobody_a_token() -> None:
    claims = f'{{"tenant_id": "{TENANT.tenant_id}", "name": "Café"}}'.encode("latin-1")
    token = token_with(HEADER, claims)

    assert answered(ANSWER | {"access_token": token}, 200).value == token


def test_a_jwt_that_names_its_tenant_twice_is_not_taken() -> None:
    claims = f'{{"tenant_id": "another", "tenant_id": "{TENANT.tenant_id}"}}'.encode()

    with pytest.raises(TokenInvalid, match="claims can't be read"):
        answered(ANSWER | {"access_token": token_with(HEADER, claims)}, 200)


def test_a_tenant_in_a_token_is_not_shown_where_it_is_our_secret() -> None:
    answer = ANSWER | {"access_token": jwt(tenant_id=OF_ANOTHER)}

    with pytest.raises(WrongTenant) as raised:
        answered(answer, 200, client_secret=OF_ANOTHER)

    assert OF_ANOTHER not in str(raised.value)


@pytest.mark.parametrize(
    ("tenant_id", "claims"),
    [
        pytest.param(TENANT.tenant_id, {}, id="no claims"),
        pytest.param("not-a-uuid", {"tenant_id": "not-a-uuid"}, id="no UUID"),
        pytest.param(None, {"tenant_id": "anything"}, id="no tenant asked for"),
    ],
)
def test_our_own_token_is_taken(tenant_id: str | None, claims: dict[str, str]) -> None:
    token = jwt(**claims)

    asking = replace(TENANT, tenant_id=tenant_id)

    assert answered(ANSWER | {"access_token": token}, 200, tenant=asking).value == token
