"""What a run touches, where a test cares for some of it only."""

from dataclasses import replace
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.account import make_settings
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.outside import Aws, Outside, open_outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.settings import Settings


def make_outside(
    clock: Clock, seconds: float = 240.0, settings: Settings | None = None, **others: object
) -> Outside:
    """Return a run's Outside that has no AWS behind it, with others of its objects replaced."""
    unused: Any = None
    opened = open_outside(
        settings or make_settings(),
        Aws(ssm=unused, secretsmanager=unused, dynamodb=unused),
        Telemetry(Logger(service="token-issuer"), "issuer"),
        Events(lambda: unused, "issuer"),
        Deadline(seconds, clock),
    )
    return replace(opened, **others)  # type: ignore[arg-type]
