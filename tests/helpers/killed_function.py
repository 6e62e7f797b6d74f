"""`python -m tests.helpers.killed_function EVENT REQUEST_ID`: the function as a process."""

import json
import sys
from types import SimpleNamespace
from typing import Any

from token_issuer.handler import lambda_handler


def main() -> None:
    event, request_id = sys.argv[1:]
    context: Any = SimpleNamespace(
        aws_request_id=request_id, get_remaining_time_in_millis=lambda: 290_000
    )
    lambda_handler(json.loads(event), context)


if __name__ == "__main__":
    main()
