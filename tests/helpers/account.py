"""Whole runs of the function: AWS by moto, Visma Connect by the local authorization server."""

import io
import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, uuid5

import boto3
import pytest
from aws_lambda_powertools import Logger
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from local.authorization_server import SCOPES, Client, Fault, VismaConnect
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.errors import ClientRefused, ClientSecretUnreadable
from token_issuer.handler import aws_clients, events_client, lambda_handler
from token_issuer.ledger.table import Ledger
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.limits.pacer import Pacer
from token_issuer.redaction import Quoted
from token_issuer.settings import Settings
from token_issuer.tokens.oauth import Answer

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.literals import ParameterTypeType
    from mypy_boto3_ssm.type_defs import ParameterMetadataTypeDef

type Log = Callable[[], list[dict[str, Any]]]
type Run = Callable[..., dict[str, Any]]

KEY_ARN = "arn:aws:kms:eu-north-1:123456789012:key/0d4e3b1c-1111-2222-3333-444455556666"
CLIENT_SECRET = "s3cret/+& Kq7zR2pXw9-Lm4Tb8YcH6v"
ENVIRONMENT = {  # as template.yaml sets it, but for the token endpoint
    "TENANTS_PATH": "/visma/tenants",
    "TOKENS_PATH": "/visma/tokens",
    "CLIENT_SECRETS_PREFIX": "visma/clients",
    "TOKEN_KEY_ARN": KEY_ARN,
    "LEDGER_TABLE": "ledger",
    "SCHEDULE_PERIOD_MINUTES": "5",
    "RENEW_AT_FRACTION": "0.5",
    "WRITES_PER_SECOND": "100",  # but for this, so that tests don't wait
    "CONCURRENCY": "8",
    "STACK_NAME": "issuer",
    "VERSION": "1.2.3",
    "AWS_DEFAULT_REGION": "eu-north-1",
}

NO_VERSION = ClientSecretUnreadable("no such stage", code=Quoted("ResourceNotFoundException"))
REFUSED = ClientRefused("Client default: invalid_client")
NOBODY = "http://127.0.0.1:1"  # where nothing answers

ENDPOINT = "AWS_ENDPOINT_URL"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


def make_settings(*, concurrency: int = 8, period_minutes: int = 5) -> Settings:
    return Settings(
        tenants_path="/visma/tenants",
        tokens_path="/visma/tokens",
        client_secrets_prefix="visma/clients",
        token_endpoint="https://connect.visma.com/connect/token",
        token_key_arn=KEY_ARN,
        ledger_table="ledger",
        period=timedelta(minutes=period_minutes),
        renew_at_fraction=0.5,
        writes_per_second=2.4,
        concurrency=concurrency,
    )


def credentials(version: str, client_id: str = "id") -> ClientCredentials:
    return ClientCredentials(
        client_id=client_id,
        client_secret=version,
        auth_method="client_secret_post",
        version=version,
    )


def client_error(code: str, operation: str = "PutParameter", status: int = 400) -> ClientError:
    """Return what boto3 raises for an answer of AWS."""
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, operation)


def make_client(service: Any, endpoint_url: str | None = None) -> Any:  # noqa: ANN401  boto3's
    """Return a client that tries once, without the environment."""
    return boto3.client(
        service,
        endpoint_url=endpoint_url,
        region_name=ENVIRONMENT["AWS_DEFAULT_REGION"],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )


def fast_pacer() -> Pacer:
    return Pacer(1000, Deadline(math.inf, Clock()))


def ended_pacer() -> Pacer:
    """Return one that has no more turns."""
    return Pacer(1000, Deadline(0, Clock()))


def lambda_context(milliseconds: int = 290_000) -> Any:  # noqa: ANN401  a part of Lambda's
    return SimpleNamespace(
        aws_request_id="c0ffee00-request", get_remaining_time_in_millis=lambda: milliseconds
    )


def names(count: int) -> list[str]:
    return [f"t{number}" for number in range(count)]


def tenant_id(name: str) -> str:
    return str(uuid5(NAMESPACE_DNS, name))


@cache
def _clients(
    endpoint_url: str | None,
) -> tuple["SSMClient", "DynamoDBClient", "SecretsManagerClient"]:
    """Make clients once in a process: it takes longer than most tests."""
    assert endpoint_url == os.environ.get(ENDPOINT)
    return boto3.client("ssm"), boto3.client("dynamodb"), boto3.client("secretsmanager")


def clients() -> tuple["SSMClient", "DynamoDBClient", "SecretsManagerClient"]:
    return _clients(os.environ.get(ENDPOINT))


