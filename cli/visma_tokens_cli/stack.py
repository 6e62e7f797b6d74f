"""The deployed stack: its outputs, the function's settings, and a session with AWS."""

import os
import time
from dataclasses import dataclass, field

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError

from token_issuer.errors import SettingsInvalid
from token_issuer.ledger import Ledger, Memory
from token_issuer.pacing import Clock, Pacer
from token_issuer.settings import Settings, parse_settings
from token_issuer.tenants import Configuration, read_tenants
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.options import Options

READS_PER_SECOND = 9.0  # of the 40 that the account's consumers share by default


@dataclass(frozen=True, kw_only=True)
class Stack:
    """What CloudFormation and the function say of themselves; `parameters` are the template's."""

    name: str
    region: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    status: str
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


def open_session(options: Options) -> boto3.Session:
    """Return a session with AWS as a person asks for it, and else as the AWS CLI has it."""
    if options.endpoint_url:
        os.environ["AWS_ENDPOINT_URL"] = options.endpoint_url  # for clients of any service
    core = botocore.session.get_session()
    core.set_default_client_config(
        Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"})  # seconds
    )
    return boto3.Session(
        botocore_session=core, profile_name=options.profile, region_name=options.region
    )


def open_stack(options: Options) -> Stack:
    """Look the stack up; raises CommandFailed where there is none that can be used."""
    aws = open_session(options)
    cloudformation = aws.client("cloudformation")
    region = cloudformation.meta.region_name
    try:
        [found] = cloudformation.describe_stacks(StackName=options.stack_name)["Stacks"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise CommandFailed(
            f"There is no stack {options.stack_name} in {region}",
            "Give --stack-name, --region or --profile as it was deployed with.",
        ) from None
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    if "LedgerTableName" not in outputs:
        raise CommandFailed(
            f"Stack {options.stack_name} in {region} is no token issuer, or not deployed yet:"
            f" {found['StackStatus']}",
            "Give --stack-name, or wait until its deployment has ended.",
        )
    function = aws.client("lambda").get_function_configuration(FunctionName=outputs["FunctionName"])
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
        settings=settings,
        aws=aws,
    )
