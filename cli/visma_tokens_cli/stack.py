"""The deployed stack: its outputs, the function's settings, and a session with AWS."""

import math
import os
import re
import shlex
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from getpass import GetPassWarning, getpass
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from urllib3.util import parse_url

from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.errors import SettingsInvalid
from token_issuer.ledger.records import Memory
from token_issuer.ledger.table import Ledger
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.limits.pacer import Pacer
from token_issuer.settings import Settings, parse_settings
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.parameters import TenantDocuments
from token_issuer.tenants.recall import last_tenants
from visma_tokens_cli.answers import NotOfAws, check_answers
from visma_tokens_cli.endpoints import LOOPBACK, SENDABLE, is_safe
from visma_tokens_cli.failures import SIGN_IN, CommandFailed, answer_unless
from visma_tokens_cli.options import Options
from visma_tokens_cli.streams import printable

ANEW = (  # `sam deploy` is not enough: CloudFormation doesn't notice deletions by hand
    "Detach ReadTokensPolicyArn from its roles, `sam delete` the stack, and deploy it anew:"
    " tenants, tokens and client secrets stay, and consumers need the new policy."
)
KEYS = ("access key id", "secret access key", "session token")
USER = re.compile(r"//\S*@")  # user and password of a URL
READS_PER_SECOND = 9.0  # by default AWS allows 40 to an account, and consumers need them


@dataclass(frozen=True, kw_only=True)
class Stack:
    """A deployed stack and the function's settings; `parameters` are those of the template."""

    name: str
    region: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    status: str
    role: str  # the name of the function's role
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

    def read_tenants(self, memory: Memory) -> Configuration:
        """Read all tenant documents as the function does; raises TenantsUnreadable."""
        ssm, path = self.aws.client("ssm"), self.settings.tenants_path
        parameters = TenantDocuments(ssm, path, reads()).read()
        return parse_configuration(parameters, path, last_tenants(memory))

    def secrets(self) -> ClientSecrets:
        """Return a reader of the clients' secrets."""
        client, prefix = self.aws.client("secretsmanager"), self.settings.client_secrets_prefix
        return ClientSecrets(client, prefix)

    def aws_command(self, *words: str) -> str:
        """Return a command of the AWS CLI to paste, with the stack's Region and profile."""
        url, profile = getattr(self.aws, "endpoint_url", None), self.aws.profile_name
        where = ["--region", self.region]
        where += ["--profile", profile] if profile != "default" else []
        where += ["--endpoint-url", url] if url else []
        return shlex.join(["aws", *words, *where])

    def writes(self) -> Pacer:
        """Return a pacer for writes to Parameter Store, as fast as the function's."""
        return _pacer(self.settings.writes_per_second)


def reads() -> Pacer:
    """Return a pacer for reads of Parameter Store."""
    return _pacer(READS_PER_SECOND)


def _pacer(per_second: float) -> Pacer:
    return Pacer(per_second, Deadline(math.inf, Clock()))


class _Session(boto3.Session):
    """A session whose clients call the endpoint of --endpoint-url, if there is one."""

    endpoint_url: str | None = None

    def client(self, *names: Any, **settings: Any) -> Any:  # noqa: ANN401
        """Make a client; raises CommandFailed if a setting of the person can't be used."""
        with _settings_of_a_person():
            client = super().client(*names, **{"endpoint_url": self.endpoint_url} | settings)
            _ = urlsplit(client.meta.endpoint_url).port  # a bad port raises ValueError
        # keys may expire during the command, and botocore has no error of its own for that
        client.meta.events.register("before-sign", lambda **_: _load_credentials(self))
        return client


@contextmanager
def _breaking(what: str, remedy: str) -> Iterator[None]:
    """Turn any exception that botocore raises for an odd value into CommandFailed."""
    try:
        yield
    except (BotoCoreError, ClientError, CommandFailed):
        raise
    except Exception as error:
        raise CommandFailed(f"{what}: {USER.sub('//', str(error))}", remedy) from error


def _settings_of_a_person() -> AbstractContextManager[None]:
    return _breaking(
        "Your configuration of AWS can't be used",
        "Correct the variable AWS_... or the setting in ~/.aws/config that has that value,"
        " or that has other settings below it.",
    )


def open_session(options: Options) -> boto3.Session:
    """Return a session by the options; what they don't set is as for the AWS CLI."""
    _spare_loopback()
    core = botocore.session.get_session()
    core.register("before-send", _refuse_unsafe)
    core.register("creating-client-class", check_answers)
    core.set_default_client_config(
        Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard"})  # seconds
    )
    with _settings_of_a_person():
        session = _Session(
            botocore_session=core,
            profile_name=options.profile,
            region_name=options.region or os.environ.get("AWS_REGION"),  # boto3 ignores it
        )
        providers = core.get_component("credential_provider")
    providers.get_provider("assume-role")._prompter = _ask_for_code  # noqa: SLF001
    session.endpoint_url = options.endpoint_url
    _load_credentials(session)
    return session


