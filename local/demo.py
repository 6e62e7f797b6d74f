"""The demo: deploy locally, wait for the schedule to issue tokens, read them as a consumer."""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from local.api import Api, make_app
from local.authorization_server import SCOPES, VismaConnect, serving, serving_wsgi
from local.aws import Account, Stack, build, deploy, log_lines, ministack
from local.command import install
from local.environment import isolated

CLIENT_ID, CLIENT_SECRET = "demoapp", "not-a-real-secret"
TENANTS = {
    "acme": "af1140c1-52e0-46c7-b684-df894d4b8a5a",
    "globex": "5f0c3f0e-8a3c-4b44-9d0a-3a0f1f6f1c11",
    "initech": "0b7d2b1e-3a52-4f6e-9a39-0f6f3c9d7e22",
    "umbrella": "c2d8a1f4-6f1b-4f59-8a75-7d1e9b0c4d33",
}
NOT_GRANTED = "initech"
SCHEDULE_SECONDS = 300.0


@dataclass(frozen=True, kw_only=True)
class Local:
    """The parts of a running local installation."""

    folder: Path
    command: Path  # visma-tokens
    account: Account
    visma_connect: VismaConnect
    stack: Stack
    api: Api


@contextmanager
def running(say: "Progress") -> Iterator[Local]:
    """Start both servers, deploy the stack and configure tenants; end everything afterwards."""
    with (
        tempfile.TemporaryDirectory(prefix="token-issuer-") as temporary,
        serving(VismaConnect()) as visma_connect,
        serving_api(visma_connect) as api,
    ):
        folder = Path(temporary)
        say.done(f"Authorization server at {visma_connect.url}")
        with ministack(folder) as account:
            say.done(f"AWS (MiniStack) at {account.endpoint}")
            build(account, folder)
            say.done("sam build")
            stack = deploy(
                account,
                folder,
                stack="token-issuer",
                SchedulePeriodMinutes="1",
                TokenEndpoint=visma_connect.token_endpoint,
            )
            say.done(f"sam deploy: stack {stack.name}, one run a minute")
            command = install(folder)
            say.done("visma-tokens, installed from its wheel")
            configure(account, visma_connect)
            say.done(f"Secret visma/clients/default; tenants {', '.join(TENANTS)}")
            say.done(f"On purpose, {NOT_GRANTED} has not granted the application")
            yield Local(
                folder=folder,
                command=command,
                account=account,
                visma_connect=visma_connect,
                stack=stack,
                api=api,
            )


@contextmanager
def serving_api(visma_connect: VismaConnect) -> Iterator[Api]:
    """Serve an API that takes the tokens of this authorization server."""
    api = Api(visma_connect.url)
    with serving_wsgi(make_app(api)) as url:
        api.url = url
        yield api


def configure(account: Account, visma_connect: VismaConnect) -> None:
    """Create the client secret and the tenants, one of which has not granted the application."""
    client = visma_connect.add_client(CLIENT_ID, CLIENT_SECRET)
    account.secretsmanager.create_secret(
        Name="visma/clients/default",
        SecretString=json.dumps({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
    )
    for name, tenant_id in TENANTS.items():
        if name != NOT_GRANTED:
            client.tenants.add(tenant_id)
        document = {"tenant_id": tenant_id, "scope": SCOPES[0]}
        account.ssm.put_parameter(
            Name=f"/visma/tenants/{name}", Value=json.dumps(document), Type="String"
        )


class Progress:
    """Prints lines that begin with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        """Start the clock."""
        self.console = console
        self._started = time.monotonic()

    def done(self, text: str) -> None:
        """Print what is done."""
        self.console.print(f"{time.monotonic() - self._started:6.1f} s  {text}", highlight=False)


def demo(console: Console) -> None:
    """Run everything once, and print `visma-tokens status`."""
    progress = Progress(console)
    with running(progress) as local:
        progress.done("Waiting for the schedule to fire, which takes a good minute …")
        with console.status("") as status:
            finished = wait_for_run(local, lambda left: status.update(f"at most {left:.0f} s"))
        progress.done(
            f"The schedule fired: {finished['issued']} issued, {finished['failed']} failed"
        )
        names = read_as_consumer(local)
        progress.done(f"Read with nothing but ReadTokensPolicyArn: {', '.join(names)}")
        progress.done("visma-tokens status:\n")
        show_status(console, local)
    if (finished["issued"], finished["failed"]) != (len(TENANTS) - 1, 1):
        raise SystemExit(f"Expected all but {NOT_GRANTED} to have a token")


def wait_for_run(local: Local, tell: Callable[[float], None]) -> dict[str, Any]:
    """Return the summary line of the first run; raises SystemExit if no run comes in time.

    `tell` is called each second with the seconds left.
    """
    deadline = time.monotonic() + SCHEDULE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        tell(left)
        for line in log_lines(local.account, local.stack):
            if line.get("message") == "Run finished":
                return line
        time.sleep(1)
    raise SystemExit(f"The schedule did not fire within {SCHEDULE_SECONDS:.0f} seconds")


def read_as_consumer(local: Local) -> list[str]:
    """Read the tokens with a role that has only ReadTokensPolicyArn, and return their tenants."""
    policy_arn = local.stack.outputs["ReadTokensPolicyArn"]
    consumer = local.account.assume(local.account.make_role("consumer", policy_arn=policy_arn))
    names = [name for name in TENANTS if name != NOT_GRANTED]
    for name in names:
        answer = consumer.ssm.get_parameter(Name=f"/visma/tokens/{name}", WithDecryption=True)
        local.visma_connect.claims(answer["Parameter"]["Value"])  # raises unless it is a token
    return names


def show_status(console: Console, local: Local) -> None:
    """Print the output of `visma-tokens status`, as wide as this console."""
    done = subprocess.run(  # noqa: S603  the command of this checkout
        [local.command, "status"],
        env=isolated(
            os.environ, local.folder, **local.account.environment, COLUMNS=str(console.width)
        ),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode != 1:  # 1: one tenant fails on purpose
        raise SystemExit(f"visma-tokens status has failed: {done.returncode}")
    console.print(done.stdout, end="", highlight=False, markup=False)
