"""Events, after the tokens; and in the ledger, when they were told."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import batched

from token_issuer.errors import EventUndelivered, IssuerError, NoTimeLeft, TenantRefused
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import ClientRecord
from token_issuer.limits.deadline import LAST_WORDS, RECORD, REPORT
from token_issuer.limits.waiting import was_told
from token_issuer.outside import Outside
from token_issuer.proving import Concluded
from token_issuer.reporting import events
from token_issuer.reporting.events import EVENTS_AT_ONCE, Event
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.plan import Fresh, Outcome, Removal, Waiting
from token_issuer.tokens.renewal import Renewal

UNDELIVERED = 2  # requests in a row, after which others of a run would cost their time in vain


@dataclass(frozen=True, kw_only=True)
class _Telling:
    """An event, and what is noted once it is delivered."""

    event: Event
    failing: str | None = None  # a tenant
    owned: Tenant | None = None
    refused: tuple[str, str] | None = None  # a client, and a reason


def tell(
    outcomes: Iterable[Outcome], concluded: Iterable[Concluded], outside: Outside
) -> list[IssuerError]:
    """Put the events of a run, and note in the ledger that they were put; return what failed.

    An event that is noted comes at least once, and twice if the run ends before the note.
    """
    clients = {one.record.client: one for one in concluded}
    tellings = [
        *(telling for one in outcomes for telling in _of_tenant(one, outside)),
        *(telling for one in clients.values() for telling in _of_client(one, outside)),
    ]
    records = {name: one.record for name, one in clients.items()}
    failures: list[IssuerError] = []
    in_a_row = 0
    for some in batched(tellings, EVENTS_AT_ONCE, strict=False):
        has_failed, has_time = in_a_row == UNDELIVERED, outside.deadline.left >= REPORT
        if has_failed or not has_time:
            why = "several requests have failed" if has_failed else NoTimeLeft().detail
            failures += [EventUndelivered(f"{one.event.kind} was not tried: {why}") for one in some]
            continue
        undelivered = outside.events.put([one.event for one in some])
        in_a_row = in_a_row + 1 if all(undelivered) else 0
        for telling, failure in zip(some, undelivered, strict=True):
            failures += [failure] if failure else _remember_told(telling, records, outside)
    return failures


def _of_tenant(outcome: Outcome, outside: Outside) -> Iterator[_Telling]:
    decision, failure, now = outcome.decision, outcome.failure, outside.deadline.now()
    if isinstance(decision, Removal):
        if decision.parameter and not failure:  # else it has had no token here
            yield _Telling(event=events.removed(decision.name, decision.because))
        return
    told_at = _told_at(decision)
    if outcome.reassigned:
        event = events.reassigned(decision.tenant, outcome.reassigned)
        yield _Telling(event=event, owned=decision.tenant)
    if isinstance(failure, TenantRefused) and not was_told(told_at, now):
        end = decision.live_until(now) if isinstance(decision, Renewal) else None
        event = events.failing(decision.tenant, failure, end)
        yield _Telling(event=event, failing=decision.name)
    if outcome.token and told_at:
        yield _Telling(event=events.recovered(decision.tenant, outcome.token.expires_at))


def _told_at(decision: Renewal | Fresh | Waiting) -> datetime | None:
    if isinstance(decision, Waiting):
        return decision.told_at
    failure = decision.failure if isinstance(decision, Renewal) else None
    return failure.told_at if failure else None


def _of_client(concluded: Concluded, outside: Outside) -> Iterator[_Telling]:
    client, told_at = concluded.record.client, concluded.record.told_at
    if done := concluded.promoted:
        yield _Telling(event=events.secret_promoted(client, done.version, done.tenant))
    for refusal in concluded.refusals:
        if not was_told(told_at.get(refusal.reason), outside.deadline.now()):
            event = events.secret_refused(client, refusal)
            yield _Telling(event=event, refused=(client, refusal.reason))


def _remember_told(
    telling: _Telling, records: dict[str, ClientRecord], outside: Outside
) -> list[IssuerError]:
    """Note in the ledger that an event was told; else the next run tells it again."""
    now = outside.deadline.now()
    if outside.deadline.left < RECORD + LAST_WORDS:
        return []
    try:
        if telling.failing:
            outside.ledger.keep_told(telling.failing, now)
        if telling.owned:
            outside.ledger.keep_owner(telling.owned.name, telling.owned.owner)
        if telling.refused:
            client, reason = telling.refused
            known = records[client]
            records[client] = replace(known, told_at=known.told_at | {reason: now})
            outside.ledger.record_client(records[client])
    except Exception as error:  # noqa: BLE001  a run that has issued its tokens is no failure
        return [failure_of(error)]
    return []
