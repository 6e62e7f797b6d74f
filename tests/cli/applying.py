"""`python -m tests.cli.applying FILE`: `apply FILE --yes --no-renew` as a process."""

import sys
from dataclasses import replace
from pathlib import Path

import boto3

from tests.issuer.conftest import make_settings
from visma_tokens_cli.apply import apply_tenants, read_file
from visma_tokens_cli.stack import Stack


def main() -> None:
    stack = Stack(
        name="issuer",
        region="eu-north-1",
        outputs={},
        parameters={},
        status="CREATE_COMPLETE",
        role="issuer",
        settings=replace(make_settings(), writes_per_second=100),
        aws=boto3.Session(),
    )
    wanted = read_file(Path(sys.argv[1]))
    apply_tenants(stack, wanted, dry_run=False, yes=True, renew=False, as_json=False)


if __name__ == "__main__":
    main()
