"""Lambda's entry: read the settings, run, report; the only reader of the environment."""

import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from token_issuer.errors import RunCrashed, RunFailed
from token_issuer.foreign_errors import name_and_place
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.outside import Aws, open_outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import run
from token_issuer.settings import parse_settings
from token_issuer.tenants.invocation import parse_invocation

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_events import EventBridgeClient


def lambda_handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Issue the tokens that the event asks for (events/), and return the report.

    Raises RunFailed when nobody could be served, so that Lambda counts an error.
    """
    logger = _logger()
    logger.append_keys(request_id=context.aws_request_id, version=os.environ.get("VERSION"))
    telemetry = Telemetry(logger, os.environ.get("STACK_NAME", ""))
    try:
        return _run(event, context, telemetry).as_dict()
    except Exception as error:  # noqa: BLE001  its text may quote a secret, so Lambda shall not log it
        failure = error if isinstance(error, RunFailed) else RunCrashed(name_and_place(error))
    telemetry.run_failed(failure)
    raise failure


def _run(event: object, context: "LambdaContext", telemetry: Telemetry) -> Report:
    settings = parse_settings(os.environ)
    deadline = Deadline(context.get_remaining_time_in_millis() / 1000, Clock())
    telemetry.run_started()
    invocation = parse_invocation(event)
    aws = aws_clients(settings.concurrency)
    for client in (aws.ssm, aws.secretsmanager, aws.dynamodb):
        client.close()  # Lambda was frozen since the last run, and their connections may be dead
    events = Events(_events_client, os.environ.get("STACK_NAME", ""))
    outside = open_outside(settings, aws, telemetry, events, deadline)
    return run(invocation, outside, holder=f"{context.aws_request_id} {uuid4()}")


@cache
def events_client() -> "EventBridgeClient":
    """Return the client of EventBridge; a call takes TELL seconds at most (limits/deadline.py)."""
    # two attempts, with a second between them at most
    config = Config(connect_timeout=0.5, read_timeout=1, retries={"total_max_attempts": 2})
    return boto3.client("events", config=config)


def _events_client() -> "EventBridgeClient":
    client = events_client()
    client.close()  # as the others in _run
    return client


@cache
def _logger() -> Logger:
    # what these send and receive are client secrets and tokens: botocore logs it at DEBUG, and
    # urllib3 what it can't parse as a WARNING
    logging.getLogger("botocore").setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Logger(service="token-issuer", utc=True, use_rfc3339=True, location=None)


@cache
def aws_clients(concurrency: int) -> Aws:
    """Return the AWS clients, made once: they are thread-safe and cost a cold start 200 ms.

    Calls of Parameter Store are repeated by their pacer, in their turn.
    https://docs.aws.amazon.com/boto3/latest/guide/retries.html
    """
    config = Config(
        connect_timeout=2,  # seconds
        read_timeout=5,  # seconds
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=concurrency,
    )
    # at most RECORD seconds in all (limits/deadline.py), with a second between the two attempts
    quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
    return Aws(
        ssm=boto3.client("ssm", config=config),
        secretsmanager=boto3.client("secretsmanager", config=config.merge(quick)),
        dynamodb=boto3.client("dynamodb", config=config.merge(quick)),
    )
