"""Invoke the function for one run, and print its report."""

import json
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from typing import Any

from botocore.config import Config
from botocore.exceptions import HTTPClientError, IncompleteReadError

from token_issuer.errors import IssuerError
from token_issuer.redaction import quote
from visma_tokens_cli.exit_codes import NOT_WELL, WELL
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.screen import listed, out, print_json, say, waiting
from visma_tokens_cli.stack import Stack

MARGIN = timedelta(seconds=30)  # beyond the function's time-out
COUNTS = ("issued", "fresh", "failed", "deferred", "removed")
FAILURE = ("tenant", "reason", "detail", "remedy")
MOST_NAMES = 10  # of tenants that failed for the same reason


def run_now(stack: Stack, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function, and say so on a terminal while the command waits."""
    try:
        with waiting("The function is at work: a run of all tenants may take minutes …"):
            return invoke(stack, event)
    except KeyboardInterrupt:
        say("\nThe function may still be at work: see `visma-tokens status`.")
        raise


def invoke(stack: Stack, event: dict[str, Any]) -> dict[str, Any]:
    """Invoke the function and return its report; raises CommandFailed when the run has failed.

    A call without an answer is not repeated, because its run continues.
    """
    patience = stack.settings.period + MARGIN
    functions = stack.aws.client(
        "lambda",
        config=Config(
            read_timeout=patience.total_seconds(),
            retries={"total_max_attempts": 1},
            tcp_keepalive=True,  # NAT gateways drop connections that are idle for minutes
        ),
    )
    try:
        answer = functions.invoke(
            FunctionName=stack.outputs["FunctionName"], Payload=json.dumps(event)
        )
        payload = answer["Payload"].read()
    except (HTTPClientError, IncompleteReadError) as error:
        raise CommandFailed(
            "The function was invoked, and its answer did not come",
            "It may still be at work: see `visma-tokens status` in a minute.",
        ) from error
    content: Any = None
    with suppress(ValueError, RecursionError):
        content = json.loads(payload)
    if "FunctionError" in answer:
        raise _failed(content if isinstance(content, dict) else {}, stack)
    if not _is_report(content):
        raise CommandFailed(
            "The function's answer is no report of a run",
            "Give --stack-name as the issuer was deployed with, or deploy the stack again.",
        )
    report: dict[str, Any] = content
    return report


def _is_report(content: object) -> bool:
    if not isinstance(content, dict):
        return False
    failures = content.get("failures")
    return (
        all(type(content.get(name)) is int for name in COUNTS)
        and isinstance(failures, list)
        and all(isinstance(one, dict) for one in failures)
        and all(isinstance(one.get(name), str) for one in failures for name in FAILURE)
    )


def exit_code(report: dict[str, Any]) -> int:
    """Return the exit code of a run: WELL if no tenant failed or was deferred."""
    unserved = report["failed"] or report["deferred"] or report.get("skipped")
    return NOT_WELL if unserved else WELL


def print_report(report: dict[str, Any], *, as_json: bool) -> None:
    """Print the counts of a run, then the tenants that failed, the reasons and the remedies."""
    if as_json:
        print_json(report)
        return
    console = out()
    if report.get("skipped"):
        console.print("Skipped: another run is at work; see `visma-tokens status`.")
        return
    console.print(", ".join(f"{report[name]} {name}" for name in COUNTS))
    alike: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in report["failures"]:
        alike[quote(one["detail"]), quote(one["remedy"])].append(quote(one["tenant"]))
    for (detail, remedy), tenants in alike.items():
        console.print(f"\n{listed(tenants, MOST_NAMES)}: {detail}", style="red")
        console.print(remedy)
    if more := report["failed"] - len(report["failures"]):
        console.print(f"\n… and {more:,} more")


def _failed(content: dict[str, Any], stack: Stack) -> CommandFailed:
    """Return why a run failed; the remedy is the end of the function's message."""
    message = str(content.get("errorMessage", "Lambda does not say why"))
    kind = IssuerError.recall(str(content.get("errorType")), message, None)
    for remedy in (kind.remedy, *kind.remedies.values()):
        detail = message.removesuffix(f". {remedy}")
        if detail != message:
            return CommandFailed(f"The run failed: {detail}", remedy)
    log = f"See its log: aws logs tail {stack.outputs['LogGroupName']} --since 30m"
    return CommandFailed(f"The run failed: {message}", log)
