"""Tokens of disabled and vanished tenants: mark, delete, forget."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import batched

from token_issuer.errors import IssuerError
from token_issuer.foreign_errors import failure_of
from token_issuer.limits.deadline import REMOVE
from token_issuer.outside import Outside
from token_issuer.tokens.plan import Decision, Outcome, Removal
from token_issuer.tokens.store import NAMES_AT_ONCE


def remove(decisions: Iterable[Decision], at: datetime, outside: Outside) -> Iterator[Outcome]:
    """Yield what came of each removal; where a new token has come meanwhile, nothing.

    A token is marked as lost before it is deleted, since a run may end in between.
    """
    removals = [one for one in decisions if isinstance(one, Removal)]
    for some in batched(removals, NAMES_AT_ONCE, strict=False):
        marked = []
        for removal in some:
            try:
                outside.deadline.require(REMOVE)
                if not removal.parameter or outside.ledger.mark_lost(
                    removal.record, at, removing=True
                ):
                    marked.append(removal)
            except Exception as error:  # noqa: BLE001  a defect that one tenant meets stops no other
                yield Outcome(decision=removal, failure=failure_of(error))
        failures = _delete([one.parameter for one in marked if one.parameter], outside)
        for removal in marked:
            failure = failures.get(removal.parameter or "") or _forget(removal, at, outside)
            yield Outcome(decision=removal, failure=failure)


def _delete(parameters: list[str], outside: Outside) -> dict[str, IssuerError]:
    try:
        return outside.tokens.delete(parameters)
    except Exception as error:  # noqa: BLE001  likewise
        return dict.fromkeys(parameters, failure_of(error))


def _forget(removal: Removal, at: datetime, outside: Outside) -> IssuerError | None:
    try:
        outside.deadline.require(REMOVE)
        outside.ledger.drop_record(removal.record, at)
    except Exception as error:  # noqa: BLE001  likewise
        return failure_of(error)
    return None
