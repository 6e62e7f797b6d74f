"""The programs of examples/ with IAM enforced: what their role may read, and what not."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.api import TAKEN
from local.aws import PROJECT, REGION, TRUST, Account
from local.demo import TENANTS, Local
from tests.helpers.command import credentials_of, environment_of, role_with
from tests.helpers.example_programs import NO_ANSWER, PROGRAMS, program, variables


@pytest.fixture
def one_tenants(account: Account, tmp_path: Path) -> Iterator[str]:
    """Make a role with nothing but what docs/consumers.md gives it for acme; return its ARN."""
    page = (PROJECT / "docs/consumers.md").read_text()
    [commands] = re.findall(r"```\n(TOKEN_KEY_ARN=.*?)```", page, re.DOTALL)
    account_id = account.sts.get_caller_identity()["Account"]
    (tmp_path / "examples").symlink_to(PROJECT / "examples")
    environment = environment_of(account)
    with ExitStack() as made:
        role = account.iam.create_role(RoleName="orders", AssumeRolePolicyDocument=TRUST)["Role"]
        made.callback(account.iam.delete_role, RoleName="orders")
        subprocess.run(
            ["sh", "-c", f"set -e\n{commands.replace('123456789012', account_id)}"],
            cwd=tmp_path,
            env=environment | variables(environment),
            check=True,
        )
        made.callback(account.iam.delete_role_policy, RoleName="orders", PolicyName="acme")
        yield role["Arn"]


def told_in_a_role(
    kind: str, role_arn: str, local: Local, folder: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Run an example for two tenants, and return what it tells of each, and its errors."""
    environment = environment_of(local.account) | credentials_of(local.account, role_arn)
    told, errors = {}, {}
    for name in ("acme", "globex"):
        with program(
            kind, name, f"{local.api.url}/{kind}", environment=environment, folder=folder
        ) as running:
            told[name] = running.call(f"/companies/{TENANTS[name]}/orders")
        errors[name] = running.errors.read_text()
    return told, errors


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("kind", PROGRAMS)
def test_an_example_calls_the_api_with_nothing_but_the_policy(
    kind: str, consumer_role: str, local: Local, tmp_path: Path
) -> None:
    seen = len(local.api.calls)

    told, _ = told_in_a_role(kind, consumer_role, local, tmp_path)

    assert told == {"acme": "200", "globex": "200"}
    assert [(call.caller, call.verdict) for call in local.api.calls[seen:]] == [(kind, TAKEN)] * 2


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_role_for_one_tenant_reads_no_other(
    kind: str, one_tenants: str, local: Local, tmp_path: Path
) -> None:
    told, errors = told_in_a_role(kind, one_tenants, local, tmp_path)

    assert told == {"acme": "200", "globex": NO_ANSWER}
    assert "/visma/tokens/globex" in errors["globex"]
    assert "AccessDenied" in errors["globex"] or "not authorized" in errors["globex"]


def test_get_parameter_gives_one_tenants_role_that_token_only(
    one_tenants: str, account: Account, local: Local
) -> None:
    role = account.assume(one_tenants)
    put: Any = account.iam.get_role_policy(RoleName="orders", PolicyName="acme")

    answer = role.ssm.get_parameter(Name="/visma/tokens/acme", WithDecryption=True)
    with pytest.raises(ClientError) as other:
        role.ssm.get_parameter(Name="/visma/tokens/globex", WithDecryption=True)

    token = answer["Parameter"]["Value"]
    assert local.visma_connect.claims(token)["tenant_id"] == TENANTS["acme"]
    assert put["PolicyDocument"]["Statement"][1]["Resource"] == local.stack.outputs["TokenKeyArn"]
    assert other.value.response["Error"]["Code"] == "AccessDeniedException"


def test_a_role_with_the_wrong_policy_reads_nothing(account: Account) -> None:
    statement = {
        "Effect": "Allow",
        "Action": "ssm:GetParameter",
        "Resource": f"arn:aws:ssm:{REGION}:*:parameter/visma/tenants/*",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    with role_with(account, document) as role_arn:
        role = account.assume(role_arn)
        allowed = role.ssm.get_parameter(Name="/visma/tenants/acme")
        with pytest.raises(ClientError) as denied:
            role.ssm.get_parameter(Name="/visma/tokens/acme", WithDecryption=True)

    assert allowed["Parameter"]["Name"] == "/visma/tenants/acme"
    assert denied.value.response["Error"]["Code"] == "AccessDeniedException"
