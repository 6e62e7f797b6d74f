"""Tokens of disabled and vanished tenants through the steps: mark, delete, forget."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from itertools import batched

from token_issuer.errors import IssuerError, NoTimeLeft
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import Record
from token_issuer.limits.deadline import RECORD_SECONDS, REPORT_SECONDS
from token_issuer.tokens.plan import Removal

TOGETHER = 10  # parameters in one request
STEP_SECONDS = 2 * RECORD_SECONDS + REPORT_SECONDS  # to mark and delete, or to forget and tell


def remove_tokens(  # noqa: PLR0913  what a run does it with
    removals: Iterable[Removal],
    at: datetime,
    *,
    mark_lost: Callable[[Record, datetime], bool],
    delete_tokens: Callable[[list[str]], dict[str, IssuerError]],
    drop_record: Callable[[Record, datetime], None],
    time_left: Callable[[], float],  # in seconds
) -> Iterator[tuple[Removal, IssuerError | None]]:
    """Yield each removal with what kept it from being done; where a new token has come, nothing.

    A token is marked as lost before it is deleted, since a run may end in between.
    """
    for some in batched(removals, TOGETHER, strict=False):
        marked = []
        for removal in some:
            if time_left() < STEP_SECONDS:
                yield removal, NoTimeLeft("The run ended before its removal")
                continue
            try:
                if not removal.parameter or mark_lost(removal.record, at):
                    marked.append(removal)
            except Exception as error:  # noqa: BLE001  a defect that one tenant meets stops no other
                yield removal, failure_of(error)
        failures = _delete([one.parameter for one in marked if one.parameter], delete_tokens)
        for removal in marked:
            failure = failures.get(removal.parameter or "")
            if not failure and time_left() < STEP_SECONDS:
                failure = NoTimeLeft("The run ended before its removal")
            if not failure:
                try:
                    drop_record(removal.record, at)
                except Exception as error:  # noqa: BLE001  likewise
                    failure = failure_of(error)
            yield removal, failure


def _delete(
    parameters: list[str], delete_tokens: Callable[[list[str]], dict[str, IssuerError]]
) -> dict[str, IssuerError]:
    try:
        return delete_tokens(parameters)
    except Exception as error:  # noqa: BLE001  likewise
        return dict.fromkeys(parameters, failure_of(error))
