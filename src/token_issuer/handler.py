"""Wire the parts from the environment, run, report; the only reader of the environment."""

import logging
import os
import time
from datetime import UTC, datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
from aws_lambda_powertools import Logger
from botocore.config import Config

from token_issuer.clients.secrets_manager import promote, read_credentials, read_stages, unstage
from token_issuer.errors import RunCrashed, RunFailed
from token_issuer.foreign_errors import name_and_place
from token_issuer.gathering import Sources
from token_issuer.issuing import Steps, issue_tokens
from token_issuer.ledger.table import Ledger
from token_issuer.limits.deadline import REPORT_SECONDS, Clock, last_turns
from token_issuer.limits.pacer import Pacer
from token_issuer.proving import Rollover
from token_issuer.removing import remove_tokens
from token_issuer.reporting.events import EventBus
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import Outside, run
from token_issuer.settings import parse_settings
from token_issuer.tenants.invocation import parse_invocation
from token_issuer.tenants.parameters import read_tenants
from token_issuer.tokens.endpoint import TokenEndpoint
from token_issuer.tokens.oauth import fetch_token
from token_issuer.tokens.store import delete_tokens, read_versions, store_token

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient


READS_PER_SECOND = 8  # of the account's 40, which consumers need; jitter may make it 9


def lambda_handler(event: object, context: "LambdaContext") -> dict[str, Any]:
    """Issue the tokens that the event asks for (events/), and return the report.

    Raises RunFailed when nobody could be served, so that Lambda counts an error.
    """
    logger = _logger()
    logger.append_keys(request_id=context.aws_request_id, version=os.environ.get("VERSION"))
    bus = EventBus(_events_client)
    telemetry = Telemetry(logger, os.environ.get("STACK_NAME", ""), bus.put)
    try:
        return _run(event, context, telemetry).as_dict()
    except RunFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001  its text may quote a secret, so Lambda shall not log it
        failure = RunCrashed(name_and_place(error))
    telemetry.run_failed(failure)
    raise failure


def _run(event: object, context: "LambdaContext", telemetry: Telemetry) -> Report:
    def time_left() -> float:
        return context.get_remaining_time_in_millis() / 1000

    def has_time() -> bool:
        return time_left() >= settings.period.total_seconds() / 2

    settings = parse_settings(os.environ)
    telemetry.run_started()
    invocation = parse_invocation(event)
    ssm, secretsmanager, dynamodb = clients = aws_clients(settings.concurrency)
    for client in clients:
        client.close()  # Lambda was frozen since the last run, and their connections may be dead
    ledger = Ledger(dynamodb, settings.ledger_table)
    clock = Clock(now=time.monotonic, sleep=time.sleep)
    begun_at, seconds = clock.now(), time_left()
    read_seconds, write_seconds = last_turns(seconds)
    reads = Pacer(READS_PER_SECOND, clock, until=begun_at + read_seconds)
    writes = Pacer(settings.writes_per_second, clock, until=begun_at + write_seconds)
    now = partial(datetime.now, UTC)
    secrets = secretsmanager, settings.client_secrets_prefix
    fetch = partial(fetch_token, post=TokenEndpoint(settings.token_endpoint).post, now=now)
    rollover = Rollover(
        read=partial(read_credentials, *secrets),
        fetch_token=fetch,
        promote=partial(promote, *secrets),
        unstage=partial(unstage, *secrets),
        record=ledger.record_client,
        tell_refused=telemetry.secret_refused,
        has_time=lambda seconds: time_left() >= seconds + REPORT_SECONDS,
        now=now,
        settings=settings,
    )
    steps = Steps(
        secret=rollover.secret,
        fetch_token=fetch,
        store_token=None
        if invocation.probe
        else partial(store_token, ssm=ssm, key_id=settings.token_key_arn, pacer=writes),
        record_token=ledger.record_token,
        record_failure=ledger.record_failure,
        shorten=ledger.shorten,
        tell_failing=telemetry.token_failing,
        tell_recovered=telemetry.token_recovered,
        tell_reassigned=telemetry.tenant_reassigned,
        writes=writes,
        sleep=clock.sleep,
        now=now,
        settings=settings,
    )
    outside = Outside(
        now=now,
        settings=settings,
        telemetry=telemetry,
        ledger=ledger,
        sources=Sources(
            ledger=ledger,
            read_tenants=partial(read_tenants, ssm, settings.tenants_path, pacer=reads),
            read_versions=partial(read_versions, ssm=ssm, pacer=reads),
            read_stages=partial(read_stages, *secrets),
            has_time=has_time,
            settings=settings,
        ),
        rollover=rollover,
        issue_tokens=partial(issue_tokens, steps=steps),
        remove_tokens=partial(
            remove_tokens,
            mark_lost=ledger.mark_lost,
            delete_tokens=partial(delete_tokens, ssm=ssm, pacer=writes),
            drop_record=ledger.drop_record,
            time_left=time_left,
        ),
        writes=writes,
        time_left=time_left,
    )
    return run(invocation, outside, holder=f"{context.aws_request_id} {uuid4()}")


@cache
def events_client() -> "EventBridgeClient":
    """Return the client of EventBridge; a call takes TELL_SECONDS at most."""
    # two attempts, with a second between them at most
    config = Config(connect_timeout=1, read_timeout=1, retries={"total_max_attempts": 2})
    return boto3.client("events", config=config)


def _events_client() -> "EventBridgeClient":
    client = events_client()
    client.close()  # likewise
    return client


@cache
def _logger() -> Logger:
    # what these send and receive are client secrets and tokens: botocore logs it at DEBUG, and
    # urllib3 what it can't parse as a WARNING
    logging.getLogger("botocore").setLevel(logging.INFO)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return Logger(service="token-issuer", utc=True, use_rfc3339=True, location=None)


@cache
def aws_clients(concurrency: int) -> "tuple[SSMClient, SecretsManagerClient, DynamoDBClient]":
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
    # at most RECORD_SECONDS in all, with a second between the two attempts
    quick = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})
    return (
        boto3.client("ssm", config=config),
        boto3.client("secretsmanager", config=config.merge(quick)),
        boto3.client("dynamodb", config=config.merge(quick)),
    )
