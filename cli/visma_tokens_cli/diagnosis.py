"""Decide the result of each check of the doctor from what was read; pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from token_issuer.errors import (
    ClientFailed,
    ClientRefused,
    EndpointFailed,
    IssuerError,
    StoreDenied,
    TenantRefused,
)
from token_issuer.ledger.records import Memory
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration
from token_issuer.tokens.renewal import TURN_SECONDS
from visma_tokens_cli.assessment import TenantStatus
from visma_tokens_cli.findings import DEPLOY, NAMED, Check, Finding, broken, unknown, well
from visma_tokens_cli.screen import counted, listed, shown_span

PROMISE = timedelta(minutes=5)  # the least that a token has left when it is read
LATE = 3  # periods without a run

WRITES_PER_SECOND = {False: 3.0, True: 10.0}  # AWS's limit; True: with higher throughput
SHARE = 0.8  # of that limit, for the function
IDLE_SECONDS = 30.0  # at the end of a period, when no tenant is started
RECOMMENDED = 1250.0  # tenants per write a second, to catch up in time after 20 minutes' outage


# The stack


def judge_stack(name: str, region: str, status: str, version: str) -> Finding:
    """Tell whether the last deployment has succeeded."""
    detail = f"{name} in {region}: {status}, version {version}"
    if status.endswith("_IN_PROGRESS") and "_COMPLETE" not in status:
        return unknown(Check.STACK, f"{detail}; wait until the deployment has ended")
    if status == "UPDATE_ROLLBACK_FAILED":
        remedy = f"Run `aws cloudformation continue-update-rollback --stack-name {name}`."
        return broken(Check.STACK, detail, remedy)
    if "_COMPLETE" not in status:
        events = f"aws cloudformation describe-stack-events --stack-name {name}"
        return broken(Check.STACK, detail, f"{events} says why; {DEPLOY.lower()}.")
    if "ROLLBACK" in status:
        detail += "; the last deployment failed and was rolled back"
    return well(Check.STACK, detail)


def judge_schedule(state: str, expression: str, *, period: timedelta, parameter: str) -> Finding:
    """Tell whether the schedule is enabled, and has the function's period.

    `parameter` is the value of the stack's parameter ScheduleState.
    """
    minutes = round(period.total_seconds() / 60)
    detail = f"{'on' if state == 'ENABLED' else 'off'}, {expression}"
    if state != "ENABLED" and parameter == "DISABLED":
        return broken(Check.SCHEDULE, detail, "Deploy the stack with ScheduleState=ENABLED.")
    if state != "ENABLED":
        return broken(
            Check.SCHEDULE,
            detail,
            "Enable it in EventBridge Scheduler, where somebody has turned it off: to"
            " CloudFormation it is on, so that a deployment would change nothing.",
        )
    if expression != f"rate({minutes} minute{'' if minutes == 1 else 's'})":
        return broken(
            Check.SCHEDULE,
            f"{detail}, while the function counts on {minutes} min",
            "Correct the expression in EventBridge Scheduler, where somebody has changed it.",
        )
    return well(Check.SCHEDULE, detail)


@dataclass(frozen=True, kw_only=True)
class LastRun:
    """The end of a full run: its counts, or why it failed and what to do."""

    at: datetime
    counts: Mapping[str, int]
    failure: str | None = None
    remedy: str = ""


MOST_TENANTS = 1_000_000
COUNTED = {  # by metric: the name in the report
    "TokensIssued": "issued",
    "TokensFresh": "fresh",
    "TokensFailed": "failed",
    "TokensDeferred": "deferred",
    "TokensRemoved": "removed",
}


def parse_run(text: str, milliseconds: int) -> LastRun | None:
    """Parse the log line that ends a full run; None for any other line.

    That is the line with the metrics: a probe logs `Run finished` too.
    """
    try:
        line, at = json.loads(text), datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OSError, OverflowError, RecursionError, ValueError):  # others may write to the log
        return None
    if not isinstance(line, dict):
        return None
    if line.get("message") == "Run failed" and line.get("reason") != "EventInvalid":
        detail, remedy = str(line.get("detail")), str(line.get("remedy"))
        return LastRun(at=at, counts={}, failure=detail, remedy=remedy)
    if "RunSeconds" not in line:
        return None
    counts = {name: _count(line.get(metric)) for metric, name in COUNTED.items()}
    return LastRun(at=at, counts={name: count for name, count in counts.items() if count})


def _count(value: object) -> int:
    """Return a metric's value, the first one of a list; 0 if it is no number."""
    if isinstance(value, list) and value:
        value = value[0]
    return int(value) if isinstance(value, int | float) and 0 <= value <= MOST_TENANTS else 0


def judge_run(run: LastRun | None, now: datetime, *, period: timedelta, log: str) -> Finding:
    """Tell whether a full run has ended within three periods, without failing."""
    look = f"See the schedule above, and `aws logs tail {log} --since 1h`."
    if run is None:
        return broken(Check.RUN, "none within the last hour", look)
    ago = f"{shown_span(now - run.at)} ago"
    if run.failure:
        return broken(Check.RUN, f"{ago}, and failed: {run.failure}", run.remedy)
    detail = ", ".join([ago, *(f"{count} {name}" for name, count in run.counts.items())])
    if now - run.at > LATE * period:
        return broken(Check.RUN, f"{detail}; that is more than {LATE} periods", look)
    return well(Check.RUN, detail)


# Asking for a token


