import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import (
    IssuerError,
    ParameterUnwritable,
    StoreDenied,
    StoreFailed,
    StoreUnavailable,
)
from token_issuer.token_store import store_token

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

KEY = "arn:aws:kms:eu-north-1:123456789012:key/0d4e"
TOKEN = AccessToken(
    value="opaque-token",
    issued_at=datetime(2026, 11, 23, 11, 0, tzinfo=UTC),
    expires_at=datetime(2026, 11, 23, 12, 0, 0, 999_999, tzinfo=UTC),
    scope=None,
)


def make_ssm(endpoint: str | None = None) -> "SSMClient":
    return boto3.client(
        "ssm",
        endpoint_url=endpoint,
        region_name="eu-north-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )


def store(ssm: "SSMClient") -> None:
    store_token("acme", TOKEN, ssm=ssm, path="/visma/tokens", key_id=KEY)


def test_the_request_is_exactly_this() -> None:
    ssm = make_ssm()
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

        store(ssm)

        stubber.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("ThrottlingException", StoreUnavailable),
        ("TooManyUpdates", StoreUnavailable),
        ("InternalServerError", StoreUnavailable),
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
    ssm = make_ssm()
    with Stubber(ssm) as stubber:
        stubber.add_client_error("put_parameter", code, "Value 'opaque-token' is not valid")

        with pytest.raises(IssuerError) as caught:
            store(ssm)

    assert type(caught.value) is failure
    assert caught.value.detail == f"Writing /visma/tokens/acme failed: {code}"
    assert "opaque-token" not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_store_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError") as caught:
        store(make_ssm("http://127.0.0.1:1"))

    assert "During handling" not in "".join(traceback.format_exception(caught.value))
