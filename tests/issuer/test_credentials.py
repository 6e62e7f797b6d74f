import json
import traceback
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from token_issuer.credentials import ClientCredentials, read_credentials
from token_issuer.errors import ClientSecretInvalid, ClientSecretUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_secretsmanager import SecretsManagerClient

SECRET = {"client_id": "demoapp", "client_secret": "correct-horse-battery-staple"}


@pytest.fixture
def secretsmanager() -> "Iterator[SecretsManagerClient]":
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="eu-north-1")


def test_the_secret_of_a_client_is_read(secretsmanager: "SecretsManagerClient") -> None:
    secretsmanager.create_secret(Name="visma/clients/sales", SecretString=json.dumps(SECRET))

    credentials = read_credentials(secretsmanager, "visma/clients", "sales")

    assert credentials == ClientCredentials(
        client_id="demoapp",
        client_secret="correct-horse-battery-staple",
        auth_method="client_secret_post",
    )


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_the_auth_method_may_be_said(method: str, secretsmanager: "SecretsManagerClient") -> None:
    text = json.dumps(SECRET | {"auth_method": method})
    secretsmanager.create_secret(Name="visma/clients/default", SecretString=text)

    credentials = read_credentials(secretsmanager, "visma/clients", "default")

    assert credentials.auth_method == method


def test_the_client_secret_does_not_print() -> None:
    credentials = ClientCredentials(**SECRET, auth_method="client_secret_post")

    assert "correct-horse" not in f"{credentials} {credentials!r}"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        pytest.param(b"\x00", "binary", id="binary"),
        pytest.param("correct-horse-battery-staple", "not JSON", id="the bare secret"),
        pytest.param("[" * 100_000, "not JSON", id="deep nesting"),
        pytest.param('["correct-horse-battery-staple"]', "not a JSON object", id="a list"),
        pytest.param('{"client_id": "demoapp"}', "client_secret", id="no client_secret"),
        pytest.param({"client_secret": "correct-horse-battery-staple"}, "client_id", id="no id"),
        pytest.param(SECRET | {"client_secret": ""}, "client_secret", id="empty client_secret"),
        pytest.param(
            SECRET | {"client_secret": "horse\ud800"}, "broken characters", id="lone surrogate"
        ),
        pytest.param(SECRET | {"client_id": 7}, "client_id", id="client_id as a number"),
        pytest.param(SECRET | {"auth_method": "jwt"}, "auth_method", id="unknown auth_method"),
        pytest.param(
            SECRET | {"correct-horse": "staple"},
            "members that it must not have",
            id="unknown member",
        ),
    ],
)
def test_a_secret_that_is_no_client_secret_is_not_quoted(
    secret: bytes | str | dict[str, str], words: str, secretsmanager: "SecretsManagerClient"
) -> None:
    if isinstance(secret, bytes):
        secretsmanager.create_secret(Name="visma/clients/default", SecretBinary=secret)
    else:
        text = secret if isinstance(secret, str) else json.dumps(secret)
        secretsmanager.create_secret(Name="visma/clients/default", SecretString=text)

    with pytest.raises(ClientSecretInvalid, match="Secret visma/clients/default") as caught:
        read_credentials(secretsmanager, "visma/clients", "default")

    assert words in caught.value.detail
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "horse" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_that_is_not_there_is_named(secretsmanager: "SecretsManagerClient") -> None:
    with pytest.raises(ClientSecretUnreadable, match=r"visma/clients/sales.*ResourceNotFound"):
        read_credentials(secretsmanager, "visma/clients", "sales")


def test_an_unreachable_service_is_named() -> None:
    nobody = boto3.client(
        "secretsmanager",
        endpoint_url="http://127.0.0.1:1",
        region_name="eu-north-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )

    with pytest.raises(ClientSecretUnreadable, match="EndpointConnectionError"):
        read_credentials(nobody, "visma/clients", "default")
