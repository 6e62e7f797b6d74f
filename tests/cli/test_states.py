"""States that the stack and what it is made of can be in: one sentence, a remedy, the exit code."""

import json
from collections.abc import Callable

import pytest

from tests.cli.conftest import Run
from tests.conftest import rarely
from tests.helpers.deployed_aws import Deployed

type Arrange = Callable[[Deployed], object]


def without(output: str) -> Arrange:
    return lambda aws: aws.outputs.pop(output)


def function(**members: object) -> Arrange:
    def change(aws: Deployed) -> None:
        assert aws.function
        aws.function = {**aws.function, **members}

    return change


def stored(text: str) -> Arrange:
    return lambda aws: aws.ssm.put_parameter(
        Name="/visma/tokens/acme", Value=text, Type="SecureString", Overwrite=True
    )


def failing(operation: str, code: str) -> Arrange:
    return lambda aws: aws.fail(operation, code, "its state is odd")


ENCRYPTED = {"Error": {"ErrorCode": "AccessDeniedException", "Message": "kms:Decrypt"}}
CASES: dict[str, tuple[Arrange, tuple[str, ...], int, str, str]] = {
    "no function in the outputs": (
        *(without("FunctionName"), ("status",), 3),
        *("is no token issuer: CREATE_COMPLETE", "Give --stack-name"),
    ),
    "settings that nobody may decrypt": (
        *(function(Environment=ENCRYPTED), ("status",), 3),
        *("The settings of issuer can't be read: AccessDeniedException", "Use a role that may"),
    ),
    "a function without settings": (
        *(function(Environment={}), ("status",), 3),
        *("TENANTS_PATH is ''", "Deploy the stack again"),
    ),
    "a ledger that is being made": (
        *(failing("Scan", "ResourceInUseException"), ("status",), 3),
        *("Scan failed: ResourceInUseException: its state is odd", "Correct this, then"),
    ),
    "no ledger": (
        *(failing("Scan", "ResourceNotFoundException"), ("status",), 3),
        *("Scan failed: ResourceNotFoundException", "The table of the output LedgerTableName"),
    ),
    "a key that is disabled": (
        *(failing("GetParameter", "InvalidKeyId"), ("token", "acme"), 3),
        *("GetParameter failed: InvalidKeyId", "Enable the key of the output TokenKeyArn"),
    ),
    "a parameter that holds no token": (
        *(stored("a\x1b[2J\nb"), ("token", "acme", "--show"), 1),
        *("/visma/tokens/acme holds no token", "Something else has written it"),
    ),
    "a parameter that no command can be given": (
        *(stored("a\x00b"), ("token", "acme", "--exec", "true"), 1),
        *("/visma/tokens/acme holds no token", "Something else has written it"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_state_is_said_in_a_sentence_with_a_remedy(
    name: str, invoked: Run, aws: Deployed
) -> None:
    arrange, arguments, code, words, remedy = CASES[name]
    arrange(aws)

    done = invoked(*arguments)

    sentence, advice = done.stderr.splitlines()
    assert words in sentence
    assert remedy in advice
    assert (done.stdout, done.returncode) == ("", code)


def nameless(aws: Deployed, operation: str, code: str, times: int | None = None) -> None:
    """Have an operation fail as AWS does where it has nothing to say: the message is null."""
    aws.fail(operation, code, "its state is odd", times=times)
    odd, null = b'"its state is odd"', b"null"
    aws.alter = lambda asked, true: true.replace(odd, null) if asked == operation else true


@pytest.mark.parametrize(
    ("operation", "arguments", "code"),
    [
        ("GetParametersByPath", ("status",), 3),
        ("Scan", ("status",), 3),
        ("ListSecretVersionIds", ("secret", "status"), 3),
        ("GetParameter", ("token", "acme"), 0),  # the ledger tells as much
    ],
)
def test_an_error_of_aws_may_have_no_message(
    operation: str, arguments: tuple[str, ...], code: int, invoked: Run, aws: Deployed
) -> None:
    nameless(aws, operation, "AccessDeniedException")

    done = invoked(*arguments)

    says = [f"AWS denies you {operation}.", "Use a role that may do it, or give another --profile."]
    assert done.stderr.splitlines() == (says if code else [])
    assert done.returncode == code


def test_a_call_that_is_throttled_without_a_word_is_repeated(invoked: Run, aws: Deployed) -> None:
    nameless(aws, "GetParameters", "ThrottlingException", times=4)

    done = invoked("status")

    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.parametrize(
    "report",
    ["hello", {"issued": "1", "failures": 1}, *rarely(None, [], {}, {"issued": 1})],
    ids=json.dumps,
)
def test_what_is_no_report_is_no_defect_of_ours(
    report: object, invoked: Run, aws: Deployed
) -> None:
    aws.report = report

    done = invoked("renew", "acme")

    assert done.stderr.startswith("The function's answer is no report of a run.\n")
    assert (done.stdout, done.returncode) == ("", 3)


def test_a_stack_of_an_older_template_lacks_some_outputs(invoked: Run, aws: Deployed) -> None:
    for output in ("LogGroupName", "ReadTokensPolicyArn", "Version"):
        aws.outputs.pop(output)

    done = invoked("doctor")

    assert "token-issuer in eu-north-1: CREATE_COMPLETE, version unknown" in done.stdout
    assert done.returncode == 1
