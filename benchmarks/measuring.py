"""Start endpoints and the measured program as processes, and return the calls of each run."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from benchmarks.endpoints import TENANTS_PATH, Settings
from local.processes import process, tail

PROJECT = Path(__file__).parent.parent
START_SECONDS = 20.0
TIMEOUT_SECONDS = 290.0  # of the function with a period of five minutes
UNPACED = 1000  # writes a second, the most that the template takes
ENVIRONMENT = {  # as in template.yaml, but without the endpoints
    "TENANTS_PATH": TENANTS_PATH,
    "TOKENS_PATH": "/visma/tokens",
    "CLIENT_SECRETS_PREFIX": "visma/clients",
    "TOKEN_KEY_ARN": "arn:aws:kms:eu-north-1:123456789012:key/0d4e3b1c-1111-2222-3333-444455556666",
    "LEDGER_TABLE": "ledger",
    "SCHEDULE_PERIOD_MINUTES": "5",
    "RENEW_AT_FRACTION": "0.5",
    "WRITES_PER_SECOND": "2.4",
    "CONCURRENCY": "8",
    "STACK_NAME": "token-issuer",
    "VERSION": "0.0.0",
    "AWS_DEFAULT_REGION": "eu-north-1",
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


@dataclass(frozen=True)
class Call:
    """A call that an endpoint received; `at` is on the monotonic clock, which processes share."""

    operation: str
    at: float
    outcome: str  # "ok", "hangs" or the error's code
    answer_bytes: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run took, and its calls; `report` is None if it was killed at its time-out."""

    calls: list[Call] = field(repr=False)
    begun_at: float
    ended_at: float
    report: dict[str, Any] | None = None
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    log_bytes: int = 0

    @property
    def counts(self) -> Counter[str]:
        """Return the number of calls by operation."""
        return Counter(call.operation for call in self.calls)

    @property
    def throttled(self) -> int:
        """Return how many writes the quota refused."""
        return sum(call.outcome == "ThrottlingException" for call in self.calls)

    @property
    def stored(self) -> list[float]:
        """Return the times at which tokens were stored."""
        return [
            one.at for one in self.calls if (one.operation, one.outcome) == ("PutParameter", "ok")
        ]

    @property
    def seconds_to_last_token(self) -> float:
        """Return the time from the first token request to the last token that was stored."""
        return max(self.stored) - min(one.at for one in self.calls if one.operation == "token")


def measure(
    way: str,
    endpoints: Settings,
    *,
    events: Sequence[object] = ({},),
    first: int | None = None,
    seconds: float = TIMEOUT_SECONDS,
    **environment: object,
) -> list[Run]:
    """Run the issuer, or another way, against new endpoints; with only the `first` tenants if set.

    One process makes a run for each event, as on Lambda; each has a time-out of `seconds`.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        urls = {
            kind: stack.enter_context(serving(kind, endpoints, folder)) for kind in ("token", "aws")
        }
        variables = function_environment(
            TOKEN_ENDPOINT=f"{urls['token']}/connect/token",
            AWS_ENDPOINT_URL=urls["aws"],
            **environment,
        )
        plan = {
            "endpoints": endpoints.__dict__,
            "seconds": seconds,
            "events": events,
            "first": first,
        }
        command = [sys.executable, "-m", "benchmarks.subject", way, json.dumps(plan)]
        log, result = folder / "subject.log", folder / "result.json"
        begun_at = time.monotonic()
        with process([*command, str(result)], env=variables, cwd=PROJECT, log=log) as subject:
            try:
                code = subject.wait(seconds * len(events))
            except subprocess.TimeoutExpired:
                code = None  # killed at the time-out, as Lambda does
        ended_at = time.monotonic()
        if code:
            raise SystemExit(f"What is measured failed with exit code {code}:\n{tail(log)}")
        calls = [call for url in urls.values() for call in calls_of(url)]
        if code is None:
            return [Run(calls=calls, begun_at=begun_at, ended_at=ended_at)]
        return [
            Run(
                calls=[call for call in calls if one["begun_at"] <= call.at <= one["ended_at"]],
                **one,
            )
            for one in json.loads(result.read_text())
        ]


def calls_of(url: str) -> list[Call]:
    """Return the calls that an endpoint has received so far."""
    return [Call(*call) for call in requests.get(url, timeout=60).json()]


def function_environment(**variables: object) -> dict[str, str]:
    """Return the function's environment; variables for AWS and proxies are not inherited."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "POWERTOOLS_")) and not name.lower().endswith("_proxy")
    }
    ours = {name: str(value) for name, value in variables.items()}
    return inherited | ENVIRONMENT | {"PYTHONPATH": "src"} | ours


@contextmanager
def serving(kind: str, endpoints: Settings, folder: Path) -> Iterator[str]:
    """Run one of the endpoints until the block ends; yields its URL."""
    command = [sys.executable, "-m", "benchmarks.endpoints", kind, endpoints.as_json()]
    log = folder / f"{kind}.log"
    with process(command, env=function_environment(), cwd=PROJECT, log=log) as server:
        deadline = time.monotonic() + START_SECONDS
        while not (log.exists() and log.read_text().endswith("\n")):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The endpoint did not start:\n{tail(log)}")
            time.sleep(0.02)
        yield log.read_text().strip()
