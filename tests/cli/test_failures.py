"""What people are told where the command can't do its work."""

import json
from dataclasses import dataclass

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    InvalidRegionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ProxyConnectionError,
    SSLError,
)

from token_issuer.errors import LedgerUnreadable, TenantsUnreadable
from visma_tokens_cli.answers import NotOfAws
from visma_tokens_cli.failures import CommandFailed, explain, print_failure

WORDS = "The security token included in the request is expired"


def of_aws(
    code: str, message: str = WORDS, operation: str = "Scan", status: int = 400
) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        operation,
    )


@dataclass(frozen=True, kw_only=True)
class Case:
    error: ClientError | BotoCoreError
    detail: str
    remedy: str


CASES = {
    "expired": Case(
        error=of_aws("ExpiredTokenException"),
        detail=f"Scan failed: ExpiredTokenException: {WORDS}",
        remedy="Sign in again",
    ),
    "a wrong clock": Case(
        error=of_aws("SignatureDoesNotMatch", "Signature expired"),
        detail="Scan failed: SignatureDoesNotMatch: Signature expired",
        remedy="Check this machine's clock",
    ),
    "a request that AWS quotes": Case(
        error=of_aws("SignatureDoesNotMatch", "should have been 'POST\nX-Amz-Security-Token:IQoJ'"),
        detail="Scan failed: SignatureDoesNotMatch",
        remedy="Check this machine's clock",
    ),
    "too many at a time": Case(
        error=of_aws("TooManyRequestsException", "Rate Exceeded.", "Invoke", 429),
        detail="Invoke failed: TooManyRequestsException: Rate Exceeded.",
        remedy="Try again in a minute",
    ),
    "denied": Case(
        error=of_aws("AccessDeniedException", "User: u is not authorized to perform: x"),
        detail="AWS denies you Scan: User: u is not authorized to perform: x",
        remedy="Use a role that may do it",
    ),
    "throttled": Case(
        error=of_aws("ThrottlingException", "Rate exceeded"),
        detail="Scan failed: ThrottlingException: Rate exceeded",
        remedy="Try again in a minute",
    ),
    "down": Case(
        error=of_aws("InternalServerError", "", status=500),
        detail="Scan failed: InternalServerError",
        remedy="Try again in a minute",
    ),
    "a secret that is being deleted": Case(
        error=of_aws("InvalidRequestException", "It was marked for deletion.", "DescribeSecret"),
        detail="DescribeSecret failed: InvalidRequestException: It was marked for deletion.",
        remedy="Correct this, then try again.",
    ),
    "a value that AWS may quote": Case(
        error=of_aws("ValidationException", "Value 's3cret' at 'secretString'", "PutSecretValue"),
        detail="PutSecretValue failed: ValidationException",
        remedy="Correct this, then try again.",
    ),
    "no network": Case(
        error=EndpointConnectionError(endpoint_url="https://ssm"),
        detail="AWS could not be reached: EndpointConnectionError",
        remedy="Check --region, --endpoint-url and the network",
    ),
    "no answer": Case(
        error=ConnectTimeoutError(endpoint_url="https://ssm"),
        detail="AWS could not be reached: ConnectTimeoutError",
        remedy="Check --region, --endpoint-url and the network",
    ),
    "a certificate that is not trusted": Case(
        error=SSLError(endpoint_url="https://ssm", error=OSError("not trusted")),
        detail="AWS could not be reached: SSLError",
        remedy="Check this machine's clock, and AWS_CA_BUNDLE",
    ),
    "a proxy that is not there": Case(
        error=ProxyConnectionError(proxy_url="http://127.0.0.1:9"),
        detail="AWS could not be reached: ProxyConnectionError",
        remedy="Check the proxy in HTTPS_PROXY",
    ),
    "no credentials": Case(
        error=NoCredentialsError(), detail="There are no AWS credentials", remedy="Sign in again"
    ),
    "half of the credentials": Case(
        error=PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"),
        detail="Partial credentials found in env, missing: aws_secret_access_key",
        remedy="Sign in again",
    ),
    "no such profile": Case(
        error=ProfileNotFound(profile="nobody"),
        detail="The config profile (nobody) could not be found",
        remedy="aws configure list-profiles",
    ),
    "no Region": Case(
        error=InvalidRegionError(region_name="a b"),
        detail="Provided region_name 'a b' doesn't match a supported format.",
        remedy="Check --region",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_cause_has_its_words_and_its_remedy(name: str) -> None:
    case = CASES[name]

    told = explain(case.error)

    assert told.detail == case.detail
    assert case.remedy in told.remedy
    assert told.code == 3


def test_the_cause_behind_a_failure_of_the_issuer_counts() -> None:
    outer = TenantsUnreadable("/visma/tenants could not be listed")
    outer.__cause__ = LedgerUnreadable("throttled")
    outer.__cause__.__cause__ = of_aws("ThrottlingException", "Rate exceeded")

    assert explain(outer).detail == "Scan failed: ThrottlingException: Rate exceeded"


def test_what_the_command_itself_says_counts_before_what_is_behind_it() -> None:
    outer = TenantsUnreadable("/visma/tenants could not be listed")
    outer.__cause__ = NotOfAws()
    outer.__cause__.__cause__ = of_aws("AccessDenied")

    assert explain(outer).detail == "What answered is not AWS"


def test_a_failure_of_the_issuer_without_one_says_its_own() -> None:
    told = explain(LedgerUnreadable("the table is gone"))

    assert told.detail == "the table is gone"
    assert told.remedy == LedgerUnreadable.remedy


def test_it_is_json_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    code = print_failure(CommandFailed("[red]No[/] stack", "Give it"), as_json=True)

    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": {"detail": "[red]No[/] stack", "remedy": "Give it"}}
    assert said.err == "[red]No[/] stack.\nGive it\n"
    assert code == 3


def test_a_defect_is_told_from_a_tenant_that_is_not_well(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = print_failure(KeyError("member"), as_json=False)

    said = capsys.readouterr()
    assert "KeyError: 'member'" in said.err
    assert "That is a defect of visma-tokens" in said.err
    assert (said.out, code) == ("", 70)
