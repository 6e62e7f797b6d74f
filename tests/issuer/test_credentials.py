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
    secret = secretsmanager.create_secret(
        Name="visma/clients/sales", SecretString=json.dumps(SECRET)
    )

    credentials = read_credentials(secretsmanager, "visma/clients", "sales")

    assert credentials == ClientCredentials(
        client_id="demoapp",
        client_secret="correct-horse-battery-staple",
        auth_method="client_secret_post",
        version=secret["VersionId"],
    )


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_the_auth_method_may_be_said(method: str, secretsmanager: "SecretsManagerClient") -> None:
    text = json.dumps(SECRET | {"auth_method": method})
    secretsmanager.create_secret(Name="visma/clients/default", SecretString=text)

    credentials = read_credentials(secretsmanager, "visma/clients", "default")

    assert credentials.auth_method == method


def test_the_client_secret_does_not_print() -> None:
    credentials = ClientCredentials(**SECRET, auth_method="client_secret_post", version="v1")

    assert "correct-horse" not in f"{credentials} {credentials!r}"


def test_what_is_not_json_is_not_quoted(secretsmanager: "SecretsManagerClient") -> None:
    secretsmanager.create_secret(Name="visma/clients/default", SecretString="correct-horse")

    with pytest.raises(ClientSecretInvalid) as caught:
        read_credentials(secretsmanager, "visma/clients", "default")

    assert caught.value.__suppress_context__  # a JSONDecodeError carries the whole document
    assert "horse" not in "".join(traceback.format_exception(caught.value))


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