@dataclass
class Account:
    """The AWS account as an operator fills it, and as a consumer reads it."""

    visma_connect: VismaConnect
    ssm: "SSMClient" = field(default_factory=lambda: clients()[0])
    dynamodb: "DynamoDBClient" = field(default_factory=lambda: clients()[1])
    secretsmanager: "SecretsManagerClient" = field(default_factory=lambda: clients()[2])

    def make_ledger(self) -> None:
        """Make the table as template.yaml does."""
        self.dynamodb.create_table(
            TableName="ledger",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
        )

    def add_client(self, name: str = "default", **members: str) -> Client:
        """Register an application at Visma Connect and give its secret to Secrets Manager."""
        secret = {"client_id": f"{name}-id", "client_secret": CLIENT_SECRET} | members
        self.put_secret(name, json.dumps(secret))
        return self.visma_connect.add_client(secret["client_id"], secret["client_secret"])

    @property
    def app(self) -> Client:
        """Return the application of the client `default`."""
        return self.visma_connect.clients["default-id"]

    def revoke(self, *names: str) -> None:
        """Have these tenants take back what they have granted that application."""
        self.app.tenants.difference_update(map(tenant_id, names))

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.dynamodb, "ledger")

    def put_secret(self, name: str, value: str | bytes) -> None:
        kind = "SecretString" if isinstance(value, str) else "SecretBinary"
        self.secretsmanager.create_secret(Name=f"visma/clients/{name}", **{kind: value})  # type: ignore[arg-type]

    def configure(self, *names: str, **members: object) -> None:
        """Configure tenants that have granted their client's application."""
        client = self.visma_connect.clients.get(f"{members.get('client', 'default')}-id")
        for name in names:
            document = {"tenant_id": tenant_id(name), "scope": SCOPES[0]} | members
            self.put_document(name, json.dumps(document))
            if client:
                client.tenants.add(tenant_id(name))

    def put_document(self, name: str, text: str, kind: "ParameterTypeType" = "String") -> None:
        self.ssm.put_parameter(Name=f"/visma/tenants/{name}", Value=text, Type=kind, Overwrite=True)

    def put_token(self, name: str, value: str) -> None:
        self.ssm.put_parameter(
            Name=f"/visma/tokens/{name}", Value=value, Type="SecureString", Overwrite=True
        )

    def describe(self, name: str) -> "ParameterMetadataTypeDef":
        """Return what is known of the parameter of a token."""
        [parameter] = self.ssm.describe_parameters(
            ParameterFilters=[{"Key": "Name", "Values": [f"/visma/tokens/{name}"]}]
        )["Parameters"]
        return parameter

    def token_of(self, name: str) -> str | None:
        return self.tokens().get(name)

    def tokens(self) -> dict[str, str]:
        pages = self.ssm.get_paginator("get_parameters_by_path").paginate(
            Path="/visma/tokens", WithDecryption=True
        )
        return {
            parameter["Name"].removeprefix("/visma/tokens/"): parameter["Value"]
            for page in pages
            for parameter in page["Parameters"]
        }


def set_all(environment: pytest.MonkeyPatch, aws_url: str, token_endpoint: str) -> None:
    """Set the function's environment, for servers on loopback."""
    urls = {ENDPOINT: aws_url, "TOKEN_ENDPOINT": token_endpoint}
    for name, value in (ENVIRONMENT | CREDENTIALS | urls).items():
        environment.setenv(name, value)


@contextmanager
def behind(aws_url: str, environment: pytest.MonkeyPatch, token_endpoint: str) -> Iterator[None]:
    """Have the function use these servers until the block ends."""
    set_all(environment, aws_url, token_endpoint)
    with ExitStack() as stack:
        for made in (aws_clients, events_client):
            made.cache_clear()  # they know the endpoint that was set when they were made
            stack.callback(made.cache_clear)
        yield


@pytest.fixture(autouse=True)
def nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop what the shell that runs the tests may have set."""
    for name in os.environ:
        if name.startswith(("AWS_", "POWERTOOLS_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, visma_connect: VismaConnect) -> dict[str, str]:
    """Set the function's environment as template.yaml does."""
    variables = ENVIRONMENT | {"TOKEN_ENDPOINT": visma_connect.token_endpoint}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return variables


@pytest.fixture
def empty_account(environment: dict[str, str], visma_connect: VismaConnect) -> Iterator[Account]:
    assert environment["AWS_DEFAULT_REGION"]
    with mock_aws():
        account = Account(visma_connect)
        account.make_ledger()
        yield account


@pytest.fixture
def account(empty_account: Account) -> Account:
    """Return an account with the client `default`."""
    empty_account.add_client()
    return empty_account


def token_body(token: str, **members: object) -> bytes:
    """Return what a token endpoint says that gives this token."""
    answer = {"access_token": token, "token_type": "Bearer", "expires_in": 3600} | members
    return json.dumps(answer).encode()


def token_answer(token: str) -> Answer:
    return Answer(status=200, body=token_body(token))


def token_fault(token: str, **members: object) -> Fault:
    return Fault(status=200, body=token_body(token, **members))


def log_to(stream: io.StringIO) -> None:
    """Have the function log there; setStream would flush the stream before, which may be closed."""
    # the same logger as the handler's: Powertools keeps one for each service
    Logger(service="token-issuer").registered_handler.stream = stream  # type: ignore[attr-defined]


@pytest.fixture
def log_stream() -> io.StringIO:
    stream = io.StringIO()
    log_to(stream)
    return stream


@pytest.fixture
def log(log_stream: io.StringIO) -> Log:
    """Return a reader of the lines that were logged so far."""
    return lambda: [json.loads(line) for line in log_stream.getvalue().splitlines()]


@pytest.fixture
def measured(capsys: pytest.CaptureFixture[str]) -> Log:
    """Return a reader of the lines of metrics that came since it was last called."""

    def read() -> list[dict[str, Any]]:
        lines = capsys.readouterr().out.splitlines()
        return [json.loads(line) for line in lines if "CloudWatchMetrics" in line]

    return read


@pytest.fixture
def run(log_stream: io.StringIO) -> Run:
    """Return the function, as Lambda calls it."""
    assert log_stream.getvalue() == ""

    def invoke(event: object = None, *, seconds: int = 290) -> dict[str, Any]:
        return lambda_handler({} if event is None else event, lambda_context(seconds * 1000))

    return invoke
