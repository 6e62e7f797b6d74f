"""AWS on loopback as the command meets it: moto, and a stack that is deployed there."""

import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

import boto3

from tests.helpers.account import ENVIRONMENT
from tests.helpers.facts import fail, make_record
from tests.helpers.invoked import ISSUED
from tests.helpers.scripted_aws import ScriptedAws, StartResponse
from token_issuer.errors import IssuerError
from token_issuer.ledger.table import Ledger
from token_issuer.redaction import Quoted

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

REGION = "eu-north-1"
PREFIX = "visma/clients"
DOCUMENT = json.dumps({"client_id": "demoapp", "client_secret": "Kq7zR2pXw9-Lm4Tb8YcH6v"})


@dataclass
class Deployed(ScriptedAws):
    """What CloudFormation and Lambda say of the stack, which a test may change."""

    status: str = "CREATE_COMPLETE"
    outputs: dict[str, str] = field(
        default_factory=lambda: {
            "FunctionName": "issuer",
            "LedgerTableName": "ledger",
            "LogGroupName": "issuer-log",
            "ReadTokensPolicyArn": "arn:aws:iam::123456789012:policy/read",
            "Version": "1.2.3",
        }
    )
    function: dict[str, Any] | None = field(
        default_factory=lambda: {
            "Role": "arn:aws:iam::123456789012:role/issuer",
            "State": "Active",
            "Environment": {
                "Variables": ENVIRONMENT
                | {"TOKEN_ENDPOINT": "https://connect.visma.com/connect/token"}
            },
        }
    )
    report: object = field(default_factory=lambda: dict(ISSUED))
    given: dict[str, bytes] = field(default_factory=dict)  # answers before all others
    alter: Callable[[str, bytes], bytes] | None = None  # an answer, by operation

    def __post_init__(self) -> None:
        super().__init__()

    @cached_property
    def session(self) -> boto3.Session:
        return boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing")

    @cached_property
    def ssm(self) -> "SSMClient":
        return self.session.client("ssm", REGION, endpoint_url=self.url)

    @cached_property
    def secretsmanager(self) -> "SecretsManagerClient":
        return self.session.client("secretsmanager", REGION, endpoint_url=self.url)

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        return self.session.client("dynamodb", REGION, endpoint_url=self.url)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        head: list[Any] = []
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ = environ | {"wsgi.input": io.BytesIO(body)}
        operation = _operation(environ, body)
        if (answer := self.given.get(operation)) is not None:
            head = ["200 OK", []]
        else:
            answer = b"".join(self._answer(environ, lambda *given: head.extend(given)))
        if self.alter:
            answer = self.alter(operation, answer)
        status, headers = head
        others = [one for one in headers if one[0].lower() != "content-length"]
        start_response(status, [*others, ("Content-Length", str(len(answer)))])
        return [answer]

    def _answer(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/2015-03-31/functions/"):
            return self._lambda(path, start_response)
        if environ.get("HTTP_X_AMZ_TARGET") == "AmazonSSM.GetServiceSetting":  # moto has none
            start_response("200 OK", [("Content-Type", "application/json")])
            return [b'{"ServiceSetting": {"SettingValue": "false"}}']
        if environ.get("HTTP_X_AMZ_TARGET") or path != "/":
            return super().__call__(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        action = parse_qs(body.decode()).get("Action", [""])[0]
        if action == "DescribeStacks":
            start_response("200 OK", [("Content-Type", "text/xml")])
            return [self._stacks().encode()]
        if "StackResource" in action:
            start_response("403 Forbidden", [("Content-Type", "text/xml")])
            return [b"<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"]
        return self._passed_on(environ | {"wsgi.input": io.BytesIO(body)}, start_response)

    def _lambda(self, path: str, start_response: StartResponse) -> Iterable[bytes]:
        content = self.report if path.endswith("/invocations") else self.function
        status = "200 OK"
        headers = [("Content-Type", "application/json")]
        if self.function is None:
            status, content = "404 Not Found", {}
            headers.append(("x-amzn-ErrorType", "ResourceNotFoundException"))
        start_response(status, headers)
        return [json.dumps(content).encode()]

    def _stacks(self) -> str:
        outputs = "".join(
            f"<member><OutputKey>{escape(name)}</OutputKey>"
            f"<OutputValue>{escape(value)}</OutputValue></member>"
            for name, value in self.outputs.items()
        )
        stack = f"<StackName>token-issuer</StackName><StackStatus>{self.status}</StackStatus>"
        stacks = f"<Stacks><member>{stack}<Outputs>{outputs}</Outputs></member></Stacks>"
        result = f"<DescribeStacksResult>{stacks}</DescribeStacksResult>"
        return f"<DescribeStacksResponse>{result}</DescribeStacksResponse>"

    def arrange(self) -> None:
        """Deploy it, with a client secret and three tenants: two with tokens, one refused."""
        fresh, self.alter = Deployed(), None
        self.status, self.outputs, self.function = fresh.status, fresh.outputs, fresh.function
        self.report = fresh.report
        make_ledger(self.dynamodb)
        self.secretsmanager.create_secret(Name=f"{PREFIX}/default", SecretString=DOCUMENT)
        for name in ("acme", "globex", "initech"):
            self.configure(name, {"scope": "a"})
        self.record("acme")
        self.record("globex")
        self.record("initech", failure="invalid_tenant: not granted")

    def configure(self, name: str, document: dict[str, object]) -> None:
        self.ssm.put_parameter(
            Name=f"/visma/tenants/{name}",
            Value=json.dumps(document),
            Type="String",
            Overwrite=True,
        )

    def record(
        self, name: str, failure: str = "", *, reason: str = "TokenRefused", code: str = ""
    ) -> None:
        """Have a token issued, or an attempt fail."""
        now, ledger = datetime.now(UTC), Ledger(self.dynamodb, "ledger")
        if failure:
            error = IssuerError.recall(reason, Quoted(failure), Quoted(code or "invalid_tenant"))
            ledger.record_failure(fail(None, name, error, now))
            return
        known = make_record(name)
        assert known.issued
        issued = replace(
            known.issued, issued_at=now, expires_at=now + timedelta(hours=1), version=1
        )
        ledger.record_token(replace(known, attempted_at=now, issued=issued), None)
        self.ssm.put_parameter(
            Name=issued.parameter, Value="opaque", Type="SecureString", Overwrite=True
        )


def make_ledger(dynamodb: "DynamoDBClient") -> None:
    """Make the table as template.yaml does."""
    dynamodb.create_table(
        TableName="ledger",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
    )


def _operation(environ: dict[str, Any], body: bytes) -> str:
    path, target = environ["PATH_INFO"], environ.get("HTTP_X_AMZ_TARGET", "")
    if path.startswith("/2015-03-31/functions/"):
        return "Invoke" if path.endswith("/invocations") else "GetFunctionConfiguration"
    if path.startswith("/schedules/"):
        return "GetSchedule"
    return target.rpartition(".")[2] or parse_qs(body.decode()).get("Action", [""])[0]