def _load_credentials(session: boto3.Session) -> None:
    """Load the credentials now, so that questions come first; raises CommandFailed."""
    with _breaking("Your AWS credentials can't be loaded", SIGN_IN):
        credentials = session.get_credentials()
        keys = credentials.get_frozen_credentials() if credentials else ()
    for name, value in zip(KEYS, keys, strict=False):
        if value is not None and not (isinstance(value, str) and SENDABLE.fullmatch(value)):
            raise CommandFailed(
                f"A request could not be sent: the {name} of your AWS credentials is no text,"
                " or has characters that no key has",
                "Check it for line breaks and spaces.",
            )


def _ask_for_code(question: str) -> str:
    """Ask for an MFA code on a terminal only: standard input may be a client secret."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", GetPassWarning)
            return getpass(printable(question))
    except GetPassWarning:
        raise CommandFailed(
            "The profile asks for an MFA code, and there is no terminal to ask on",
            "Give a --profile without mfa_serial, or keys of a session that is open already.",
        ) from None
    except EOFError:
        raise CommandFailed("No MFA code was given", "Try again.") from None


def _refuse_unsafe(**sending: Any) -> None:  # noqa: ANN401
    """Raise CommandFailed before a request goes to an unsafe URL (botocore's `before-send`)."""
    url = sending["request"].url
    if not is_safe(url):
        parts = parse_url(url)
        raise CommandFailed(  # the host only: the URL may have a password
            f"{parts.scheme}://{parts.host} is not https, so nothing was sent there",
            "Correct AWS_ENDPOINT_URL, or endpoint_url in the AWS CLI's configuration.",
        )


def _spare_loopback() -> None:
    """Add this machine to `no_proxy`, which the AWS SDK reads too."""
    proxies = getproxies_environment()
    spared = proxies.get("no", "")
    if proxies and spared != "*":
        os.environ["no_proxy"] = ",".join([spared, "::1", *sorted(LOOPBACK)]).strip(",")


def open_stack(options: Options) -> Stack:
    """Read the stack and the function's settings; raises CommandFailed if they can't be used."""
    aws = open_session(options)
    cloudformation = aws.client("cloudformation")
    region = cloudformation.meta.region_name
    name = f"Stack {options.stack_name} in {region}"
    describe = partial(cloudformation.describe_stacks, StackName=options.stack_name)
    if (described := answer_unless(describe, "ValidationError")) is None:
        raise CommandFailed(
            f"There is no stack {options.stack_name} in {region}",
            "Give --stack-name, --region or --profile as it was deployed with.",
        )
    if len(described["Stacks"]) != 1:
        raise NotOfAws
    [found] = described["Stacks"]
    outputs = {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", [])}
    if not {"LedgerTableName", "FunctionName"} <= outputs.keys():
        raise CommandFailed(*_unusable(name, found["StackStatus"]))
    outputs = {
        "LogGroupName": f"/aws/lambda/{outputs['FunctionName']}",
        "ReadTokensPolicyArn": "a policy for its tokens",
    } | outputs
    read = aws.client("lambda").get_function_configuration
    function = answer_unless(
        partial(read, FunctionName=outputs["FunctionName"]), "ResourceNotFoundException"
    )
    if function is None and found["StackStatus"].startswith("DELETE"):
        raise CommandFailed(*_unusable(name, found["StackStatus"]))
    if function is None:
        raise CommandFailed(
            f"{name} has lost its function, {outputs['FunctionName']}",
            f"Somebody has deleted it by hand. {ANEW}",
        )
    environment = function.get("Environment", {})
    if denied := environment.get("Error"):
        why = ": ".join(denied[name] for name in ("ErrorCode", "Message") if denied.get(name))
        raise CommandFailed(
            f"The settings of {outputs['FunctionName']} can't be read: {why}",
            "Use a role that may decrypt with the key of the function's environment variables.",
        )
    try:
        settings = parse_settings(environment.get("Variables", {}))
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
        role=function.get("Role", "").rsplit("/", 1)[-1],
        settings=settings,
        aws=aws,
    )


def _unusable(name: str, status: str) -> tuple[str, str]:
    """Return why a stack lacks the outputs of a token issuer, and the remedy."""
    if status == "DELETE_COMPLETE":
        return f"{name} is deleted: {status}", "Deploy it anew, or give another --stack-name."
    if status.startswith("DELETE"):
        return (
            f"{name} is being deleted, or its deletion failed: {status}",
            "See its events in CloudFormation; once it is gone, deploy it anew.",
        )
    if status == "REVIEW_IN_PROGRESS":
        return f"{name} is not deployed yet: {status}", "Execute its change set, or delete it."
    if status.endswith("_IN_PROGRESS"):
        return f"{name} is not deployed yet: {status}", "Wait until its deployment has ended."
    if status in {"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"}:
        return (
            f"{name} could not be deployed: {status}",
            "See its events in CloudFormation for why, delete it, and deploy it anew.",
        )
    return f"{name} is no token issuer: {status}", "Give --stack-name as it was deployed with."
