"""`visma-tokens doctor`: check the installation from the stack to the quota, with remedies."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import (
    ClientFailed,
    ClientSecretUnreadable,
    IssuerError,
    StoreDenied,
    UnknownTenant,
)
from token_issuer.foreign_errors import aws_code
from token_issuer.ledger.records import Memory
from token_issuer.tenants.configuration import Configuration
from visma_tokens_cli import diagnosis
from visma_tokens_cli.alarms import examine_alarms
from visma_tokens_cli.assessment import assess
from visma_tokens_cli.exit_codes import CANT, NOT_WELL, WELL
from visma_tokens_cli.failures import (
    DENIED,
    FAILURES,
    CommandFailed,
    Failure,
    answer_unless,
    explain,
    is_denied,
)
from visma_tokens_cli.findings import Check, Finding, State, broken, unknown, well
from visma_tokens_cli.function import invoke
from visma_tokens_cli.screen import Text, labelled, out, print_json, waiting
from visma_tokens_cli.stack import ANEW, Stack
from visma_tokens_cli.status import read_compared
from visma_tokens_cli.stored_token import read_token

MARKS = {State.WELL: "✓", State.BROKEN: "✗", State.UNKNOWN: "–"}  # noqa: RUF001  an en dash it is
STYLES = {State.WELL: "green", State.BROKEN: "red", State.UNKNOWN: "yellow"}
LABEL_COLUMNS = 2 + max(len(check) for check in Check) + 2
SINCE = timedelta(hours=1)
ENDS = '?"Run failed" ?RunSeconds'  # a filter for the log lines that end a run
HIGHER_THROUGHPUT = "/ssm/parameter-store/high-throughput-enabled"
LASTING = {
    *("ResourceNotFoundException", "InvalidRequestException", "DecryptionFailure"),
    *("NoValue", "ScheduledForDeletion"),
}


@dataclass(frozen=True, kw_only=True)
class Known:
    """The ledger, the documents and the tenant to try; or the failure to read them."""

    memory: Memory | Failure
    configuration: Configuration | Failure
    tenant: str | None


def examine(stack: Stack, tenant: str | None) -> Iterator[Finding]:
    """Make all checks in order; raises CommandFailed if the tenant is not configured."""
    known = _read_known(stack, tenant)
    version = stack.outputs.get("Version", "unknown")
    yield diagnosis.judge_stack(stack.name, stack.region, stack.status, version)
    yield from _look(Check.ROLE, lambda: _role(stack))
    yield from _look(Check.SCHEDULE, lambda: _schedule(stack))
    yield from _look(Check.RUN, lambda: _run(stack))
    yield from _secrets(stack, known.configuration)
    yield from _request(stack, known.tenant)
    yield from _look(Check.KEY, lambda: _key(stack))
    yield from _look(Check.TOKEN, lambda: _token(stack, known))
    yield from _look(Check.LEDGER, lambda: _ledger(stack, known))
    yield from _look(Check.ALARMS, lambda: examine_alarms(stack))
    yield from _look(Check.QUOTA, lambda: _quota(stack, known.configuration))


def print_findings(findings: Iterable[Finding], *, as_json: bool) -> int:
    """Print the findings, for people each as soon as it is there, and return the exit code."""
    found, order = [], list(Check)
    console = out()
    with waiting(f"Looking: {order[0]} …") as show:
        for finding in findings:
            found.append(finding)
            left = order[order.index(finding.check) + 1 :]
            if as_json:
                continue
            show("")  # clear the line: the finding is printed there
            label = f"{MARKS[finding.state]} {finding.check}"
            marked = 1 if finding.state is State.WELL else None  # None: all of the text
            text = Text(labelled(label, finding.detail, LABEL_COLUMNS, console))
            text.stylize(STYLES[finding.state], 0, marked)
            console.print(text)
            if finding.remedy:
                console.print(labelled("", finding.remedy, LABEL_COLUMNS, console))
            if left:
                show(f"Looking: {left[0]} …")
    if as_json:
        print_json([finding.as_dict() for finding in found])
    states = {one.state for one in found}
    return NOT_WELL if State.BROKEN in states else CANT if State.UNKNOWN in states else WELL


def _look(check: Check, examine_it: Callable[[], Finding]) -> Iterator[Finding]:
    """Yield the finding of a check, or why it could not be made."""
    try:
        yield examine_it()
    except FAILURES as error:
        yield unknown(check, explain(error).detail)


def _read_known(stack: Stack, tenant: str | None) -> Known:
    memory: Memory | Failure
    configuration: Configuration | Failure
    try:
        memory = stack.read_ledger()
    except FAILURES as error:
        memory = error
    ledger = memory if isinstance(memory, Memory) else None
    try:
        configuration = stack.read_tenants(ledger or Memory())
    except FAILURES as error:
        return Known(memory=memory, configuration=error, tenant=tenant)
    if tenant is None:
        tenant = diagnosis.choose_tenant(configuration, ledger, datetime.now(UTC))
    elif tenant not in configuration.tenants and tenant not in configuration.invalid:
        raise CommandFailed(f"No tenant document configures {tenant}", UnknownTenant.remedy)
    return Known(memory=memory, configuration=configuration, tenant=tenant)


def _role(stack: Stack) -> Finding:
    role, get_role = stack.role, stack.aws.client("iam").get_role
    found = answer_unless(partial(get_role, RoleName=role), "NoSuchEntity", "NoSuchEntityException")
    return well(Check.ROLE, role) if found else broken(Check.ROLE, f"{role} is gone", ANEW)


def _schedule(stack: Stack) -> Finding:
    get, name = stack.aws.client("scheduler").get_schedule, stack.resource("FunctionSchedule")
    schedule = answer_unless(partial(get, Name=name), "ResourceNotFoundException")
    if schedule is None:
        return broken(
            Check.SCHEDULE, "gone", "Deploy the stack anew: somebody has deleted it by hand."
        )
    return diagnosis.judge_schedule(
        schedule["State"],
        schedule["ScheduleExpression"],
        period=stack.settings.period,
        parameter=stack.parameters.get("ScheduleState", ""),
    )


def _run(stack: Stack) -> Finding:
    now, group = datetime.now(UTC), stack.outputs["LogGroupName"]
    pages = (
        stack.aws.client("logs")
        .get_paginator("filter_log_events")
        .paginate(
            logGroupName=group,
            startTime=round((now - SINCE).timestamp() * 1000),  # milliseconds
            filterPattern=ENDS,
        )
    )
    ends = [
        run
        for page in pages
        for event in page["events"]
        if (run := diagnosis.parse_run(event["message"], event["timestamp"]))
    ]
    last = max(ends, key=lambda run: run.at, default=None)
    return diagnosis.judge_run(last, now, period=stack.settings.period, log=group)


def _secrets(stack: Stack, configuration: Configuration | Failure) -> Iterator[Finding]:
    """Read each client's secret as the function does, and keep nothing of it."""
    if not isinstance(configuration, Configuration):
        yield unknown(Check.SECRET, explain(configuration).detail)
        return
    clients = sorted({one.client for one in configuration.tenants.values() if one.enabled})
    if not clients:
        yield unknown(Check.SECRET, "no enabled tenant names a client")
    secrets = stack.secrets()
    failures: dict[str, ClientFailed | None] = {}
    for client in clients:
        try:
            secrets.read(client)
        except ClientSecretUnreadable as error:
            if error.code in LASTING:
                failures[client] = error
            else:
                yield unknown(
                    Check.SECRET, f"{client}: {explain(error).detail}; the function may read it"
                )
        except ClientFailed as error:
            failures[client] = error
        else:
            failures[client] = None
    yield from diagnosis.judge_secrets(failures)


