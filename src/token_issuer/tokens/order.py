"""Pure: who goes first.

Tenants are sorted by these, in this order; the lower value comes first:

| | value | why |
| --- | --- | --- |
| broken | 1 after a failure in a run that served others of its client | it starves nobody |
| rank | 0 live below its floor, 1 without a good token, 2 else | the promise ends first for 0 |
| minutes | of life that are left | the least first; whole minutes, so that the lot decides within |
| tried | 1 for a tenant of rank 1 that has failed | five that hang stop a client: others first |
| lot | drawn for each run anew | tenants that hang and were added together don't come in a row |

Then a scout, a tenant that has not failed, goes before each four of its client that have.
"""

from collections import defaultdict, deque
from collections.abc import Iterable
from datetime import datetime, timedelta

from token_issuer.errors import ParameterUnwritable
from token_issuer.ledger.records import Record
from token_issuer.limits.breaker import UNANSWERED
from token_issuer.settings import Settings
from token_issuer.tokens.renewal import Reason, Renewal, floor_of, fraction

ROW = UNANSWERED - 1  # that have failed, before a scout: one more would end the client's run
FORGIVEN = 2.5  # periods, after which a broken tenant has its place in the order again
BELOW_FLOOR, WITHOUT_TOKEN, OTHERS = 0, 1, 2  # ranks

type Run = tuple[str, datetime]  # a client, and when a run began: which tells one run from another


def in_order(
    renewals: Iterable[Renewal], records: Iterable[Record], now: datetime, settings: Settings
) -> list[Renewal]:
    """Return the most urgent first, as the table above says, with scouts among them."""
    served = frozenset((one.client, one.attempted_at) for one in records if one.failure is None)
    by_lot = sorted(renewals, key=lambda one: fraction(f"{one.name} {now}"))
    return _with_scouts(sorted(by_lot, key=lambda one: _place(one, served, now, settings)), by_lot)


def _place(
    renewal: Renewal, served: frozenset[Run], now: datetime, settings: Settings
) -> tuple[bool, int, int, bool]:
    """Return the columns of the table, but for the lot."""
    life = renewal.issued.expires_at - now if renewal.issued else timedelta(0)
    broken = _is_broken(renewal.record, served, now, settings)
    rank, minutes = _rank(renewal, life, now, settings), life // timedelta(minutes=1)
    return broken, rank, minutes, rank == WITHOUT_TOKEN and renewal.failure is not None


def _rank(renewal: Renewal, life: timedelta, now: datetime, settings: Settings) -> int:
    if life <= timedelta(0) or renewal.reason == Reason.LOST:
        return WITHOUT_TOKEN
    if renewal.issued and now >= floor_of(renewal.issued, settings):
        return BELOW_FLOOR
    return WITHOUT_TOKEN if renewal.reason == Reason.CHANGED else OTHERS


def _is_broken(
    record: Record | None, served: frozenset[Run], now: datetime, settings: Settings
) -> bool:
    """Tell whether a tenant failed by itself, and lately.

    An outage that begins or ends in a run leaves a few that merely look it, so it is forgiven. A
    few parameters that can't be written end the run, as long as no token could be stored.
    """
    if record is None or record.failure is None:
        return False
    is_unwritable = record.failure.reason == ParameterUnwritable.__name__
    is_recent = now - record.attempted_at < FORGIVEN * settings.period
    return is_recent and (is_unwritable or (record.client, record.attempted_at) in served)


def _with_scouts(ordered: list[Renewal], drawn: list[Renewal]) -> list[Renewal]:
    """Put one that has not failed before each four of its client that have, drawn by lot.

    So they tell an outage from tenants that hang, which would take up run after run.
    """
    scouts: dict[str, deque[Renewal]] = defaultdict(deque)
    for renewal in drawn:
        if not renewal.failure:
            scouts[renewal.tenant.client].append(renewal)
    in_a_row: dict[str, int] = defaultdict(lambda: ROW)  # that have failed, of a client
    placed: dict[str, Renewal] = {}
    for renewal in ordered:
        client = renewal.tenant.client
        if renewal.name in placed:
            continue
        if not renewal.failure:
            in_a_row[client] = 0
        elif in_a_row[client] < ROW:
            in_a_row[client] += 1
        elif scout := _first_not_in(placed, scouts[client]):
            placed[scout.name] = scout
            in_a_row[client] = 1
        placed[renewal.name] = renewal
    return list(placed.values())


def _first_not_in(placed: dict[str, Renewal], scouts: deque[Renewal]) -> Renewal | None:
    while scouts:
        if (scout := scouts.popleft()).name not in placed:
            return scout
    return None
