"""Start, and make one call to AWS: `python cold_start.py issuer|bare`.

It runs as a file, so that it imports nothing that is not measured.
"""

import os
import sys
from types import SimpleNamespace
from typing import Any


def issuer() -> None:
    """Run the real handler, whose first call is measured."""
    from token_issuer.handler import lambda_handler  # noqa: PLC0415  what is measured

    context: Any = SimpleNamespace(
        aws_request_id="cold", get_remaining_time_in_millis=lambda: 290_000
    )
    lambda_handler({}, context)


def bare() -> None:
    """Import the libraries and make the clients of a run, without our code, and make one call."""
    import boto3  # noqa: PLC0415
    import requests  # noqa: PLC0415
    from aws_lambda_powertools import Logger  # noqa: PLC0415
    from aws_lambda_powertools.metrics import EphemeralMetrics  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    Logger(service="bare")
    EphemeralMetrics(namespace="Bare", service="bare")
    requests.Session()
    config = Config(connect_timeout=2, read_timeout=5)
    boto3.client("ssm", config=config)
    boto3.client("secretsmanager", config=config)
    dynamodb = boto3.client("dynamodb", config=config)
    dynamodb.update_item(
        TableName=os.environ["LEDGER_TABLE"],
        Key={"key": {"S": "lease"}},
        UpdateExpression="SET #holder = :holder",
        ExpressionAttributeNames={"#holder": "holder"},
        ExpressionAttributeValues={":holder": {"S": "bare"}},
    )


if __name__ == "__main__":
    {"issuer": issuer, "bare": bare}[sys.argv[1]]()
