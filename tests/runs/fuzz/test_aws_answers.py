"""An answer of AWS is whatever comes over the wire: AWS, or what stands in between, sends it."""

import io
import json
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.account import fast_pacer, make_client
from tests.helpers.fuzzed_values import objects, spelled, values
from tests.helpers.ledger_records import FAILED, NOW, RECORD
from tests.runs.fuzz import cases
from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.errors import (
    ClientSecretUnreadable,
    EventUndelivered,
    IssuerError,
    TenantsUnreadable,
)
from token_issuer.ledger.records import ClientRecord
from token_issuer.ledger.table import Ledger
from token_issuer.reporting.events import Events, removed
from token_issuer.tenants.parameters import TenantDocuments
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.store import TokenStore

VERSION, OTHER = "0b7d2b1e-3a52-4f6e-9a39-000000000001", "0b7d2b1e-3a52-4f6e-9a39-000000000002"
TOKEN = AccessToken(value="the-very-token", issued_at=NOW, expires_at=NOW, scope=None)
PARAMETER: dict[str, Any] = {
    "Name": "/visma/tenants/a",
    "Type": "String",
    "Value": "{}",
    "Version": 1,
}
ITEM: dict[str, Any] = {"key": {"S": "tenant#acme"}, "schema": {"N": "1"}}
KNOWN: dict[str, list[Any]] = {
    "__type": ["ThrottlingException", "a#ValidationException", "x:y", "ResourceNotFoundException"],
    "message": ["the-very-token is too long"],
    "Parameters": [[PARAMETER], [PARAMETER | {"Value": None}], [None], [7]],
    "NextToken": ["next", ""],
    "Version": [7, "7", 0],
    "DeletedParameters": [["/visma/tokens/acme"], [[]], [None]],
    "InvalidParameters": [["/visma/tokens/acme"]],
    "SecretString": ['{"client_id": "a", "client_secret": "b"}', ""],
    "VersionId": ["0b7d2b1e-3a52-4f6e-9a39-000000000001"],
    "VersionIdsToStages": [{"v1": ["AWSCURRENT"]}, {"v1": [["AWSCURRENT"]]}, {"v1": None}],
    "DeletedDate": [1795521600, "yesterday"],
    "Entries": [[{"EventId": "1"}], [{"ErrorCode": "InternalFailure"}], [{}, {}], [None]],
    "Items": [[ITEM], [{}], [ITEM | {"key": {"N": "7"}}], [ITEM | {"o": {}}], [ITEM | {"o": 7}]],
    "LastEvaluatedKey": [{"key": {"S": "a"}}, {"key": 7}],
}
HEADERS = [
    {},
    {"content-type": "application/x-amz-json-1.1"},
    {"content-type": "text/html"},
    {"x-amzn-errortype": "AccessDeniedException:http://internal"},
    {"x-amzn-query-error": "a;b"},
    {"content-length": "7"},
]
bodies = st.one_of(
    spelled(objects(KNOWN)).map(lambda text: text.encode(errors="surrogatepass")),
    spelled(values).map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=30),
    st.sampled_from([b"", b"<html>the-very-token</html>", b"null", b"[]", b"{}"]),
)
statuses = st.sampled_from([200, 200, 200, 200, 204, 301, 400, 400, 403, 500, 503])

type Call = Callable[[Any], object]

CALLS: dict[str, Call] = {
    "documents": lambda aws: TenantDocuments(aws.ssm, "/visma/tenants", fast_pacer()).read(),
    "a token": lambda aws: tokens(aws).put("/visma/tokens/acme", TOKEN),
    "versions": lambda aws: tokens(aws).versions(["/a", "/b"]),
    "deletions": lambda aws: tokens(aws).delete(["/a", "/b"]),
    "a secret": lambda aws: secrets(aws).read("default"),
    "stages": lambda aws: secrets(aws).stages("default"),
    "a promotion": lambda aws: secrets(aws).promote("default", VERSION, OTHER),
    "a label": lambda aws: secrets(aws).unstage("default", VERSION),
    "an event": lambda aws: put(Events(lambda: aws.events, "issuer")),
    "the ledger": lambda aws: Ledger(aws.dynamodb, "ledger").read(),
    "a record": lambda aws: Ledger(aws.dynamodb, "ledger").record_token(RECORD, None),
    "a failure": lambda aws: Ledger(aws.dynamodb, "ledger").record_failure(FAILED),
    "a client": lambda aws: Ledger(aws.dynamodb, "ledger").record_client(ClientRecord(client="a")),
}


