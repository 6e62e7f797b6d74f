import json
import traceback
from typing import TYPE_CHECKING

import pytest
from botocore.stub import Stubber
from moto import mock_aws

from tests.helpers.account import NOBODY, make_client
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.errors import ClientSecretInvalid, ClientSecretUnreadable, PendingSecretUndecided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_secretsmanager import SecretsManagerClient

V1, V2 = (f"0b7d2b1e-3a52-4f6e-9a39-00000000000{number}" for number in (1, 2))
NAME = "visma/clients/default"
SECRET = {"client_id": "demoapp", "client_secret": "correct-horse-battery-staple"}


@pytest.fixture
def secretsmanager() -> "Iterator[SecretsManagerClient]":
    with mock_aws():
        yield make_client("secretsmanager")


def create(secretsmanager: "SecretsManagerClient", **members: str) -> str:
    """Create the secret of the client `default`, and return its version."""
    text = json.dumps(SECRET | members)
    return secretsmanager.create_secret(Name=NAME, SecretString=text)["VersionId"]


def secrets_of(secretsmanager: "SecretsManagerClient") -> ClientSecrets:
    return ClientSecrets(secretsmanager, "visma/clients")


@pytest.mark.parametrize("method", [None, "client_secret_post", "client_secret_basic"])
def test_the_secret_of_a_client_is_read(
    method: str | None, secretsmanager: "SecretsManagerClient"
) -> None:
    version = create(secretsmanager, **({"auth_method": method} if method else {}))

    credentials = secrets_of(secretsmanager).read("default")

    assert credentials == ClientCredentials(
        client_id="demoapp",
        client_secret="correct-horse-battery-staple",
        auth_method=method or "client_secret_post",
        version=version,
    )


def test_what_is_not_json_is_not_quoted(secretsmanager: "SecretsManagerClient") -> None:
    secretsmanager.create_secret(Name=NAME, SecretString="correct-horse")

    with pytest.raises(ClientSecretInvalid) as caught:
        secrets_of(secretsmanager).read("default")

    assert caught.value.__suppress_context__  # a JSONDecodeError carries the whole document
    assert "horse" not in "".join(traceback.format_exception(caught.value))


def test_an_unreachable_service_is_named() -> None:
    secrets = secrets_of(make_client("secretsmanager", NOBODY))

    with pytest.raises(ClientSecretUnreadable, match="EndpointConnectionError"):
        secrets.read("default")
    with pytest.raises(ClientSecretUnreadable, match=r"versions of secret .* EndpointConnection"):
        secrets.stages("default")
    with pytest.raises(PendingSecretUndecided, match="EndpointConnectionError"):
        secrets.promote("default", V2, V1)


@pytest.mark.parametrize(
    ("arrange", "code", "detail", "remedy"),
    [
        pytest.param(
            lambda _: None,
            "ResourceNotFoundException",
            "Reading secret visma/clients/default failed: ResourceNotFoundException",
            "Create the secret",
            id="there is none",
        ),
        pytest.param(
            lambda aws: aws.create_secret(Name=NAME),
            "NoValue",
            "Secret visma/clients/default has no value yet",
            "visma-tokens secret stage",
            id="it has no value yet",
        ),
        pytest.param(
            lambda aws: (create(aws), aws.delete_secret(SecretId=NAME)),
            "ScheduledForDeletion",
            "Secret visma/clients/default is scheduled for deletion",
            "aws secretsmanager restore-secret",
            id="it is scheduled for deletion",
        ),
        pytest.param(
            lambda aws: (aws.create_secret(Name=NAME), aws.delete_secret(SecretId=NAME)),
            "ScheduledForDeletion",
            "Secret visma/clients/default is scheduled for deletion",
            "aws secretsmanager restore-secret",
            id="it is scheduled for deletion, and has no value",
        ),
    ],
)
def test_why_a_secret_has_no_value_is_said_with_what_to_do(
    arrange: "Callable[[SecretsManagerClient], object]",
    code: str,
    detail: str,
    remedy: str,
    secretsmanager: "SecretsManagerClient",
) -> None:
    arrange(secretsmanager)

    with pytest.raises(ClientSecretUnreadable) as caught:
        secrets_of(secretsmanager).read("default")

    assert (caught.value.code, caught.value.detail) == (code, detail)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "InvalidRequestException"])
