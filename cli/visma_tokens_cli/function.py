"""One run of the function, invoked once, and its report."""

import json
from datetime import timedelta
from typing import Any

from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ReadTimeoutError

from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.screen import out, print_json
from visma_tokens_cli.stack import Stack

MARGIN = timedelta(seconds=30)  # beyond the function's time-out


def invoke(stack: Stack, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function and return its report; raises CommandFailed when the run has failed.

    Never twice: a call that gets no answer is not repeated, since the run goes on all the same.
    """
    patience = stack.settings.period + MARGIN
    functions = stack.aws.client(
        "lambda",
        config=Config(read_timeout=patience.total_seconds(), retries={"total_max_attempts": 1}),
    )
    try:
        answer = functions.invoke(
            FunctionName=stack.outputs["FunctionName"], Payload=json.dumps(event)
        )
    except (ReadTimeoutError, ConnectionClosedError) as error:
        raise CommandFailed(
            "The function was invoked, and its answer did not come",
            "It may still be at work: see `visma-tokens status` in a minute.",
        ) from error
    content: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        detail = str(content.get("errorMessage", "the function failed"))
        raise CommandFailed(f"The run failed: {detail}".rstrip("."), "")
    return content


def print_report(report: dict[str, Any], *, as_json: bool) -> None:
    """Print what a run came to: its counts, then who failed, why, and what to do."""
    if as_json:
        print_json(report)
        return
    console = out()
    if report.get("skipped"):
        console.print("Skipped: another run is at work.")
        return
    names = ("issued", "fresh", "failed", "deferred", "removed")
    console.print(", ".join(f"{report[name]} {name}" for name in names))
    for failure in report["failures"]:
        console.print(f"\n{failure['tenant']}: {failure['detail']}", style="red", markup=False)
        console.print(failure["remedy"], markup=False)
