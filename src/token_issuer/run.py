"""One run: gather the facts, decide, apply, report."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    ClientFailed,
    Deferred,
    IssuerError,
    LedgerUnwritable,
    NoTimeLeft,
    TenantsGone,
    TokensUnchecked,
)
from token_issuer.invocation import Invocation, select_tenants
from token_issuer.ledger import Ledger, Record
from token_issuer.pacing import RECORD_SECONDS, Pacer
from token_issuer.renewal import Facts, Plan, Renewal, is_too_short, plan_run, to_check, waits
from token_issuer.settings import Settings
from token_issuer.telemetry import Report, Telemetry
from token_issuer.tenants import Configuration

TOGETHER = 10  # removals

type Outcome = AccessToken | IssuerError


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a run uses; `issue_tokens` also takes the time at which the run began."""

    now: Callable[[], datetime]
    settings: Settings
    telemetry: Telemetry
    ledger: Ledger
    read_tenants: Callable[[Mapping[str, str]], Configuration]
    read_versions: Callable[[Collection[str]], dict[str, int]]
    read_credentials: Callable[[str], ClientCredentials]
    issue_tokens: Callable[[list[Renewal], datetime], Iterator[tuple[Renewal, Outcome]]]
    delete_tokens: Callable[[list[str]], dict[str, IssuerError]]
    writes: Pacer
    time_left: Callable[[], float]  # in seconds


def run(invocation: Invocation, outside: Outside, *, holder: str) -> Report:
    """Serve the tenants that the invocation asks for; raises RunFailed when nobody can be.

    A full run has the lease as `holder` while it lasts: Scheduler delivers at least once.
    """
    started_at = outside.now()
    if not invocation.is_full:
        return _run(invocation, outside, started_at)
    until = started_at + timedelta(seconds=outside.time_left())
    with outside.ledger.lease(holder, now=started_at, until=until) as taken:
        if taken:
            return _run(invocation, outside, started_at)
    outside.telemetry.run_skipped()
    return Report(started_at=started_at, finished_at=outside.now(), skipped=True)


def _run(invocation: Invocation, outside: Outside, started_at: datetime) -> Report:
    facts = gather(invocation, outside, started_at)
    force = invocation.force or invocation.probe
    plan = plan_run(facts, force=force, now=outside.now(), settings=outside.settings)
    report = Report(
        started_at=started_at,
        finished_at=started_at,  # until it has
        unserved=facts.failures,
        failures=dict(plan.waiting),
        fresh=len(plan.fresh),
        planned=plan.as_dicts(facts.failures) if invocation.dry_run else None,
        expiries=plan.expiries,
        configured=sum(one.enabled for one in facts.configuration.tenants.values()),
        vanished=len(plan.leaving),
        unreadable=len(facts.configuration.invalid),
    )
    for subject, error in report.all_failures:  # before anybody is asked
        outside.telemetry.token_failed(subject, error)
    if invocation.is_full:
        _remember(facts, outside, report)
    if not invocation.dry_run:
        _issue(plan, invocation, outside, report)
    if invocation.is_full:
        _remove(plan, outside, report)
    report.finished_at = outside.now()
    report.throttled, report.writes_per_second = outside.writes.throttled, outside.writes.achieved
    outside.telemetry.run_finished(report, measured=invocation.is_full)
    return report


def gather(invocation: Invocation, outside: Outside, now: datetime) -> Facts:
    """Read documents and ledger, and compare the ledger with what is stored."""
    memory = outside.ledger.read()
    configuration = outside.read_tenants(memory.documents)
    live = [one for one in memory.records.values() if one.issued and now < one.issued.expires_at]
    if live and not configuration.parameters:
        raise TenantsGone(f"Nothing is below {configuration.path}, while {len(live)} tokens live")
    tenants, failures = select_tenants(configuration, invocation)
    records = {one.name: memory.records[one.name] for one in tenants if one.name in memory.records}
    whole = invocation.tenants is None
    known, after = (memory.records, memory.checked) if whole else (records, "")
    looked_at = to_check(known, after, outside.settings)  # those that have vanished too
    lost = _lost(looked_at, outside)
    is_further = looked_at and lost is not None
    secret_versions = {}
    for client in {one.client for one in records.values() if waits(one, now)}:
        with suppress(ClientFailed):  # whoever is due of that client will say so
            secret_versions[client] = outside.read_credentials(client).version
    return Facts(
        memory=memory,
        configuration=configuration,
        tenants=tenants,
        whole=whole,
        failures=failures,
        lost=lost or set(),
        checked=[*looked_at.values()][-1].tenant if is_further else memory.checked,
        secret_versions=secret_versions,
    )


def _lost(records: Mapping[str, Record], outside: Outside) -> set[str] | None:
    """Return whose parameter is gone or of another version than the ledger's; None: unknown."""
    try:
        versions = outside.read_versions(records.keys())
    except TokensUnchecked as error:
        outside.telemetry.tokens_unchecked(error)
        return None
    return {
        record.tenant
        for parameter, record in records.items()
        if record.issued and versions.get(parameter) != record.issued.version
    }


def _remember(facts: Facts, outside: Outside, report: Report) -> None:
    """Keep the last good text of each tenant parameter, forget those that are gone."""
    known, configuration = facts.memory.documents, facts.configuration
    try:
        for tenant in facts.lost:  # before the bookmark: a run may end without a new token
            outside.ledger.mark_lost(facts.memory.records[tenant], report.started_at)
        outside.ledger.keep_checked(facts.checked)
        gone: dict[str, str | None] = dict.fromkeys(known.keys() - configuration.parameters)
        for parameter, text in (gone | configuration.good_texts).items():
            if outside.time_left() < outside.settings.period.total_seconds() / 2:
                break  # the next run goes on with it
            if text is None:
                outside.ledger.drop_document(parameter)
            elif known.get(parameter) != text:
                outside.ledger.keep_document(parameter, text)
    except LedgerUnwritable as error:
        _fail(configuration.path, error, outside, report)


def _issue(plan: Plan, invocation: Invocation, outside: Outside, report: Report) -> None:
    for renewal, outcome in outside.issue_tokens(plan.renewals, report.started_at):
        tenant = renewal.tenant
        if isinstance(outcome, IssuerError):
            _fail(tenant.name, outcome, outside, report)
        elif invocation.probe:
            outside.telemetry.token_checked(tenant, outcome)
        else:
            report.issued += 1
            report.expiries[tenant.name] = outcome.expires_at
            if is_too_short(outcome, outside.settings):
                report.too_short.append(tenant.name)
            outside.telemetry.token_issued(tenant, outcome, because=renewal.reason)


def _remove(plan: Plan, outside: Outside, report: Report) -> None:
    """Delete parameters, then their records."""
    for some in batched(plan.removals, TOGETHER, strict=False):
        failures = outside.delete_tokens([one.parameter for one in some if one.parameter])
        for removal in some:
            tenant = removal.record.tenant
            try:
                if error := failures.get(removal.parameter or ""):
                    raise error
                if outside.time_left() < RECORD_SECONDS:
                    raise NoTimeLeft("The run ended before its removal")
                outside.ledger.drop_record(removal.record)
            except IssuerError as error:
                _fail(tenant, error, outside, report)
            else:
                if removal.parameter:  # else it has had no token here
                    report.removed += 1
                    outside.telemetry.token_removed(tenant, because=removal.because)


def _fail(subject: str, error: IssuerError, outside: Outside, report: Report) -> None:
    if isinstance(error, Deferred):
        report.deferred[subject] = error
        return
    report.failures[subject] = error
    outside.telemetry.token_failed(subject, error)