def tokens(aws: Any) -> TokenStore:  # noqa: ANN401  clients of four kinds
    return TokenStore(aws.ssm, "k", writes=fast_pacer(), reads=fast_pacer())


def secrets(aws: Any) -> ClientSecrets:  # noqa: ANN401  likewise
    return ClientSecrets(aws.secretsmanager, "visma/clients")


def put(events: Events) -> EventUndelivered | None:
    [failure] = events.put([removed("acme", "disabled")])
    return failure


class Body(io.BytesIO):
    """What urllib3 gives botocore to read."""

    def stream(self, *_: object, **_options: object) -> Iterator[bytes]:
        yield self.read()


@cache
def clients() -> Any:  # noqa: ANN401  clients of four kinds
    """Return clients that are answered with `answer`, where botocore would send a request."""
    aws = SimpleNamespace(answer=(200, {}, b"{}"))

    def send(request: Any, **_: object) -> AWSResponse:  # noqa: ANN401  botocore's
        status, headers, body = aws.answer
        return AWSResponse(request.url, status, headers, Body(body))

    for name in ("ssm", "secretsmanager", "dynamodb", "events"):
        client = make_client(name)
        client.meta.events.register("before-send", send)
        setattr(aws, name, client)
    return aws


def outcome(call: str, status: int, headers: dict[str, str], body: bytes) -> object:
    """Return what a call returns, or its failure; anything else is raised."""
    aws = clients()
    aws.answer = (status, headers, body)
    try:
        return CALLS[call](aws)
    except IssuerError as error:
        return error


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b"[" * 100_000, id="deep nesting"),
    ],
)
@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("documents", "TenantsUnreadable"),
        ("a token", "StoreUnavailable"),
        ("versions", "TokensUnchecked"),
        ("a secret", "ClientSecretUnreadable"),
        ("stages", "ClientSecretUnreadable"),
        ("a promotion", "PendingSecretUndecided"),
        ("an event", "EventUndelivered"),
        ("the ledger", "LedgerUnreadable"),
        ("a record", "LedgerUnwritable"),
    ],
)
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_aws_does_not_give_is_a_failure_of_what_was_asked(
    call: str, reason: str, status: int, body: bytes
) -> None:
    failure = outcome(call, status, {}, body)

    assert isinstance(failure, IssuerError)
    assert failure.reason == reason
    assert "If it lasts" in failure.remedy or "at its next attempt" in failure.remedy


@pytest.mark.parametrize("date", ["1e400", "NaN", f"1{'0' * 400}", '"yesterday"', "[]", "-1e15"])
def test_a_date_that_is_none_is_a_failure_of_what_was_asked(date: str) -> None:
    failure = outcome("stages", 200, {}, f'{{"DeletedDate": {date}}}'.encode())

    assert isinstance(failure, ClientSecretUnreadable)
    assert failure.code == "MalformedAnswer"


@pytest.mark.parametrize(
    "parameter",
    [PARAMETER | {"Value": 7}, PARAMETER | {"Type": None}, {"Name": "/visma/tenants/a"}],
)
def test_a_parameter_that_is_none_makes_a_listing_incomplete(parameter: dict[str, Any]) -> None:
    body = json.dumps({"Parameters": [PARAMETER, parameter]}).encode()

    failure = outcome("documents", 200, {}, body)

    assert isinstance(failure, TenantsUnreadable)
    assert failure.detail == "Listing /visma/tenants failed: MalformedAnswer"


def test_pages_that_go_in_a_circle_are_no_listing() -> None:
    body = json.dumps({"Parameters": [PARAMETER], "NextToken": "next"}).encode()

    failure = outcome("documents", 200, {}, body)

    assert isinstance(failure, TenantsUnreadable)
    assert failure.code == "MalformedAnswer"


@cases("AWS answers")
@given(st.sampled_from([*CALLS]), statuses, st.sampled_from(HEADERS), bodies)
def test_an_answer_is_used_or_a_failure_of_ours(
    call: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    failure = outcome(call, status, headers, body)

    if not isinstance(failure, IssuerError):
        return
    assert failure.reason != "Unexpected"
    assert failure.detail.isprintable()
    assert failure.remedy
    assert TOKEN.value not in f"{failure.detail} {failure.code}"
    if call == "a token":  # the text of others may quote it
        assert TOKEN.value not in "".join(traceback.format_exception(failure))
