"""What is measured, as a process of its own: the issuer, or how others do it.

`python -m benchmarks.subject issuer|threads|serial PLAN RESULT` reads a plan (JSON) and the
environment that template.yaml gives the function, and writes what it took to a file.
"""

import argparse
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.endpoints import CLIENT, SCOPE, Settings, tenant_id


class Context:
    """What the handler reads of Lambda's context."""

    aws_request_id = "benchmark"

    def __init__(self, seconds: float) -> None:
        """Take the function's time-out."""
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the time-out."""
        return int((self._until - time.monotonic()) * 1000)


def issuer(_: list[str], seconds: float) -> object:
    """Run the real handler, as Lambda calls it."""
    from token_issuer.handler import lambda_handler  # noqa: PLC0415  of this subject only

    context: Any = Context(seconds)
    return lambda_handler({}, context)


def serial(names: list[str], _: float) -> object:
    """Serve one tenant after the other, with the defaults of both libraries."""
    import boto3  # noqa: PLC0415
    import requests  # noqa: PLC0415

    ssm = boto3.client("ssm")
    for name in names:
        answer = requests.post(os.environ["TOKEN_ENDPOINT"], data=_form(name))  # noqa: S113  a default
        _put(ssm, name, answer.json()["access_token"])
    return {"issued": len(names)}


def threads(names: list[str], _: float) -> object:
    """Serve eight side by side, and leave throttling to the SDK's own retries."""
    import boto3  # noqa: PLC0415
    import requests  # noqa: PLC0415

    ssm, session = boto3.client("ssm"), requests.Session()

    def serve(name: str) -> bool:
        answer = session.post(os.environ["TOKEN_ENDPOINT"], data=_form(name), timeout=10)
        try:
            _put(ssm, name, answer.json()["access_token"])
        except ssm.exceptions.ClientError:
            return False  # after all its retries
        return True

    with ThreadPoolExecutor(int(os.environ["CONCURRENCY"])) as pool:
        return {"issued": sum(pool.map(serve, names))}


def _form(name: str) -> dict[str, str]:
    grant = {"grant_type": "client_credentials", "scope": SCOPE, "tenant_id": tenant_id(name)}
    return grant | CLIENT


def _put(ssm: Any, name: str, token: str) -> None:  # noqa: ANN401  a client of boto3
    ssm.put_parameter(
        Name=f"/visma/tokens/{name}",
        Value=token,
        Type="SecureString",
        KeyId=os.environ["TOKEN_KEY_ARN"],
        Tier="Intelligent-Tiering",
        Overwrite=True,
    )


def peak_bytes() -> int:
    """Return the most memory that this process had; Linux, proc_pid_status(5)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def main() -> None:
    """Run it as often as the plan says, and write what each run took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.subject", description=__doc__)
    parser.add_argument("way", choices=("issuer", "serial", "threads"))
    parser.add_argument("plan", type=json.loads)
    parser.add_argument("result", type=Path)
    arguments = parser.parse_args()
    way = {"issuer": issuer, "serial": serial, "threads": threads}[arguments.way]
    plan = arguments.plan
    names = Settings(**plan["endpoints"]).names[: plan.get("first")]
    runs = []
    for _ in range(plan.get("runs", 1)):
        begun_at, cpu = time.monotonic(), time.process_time()
        report = way(names, plan["seconds"])
        runs.append(
            {
                "report": report,
                "begun_at": begun_at,
                "ended_at": time.monotonic(),
                "cpu_seconds": time.process_time() - cpu,
                "peak_bytes": peak_bytes(),
            }
        )
    arguments.result.write_text(json.dumps(runs), encoding="utf-8")


if __name__ == "__main__":
    main()