@pytest.mark.parametrize("is_described", [True, False], ids=["described", "not described"])
def test_a_state_that_explains_nothing_leaves_the_failure_as_it_is(
    code: str, *, is_described: bool
) -> None:
    """As where somebody has changed the secret meanwhile, or the role may not describe it."""
    secretsmanager = make_client("secretsmanager")
    with Stubber(secretsmanager) as stubber:
        stubber.add_client_error("get_secret_value", code)
        if is_described:
            stages = {"VersionIdsToStages": {V1: ["AWSCURRENT"]}}
            stubber.add_response("describe_secret", stages)
        else:
            stubber.add_client_error("describe_secret", "AccessDeniedException")

        with pytest.raises(ClientSecretUnreadable, match=f"failed: {code}") as caught:
            secrets_of(secretsmanager).read("default")

    assert caught.value.code == code


def stage(secretsmanager: "SecretsManagerClient", *stages: str) -> str:
    return secretsmanager.put_secret_value(
        SecretId=NAME,
        SecretString=json.dumps(SECRET | {"client_secret": "another"}),
        VersionStages=list(stages),
    )["VersionId"]


def test_a_version_is_read_by_its_stage(secretsmanager: "SecretsManagerClient") -> None:
    create(secretsmanager)
    version = stage(secretsmanager, "AWSPENDING")

    pending = secrets_of(secretsmanager).read("default", "AWSPENDING")
    current = secrets_of(secretsmanager).read("default")

    assert (pending.client_secret, pending.version) == ("another", version)
    assert current.client_secret == SECRET["client_secret"]


def test_an_odd_version_is_the_same_wherever_it_is_read(
    secretsmanager: "SecretsManagerClient",
) -> None:
    """Whoever stages a client secret chooses its id, which the ledger keeps."""
    odd = "\x1b[2J\u202e0b7d2b1e-3a52-4f6e-9a39-00000000"
    secretsmanager.create_secret(Name=NAME, SecretString=json.dumps(SECRET), ClientRequestToken=odd)

    version = secrets_of(secretsmanager).read("default").version

    assert version == r"\x1b[2J\u202e0b7d2b1e-3a52-4f6e-9a39-00000000"
    assert secrets_of(secretsmanager).stages("default") == {"AWSCURRENT": version}


def test_a_stage_without_a_version_cannot_be_read(secretsmanager: "SecretsManagerClient") -> None:
    create(secretsmanager)

    with pytest.raises(ClientSecretUnreadable, match="ResourceNotFoundException"):
        secrets_of(secretsmanager).read("default", "AWSPENDING")


def test_stages_are_read_and_moved_once_by_two_runs_at_once(
    secretsmanager: "SecretsManagerClient",
) -> None:
    first = create(secretsmanager)
    second, secrets = stage(secretsmanager, "AWSPENDING"), secrets_of(secretsmanager)
    assert secrets.stages("default") == {"AWSCURRENT": first, "AWSPENDING": second}

    for _ in range(2):
        secrets.promote("default", second, first)

    assert secrets.stages("default") == {"AWSCURRENT": second, "AWSPREVIOUS": first}


def test_a_current_version_that_somebody_puts_meanwhile_is_not_displaced(
    secretsmanager: "SecretsManagerClient",
) -> None:
    first = create(secretsmanager)
    second, third = stage(secretsmanager, "AWSPENDING"), stage(secretsmanager, "AWSCURRENT")
    secrets = secrets_of(secretsmanager)

    with pytest.raises(PendingSecretUndecided, match="InvalidParameterException"):
        secrets.promote("default", second, first)

    assert secrets.stages("default")["AWSCURRENT"] == third


def test_a_promotion_that_is_denied_says_what_the_role_needs() -> None:
    secretsmanager = make_client("secretsmanager")
    with Stubber(secretsmanager) as stubber:
        stubber.add_client_error("update_secret_version_stage", "AccessDeniedException")

        with pytest.raises(PendingSecretUndecided, match="AccessDeniedException") as caught:
            secrets_of(secretsmanager).promote("default", V2, V1)

    assert "UpdateSecretVersionStage" in caught.value.remedy


def test_a_label_that_cannot_be_taken_off_leaves_the_promotion_as_it_is() -> None:
    secretsmanager = make_client("secretsmanager")
    secret = {"SecretId": NAME}
    with Stubber(secretsmanager) as stubber:
        moved = {"VersionStage": "AWSCURRENT", "MoveToVersionId": V2, "RemoveFromVersionId": V1}
        taken_off = {"VersionStage": "AWSPENDING", "RemoveFromVersionId": V2}
        move = "update_secret_version_stage"
        stubber.add_response(move, {}, secret | moved)
        stubber.add_client_error(move, "ThrottlingException", expected_params=secret | taken_off)

        secrets_of(secretsmanager).promote("default", V2, V1)
        stubber.assert_no_pending_responses()
