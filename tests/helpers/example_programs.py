"""The programs of examples/, run as people run them: paths go in, a status comes out for each."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PROJECT

CONSUMERS = PROJECT / ".tools/consumers/bin"  # AWS CLI and Node.js
LAMBDA = "Lambda"
COMMANDS = {
    "shell": ["examples/shell/call-api.sh"],
    "Node.js": ["node", "examples/node/call-api.mjs"],
    "Python": [sys.executable, "examples/python/call_api.py"],
    LAMBDA: [sys.executable, "-m", "tests.helpers.lambda_runtime"],
}
PROGRAMS = [kind for kind in COMMANDS if kind != LAMBDA]  # which people run as they are
NO_ANSWER = "---"
CALL_SECONDS = 150  # at most: reading, the call, reading anew, the call again


def command_of(kind: str) -> list[str]:
    """Return how it is run; `bash` is the shell's, by that name rather than by its first line."""
    return ["bash", *COMMANDS["shell"]] if kind == "bash" else COMMANDS[kind]


@dataclass(frozen=True, kw_only=True)
class Program:
    """One that runs, and what it says on standard error."""

    process: subprocess.Popen[str]
    errors: Path

    def end(self) -> None:
        """Kill it with its children: the wheel's `node` has Node.js as one."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def call(self, path: str) -> str:
        """Have it call a path, and return the status it tells."""
        assert self.process.stdin
        assert self.process.stdout
        print(path, file=self.process.stdin, flush=True)
        hung = threading.Timer(CALL_SECONDS, self.end)
        hung.start()
        status, _, called = self.process.stdout.readline().rstrip("\n").partition(" ")
        hung.cancel()
        assert called == path, self.errors.read_text()
        return status


@contextmanager
def program(
    kind: str, *arguments: str, environment: dict[str, str], folder: Path
) -> Iterator[Program]:
    """Run an example until the block ends; raises unless it ends by itself once its input does."""
    errors = folder / f"{kind}-{arguments[0]}.log"
    with (
        errors.open("w") as log,
        subprocess.Popen(
            [*command_of(kind), *arguments],
            cwd=PROJECT,
            env=environment | variables(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        ) as running,
    ):
        started = Program(process=running, errors=errors)
        try:
            yield started
            assert running.stdin
            running.stdin.close()
            running.wait(60)
        finally:
            started.end()


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the examples need beside AWS."""
    return {
        "PATH": f"{CONSUMERS}:{environment.get('PATH', os.defpath)}",
        "PYTHONPATH": str(PROJECT / "reader"),
    }
