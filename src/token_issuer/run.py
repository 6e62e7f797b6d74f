"""One run: gather the facts, decide, apply, report."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from token_issuer.errors import Deferred, IssuerError
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.gathering import Sources, gather
from token_issuer.ledger.table import Ledger
from token_issuer.limits.pacer import Pacer
from token_issuer.proving import Notice, Promoted, Rollover
from token_issuer.reporting.report import Report, few_of_each
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.settings import Settings
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.ownership import Ownership
from token_issuer.tokens.plan import Plan, Removal, plan_run
from token_issuer.tokens.renewal import Renewal, is_too_short

type Outcome = AccessToken | IssuerError


@dataclass(frozen=True, kw_only=True)
class Outside:
    """What a run uses; `issue_tokens` and `remove_tokens` also take when the run began."""

    now: Callable[[], datetime]
    settings: Settings
    telemetry: Telemetry
    ledger: Ledger
    sources: Sources
    rollover: Rollover
    issue_tokens: Callable[[list[Renewal], datetime, Ownership], Iterator[tuple[Renewal, Outcome]]]
    remove_tokens: Callable[[list[Removal], datetime], Iterator[tuple[Removal, IssuerError | None]]]
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
    facts = gather(invocation, outside.sources, started_at)
    force = invocation.force or invocation.probe
    plan = plan_run(facts, force=force, now=outside.now(), settings=outside.settings)
    report = Report(
        started_at=started_at,
        finished_at=started_at,  # until it has
        unserved=facts.failures,
        fresh=len(plan.fresh),
        planned=plan.rows(few_of_each(facts.failures)) if invocation.dry_run else None,
        expiries=plan.expiries,
        refused=plan.refused,
        doubtful=plan.doubtful,
        configured=sum(one.enabled for one in facts.configuration.tenants.values()),
        vanished=len(plan.leaving),
        unreadable=len(facts.configuration.invalid),
        homes={name: one.document for name, one in facts.configuration.tenants.items()},
    )
    # before anybody is asked
    for subject, error in [*plan.waiting.items(), *report.told_failures]:
        outside.telemetry.token_failed(subject, error)
    if facts.unchecked:
        outside.telemetry.tokens_unchecked(facts.unchecked)
    _notice(facts.unread.items(), outside, report)
    if invocation.is_full:
        _remember(facts, outside, report)
    if not invocation.dry_run:
        tenants = facts.configuration.tenants.values()
        ownership = Ownership(facts.memory.records.values(), tenants)
        _issue(plan, ownership, invocation, outside, report)
    if invocation.is_full:
        _remove(plan, outside, report)
    if not invocation.dry_run:
        notices = outside.rollover.conclude(facts, probe=invocation.probe, force=invocation.force)
        _notice(notices, outside, report)
    report.failures |= plan.waiting  # last, since these are not new
    report.finished_at = outside.now()
    report.throttled, report.writes_per_second = outside.writes.throttled, outside.writes.achieved
    outside.telemetry.run_finished(report, measured=invocation.is_full)
    return report


def _remember(facts: Facts, outside: Outside, report: Report) -> None:
    """Keep the last good text of each tenant parameter, forget those that are gone."""
    known, configuration = facts.memory.documents, facts.configuration
    try:
        for tenant in facts.lost:  # before the bookmark: a run may end without a new token
            outside.ledger.mark_lost(facts.memory.records[tenant], report.started_at)
        outside.ledger.keep_checked(facts.checked)
        gone: dict[str, str | None] = dict.fromkeys(known.keys() - configuration.parameters)
        for parameter, text in (gone | configuration.good_texts).items():
            if not outside.sources.has_time():
                break  # the next run goes on with it
            if text is None:
                outside.ledger.drop_document(parameter)
            elif known.get(parameter) != text:
                outside.ledger.keep_document(parameter, text)
    except Exception as error:  # noqa: BLE001  what is not remembered keeps nobody from a token
        _fail(configuration.path, failure_of(error), outside, report)


def _notice(notices: Iterable[Notice], outside: Outside, report: Report) -> None:
    """Tell what became of client secrets."""
    for client, what in notices:
        if isinstance(what, Promoted):
            outside.telemetry.secret_promoted(client, what.version, what.tenant)
        else:
            report.notices.append(what)
            outside.telemetry.secret_noticed(client, what)


def _issue(
    plan: Plan, ownership: Ownership, invocation: Invocation, outside: Outside, report: Report
) -> None:
    for renewal, outcome in outside.issue_tokens(plan.renewals, report.started_at, ownership):
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
    for removal, failure in outside.remove_tokens(plan.removals, report.started_at):
        if failure:
            _fail(removal.record.tenant, failure, outside, report)
        elif removal.parameter:  # else it has had no token here
            report.removed += 1
            outside.telemetry.token_removed(removal.record.tenant, because=removal.because)


def _fail(subject: str, error: IssuerError, outside: Outside, report: Report) -> None:
    if isinstance(error, Deferred):
        report.deferred[subject] = error
        return
    report.failures[subject] = error
    outside.telemetry.token_failed(subject, error)
