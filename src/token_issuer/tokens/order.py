"""Pure: the order in which tenants are served."""

from collections.abc import Collection
from datetime import datetime, timedelta

from token_issuer.errors import ParameterUnwritable
from token_issuer.ledger.records import Record
from token_issuer.limits.breaker import UNANSWERED
from token_issuer.settings import Settings
from token_issuer.tokens.renewal import Reason, Renewal, floor_of, fraction

ROW = UNANSWERED - 1  # tenants of a client that have failed, at most, before a scout
FORGIVEN = 2.5  # periods after which a broken tenant has its place in the order again
WITHOUT_TOKEN = 1  # in the order: those whose token is gone, or not what it should be


def in_order(
    renewals: list[Renewal], records: Collection[Record], now: datetime, settings: Settings
) -> list[Renewal]:
    """Return the most urgent first, but for broken tenants and scouts.

    A tenant is broken whose last attempt failed in a run that served others of its client, or whose
    parameter could not be written: it comes last, and starves nobody. Not for long, since an outage
    that begins or ends in a run leaves a few that merely look it. Of those without a token, who has
    not failed comes first: five that hang end a client's run, and the next one tries others.
    """
    served = {(one.client, one.attempted_at) for one in records if one.failure is None}

    def is_broken(renewal: Renewal) -> bool:
        record = renewal.record
        if record is None or record.failure is None:
            return False
        is_recent = now - record.attempted_at < FORGIVEN * settings.period
        # a few that can't be written end the run, as long as no token could be stored
        is_unwritable = record.failure.reason == ParameterUnwritable.__name__
        return is_recent and (is_unwritable or (record.client, record.attempted_at) in served)

    def lot(renewal: Renewal) -> float:
        return fraction(f"{renewal.tenant.name} {now}")

    def place(renewal: Renewal) -> tuple[bool, int, int, bool, float]:
        rank, minutes = _urgency(renewal, now, settings)
        tried = rank == WITHOUT_TOKEN and renewal.failure is not None
        return is_broken(renewal), rank, minutes, tried, lot(renewal)

    ordered = sorted(renewals, key=place)
    return _with_scouts(ordered, sorted(renewals, key=lot))


def _with_scouts(ordered: list[Renewal], drawn: list[Renewal]) -> list[Renewal]:
    """Put one that has not failed before each four of its client that have, drawn by lot.

    So they tell an outage from tenants that hang, which would take up run after run.
    """
    not_failed: dict[str, list[Renewal]] = {one.tenant.client: [] for one in drawn}
    for renewal in drawn:
        if not renewal.failure:
            not_failed[renewal.tenant.client].append(renewal)
    scouts = {client: iter(some) for client, some in not_failed.items()}
    row = dict.fromkeys(scouts, ROW)
    placed: dict[str, Renewal] = {}
    for renewal in ordered:
        client = renewal.tenant.client
        if renewal.tenant.name in placed:
            continue
        if not renewal.failure:
            row[client] = 0
        elif row[client] < ROW:
            row[client] += 1
        elif scout := next((one for one in scouts[client] if one.tenant.name not in placed), None):
            placed[scout.tenant.name] = scout
            row[client] = 1
        placed[renewal.tenant.name] = renewal
    return list(placed.values())


def _urgency(renewal: Renewal, now: datetime, settings: Settings) -> tuple[int, int]:
    """Order: live tokens below the floor, then those without, then the rest, by remaining life.

    In minutes, so that a lot decides within one: tenants that hang and were added together would
    else come in a row, and look like an outage.
    """
    issued = renewal.issued
    life = issued.expires_at - now if issued else timedelta(0)
    minutes = life // timedelta(minutes=1)
    gone = life <= timedelta(0) or renewal.reason == Reason.LOST
    if issued and not gone and now >= floor_of(issued, settings):
        return 0, minutes
    return (WITHOUT_TOKEN if gone or renewal.reason == Reason.CHANGED else 2), minutes
