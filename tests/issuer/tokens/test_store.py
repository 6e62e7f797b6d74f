import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tests.helpers.account import NOBODY, ended_pacer, fast_pacer, make_client
from token_issuer.errors import (
    IssuerError,
    ParameterUnwritable,
    StoreDenied,
    StoreFailed,
    StoreUnavailable,
    TokensUnchecked,
)
from token_issuer.limits.pacer import ATTEMPTS
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.store import TokenStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ssm import SSMClient

KEY = "arn:aws:kms:eu-north-1:123456789012:key/0d4e"
TOKEN = AccessToken(
    value="opaque-token",
    issued_at=datetime(2026, 11, 23, 11, 0, tzinfo=UTC),
    expires_at=datetime(2026, 11, 23, 12, 0, 0, 999_999, tzinfo=UTC),
    scope=None,
)


def store_of(ssm: "SSMClient") -> TokenStore:
    return TokenStore(ssm, KEY, writes=fast_pacer(), reads=fast_pacer())


def store(ssm: "SSMClient") -> int:
    return store_of(ssm).put("/visma/tokens/acme", TOKEN)


def refused(code: str, message: str = "") -> IssuerError:
    """Return the failure of a token that Parameter Store refuses each time."""
    ssm = make_client("ssm")
    status = 500 if code == "InternalServerError" else 400
    with Stubber(ssm) as stubber:
        for _ in range(ATTEMPTS):
            stubber.add_client_error("put_parameter", code, message, http_status_code=status)
        with pytest.raises(IssuerError) as caught:
            store(ssm)
    return caught.value


def test_the_request_is_exactly_this() -> None:
    ssm = make_client("ssm")
    with Stubber(ssm) as stubber:
        request = {
            "Name": "/visma/tokens/acme",
            "Value": "opaque-token",
            "Type": "SecureString",
            "KeyId": KEY,
            "Tier": "Intelligent-Tiering",
            "Overwrite": True,
            "Description": "expires 2026-11-23T12:00:00Z",
        }
        stubber.add_response("put_parameter", {"Version": 7}, request)

        assert store(ssm) == 7
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("ThrottlingException", StoreUnavailable),
        ("TooManyUpdates", StoreUnavailable),
        ("InternalServerError", StoreUnavailable),
        ("EC2ThrottledException", StoreUnavailable),
        ("AccessDeniedException", StoreDenied),
        ("InvalidKeyId", StoreDenied),
        ("ParameterLimitExceeded", StoreDenied),
        ("HierarchyLevelLimitExceededException", ParameterUnwritable),
        ("HierarchyTypeMismatchException", ParameterUnwritable),
        ("ParameterMaxVersionLimitExceeded", ParameterUnwritable),
        ("ParameterPatternMismatchException", ParameterUnwritable),
        ("UnsupportedParameterType", ParameterUnwritable),
        ("ValidationException", ParameterUnwritable),
    ],
)
def test_an_answer_of_aws_has_a_name_and_is_not_quoted(
    code: str, failure: type[StoreFailed]
) -> None:
    error = refused(code, "Value 'opaque-token' is not valid")

    assert type(error) is failure
    assert error.detail == f"Writing /visma/tokens/acme failed: {code}"
    assert "opaque-token" not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("code", ["opaque-token", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln", "a" * 81, ""])
def test_what_is_no_name_of_a_failure_is_not_quoted(code: str) -> None:
    error = refused(code)

    assert isinstance(error, StoreUnavailable)
    assert error.detail == "Writing /visma/tokens/acme failed: MalformedAnswer"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Error Code: DisabledException; Request ID", "InvalidKeyId, DisabledException"),
        ("Error Code: c2lnbmF0dXJl_1", "InvalidKeyId"),
        (f"Error Code: {'a' * 51}", "InvalidKeyId"),
    ],
)
def test_of_what_parameter_store_passes_on_only_a_name_is_told(message: str, told: str) -> None:
    error = refused("InvalidKeyId", message)

    assert isinstance(error, StoreDenied)
    assert error.detail == f"Writing /visma/tokens/acme failed: {told}"


def test_an_unreachable_store_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError") as caught:
        store(make_client("ssm", NOBODY))

    assert "During handling" not in "".join(traceback.format_exception(caught.value))


# Versions and deletion

NAMES = [f"/visma/tokens/t{number:02}" for number in range(12)]


@pytest.fixture
def stored() -> "Iterator[SSMClient]":
    with mock_aws():
        ssm = make_client("ssm")
        for name in NAMES:
            ssm.put_parameter(Name=name, Value="t", Type="SecureString")
        ssm.put_parameter(Name=NAMES[11], Value="t", Type="SecureString", Overwrite=True)
        yield ssm


def test_versions_are_read_ten_at_a_time(stored: "SSMClient") -> None:
    versions = store_of(stored).versions([*NAMES, "/visma/tokens/none"])

    assert versions == dict.fromkeys(NAMES, 1) | {NAMES[11]: 2}


def test_tokens_are_not_decrypted_for_their_versions() -> None:
    ssm = make_client("ssm")
    with Stubber(ssm) as stubber:
        request = {"Names": NAMES[:1], "WithDecryption": False}
        stubber.add_response("get_parameters", {"Parameters": []}, request)

        assert store_of(ssm).versions(NAMES[:1]) == {}


def test_versions_that_cannot_be_read_are_said() -> None:
    with pytest.raises(TokensUnchecked, match="EndpointConnectionError"):
        store_of(make_client("ssm", NOBODY)).versions(NAMES)


def test_without_time_nothing_is_read_or_deleted(stored: "SSMClient") -> None:
    store = TokenStore(stored, KEY, writes=ended_pacer(), reads=ended_pacer())
    with pytest.raises(TokensUnchecked, match="versions of tokens: The run had no time left"):
        store.versions(NAMES)

    failures = store.delete(NAMES)

    assert {name: one.reason for name, one in failures.items()} == dict.fromkeys(
        NAMES, "NoTimeLeft"
    )
    assert len(store_of(stored).versions(NAMES)) == len(NAMES)


def test_what_is_deleted_is_gone_and_what_is_gone_is_no_failure(stored: "SSMClient") -> None:
    assert store_of(stored).delete([*NAMES[:11], "/visma/tokens/none"]) == {}

    assert store_of(stored).versions(NAMES).keys() == {NAMES[11]}


def test_ten_that_cannot_be_deleted_stop_no_other() -> None:
    ssm = make_client("ssm")
    with Stubber(ssm) as stubber:
        stubber.add_client_error("delete_parameters", "AccessDeniedException")
        stubber.add_response("delete_parameters", {"DeletedParameters": [NAMES[10]]})

        failures = store_of(ssm).delete(NAMES)

    assert failures.keys() == {*NAMES[:10], NAMES[11]}
    assert {type(failures[name]) for name in NAMES[:10]} == {StoreDenied}
    assert failures[NAMES[0]].detail == f"Deleting {NAMES[0]} failed: AccessDeniedException"
    assert failures[NAMES[11]].detail == f"Deleting {NAMES[11]} failed: it is still there"
