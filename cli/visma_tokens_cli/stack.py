"""The deployed stack: its outputs, the function's settings, and a session with AWS."""

import os
import time
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from token_issuer.errors import SettingsInvalid, aws_code
from token_issuer.ledger import Ledger, Memory
from token_issuer.pacing import Clock, Pacer
from token_issuer.settings import Settings, parse_settings
from token_issuer.tenants import Configuration, read_tenants
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.options import Options

ANEW = (  # since CloudFormation doesn't miss what was deleted by hand
    "Detach ReadTokensPolicyArn from its roles, `sam delete` the stack, and deploy it anew:"
    " tenants, tokens and client secrets stay, and consumers need the new policy."
)
READS_PER_SECOND = 9.0  # of the 40 that the account's consumers share by default


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What CloudFormation and the function say of themselves; `parameters` are the template's."""

    name: str
    region: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    status: str
    role: str  # the function's, by name
    settings: Settings
    aws: boto3.Session = field(repr=False)

    def resource(self, logical_id: str) -> str:
        """Return the physical id of a resource of the stack."""
        answer = self.aws.client("cloudformation").describe_stack_resource(
            StackName=self.name, LogicalResourceId=logical_id
        )
        return answer["StackResourceDetail"]["PhysicalResourceId"]

    def read_ledger(self) -> Memory:
        """Read the whole ledger; raises LedgerUnreadable."""
        return Ledger(self.aws.client("dynamodb"), self.settings.ledger_table).read()

    def read_tenants(self, last_good: dict[str, str]) -> Configuration:
        """Read all tenant documents as the function does; raises TenantsUnreadable."""
        return read_tenants(
            self.aws.client("ssm"), self.settings.tenants_path, last_good, pacer=reads()
        )

    def writes(self) -> Pacer:
        """Return the pace of writes to Parameter Store, which is the function's."""
        return _pacer(self.settings.writes_per_second)


def reads() -> Pacer:
    """Return the pace of reads of Parameter Store."""
    return _pacer(READS_PER_SECOND)


def _pacer(per_second: float) -> Pacer:
    return Pacer(per_second, Clock(now=time.monotonic, sleep=time.sleep))


class _Session(boto3.Session):
    """One whose clients call the endpoint that was asked for, whatever the environment says."""

    endpoint_url: str | None = None

    def client(self, *names: Any, **settings: Any) -> Any:  # noqa: ANN401
        """Make a client, as boto3 does."""
        return super().client(*names, **{"endpoint_url": self.endpoint_url} | settings)


def open_session(options: Options) -> boto3.Session:
    """Return a session with AWS as a person asks for it, and else as the AWS CLI has it."""
    core = botocore.session.get_session()
    core.set_default_client_config(
        Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"})  # seconds
    )
    session = _Session(
        botocore_session=core,
        profile_name=options.profile,
        region_name=options.region or os.environ.get("AWS_REGION"),  # which boto3 doesn't know
    )
    session.endpoint_url = options.endpoint_url
    return session


def open_stack(options: Options) -> Stack:
    """Look the stack up; raises CommandFailed where there is none that can be used."""
    aws = open_session(options)
    cloudformation = aws.client("cloudformation")
    region = cloudformation.meta.region_name
    name = f"Stack {options.stack_name} in {region}"
    try:
        [found] = cloudformation.describe_stacks(StackName=options.stack_name)["Stacks"]
    except ClientError as error:
        if aws_code(error) != "ValidationError":
            raise
        raise CommandFailed(
            f"There is no stack {options.stack_name} in {region}",
            "Give --stack-name, --region or --profile as it was deployed with.",
        ) from None
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    if "LedgerTableName" not in outputs:
        raise CommandFailed(*_without_outputs(name, found["StackStatus"]))
    try:
        function = aws.client("lambda").get_function_configuration(
            FunctionName=outputs["FunctionName"]
        )
    except ClientError as error:
        if aws_code(error) != "ResourceNotFoundException":
            raise
        raise CommandFailed(
            f"{name} has lost its function, {outputs['FunctionName']}",
            f"Somebody has deleted it by hand. {ANEW}",
        ) from None
    try:
        settings = parse_settings(function["Environment"]["Variables"])
    except SettingsInvalid as error:
        raise CommandFailed(error.detail, "Deploy the stack again.") from error
    return Stack(
        name=options.stack_name,
        region=region,
        outputs=outputs,
        parameters={
            one["ParameterKey"]: one.get("ParameterValue", "")
            for one in found.get("Parameters", [])
        },
        status=found["StackStatus"],
        role=function["Role"].rsplit("/", 1)[-1],
        settings=settings,
        aws=aws,
    )


def _without_outputs(name: str, status: str) -> tuple[str, str]:
    """Return what is wrong with a stack that has none of ours, and what to do about it."""
    if status.endswith("_IN_PROGRESS") and not status.startswith("DELETE"):
        return f"{name} is not deployed yet: {status}", "Wait until its deployment has ended."
    if status in {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}:
        return (
            f"{name} could not be deployed: {status}",
            "See its events in CloudFormation for why, delete it, and deploy it anew.",
        )
    return f"{name} is no token issuer: {status}", "Give --stack-name as it was deployed with."
