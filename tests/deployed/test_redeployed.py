"""What changes when the stack is deployed again with other parameters."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.authorization_server import SCOPES
from local.aws import REGION, Account, Stack, deploy
from local.demo import TENANTS, Local
from tests.conftest import PROJECT, Event, counts
from tests.deployed.conftest import Invoke
from tests.deployed.opaque_server import CLIENT_ID, CLIENT_SECRET

pytestmark = pytest.mark.long


def redeploy(local: Local, **parameters: str) -> Stack:
    return deploy(local.account, local.folder, stack=local.stack.name, **parameters)


@pytest.fixture
def opaque_endpoint(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.deployed.opaque_server", str(tmp_path / "db.sqlite3")]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command, cwd=PROJECT, env=os.environ, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            assert server.stdout is not None
            url = server.stdout.readline().strip()
            assert url, (tmp_path / "log").read_text()
            yield url
        finally:
            server.terminate()


@pytest.fixture
def opaque(local: Local, opaque_endpoint: str) -> Iterator[Local]:
    """Point the stack at the other authorization server."""
    redeploy(local, TokenEndpoint=opaque_endpoint)
    yield local
    redeploy(local, TokenEndpoint=local.visma_connect.token_endpoint)


@pytest.mark.parametrize("method", ["client_secret_post", "client_secret_basic"])
def test_an_authorization_server_of_another_code_base_with_opaque_tokens(
    method: str, opaque: Local, consumer: Account, invoke: Invoke
) -> None:
    secret = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "auth_method": method}
    opaque.account.secretsmanager.create_secret(
        Name=f"visma/clients/{method}", SecretString=json.dumps(secret)
    )
    document = {"scope": SCOPES[0], "client": method, "tenant_id": TENANTS["acme"]}
    opaque.account.ssm.put_parameter(
        Name=f"/visma/tenants/{method}", Value=json.dumps(document), Type="String"
    )

    report = invoke({"tenants": [method]})

    token = consumer.ssm.get_parameter(Name=f"/visma/tokens/{method}", WithDecryption=True)
    assert counts(report) == {"issued": 1}
    assert len(token["Parameter"]["Value"]) >= 20
    assert "." not in token["Parameter"]["Value"]


@pytest.fixture
def own_key(account: Account, local: Local) -> Iterator[str]:
    """Make a key that is not the stack's, and have the stack return to its own."""
    keys = boto3.client(
        "kms",
        endpoint_url=account.endpoint,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield keys.create_key()["KeyMetadata"]["Arn"]
    assert redeploy(local, TokenKeyArn="").outputs == local.stack.outputs


def test_a_key_of_ones_own_is_written_with_and_consumers_read_on(
    local: Local, own_key: str, consumer: Account, invoke: Invoke, event: Event
) -> None:
    account, own = local.account, local.stack.outputs["TokenKeyArn"]

    stack = redeploy(local, TokenKeyArn=own_key)
    report = invoke(event("all"))

    [described] = account.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": ["/visma/tokens/acme"]}]
    )["Parameters"]
    policy = account.iam.get_policy(PolicyArn=stack.outputs["ReadTokensPolicyArn"])["Policy"]
    document: Any = account.iam.get_policy_version(
        PolicyArn=stack.outputs["ReadTokensPolicyArn"], VersionId=policy["DefaultVersionId"]
    )["PolicyVersion"]["Document"]
    decrypt = next(one for one in document["Statement"] if one["Action"] == "kms:Decrypt")
    assert report["issued"] == 3
    assert stack.outputs["TokenKeyArn"] == own_key != own
    assert described["KeyId"] == own_key
    assert decrypt["Resource"] == [own, own_key]
    assert consumer.ssm.get_parameter(Name="/visma/tokens/acme", WithDecryption=True)
