"""What changes when the stack is deployed again with other parameters."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from local.authorization_server import SCOPES
from local.aws import REGION, Account, Stack, deploy
from local.demo import NOT_GRANTED, TENANTS, Local
from tests.conftest import PROJECT, Event, counts
from tests.deployed.conftest import Invoke, configure
from tests.helpers.opaque_server import CLIENT_ID, CLIENT_SECRET

pytestmark = pytest.mark.long

AUTH_METHODS = ["client_secret_post", "client_secret_basic"]
TOKENS = [f"/visma/tokens/{name}" for name in TENANTS if name != NOT_GRANTED]


def redeploy(local: Local, **parameters: str) -> Stack:
    return deploy(local.account, local.folder, stack=local.stack.name, **parameters)


@contextmanager
def reading(consumer: Account) -> Iterator[None]:
    """Read all tokens again and again until the block ends; each read must give one."""
    ended, reads = threading.Event(), [0]

    def read() -> None:
        while not ended.is_set():
            assert_readable(consumer)
            reads[0] += 1

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            yield
        finally:
            ended.set()
        reader.result()
    assert reads[0] > 10


def assert_readable(consumer: Account, names: list[str] = TOKENS) -> None:
    assert all(consumer.ssm.get_parameter(Name=name, WithDecryption=True) for name in names)


@pytest.fixture
def opaque_endpoint(tmp_path: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "tests.helpers.opaque_server", str(tmp_path / "db.sqlite3")]
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
    local.account.ssm.delete_parameters(Names=[f"/visma/tenants/{one}" for one in AUTH_METHODS])
    redeploy(local, TokenEndpoint=local.visma_connect.token_endpoint)


@pytest.mark.parametrize("method", AUTH_METHODS)
def test_an_authorization_server_of_another_code_base_with_opaque_tokens(
    method: str, opaque: Local, consumer: Account, invoke: Invoke
) -> None:
    secret = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "auth_method": method}
    opaque.account.secretsmanager.create_secret(
        Name=f"visma/clients/{method}", SecretString=json.dumps(secret)
    )
    document = {"scope": SCOPES[0], "client": method, "tenant_id": TENANTS["acme"]}
    configure(opaque.account, method, json.dumps(document))

    report = invoke({"tenants": [method]})

    token = consumer.ssm.get_parameter(Name=f"/visma/tokens/{method}", WithDecryption=True)
    assert counts(report) == {"issued": 1}
    assert len(token["Parameter"]["Value"]) >= 20
    assert "." not in token["Parameter"]["Value"]


@pytest.fixture
def own_key(account: Account, local: Local) -> Iterator[str]:
    """Make a key that is not the stack's, and have the stack return to its own."""
    session = boto3.Session("test", "test", region_name=REGION)
    keys = session.client("kms", endpoint_url=account.endpoint)
    yield keys.create_key()["KeyMetadata"]["Arn"]
    assert redeploy(local, TokenKeyArn="").outputs == local.stack.outputs


def test_a_key_of_ones_own_is_written_with_and_consumers_read_on(
    local: Local, own_key: str, consumer: Account, invoke: Invoke, event: Event
) -> None:
    account, own = local.account, local.stack.outputs["TokenKeyArn"]

    with reading(consumer):
        stack = redeploy(local, TokenKeyArn=own_key)
        report = invoke(event("all"))

    described = account.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": TOKENS}]
    )["Parameters"]
    policy = account.iam.get_policy(PolicyArn=stack.outputs["ReadTokensPolicyArn"])["Policy"]
    document: Any = account.iam.get_policy_version(
        PolicyArn=stack.outputs["ReadTokensPolicyArn"], VersionId=policy["DefaultVersionId"]
    )["PolicyVersion"]["Document"]
    decrypt = next(one for one in document["Statement"] if one["Action"] == "kms:Decrypt")
    assert report["issued"] == 3
    assert stack.outputs["TokenKeyArn"] == own_key != own
    assert [one["KeyId"] for one in described] == [own_key] * 3
    assert decrypt["Resource"] == [own, own_key]


@pytest.fixture
def other_path(local: Local, invoke: Invoke, event: Event) -> Iterator[str]:
    """Give a path, and have the stack return to its own."""
    yield "/visma/moved"
    assert redeploy(local, TokensPath="/visma/tokens").outputs == local.stack.outputs
    assert invoke(event("all"))["issued"] == 3


def test_after_one_run_all_tokens_are_below_another_path(
    local: Local, other_path: str, consumer: Account, invoke: Invoke, event: Event
) -> None:
    ssm = local.account.ssm
    before = ssm.get_parameters(Names=TOKENS)["Parameters"]
    moved = [name.replace("/visma/tokens", other_path) for name in TOKENS]

    redeploy(local, TokensPath=other_path)
    report = invoke(event("all"))

    assert report["issued"] == len(before) == 3
    assert_readable(consumer, moved)
    assert [one["Version"] for one in ssm.get_parameters(Names=TOKENS)["Parameters"]] == [
        one["Version"] for one in before
    ]
    assert counts(invoke(event("all"))) == {"fresh": 3, "failed": 1}
    assert len(ssm.delete_parameters(Names=moved)["DeletedParameters"]) == 3