def choose_tenant(configuration: Configuration, memory: Memory | None, now: datetime) -> str | None:
    """Return the first enabled tenant with a valid token, else the first enabled one."""
    names = [one.name for one in configuration.tenants.values() if one.enabled]
    records = memory.records if memory else {}

    def lives(name: str) -> bool:
        record = records.get(name)
        return bool(record and record.issued and record.issued.lives(now))

    return next(filter(lives, names), names[0] if names else None)


def judge_probe(tenant: str, report: Mapping[str, Any], endpoint: str) -> list[Finding]:
    """Judge the endpoint and the tenant by the report of a probe, which asks for a token."""
    kinds = {kind.__name__: kind for kind in IssuerError.kinds()}
    failures = report["failures"]
    # a tenant whose document can't be used was asked for as its last token was, or not at all
    failures = [one for one in failures if one["reason"] != "DocumentInvalid"] or failures
    if not failures and report["deferred"]:
        why = "the function had no time to ask"
        return [unknown(Check.ENDPOINT, why), unknown(Check.REQUEST, why)]
    if not failures:
        return [
            well(Check.ENDPOINT, f"{endpoint} answers the function"),
            well(Check.REQUEST, f"a token could be had for {tenant}"),
        ]
    failure = failures[0]
    kind = kinds.get(failure["reason"], IssuerError)
    if issubclass(kind, EndpointFailed):
        return [
            broken(Check.ENDPOINT, f"{endpoint}: {failure['detail']}", failure["remedy"]),
            unknown(Check.REQUEST, f"the endpoint gave no answer for {tenant}"),
        ]
    answered = issubclass(kind, TenantRefused | ClientRefused)
    return [
        well(Check.ENDPOINT, f"{endpoint} answers the function")
        if answered
        else unknown(Check.ENDPOINT, "it may not have been asked"),
        broken(Check.REQUEST, f"{tenant}: {failure['detail']}", failure["remedy"]),
    ]


def judge_secrets(failures: Mapping[str, ClientFailed | None]) -> list[Finding]:
    """Tell which secrets can be used, by client; None is for a secret without a failure."""
    good = sorted(client for client, failure in failures.items() if failure is None)
    found = [
        broken(Check.SECRET, f"{client}: {failure.detail}", failure.remedy)
        for client, failure in sorted(failures.items())
        if failure
    ]
    if good:
        found.append(well(Check.SECRET, f"{listed(good, NAMED)}: as the function wants it"))
    return found


# What is stored


def judge_key(state: str) -> Finding:
    """Tell whether the KMS key can encrypt and decrypt tokens."""
    if state == "Enabled":
        return well(Check.KEY, "enabled")
    return broken(Check.KEY, f"its state is {state}", StoreDenied.remedies["InvalidKeyId"])


def judge_token(tenant: str, expires_at: datetime | None, now: datetime) -> Finding:
    """Tell whether a token has at least the promised five minutes left."""
    if expires_at is None:
        return well(Check.TOKEN, f"{tenant}: readable; when it expires is not known")
    left = expires_at - now
    remedy = f"Run `visma-tokens renew {tenant}`, which says why it was not renewed."
    if left <= timedelta(0):
        return broken(Check.TOKEN, f"{tenant}: expired {shown_span(-left)} ago", remedy)
    detail = f"{tenant}: readable, lives for {shown_span(left)}"
    if left < PROMISE:
        return broken(Check.TOKEN, f"{detail}, less than the five minutes promised", remedy)
    return well(Check.TOKEN, detail)


def disagreeing(compared: Sequence[TenantStatus]) -> list[str]:
    """Return the tenants whose parameter is gone, or has another version than the ledger's."""
    return [one.tenant for one in compared if one.version and one.version != one.stored_version]


def judge_ledger(names: Sequence[str], tokens: int) -> Finding:
    """Tell whether ledger and parameters agree; `names` are the tenants that don't, of `tokens`."""
    if not names:
        return well(Check.LEDGER, f"agrees with {counted(tokens, 'token parameter')}")
    return broken(
        Check.LEDGER,
        f"{len(names)} of {counted(tokens, 'token parameter')} hold another version or are gone:"
        f" {listed(names, NAMED)}",
        f"A run within the hour issues new ones; `visma-tokens renew {names[0]}` does so for one"
        " now.",
    )


# How many fit


def judge_quota(*, is_higher: bool, settings: Settings, tenants: int) -> Finding:
    """Tell whether Parameter Store allows as many writes as the tenants need.

    The limits are in docs/operations.md and the README.
    """
    allowed, taken = WRITES_PER_SECOND[is_higher], settings.writes_per_second
    seconds = settings.period.total_seconds()
    most = int(taken * TURN_SECONDS * (1 - IDLE_SECONDS / seconds))
    recommended = min(most, int(taken * RECOMMENDED))
    detail = f"{taken:g} of {allowed:g} writes a second, for {counted(tenants, 'tenant')}"
    if taken > SHARE * allowed + 1e-9:
        higher = "" if is_higher else ", or switch to higher throughput (docs/operations.md)"
        return broken(
            Check.QUOTA,
            detail,
            f"Deploy the stack with WritesPerSecond={SHARE * allowed:g}{higher}.",
        )
    if tenants > most:
        remedy = (
            "Move tenants to another account or Region."
            if is_higher
            else "Switch to higher throughput and deploy with WritesPerSecond=8"
            " (docs/operations.md)."
        )
        return broken(Check.QUOTA, f"{detail}, which is enough for {most:,}", remedy)
    if tenants > recommended:
        detail += f"; above {recommended:,}, an outage of 20 minutes is caught up too late"
    return well(Check.QUOTA, detail)
