"""AWS on loopback: run MiniStack, and deploy the stack into it with the SAM CLI."""

import contextlib
import json
import os
import platform
import secrets
import socket
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from cfnlint.decode import cfn_yaml

from local.environment import isolated
from local.processes import process, run, tail

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_scheduler import EventBridgeSchedulerClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient
    from mypy_boto3_sts.type_defs import CredentialsTypeDef

PROJECT = Path(__file__).parent.parent
REGION = "eu-north-1"
START_SECONDS = 120.0
STARTS = 3  # attempts, because another program may take the free port first
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
    }
)
MISJUDGED = [
    "events:PutEvents",  # of our source
    *("ssm:GetParametersByPath", "ssm:GetParameters", "ssm:DeleteParameters"),  # of our paths
]


class Account:
    """AWS clients of one principal: of MiniStack's root user, or of the given credentials."""

    def __init__(self, endpoint: str, credentials: "CredentialsTypeDef | None" = None) -> None:
        """Make a client for each service at MiniStack's URL; `credentials` are AssumeRole's."""
        self.endpoint = endpoint
        keys = credentials or {"AccessKeyId": "test", "SecretAccessKey": "test"}
        session = boto3.Session(
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys.get("SessionToken"),
            region_name=REGION,
        )
        config = Config(
            proxies={},  # none for loopback
            read_timeout=120,  # seconds
            retries={"total_max_attempts": 1},
        )

        def client(service: Any) -> Any:  # noqa: ANN401  the annotations below say which
            return session.client(service, endpoint_url=endpoint, config=config)

        self.cloudformation: CloudFormationClient = client("cloudformation")
        self.cloudwatch: CloudWatchClient = client("cloudwatch")
        self.dynamodb: DynamoDBClient = client("dynamodb")
        self.events: EventBridgeClient = client("events")
        self.functions: LambdaClient = client("lambda")
        self.iam: IAMClient = client("iam")
        self.logs: CloudWatchLogsClient = client("logs")
        self.scheduler: EventBridgeSchedulerClient = client("scheduler")
        self.secretsmanager: SecretsManagerClient = client("secretsmanager")
        self.sns: SNSClient = client("sns")
        self.sqs: SQSClient = client("sqs")
        self.ssm: SSMClient = client("ssm")
        self.sts: STSClient = client("sts")

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that make AWS tools use MiniStack as root."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
        }

    def make_role(self, name: str, *, policy_arn: str) -> str:
        """Make a role with one policy, which this account may assume, and return its ARN."""
        role = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        self.iam.attach_role_policy(RoleName=name, PolicyArn=policy_arn)
        return role["Role"]["Arn"]

    def assume(self, role_arn: str) -> "Account":
        """Return clients with the credentials of a role."""
        answer = self.sts.assume_role(RoleArn=role_arn, RoleSessionName="local")
        return Account(self.endpoint, answer["Credentials"])


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The deployed stack: its outputs and the function's role."""

    name: str
    outputs: dict[str, str]
    function_role_arn: str


@contextlib.contextmanager
def ministack(folder: Path) -> Iterator[Account]:
    """Run MiniStack on a free port, with IAM enforced, until the block ends."""
    temporary = folder / "ministack"
    temporary.mkdir()
    log = folder / "ministack.log"
    command = [str(PROJECT / ".tools/ministack/bin/python"), "-m", "ministack"]
    for _ in range(STARTS):
        port, edition = _free_port(), secrets.token_hex(8)
        account = Account(f"http://127.0.0.1:{port}")
        env = isolated(
            os.environ,
            temporary,
            **account.environment,
            AUTH="true",
            BIND_HOST="127.0.0.1",
            GATEWAY_PORT=str(port),
            MINISTACK_EDITION=edition,  # /health shows it, so that we know our server
            MINISTACK_REGION=REGION,
        )
        with process(command, env=env, cwd=folder, log=log) as running:
            deadline = time.monotonic() + START_SECONDS
            while running.poll() is None and time.monotonic() < deadline:
                if edition in _health(account.endpoint):
                    yield account
                    return
                time.sleep(0.1)
    raise SystemExit(f"MiniStack did not start:\n{tail(log)}")


