"""Parameter Store as moto keeps it, and what its errors mean."""

import base64
import json
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

import boto3
import botocore.exceptions
import pytest
from moto import mock_aws

from tests.helpers.parameter_store import DENIED, NOW, Clock, Failure, ParameterStore, jwt
from tests.reader.conftest import failure_of, session
from token_issuer.limits.deadline import Clock as IssuersClock
from token_issuer.limits.deadline import Deadline
from token_issuer.limits.pacer import Pacer
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.store import TokenStore
from visma_tokens import (
    NoSuchToken,
    ReadDenied,
    ReadFailed,
    TokenError,
    TokenExpired,
    TokenReader,
    TokenUnusable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ssm import SSMClient


@pytest.fixture
def ssm() -> "Iterator[SSMClient]":
    with mock_aws():
        yield session().client("ssm")


@pytest.fixture
def reader(ssm: "SSMClient", clock: Clock) -> TokenReader:
    del ssm  # which begins moto
    return TokenReader(session=session(), now=clock)


def put(ssm: "SSMClient", name: str, value: str) -> None:
    ssm.put_parameter(
        Name=f"/visma/tokens/{name}", Value=value, Type="SecureString", Overwrite=True
    )


def test_what_the_issuer_stores_is_what_is_read(ssm: "SSMClient", reader: TokenReader) -> None:
    issued_at = datetime.fromtimestamp(NOW, UTC)
    token = AccessToken(
        value=jwt(), issued_at=issued_at, expires_at=issued_at + timedelta(hours=1), scope=None
    )
    pacer = Pacer(100, Deadline(math.inf, IssuersClock()))

    store = TokenStore(ssm, "alias/aws/ssm", writes=pacer, reads=pacer)
    store.put("/visma/tokens/acme", token)

    assert reader["acme"] == token.value


def test_twelve_are_prefetched(ssm: "SSMClient", reader: TokenReader) -> None:
    there = {f"t{number}": jwt(f"t{number}") for number in range(12)}
    for name, token in there.items():
        put(ssm, name, token)

    reader.prefetch([*there, "gone"])

    assert {name: reader[name] for name in there} == there
    with pytest.raises(NoSuchToken):
        reader["gone"]


def test_no_such_token_says_where_it_looked(reader: TokenReader) -> None:
    error = failure_of(reader, NoSuchToken)

    assert str(error) == (
        "No token for acme: there is no parameter /visma/tokens/acme in eu-north-1. Is the tenant"
        " configured, has Visma refused it? The issuer's command `visma-tokens status` tells; else"
        " check path, Region and account"
    )
    assert error.tenant == "acme"


def test_an_expired_token_says_since_when_and_who_has_stopped(
    ssm: "SSMClient", reader: TokenReader
) -> None:
    put(ssm, "acme", jwt(expires_at=NOW - 90))

    assert str(failure_of(reader, TokenExpired)) == (
        "No token for acme: the one that is stored expired on 2027-01-15 07:58:30 UTC, 90 s ago by"
        " this machine's clock. The issuer has stopped, or Visma refuses the tenant: the issuer's"
        " command `visma-tokens doctor` tells; else check that clock"
    )


@pytest.mark.parametrize("value", ["not a token", "eyJ.\n", "eyJ é", "token\n", '"quoted"'])
def test_what_no_header_may_hold_is_not_returned(
    value: str, ssm: "SSMClient", reader: TokenReader
) -> None:
    put(ssm, "acme", value)

    assert str(failure_of(reader, TokenUnusable)) == (
        "No token for acme: what /visma/tokens/acme holds is no access token. Somebody has"
        " overwritten it; the issuer's next run writes it anew"
    )


ATTACH = (
    "Attach the policy in the output ReadTokensPolicyArn of the issuer's stack to this role, or one"
    " for this tenant; if it has it, look at the key with the issuer's command"
    " `visma-tokens doctor`"
)
ENABLE = "The key is disabled or to be deleted: the issuer's command `visma-tokens doctor` tells"
SIGN_IN = "Give this process AWS credentials that are valid, and check its clock"
READ_LESS = (
    "Read less often: keep one TokenReader per process; or turn on Parameter Store's"
    " higher throughput"
)
MEND = "Mend what AWS says there"
MEND_SETTINGS = "Mend this process's AWS settings: Region, profile, credentials, endpoint"
LATER = "Try again; if it lasts, see the AWS Health Dashboard"
DENIES = "AWS denies reading /visma/tokens/acme"
FAILED = "reading /visma/tokens/acme failed"
ERRORS: dict[str, tuple[type[TokenError], str, str]] = {
    "AccessDeniedException": (ReadDenied, f"{DENIES}: why", ATTACH),
    "InvalidKeyId": (ReadDenied, "AWS can't decrypt /visma/tokens/acme: why", ENABLE),
    "ThrottlingException": (ReadFailed, f"{FAILED}: ThrottlingException: why", READ_LESS),
    "RequestLimitExceeded": (ReadFailed, f"{FAILED}: RequestLimitExceeded: why", READ_LESS),
    "ValidationException": (ReadFailed, f"{FAILED}: ValidationException: why", MEND),
    "InternalServerError": (ReadFailed, f"{FAILED}: InternalServerError: why", LATER),
} | {
    code: (ReadFailed, f"{FAILED}: {code}: why", SIGN_IN)
    for code in (
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    )
}


@pytest.mark.parametrize("code", ERRORS)
def test_an_error_of_aws(code: str, tokens: TokenReader, store: ParameterStore) -> None:
    kind, detail, remedy = ERRORS[code]
    is_down = code == "InternalServerError"
    status = "500 Internal Server Error" if is_down else "400 Bad Request"
    store.failure = Failure(code, "why.", status)

    error = failure_of(tokens, kind)

    assert type(error) is kind
    assert (error.detail, error.remedy) == (detail, remedy)
    assert code in str(error.__cause__)


@pytest.mark.parametrize(
    "url",
    [
        "http://aws.invalid",
        "HTTP://10.0.0.1:4566",
        "http://127.aws.invalid",
        "http://127.0.0.1.aws.invalid",
        "http://127.0.0.1:x@aws.invalid",
        "http://aws.invalid\\@127.0.0.1",  # which parsers read in two ways
    ],
)
def test_no_token_is_read_in_clear_text(url: str, clock: Clock) -> None:
    tokens = TokenReader(session=session(), endpoint_url=url, now=clock)

    error = failure_of(tokens, ReadFailed)

    assert error.detail == (
        "Parameter Store can't be asked: the endpoint is not https, so a token would be sent in"
        " clear text; plain http is for loopback"
    )
    assert error.remedy == MEND_SETTINGS


class Unsigned(boto3.Session):
    """Can't find credentials that are valid, and says so as botocore does."""

    def __init__(self, why: Exception) -> None:
        super().__init__(region_name="eu-north-1")
        self.why = why

    def client(self, *_: object, **__: object) -> NoReturn:
        raise self.why


@pytest.mark.parametrize(
    "why",
    [
        botocore.exceptions.LoginRefreshRequired(),
        botocore.exceptions.NoCredentialsError(),
        botocore.exceptions.RefreshWithMFAUnsupportedError(),
        botocore.exceptions.SSOTokenLoadError(error_msg="gone"),
        botocore.exceptions.UnauthorizedSSOTokenError(),
    ],
    ids=lambda why: type(why).__name__,
)
def test_who_has_to_sign_in_is_told_to(why: Exception, clock: Clock) -> None:
    tokens = TokenReader(session=Unsigned(why), now=clock)

    error = failure_of(tokens, ReadFailed)

    assert (error.remedy, error.__cause__) == (SIGN_IN, why)


def test_an_error_that_may_quote_an_answer_is_not_said(clock: Clock) -> None:
    tokens = TokenReader(session=Unsigned(RuntimeError(jwt())), now=clock)

    error = failure_of(tokens, ReadFailed)

    assert error.detail == "Parameter Store can't be asked: RuntimeError"
    assert (error.remedy, error.__cause__) == (MEND_SETTINGS, None)


UNREADABLE = {
    "a page": b"<html>a proxy's page</html>",
    "nothing": b"",
    "an empty object": b"{}",
    "a list": b"[]",
    "no value": b'{"Parameter": {"Name": "/visma/tokens/acme"}}',
    "cut": b'{"Parameter": {"Name": "/visma/tokens/acme", "Value": "eyJ',
}


@pytest.mark.parametrize("what", UNREADABLE)
def test_an_answer_that_can_t_be_read(
    what: str, tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    token = store.tokens["acme"] = jwt()
    assert tokens["acme"] == token
    store.raw = UNREADABLE[what]

    clock.now = NOW + 301
    assert tokens["acme"] == token
    clock.now = NOW + 3601
    with pytest.raises(ReadFailed, match=r"Parameter Store can't be asked: \w+\. "):
        tokens["acme"]


def raw(claims: str) -> str:
    encoded = base64.urlsafe_b64encode(claims.encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{encoded}.c2ln"


UNKNOWN = {
    "nan": raw('{"exp": NaN}'),
    "infinite": raw('{"exp": Infinity}'),
    "beyond-floats": raw('{"exp": 1' + "0" * 400 + "}"),
    "negative": raw('{"exp": -1}'),
    "list": raw('{"exp": [1]}'),
    "null": raw('{"exp": null}'),
    "absent": raw("{}"),
    "no-object": raw("[1]"),
    "no-json": raw("exp"),
    "nested": raw("[" * 5000),
    "no-base64": "a.b.c",
    "two-parts": "eyJhbGciOiJub25lIn0.e30",
    "one-part": "b3BhcXVl",
    "latin-1": "eyJhbGciOiJub25lIn0.6Q.c2ln",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_token_whose_expiry_can_t_be_read_is_opaque(
    name: str, tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = UNKNOWN[name]
    assert tokens["acme"] == UNKNOWN[name]

    store.failure = DENIED
    clock.now = NOW + 299
    assert tokens["acme"] == UNKNOWN[name]
    clock.now = NOW + 300
    with pytest.raises(ReadDenied):
        tokens["acme"]


@pytest.mark.parametrize("exp", [NOW + 60, int(NOW) + 60, str(int(NOW) + 60)])
def test_an_expiry_is_a_number_also_as_text(
    exp: object, tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = raw(json.dumps({"exp": exp}))
    assert tokens["acme"]
    store.failure = DENIED

    clock.now = NOW + 60

    with pytest.raises(ReadDenied):
        tokens["acme"]


def test_it_names_itself_to_aws(store: ParameterStore, tokens: TokenReader) -> None:
    store.tokens["acme"] = jwt()

    assert tokens["acme"]

    assert "visma-tokens" in store.user_agents[0]
