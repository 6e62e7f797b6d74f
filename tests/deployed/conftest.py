"""The stack as the SAM CLI deploys it, once for all tests, into MiniStack with IAM enforced."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console

from local.authorization_server import SCOPES
from local.aws import Account
from local.demo import TENANTS, Local, Progress, running, wait_for_run
from local.environment import settle
from tests.helpers.command import Command, environment_of
from tests.helpers.shell import ALL as ODD_SHELL
from tests.helpers.shell import PROXIES

type Invoke = Callable[[object], dict[str, Any]]


def versions(account: Account) -> dict[str, int]:
    described = account.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Path", "Values": ["/visma/tokens"]}]
    )["Parameters"]
    return {one["Name"].removeprefix("/visma/tokens/"): one["Version"] for one in described}


def configure(account: Account, name: str, text: str) -> None:
    account.ssm.put_parameter(
        Name=f"/visma/tenants/{name}", Value=text, Type="String", Overwrite=True
    )


def forget(local: Local, *names: str) -> None:
    """Take the tokens of these away, and what the ledger knows of them."""
    account, table = local.account, local.stack.outputs["LedgerTableName"]
    account.ssm.delete_parameters(Names=[f"/visma/tokens/{name}" for name in names])
    for name in names:
        account.dynamodb.delete_item(TableName=table, Key={"key": {"S": f"tenant#{name}"}})


@contextmanager
def spare_client(account: Account, secret: str) -> Iterator[None]:
    """Have a client that no tenant names."""
    name = "visma/clients/spare"
    account.secretsmanager.create_secret(Name=name, SecretString=secret)
    yield
    account.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def tenants_of_the_stack() -> dict[str, dict[str, object]]:
    """Return the documents that are there already, as a file for `apply` has them."""
    return {name: {"tenant_id": one, "scope": SCOPES[0]} for name, one in TENANTS.items()}


@pytest.fixture(scope="package")
def local() -> Iterator[Local]:
    """Start everything from a shell with odd settings; its proxies, which are dead, stay set."""
    with ExitStack() as started:
        with pytest.MonkeyPatch.context() as shell:
            set_all(shell, ODD_SHELL)
            settle()
            everything = started.enter_context(running(Progress(Console(quiet=True))))
        set_all(started.enter_context(pytest.MonkeyPatch.context()), PROXIES)
        yield everything


def set_all(shell: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        shell.setenv(name, value)


@pytest.fixture(scope="package")
def scheduled(local: Local) -> dict[str, Any]:
    """Wait for the schedule to fire by itself; turn it off then, so that it disturbs no test."""
    finished = wait_for_run(local, lambda _left: None)
    turn_schedule(local.account, "DISABLED")
    return finished


def turn_schedule(account: Account, state: Literal["DISABLED", "ENABLED"]) -> None:
    scheduler = account.scheduler
    [schedule] = scheduler.list_schedules()["Schedules"]
    full = scheduler.get_schedule(Name=schedule["Name"], GroupName=schedule["GroupName"])
    scheduler.update_schedule(
        Name=full["Name"],
        GroupName=full["GroupName"],
        ScheduleExpression=full["ScheduleExpression"],
        FlexibleTimeWindow=full["FlexibleTimeWindow"],
        Target=full["Target"],
        State=state,
    )


@pytest.fixture
def account(local: Local, scheduled: dict[str, Any]) -> Account:
    """Return the account after the schedule has fired."""
    assert scheduled["message"] == "Run finished"
    return local.account


@pytest.fixture
def invoke(local: Local, account: Account) -> Invoke:
    def call(event: object) -> dict[str, Any]:
        answer = account.functions.invoke(
            FunctionName=local.stack.outputs["FunctionName"], Payload=json.dumps(event)
        )
        content: dict[str, Any] = json.loads(answer["Payload"].read())
        return content

    return call


@pytest.fixture
def command(local: Local, account: Account, tmp_path: Path) -> Command:
    return Command(path=local.command, folder=tmp_path, environment=environment_of(account))


@pytest.fixture(scope="package")
def consumer_role(local: Local) -> str:
    """Return the ARN of a role with ReadTokensPolicyArn and nothing else."""
    policy_arn = local.stack.outputs["ReadTokensPolicyArn"]
    return local.account.make_role("consumer", policy_arn=policy_arn)


@pytest.fixture(scope="package")
def consumer(local: Local, consumer_role: str) -> Account:
    """Return the account as seen by that role."""
    return local.account.assume(consumer_role)


@pytest.fixture(scope="package")
def function(local: Local) -> Account:
    """Return the account as seen by the function's own role."""
    return local.account.assume(local.stack.function_role_arn)


@pytest.fixture(scope="package")
def administrator(local: Local) -> Account:
    """Return the account as seen by a role that may do everything."""
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = local.account.iam.create_policy(
        PolicyName="administrator",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    arn = policy["Policy"]["Arn"]
    return local.account.assume(local.account.make_role("administrator", policy_arn=arn))