def _request(stack: Stack, tenant: str | None) -> Iterator[Finding]:
    """Invoke the function as a probe: it asks for a token and doesn't store it."""
    if tenant is None:
        why = "there is no enabled tenant to try it with"
        yield from (unknown(Check.ENDPOINT, why), unknown(Check.REQUEST, why))
        return
    log = f"`aws logs tail {stack.outputs['LogGroupName']} --since 10m` tells more."
    try:
        report = invoke(stack, {"probe": tenant})
    except CommandFailed as error:
        yield unknown(Check.ENDPOINT, "the function did not say")
        yield broken(Check.REQUEST, f"{tenant}: {error.detail}", error.remedy or log)
    except (BotoCoreError, ClientError) as error:
        why = explain(error).detail
        yield from (unknown(Check.ENDPOINT, why), unknown(Check.REQUEST, why))
    else:
        yield from diagnosis.judge_probe(tenant, report, stack.settings.token_endpoint)


def _key(stack: Stack) -> Finding:
    kms: Any = stack.aws.client("kms")  # we have no type stubs for it
    describe = partial(kms.describe_key, KeyId=stack.settings.token_key_arn)
    described = answer_unless(describe, "NotFoundException")
    return diagnosis.judge_key(described["KeyMetadata"]["KeyState"] if described else "gone")


def _token(stack: Stack, known: Known) -> Finding:
    tenant = known.tenant
    if tenant is None:
        return unknown(Check.TOKEN, "there is no enabled tenant to look at")
    record = known.memory.records.get(tenant) if isinstance(known.memory, Memory) else None
    try:
        stored = read_token(stack, tenant)
    except ClientError as error:
        if aws_code(error) == "InvalidKeyId":
            return broken(
                Check.TOKEN,
                f"{tenant}: its key can't be used",
                StoreDenied.remedies["InvalidKeyId"],
            )
        if not is_denied(error):
            raise
        policy = stack.outputs["ReadTokensPolicyArn"]
        return unknown(Check.TOKEN, f"{tenant}: AWS denies you the token; {policy} allows it")
    if stored is None:
        return broken(
            Check.TOKEN,
            f"{tenant} has none",
            f"Run `visma-tokens renew {tenant}`, which says why it has none.",
        )
    issued = record.issued if record else None
    ours = issued.expires_at if issued and issued.fingerprint == stored.fingerprint else None
    ends = [at for at in (stored.expires_at, ours) if at]
    return diagnosis.judge_token(tenant, min(ends, default=None), datetime.now(UTC))


def _ledger(stack: Stack, known: Known) -> Finding:
    memory, configuration = known.memory, known.configuration
    if not isinstance(memory, Memory):
        if isinstance(memory, IssuerError) and not DENIED.fullmatch(memory.code or ""):
            return broken(Check.LEDGER, memory.detail, memory.remedy)
        return unknown(Check.LEDGER, explain(memory).detail)
    if not isinstance(configuration, Configuration):
        return unknown(Check.LEDGER, explain(configuration).detail)
    status = assess(memory, configuration, datetime.now(UTC), stack.settings)
    compared = read_compared(stack, configuration, status.tenants)
    return diagnosis.judge_ledger(diagnosis.disagreeing([*compared.values()]), len(compared))


def _quota(stack: Stack, configuration: Configuration | Failure) -> Finding:
    if not isinstance(configuration, Configuration):
        return unknown(Check.QUOTA, explain(configuration).detail)
    setting = stack.aws.client("ssm").get_service_setting(SettingId=HIGHER_THROUGHPUT)
    return diagnosis.judge_quota(
        is_higher=setting["ServiceSetting"]["SettingValue"] == "true",
        settings=stack.settings,
        tenants=sum(one.enabled for one in configuration.tenants.values()),
    )
