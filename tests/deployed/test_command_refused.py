"""Every command of `visma-tokens` where it can't do its work, against the deployed stack."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from local.authorization_server import serving_wsgi
from local.demo import Local
from tests.helpers.command import FIND, Done, credentials_for, environment_of
from visma_tokens_cli.commands import app

TENANT, OTHER = ["--tenant-id", "af1140c1-52e0-46c7-b684-df894d4b8a5a"], ["--scope", "any"]
COMMANDS = {
    "status": ["status"],
    "add": ["add", "soylent", *TENANT, *OTHER],
    "remove": ["remove", "acme", "--yes"],
    "enable": ["enable", "acme"],
    "disable": ["disable", "acme"],
    "apply": ["apply", "tenants.json", "--yes"],
    "renew": ["renew", "acme"],
    "secret stage": ["secret", "stage", "--file", "client.json"],
    "secret status": ["secret", "status"],
    "doctor": ["doctor"],
    "token": ["token", "acme"],
    "token --show": ["token", "acme", "--show"],
    "token --exec": ["token", "acme", "--exec", "exit 0"],
}
# each is the first call that a command makes, once it has found the stack
NEXT = {
    "Scan": ["status", "secret status"],
    "GetParametersByPath": ["add", "remove", "enable", "disable", "apply"],
    "Invoke": ["renew"],
    "PutSecretValue": ["secret stage"],
}
OF_A_TOKEN = ["token", "token --show", "token --exec"]
EXPIRED = "The security token included in the request is expired"
SECRET = "Kq7zR2pXw9-Lm4Tb8YcH6v"

type Run = Callable[..., Done]


@pytest.fixture
def run(local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return one that runs a command, in this process, in a folder with what it is to read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tenants.json").write_text('{"tenants": {"soylent": {"scope": ""}}}')
    content = {"client_id": "demoapp", "client_secret": SECRET}
    (tmp_path / "client.json").write_text(json.dumps(content))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)

    def call(*arguments: str, **variables: str) -> Done:
        # with "*" the command leaves the proxies of this process as they are
        environment = environment_of(local.account) | {"no_proxy": "*"} | variables
        result = CliRunner().invoke(app, arguments, env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert SECRET not in result.output
        return Done(out=result.stdout, err=result.stderr, code=result.exit_code)

    return call


@pytest.fixture(scope="module")
def finder(local: Local) -> Iterator[dict[str, str]]:
    """Return the credentials of who may find the stack, and nothing else."""
    with credentials_for(local.account, FIND) as credentials:
        yield credentials


@pytest.fixture
def expired() -> Iterator[str]:
    """Return the URL of an AWS that takes no credentials any more."""

    def answer(environment: object, start_response: Callable[..., object]) -> Iterable[bytes]:
        assert environment
        start_response("403 Forbidden", [("Content-Type", "text/xml")])
        error = f"<Error><Type>Sender</Type><Code>ExpiredToken</Code><Message>{EXPIRED}</Message>"
        return [f"<ErrorResponse>{error}</Error></ErrorResponse>".encode()]

    with serving_wsgi(answer) as url:
        yield url


DEPLOYED_WITH = "Give --stack-name, --region or --profile as it was deployed with."
SIGN_IN = "Sign in again (aws sso login, for instance), or give another --profile."
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
NOT_FOUND: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "another name": (
        *(["--stack-name", "nope"], {}),
        ["There is no stack nope in eu-north-1.", DEPLOYED_WITH],
    ),
    "another Region": (
        *(["--region", "eu-west-1"], {}),
        ["There is no stack token-issuer in eu-west-1.", DEPLOYED_WITH],
    ),
    "old credentials": (
        *([], {"AWS_ENDPOINT_URL": "EXPIRED"}),
        [f"DescribeStacks failed: ExpiredToken: {EXPIRED}.", SIGN_IN],
    ),
    "no credentials": (
        *([], NO_KEYS | {"AWS_EC2_METADATA_DISABLED": "true"}),
        ["There are no AWS credentials.", SIGN_IN],
    ),
}


@pytest.mark.parametrize("why", NOT_FOUND)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_stack_is_not_found(name: str, why: str, run: Run, expired: str) -> None:
    options, variables, lines = NOT_FOUND[why]
    variables = {key: text.replace("EXPIRED", expired) for key, text in variables.items()}

    done = run(*COMMANDS[name], *options, **variables)

    assert done.err.splitlines() == lines
    assert (done.out, done.code) == ("", 3)


@pytest.mark.parametrize(
    ("operation", "name"), [(operation, name) for operation in NEXT for name in NEXT[operation]]
)
def test_it_is_denied(operation: str, name: str, run: Run, finder: dict[str, str]) -> None:
    done = run(*COMMANDS[name], **finder)

    denial, remedy = done.err.splitlines()
    assert denial.startswith(f"AWS denies you {operation}")
    assert remedy == "Use a role that may do it, or give another --profile."
    assert (done.out, done.code) == ("", 3)


@pytest.mark.parametrize("name", OF_A_TOKEN)
def test_a_token_is_denied(name: str, run: Run, finder: dict[str, str], local: Local) -> None:
    done = run(*COMMANDS[name], **finder)

    policy = local.stack.outputs["ReadTokensPolicyArn"]
    assert done.err.splitlines() == [
        "AWS denies you the token of acme.",
        f"Attach {policy} to your role, or give another --profile.",
    ]
    assert (done.out, done.code) == ("", 3)


def test_doctor_alone_goes_on_where_it_is_denied(run: Run, finder: dict[str, str]) -> None:
    done = run("doctor", **finder)

    assert "AWS denies you Scan" in done.out
    assert done.code == 3
    others = [name for names in NEXT.values() for name in names]
    assert {"doctor", *OF_A_TOKEN, *others} == COMMANDS.keys()


@pytest.mark.parametrize("name", ["remove", "enable", "disable", "token", "token --show"])
def test_there_is_no_such_tenant(name: str, run: Run) -> None:
    command, _, *rest = COMMANDS[name]

    done = run(command, "nobody", *rest)

    what, code = ("There is no token of nobody.", 3)
    if command != "token":
        what, code = ("Tenant nobody is not configured.", 4)
    assert done.err.splitlines()[0] == what
    assert (done.out, done.code) == ("", code)
