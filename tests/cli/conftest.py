"""Tenant documents in Parameter Store, by moto, and somebody else who writes them too."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from typer.testing import CliRunner

from tests.helpers.account import CREDENTIALS, fast_pacer
from tests.helpers.deployed_aws import REGION, Deployed
from tests.helpers.invoked import serving
from tests.helpers.scripted_aws import serving_aws
from tests.helpers.tenants import Issuer
from tests.helpers.terminal import ENVIRONMENT, run
from visma_tokens_cli.commands import app
from visma_tokens_cli.documents import Documents, parse_documents
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.store import Store

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

PATH = "/visma/tenants"

type Run = Callable[..., subprocess.CompletedProcess[str]]


def documents_of(texts: dict[str, str], kind: Any = "String") -> Documents:  # noqa: ANN401  AWS's
    """Return what would be read of parameters with these texts."""
    return parse_documents(
        (
            {"Name": f"{PATH}/{name}", "Type": kind, "Value": text, "Version": 1}
            for name, text in texts.items()
        ),
        PATH,
    )


@contextmanager
def refused(
    words: str | None = None, code: int = UNCHANGED
) -> Iterator[pytest.ExceptionInfo[CommandFailed]]:
    """Expect that the command ends with these words, and that exit code."""
    with pytest.raises(CommandFailed, match=words) as caught:
        yield caught
    assert caught.value.code == code


@dataclass
class Shelf:
    """The parameters as another operator sees and changes them."""

    ssm: "SSMClient" = field(default_factory=lambda: boto3.client("ssm"))

    def put(self, name: str, text: str) -> None:
        self.ssm.put_parameter(Name=f"{PATH}/{name}", Value=text, Type="String", Overwrite=True)

    def put_all(self, texts: dict[str, str]) -> None:
        for name, text in texts.items():
            self.put(name, text)

    def delete(self, name: str) -> None:
        self.ssm.delete_parameter(Name=f"{PATH}/{name}")

    def texts(self) -> dict[str, str]:
        pages = self.ssm.get_paginator("get_parameters_by_path").paginate(Path=PATH, Recursive=True)
        return {
            one["Name"].removeprefix(f"{PATH}/"): one["Value"]
            for page in pages
            for one in page["Parameters"]
        }


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shelf]:
    for name in os.environ:
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name, value in (CREDENTIALS | {"AWS_DEFAULT_REGION": "eu-north-1"}).items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield Shelf()


@pytest.fixture
def issuer(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Iterator[Issuer]:
    assert shelf  # there are credentials, and no other AWS
    issuer = Issuer()
    with serving(issuer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
        yield issuer


@pytest.fixture
def ssm(shelf: Shelf) -> "SSMClient":
    """Return the command's client, on which a test may have something happen before a call."""
    assert shelf.texts() == {}
    return boto3.client("ssm")


@pytest.fixture
def store(ssm: "SSMClient") -> Store:
    return Store(ssm, PATH, reads=fast_pacer(), writes=fast_pacer())


@pytest.fixture(scope="session")
def one_aws() -> Iterator[Deployed]:
    with serving_aws(Deployed()) as aws:
        yield aws


@pytest.fixture
def aws(one_aws: Deployed) -> Deployed:
    """Return AWS with the stack deployed: two tenants have tokens, one is refused."""
    one_aws.reset()
    one_aws.arrange()
    return one_aws


@pytest.fixture
def visma_tokens(aws: Deployed) -> Run:
    """Return the command, in a process of its own, on that AWS."""
    return partial(run, AWS_ENDPOINT_URL=aws.url, AWS_REGION=REGION)


@pytest.fixture
def invoked(aws: Deployed) -> Run:
    """Return the command in this process, which is faster, on that AWS."""
    hidden = {name: None for name in os.environ if name.startswith(("AWS_", "COLUMNS"))}
    # with "*" the command leaves the proxies of this process as they are
    fixed = {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": REGION, "no_proxy": "*"}

    def call(*arguments: str, said: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**hidden, **ENVIRONMENT, **fixed, **variables}
        result = CliRunner().invoke(app, arguments, input=said, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return subprocess.CompletedProcess(
            arguments, result.exit_code, result.stdout, result.stderr
        )

    return call
