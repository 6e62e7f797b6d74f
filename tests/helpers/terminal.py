"""The command in a process of its own: on a terminal, in a pipe."""

import os
import re
import subprocess
import sys

import pexpect

from tests.conftest import PROJECT
from tests.helpers.programs import finished

ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "PYTHONPATH": f"{PROJECT}/cli:{PROJECT}/src",
    "TERM": "xterm",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}
STYLE = re.compile(r"\x1b\[[?0-9;]*[a-zA-Z]")

type Child = pexpect.spawn[str]


def on_terminal(*arguments: str, **variables: str) -> Child:
    """Start Python on a terminal of 80 columns."""
    return on_terminal_of((24, 80), *arguments, **variables)


def on_terminal_of(size: tuple[int, int], *arguments: str, **variables: str) -> Child:
    """Start Python on a terminal with so many lines and columns."""
    return pexpect.spawn(
        sys.executable,
        list(arguments),
        env=ENVIRONMENT | variables,
        dimensions=size,
        encoding="utf-8",
        timeout=30,
    )


def end_of(child: Child) -> tuple[str, int | None]:
    """Return what it still prints, and its exit code."""
    said = child.read()
    child.close()
    return said, child.exitstatus


def in_a_pipe(
    *arguments: str, said: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with that on its standard input."""
    return finished([sys.executable, *arguments], env=ENVIRONMENT | variables, said=said)


def run(*arguments: str, said: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command, with that on its standard input."""
    return in_a_pipe("-m", "visma_tokens_cli", *arguments, said=said, **variables)
