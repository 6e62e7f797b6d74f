"""The programs of `reader_programs`, each in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import PROJECT

FOR_EVER = 10_000_000_000  # an expiry by the real clock
SECONDS = 60
SIGN_IN = "Give this process AWS credentials that are valid, and check its clock"


def environment(url: str, **variables: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ours = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_DEFAULT_REGION": "eu-north-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": url,
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": "reader",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks beside threads
    }
    return {name: text for name, text in (kept | ours | variables).items() if text}


@contextmanager
def program(name: str, variables: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.reader_programs", name],
        cwd=PROJECT,
        env=variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def output_of(name: str, variables: dict[str, str]) -> list[str]:
    with program(name, variables) as running:
        output, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == 0, output
    return output.splitlines()