def build(account: Account, folder: Path, *, template: Path = PROJECT / "template.yaml") -> None:
    """Run `sam build` for this machine's processor, on which the function runs."""
    architecture = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
    _sam(
        account,
        folder,
        "build",
        "--template-file",
        str(template),
        "--build-dir",
        str(folder / "build"),
        *_overrides({"Architecture": architecture}),
    )
    _drop_unknown(folder / "build/template.yaml")


def deploy(account: Account, folder: Path, *, stack: str, **parameters: str) -> Stack:
    """Run `sam deploy` with what `build` made, and return the deployed stack."""
    _sam(
        account,
        folder,
        "deploy",
        "--template-file",
        str(folder / "build/template.yaml"),
        "--stack-name",
        stack,
        "--capabilities",
        "CAPABILITY_IAM",
        "--resolve-s3",
        "--no-confirm-changeset",
        "--no-progressbar",
        *_overrides(parameters),
    )
    return describe(account, stack)


def describe(account: Account, stack: str) -> Stack:
    """Return a deployed stack, and allow its role what MiniStack would wrongly deny."""
    described = account.cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
    function = account.functions.get_function_configuration(FunctionName=outputs["FunctionName"])
    _allow_misjudged(account, function["Role"].rsplit("/", 1)[-1])
    return Stack(
        name=stack,
        outputs=outputs,
        function_role_arn=function["Role"],
    )


def log_lines(account: Account, stack: Stack) -> list[dict[str, Any]]:
    """Return the function's JSON log lines so far, the oldest first."""
    pages = account.logs.get_paginator("filter_log_events").paginate(
        logGroupName=stack.outputs["LogGroupName"]
    )
    messages = [event["message"] for page in pages for event in page["events"]]
    return [json.loads(message) for message in messages if message.startswith("{")]


def _drop_unknown(path: Path) -> None:
    """Remove saved queries and alarms on metric math from a template: MiniStack has neither."""
    template: Any = cfn_yaml.load(str(path))
    kept = {
        name: one
        for name, one in template["Resources"].items()
        if one["Type"] != "AWS::Logs::QueryDefinition"
        and "Metrics" not in one.get("Properties", {})
    }
    path.write_text(json.dumps(template | {"Resources": kept}))


def _allow_misjudged(account: Account, role: str) -> None:
    """Allow the role the actions MISJUDGED on `*`: MiniStack judges their policy wrongly."""
    statement = {"Effect": "Allow", "Action": MISJUDGED, "Resource": "*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    account.iam.put_role_policy(
        RoleName=role, PolicyName="ministack", PolicyDocument=json.dumps(document)
    )


def _sam(account: Account, folder: Path, *arguments: str) -> None:
    binaries = PROJECT / ".tools/sam/bin"
    env = isolated(
        os.environ,
        folder,
        **account.environment,
        PATH=f"{binaries}:{os.environ['PATH']}",  # sam build wants python3.13 and its pip
        SAM_CLI_TELEMETRY="0",
        SAM_CLI_POLL_DELAY="1",  # seconds
    )
    run(
        [str(binaries / "sam"), *arguments, "--config-file", str(PROJECT / "local/sam.toml")],
        env=env,
        cwd=PROJECT,
        log=folder / f"sam-{arguments[0]}.log",
    )


def _overrides(parameters: dict[str, str]) -> list[str]:
    # SAM accepts an empty value only in quotes
    return ["--parameter-overrides", *(f'{name}="{value}"' for name, value in parameters.items())]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _health(endpoint: str) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{endpoint}/_ministack/health", timeout=1) as answer:
            return str(answer.read(), "utf-8", "replace")
    except (OSError, HTTPException):
        return ""
