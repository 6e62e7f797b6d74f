"""One run: gather the facts, decide, issue, remove, prove, tell, report."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

from token_issuer.clients.versions import SecretsInUse
from token_issuer.errors import IssuerError
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.gathering import gather
from token_issuer.issuing import issue
from token_issuer.outside import Outside
from token_issuer.proving import Concluded, prove
from token_issuer.removing import remove
from token_issuer.reporting.report import Report, few_of_each
from token_issuer.telling import tell
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.plan import Decision, Fresh, Outcome, Waiting, decide


def run(invocation: Invocation, outside: Outside, *, holder: str) -> Report:
    """Serve the tenants that the invocation asks for; raises RunFailed when nobody can be.

    A full run has the lease as `holder` while it lasts: Scheduler delivers at least once.
    """
    started_at = outside.deadline.now()
    if not invocation.is_full:
        return _serve(invocation, outside)
    with outside.ledger.lease(holder, now=started_at, until=outside.deadline.at) as taken:
        if taken:
            return _serve(invocation, outside)
    outside.telemetry.run_skipped()
    return Report(started_at=started_at, finished_at=outside.deadline.now(), skipped=True)


def _serve(invocation: Invocation, outside: Outside) -> Report:
    facts = gather(invocation, outside)
    decisions = decide(facts, now=outside.deadline.now(), settings=outside.settings)
    report = Report.of(decisions, facts)
    _say_what_is_known(facts, report, outside)  # before anybody is asked
    if invocation.is_full:
        _remember(facts, report, outside)
    if not invocation.dry_run:
        _work(facts, report, outside)
    report.finished_at = outside.deadline.now()
    writes = outside.tokens.writes
    report.throttled, report.writes_per_second = writes.throttled, writes.achieved
    outside.telemetry.run_finished(report, measured=invocation.is_full)
    return report


def _work(facts: Facts, report: Report, outside: Outside) -> None:
    """Issue and remove tokens, then look after client secrets, then put the events."""
    decisions, secrets = report.decisions, SecretsInUse(outside.secrets)
    untold = (  # by a run that was killed once it had recorded the token
        Outcome(decision=one) for one in decisions if isinstance(one, Fresh) and one.reassigned
    )
    outcomes = _counted(untold, report, outside)
    outcomes += _counted(issue(decisions, facts, secrets, outside), report, outside)
    outcomes += _counted(remove(decisions, facts.at, outside), report, outside)
    concluded = []
    for one in prove(facts, secrets, outside):
        concluded.append(one)
        if done := one.promoted:
            outside.telemetry.secret_promoted(one.record.client, done.version, done.tenant)
        for notice in one.notices:
            _notice(one.record.client, notice, report, outside)
    if not facts.invocation.probe:
        report.undelivered = _tell(outcomes, concluded, decisions, outside)
        _clean_up(facts, outside)


def _counted(outcomes: Iterable[Outcome], report: Report, outside: Outside) -> list[Outcome]:
    """Count and log outcomes as they come; return those that an event may tell of."""
    told = []
    for outcome in outcomes:
        report.count(outcome, settings=outside.settings)
        outside.telemetry.outcome(outcome, is_probe=report.invocation.probe)
        if not outcome.is_routine:  # ten thousand tokens take 10 MB
            told.append(outcome)
    return told


def _say_what_is_known(facts: Facts, report: Report, outside: Outside) -> None:
    for subject, error in [*report.waiting.items(), *few_of_each(facts.failures)]:
        outside.telemetry.token_failed(subject, error)
    if facts.unchecked:
        outside.telemetry.tokens_unchecked(facts.unchecked)
    for client, error in facts.unread.items():
        _notice(client, error, report, outside)


def _notice(client: str, error: IssuerError, report: Report, outside: Outside) -> None:
    report.notices.append(error)
    outside.telemetry.secret_noticed(client, error)


def _remember(facts: Facts, report: Report, outside: Outside) -> None:
    """Note which tokens are lost, since a run may end without new ones."""
    path = facts.configuration.path
    try:
        for tenant in facts.lost:
            outside.ledger.mark_lost(facts.memory.records[tenant], facts.at)
    except Exception as error:  # noqa: BLE001  what is not remembered keeps nobody from a token
        report.failures[path] = failure_of(error)
        outside.telemetry.token_failed(path, report.failures[path])


def _tell(
    outcomes: list[Outcome],
    concluded: list[Concluded],
    decisions: Sequence[Decision],
    outside: Outside,
) -> list[IssuerError]:
    """Put the events, also of refusals of which a killed run has not told."""
    waiting = [
        Outcome(decision=one, failure=one.failure) for one in decisions if isinstance(one, Waiting)
    ]
    try:
        return tell([*outcomes, *waiting], concluded, outside)
    except Exception as error:  # noqa: BLE001  a run that has issued its tokens is no failure
        return [failure_of(error)]


def _clean_up(facts: Facts, outside: Outside) -> None:
    """Delete what an earlier version has left in the ledger; the next run goes on with it."""
    with suppress(Exception):  # a run that has issued its tokens is no failure
        for key in facts.memory.left_over if facts.invocation.is_full else ():
            if outside.deadline.is_in_first_half:
                outside.ledger.drop(key)
