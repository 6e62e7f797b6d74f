"""What a run touches and what it decides on, where a test cares for some of it only."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.account import make_settings
from tests.helpers.virtual_clock import NOON
from token_issuer.facts import Facts
from token_issuer.ledger.records import Memory, Record
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.outside import Aws, Outside, open_outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation


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


def make_facts(
    tenants: Iterable[Tenant] = (),
    records: Iterable[Record] = (),
    invocation: Invocation | None = None,
    at: datetime = NOON,
    **others: object,
) -> Facts:
    """Return the facts of a run about these tenants, with others of them replaced."""
    configured = {one.name: one for one in tenants}
    known = {one.tenant: one for one in records}
    facts = Facts(
        at=at,
        invocation=invocation or Invocation(),
        memory=Memory(records=known, documents={}, checked=""),
        configuration=Configuration(
            path="/visma/tenants",
            parameters=frozenset(),
            tenants=configured,
            invalid={},
            good_texts={},
        ),
        tenants=[one for one in configured.values() if one.enabled],
        whole=True,
        failures={},
        compared=frozenset(known),
        lost=frozenset(),
        checked="",
        stages={},
        secret_versions={"default": "v1"},
    )
    return replace(facts, **others)  # type: ignore[arg-type]
