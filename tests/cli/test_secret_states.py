"""States that a client secret can be in, and what each command says of it."""

import json
from datetime import UTC, datetime

import pytest

from tests.cli.conftest import Run
from tests.helpers.deployed_aws import DOCUMENT, Deployed
from token_issuer.ledger.records import ClientRecord, Fallback
from token_issuer.ledger.table import Ledger
from token_issuer.redaction import Quoted

SECRET = "visma/clients/default"
STAGE = ("secret", "stage", "--file", "-")
RESTORE = f"aws secretsmanager restore-secret --secret-id {SECRET} --region eu-north-1"


def current(aws: Deployed) -> str:
    return aws.secretsmanager.get_secret_value(SecretId=SECRET)["SecretString"]


def assert_not_in_use(invoked: Run, words: str) -> None:
    """Assert that the status says so of the one secret that there is."""
    done = invoked("secret", "status")
    assert words in done.stdout
    assert "in use" not in done.stdout
    assert done.returncode == 1


@pytest.fixture
def scheduled(aws: Deployed) -> Deployed:
    aws.secretsmanager.delete_secret(SecretId=SECRET)
    return aws


@pytest.fixture
def empty(aws: Deployed) -> Deployed:
    aws.secretsmanager.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    aws.secretsmanager.create_secret(Name=SECRET)
    return aws


@pytest.mark.parametrize(
    ("command", "operation"),
    [(STAGE, "PutSecretValue"), ((*STAGE, "--create"), "CreateSecret")],
    ids=["stage", "create"],
)
def test_one_scheduled_for_deletion_takes_no_value(
    command: tuple[str, ...], operation: str, invoked: Run, scheduled: Deployed
) -> None:
    scheduled.fail(operation, "InvalidRequestException")  # as AWS does, and moto does not

    done = invoked(*command, said=DOCUMENT)

    assert done.stderr.splitlines() == [
        f"Secret {SECRET} is scheduled for deletion.",
        f"Restore it: {RESTORE}",
    ]
    assert (done.stdout, done.returncode) == ("", 4)


@pytest.mark.usefixtures("scheduled")
def test_one_scheduled_for_deletion_is_not_in_use(invoked: Run) -> None:
    assert_not_in_use(
        invoked, f"Secret {SECRET} is scheduled for deletion\nRestore it: {RESTORE}\n"
    )


@pytest.mark.usefixtures("scheduled")
def test_the_command_that_restores_it_goes_where_this_one_went(invoked: Run, aws: Deployed) -> None:
    done = invoked("secret", "status", "--json", "--endpoint-url", aws.url)

    [notice] = json.loads(done.stdout)[0]["notices"]
    assert notice["remedy"] == f"Restore it: {RESTORE} --endpoint-url {aws.url}"
    assert done.returncode == 1


@pytest.mark.usefixtures("empty")
def test_one_without_a_value_says_so_and_how_to_set_one(invoked: Run) -> None:
    shown = invoked("secret", "status")
    created = invoked(*STAGE, "--create", said=DOCUMENT)

    words = f"Secret {SECRET} has no value yet"
    remedy = "Set one: visma-tokens secret stage --client default"
    assert f"{words}\n{remedy}\n" in shown.stdout
    assert shown.returncode == 1
    assert created.stderr.splitlines() == [f"{words}.", remedy]
    assert created.returncode == 4


def test_one_without_a_value_is_given_the_first(invoked: Run, empty: Deployed) -> None:
    done = invoked(*STAGE, said=DOCUMENT)

    assert done.returncode == 0
    assert current(empty) == DOCUMENT
    assert invoked("secret", "status").returncode == 0


def test_who_may_not_see_whether_it_is_to_be_deleted_is_told_that(
    invoked: Run, aws: Deployed
) -> None:
    aws.fail("DescribeSecret", "AccessDeniedException", "no")

    assert_not_in_use(invoked, f"Whether {SECRET} is scheduled for deletion is not known")


def test_one_in_another_state_takes_no_value(invoked: Run, aws: Deployed) -> None:
    aws.fail("PutSecretValue", "InvalidRequestException")  # quoting what it was sent

    done = invoked(*STAGE, said=DOCUMENT)

    assert done.stderr.splitlines() == [
        f"Secret {SECRET} takes no value in the state that it is in.",
        f"Look at it: {RESTORE.replace('restore', 'describe')}",
    ]
    assert done.returncode == 4


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("EncryptionFailure", "The secret's KMS key can't be used"),
        ("LimitExceededException", "A quota of the service is used up"),
        ("InvalidParameterException", "Correct this, then try again."),
    ],
)
def test_what_stays_wrong_is_not_tried_again(
    code: str, remedy: str, invoked: Run, aws: Deployed
) -> None:
    aws.fail("PutSecretValue", code, "quoting what it was sent")

    done = invoked(*STAGE, said=DOCUMENT)

    sentence, advice = done.stderr.splitlines()
    assert sentence == f"PutSecretValue failed: {code}."
    assert advice.startswith(remedy)
    assert done.returncode == 3


def test_a_replica_gets_its_value_where_the_primary_is(invoked: Run, aws: Deployed) -> None:
    aws.secretsmanager.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True)
    elsewhere = aws.session.client("secretsmanager", "eu-west-1", endpoint_url=aws.url)
    elsewhere.create_secret(
        Name=SECRET, SecretString=DOCUMENT, AddReplicaRegions=[{"Region": "eu-north-1"}]
    )

    done = invoked(*STAGE, said=DOCUMENT)

    assert done.stderr.splitlines() == [
        f"Secret {SECRET} is a replica of that in eu-west-1, and takes no value.",
        "Set the value in eu-west-1, where the primary secret is; AWS copies it here.",
    ]
    assert done.returncode == 4


def test_one_whose_key_is_disabled_is_not_in_use(invoked: Run, aws: Deployed) -> None:
    unreadable = {"reason": "ClientSecretUnreadable", "code": "DecryptionFailure"}
    aws.record("acme", "the key is disabled", **unreadable)

    assert_not_in_use(invoked, "ClientSecretUnreadable: the key is disabled\nEnable the key")

    aws.record("hooli")  # a token, after that

    done = invoked("secret", "status")

    assert "current, in use" in done.stdout
    assert done.returncode == 0


def test_one_whose_predecessor_serves_is_not_in_use(invoked: Run, aws: Deployed) -> None:
    fallback = Fallback(
        version="v0",
        stage="AWSPREVIOUS",
        current=None,
        detail=Quoted("the current one is refused"),
        since=datetime.now(UTC),
    )
    Ledger(aws.dynamodb, "ledger").record_client(ClientRecord(client="default", fallback=fallback))

    assert_not_in_use(invoked, "ClientSecretFallback: AWSPREVIOUS serves")
