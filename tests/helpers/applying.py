"""What tests change tenants with; `python -m tests.helpers.applying FILE`: `apply` as a process."""

import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import boto3
from botocore.exceptions import ClientError

from tests.helpers.account import make_settings
from tests.helpers.deployed_aws import make_ledger
from visma_tokens_cli.apply import apply_tenants
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.tenants_file import read_file

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DENIED = ClientError(
    {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 400}},  # type: ignore[typeddict-item]
    "PutParameter",
)


def make_stack() -> Stack:
    return Stack(
        name="issuer",
        region="eu-north-1",
        outputs={"FunctionName": "issuer-function", "LogGroupName": "issuer-log"},
        parameters={},
        status="CREATE_COMPLETE",
        role="issuer",
        settings=replace(make_settings(), writes_per_second=100),
        aws=boto3.Session(),
    )


def make_stack_with_ledger() -> Stack:
    """Return one with an empty ledger."""
    make_ledger(boto3.client("dynamodb"))
    stack = make_stack()
    return replace(stack, settings=replace(stack.settings, ledger_table="ledger"))


def before(ssm: "SSMClient", operation: str, *happenings: Callable[[], object] | None) -> None:
    """Have that happen before the first call of the operation, before the second, …"""
    left = list(happenings)

    def happen(**_: object) -> None:
        if left and (happening := left.pop(0)):
            happening()

    ssm.meta.events.register(f"before-call.ssm.{operation}", happen)


def fail(error: BaseException) -> Callable[[], NoReturn]:
    def raise_it() -> NoReturn:
        raise error

    return raise_it


def main() -> None:
    # a shell that starts pytest in its background has it ignored
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wanted = read_file(Path(sys.argv[1]))
    apply_tenants(make_stack(), wanted, dry_run=False, yes=True, renew=False, as_json=False)


if __name__ == "__main__":
    main()
