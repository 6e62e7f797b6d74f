"""The measured program, as a process of its own: the issuer, or another way to do its work.

`python -m benchmarks.subject WAY PLAN RESULT` gets a plan (JSON) and the function's environment,
and writes what each run took to a file.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.endpoints import CLIENT, SCOPE, Settings, tenant_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from mypy_boto3_ssm import SSMClient
    from requests import Response

    type RetryMode = Literal["standard", "adaptive"]


class Context:
    """The part of Lambda's context that the handler reads."""

    aws_request_id = "benchmark"

    def __init__(self, seconds: float) -> None:
        """Start the clock; `seconds` is the function's time-out."""
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the time-out."""
        return int((self._until - time.monotonic()) * 1000)


def issuer(event: object, _: list[str], seconds: float) -> object:
    """Run the real handler, as Lambda calls it."""
    from token_issuer.handler import lambda_handler  # noqa: PLC0415  of this subject only

    context: Any = Context(seconds)
    return lambda_handler(event, context)


def serial(
    _event: object, names: list[str], _seconds: float, *, timeout: float | None = None
) -> object:
    """Serve one tenant after the other, with the libraries' defaults, except for `timeout`."""
    import boto3  # noqa: PLC0415
    import requests  # noqa: PLC0415

    ssm = boto3.client("ssm")
    issued = 0
    for name in names:
        with suppress(requests.Timeout):
            # by default, each request has its own connection, and no time-out
            answer = requests.post(os.environ["TOKEN_ENDPOINT"], data=_form(name), timeout=timeout)
            issued += _put(ssm, name, answer)
    return {"issued": issued}


def threads(
    _event: object, names: list[str], _seconds: float, *, mode: "RetryMode" = "standard"
) -> object:
    """Serve CONCURRENCY tenants at a time over kept connections; the SDK retries if throttled."""
    import boto3  # noqa: PLC0415
    import requests  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    concurrency = int(os.environ["CONCURRENCY"])
    ssm = boto3.client("ssm", config=Config(retries={"mode": mode}))
    with requests.Session() as session, ThreadPoolExecutor(concurrency) as pool:

        def serve(name: str) -> bool:
            answer = session.post(os.environ["TOKEN_ENDPOINT"], data=_form(name), timeout=10)
            return _put(ssm, name, answer)

        return {"issued": sum(pool.map(serve, names))}


def _form(name: str) -> dict[str, str]:
    grant = {"grant_type": "client_credentials", "scope": SCOPE, "tenant_id": tenant_id(name)}
    return grant | CLIENT


def _put(ssm: "SSMClient", name: str, answer: "Response") -> bool:
    """Store a token; returns False if that still fails after the SDK's retries."""
    try:
        ssm.put_parameter(
            Name=f"/visma/tokens/{name}",
            Value=answer.json()["access_token"],
            Type="SecureString",
            KeyId=os.environ["TOKEN_KEY_ARN"],
            Tier="Intelligent-Tiering",
            Overwrite=True,
        )
    except ssm.exceptions.ClientError:
        return False
    return True


def peak_bytes() -> int:
    """Return the peak memory of this process in bytes (Linux, proc_pid_status(5))."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


WAYS: "dict[str, Callable[[object, list[str], float], object]]" = {
    "issuer": issuer,
    "serial": serial,
    "serial-with-time-out": partial(serial, timeout=10),
    "standard": threads,
    "adaptive": partial(threads, mode="adaptive"),
}


def main() -> None:
    """Make a run for each event of the plan, and write what each took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subject", description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("plan", type=json.loads)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    way, plan = WAYS[arguments.way], arguments.plan
    names = Settings(**plan["endpoints"]).names[: plan.get("first")]
    runs = []
    for event in plan["events"]:
        begun_at, cpu, logged = time.monotonic(), time.process_time(), os.fstat(1).st_size
        report = way(event, names, plan["seconds"])
        runs.append(
            {
                "report": report,
                "begun_at": begun_at,
                "ended_at": time.monotonic(),
                "cpu_seconds": time.process_time() - cpu,
                "peak_bytes": peak_bytes(),
                "log_bytes": os.fstat(1).st_size - logged,
            }
        )
    arguments.result.write_text(json.dumps(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
