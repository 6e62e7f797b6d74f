from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.helpers.facts import (
    NOW,
    fail,
    make_record,
    make_tenant,
    minutes,
    plan,
    renewals_in,
)
from token_issuer.errors import EndpointUnavailable
from token_issuer.ledger.records import Record
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation


def order_of(
    records: Iterable[Record],
    *more: Tenant,
    now: datetime = NOW,
    **members: Any,  # noqa: ANN401  of Facts
) -> list[str]:
    """Return the names of those that are asked for, in order: of the records, and more tenants."""
    records = [*records]
    known = [make_tenant(one.tenant, client=one.client) for one in records]
    tenants = {one.name: one for one in (*known, *more)}.values()
    return [one.name for one in renewals_in(plan(tenants, records, now=now, **members))]


def failed(name: str, *, age: float) -> Record:
    """Return the record of a token of that age, in minutes, whose renewal failed a run ago."""
    return fail(make_record(name, age=age), name, at=NOW - minutes(5))


SERVED = [make_record(f"served-{age}", age=age, run=5) for age in range(31, 37)]


def test_the_order_is_live_ones_below_the_floor_then_those_without_then_the_rest() -> None:
    records = [
        make_record("due", age=31),
        make_record("due-more", age=35),
        make_record("below", age=40),
        make_record("below-more", age=55),
        make_record("lost", age=10),
        make_record("lost-below", age=50),
        make_record("expired", age=61),
        make_record("changed", age=20),
    ]
    tenants = [make_tenant("new"), make_tenant("changed", scope="write")]

    planned = order_of(records, *tenants, lost=frozenset(["lost", "lost-below"]))

    assert planned == [
        "below-more",
        "below",
        "expired",
        "new",
        "lost-below",
        "changed",
        "lost",
        "due-more",
        "due",
    ]


def test_whoever_has_no_token_comes_before_the_rest_when_all_are_forced() -> None:
    records = [make_record("live", age=1), make_record("expired", age=61)]

    planned = order_of(records, make_tenant("new"), invocation=Invocation(force=True))

    assert planned == ["expired", "new", "live"]


def test_broken_ones_come_last_when_their_client_served_others_beside_them() -> None:
    planned = order_of([*SERVED, failed("broken", age=55)])

    assert len(planned) == 7
    assert planned[-1] == "broken"


def test_what_another_client_serves_makes_nobody_broken_nor_a_scout() -> None:
    others = [replace(one, client="b") for one in SERVED]

    planned = order_of([*others, failed("failed", age=55)])

    assert planned[0] == "failed"


def test_a_broken_one_has_its_place_again_after_two_periods_and_a_half() -> None:
    def place(later: float) -> int:
        planned = order_of([*SERVED, failed("broken", age=50)], now=NOW + minutes(later))
        return planned.index("broken")

    assert place(7.4) == 6
    assert place(7.5) == 1  # behind a scout


def test_of_those_without_a_token_who_has_not_failed_comes_first() -> None:
    hanging = EndpointUnavailable("no answer", is_timeout=True)
    hung = [fail(None, f"a{number}", hanging) for number in range(5)]
    others = [make_tenant(f"b{number}") for number in range(5)]

    for later in range(1, 6):  # whatever the lot
        first = order_of(hung, *others, now=NOW + minutes(later))[:5]
        assert set(first) == {one.name for one in others}


def test_one_that_has_not_failed_comes_before_each_four_that_have() -> None:
    broken = [failed(f"failed-{age}", age=age) for age in range(59, 48, -1)]
    others = [make_record(f"other-{age}", age=age, run=10) for age in range(31, 37)]

    order = order_of([*broken, *others])

    rest = ["failed"] * 4
    kinds = [name.partition("-")[0] for name in order]
    assert kinds == ["other", *rest, "other", *rest, "other", *rest[:3], *["other"] * 3]
    names = [one.tenant for one in broken]
    assert [name for name in order if name in names] == names
    assert len(set(order)) == 17


def test_each_client_has_scouts_of_its_own() -> None:
    broken = [failed(f"failed-{age}", age=age) for age in (59, 58, 56, 55, 54)]
    other = replace(make_record("other", age=57, run=10), client="b")
    scouts = [make_record(f"scout-{age}", age=age, run=10) for age in (31, 32)]

    planned = order_of([*broken, other, *scouts])

    order = [one.replace("scout-31", "scout-32") for one in planned]
    four = ["failed-59", "failed-58", "other", "failed-56", "failed-55"]
    assert order == ["scout-32", *four, "scout-32", "failed-54"]


def test_a_scout_has_its_place_before_four_and_one_in_its_own_place_counts() -> None:
    broken = [failed(f"f{age}", age=age) for age in (59, 57, 56, 55, 54, 53)]
    ages = {"early": 58, "late": 40, "last": 39}
    others = [make_record(name, age=age, run=10) for name, age in ages.items()]

    orders = {
        " ".join(order_of([*broken, *others], now=now))
        for now in (NOW + timedelta(seconds=second) for second in range(30))
    }

    assert orders == {  # by which of them is drawn
        "early f59 f57 f56 f55 late f54 f53 last",
        "early f59 f57 f56 f55 last f54 f53 late",
        "late f59 early f57 f56 f55 f54 last f53",
        "last f59 early f57 f56 f55 f54 late f53",
    }


def test_who_goes_first_to_tell_an_outage_is_drawn_anew_in_each_run() -> None:
    """Whatever its own place is: the most urgent one would be the same in each run."""
    others = [make_record(f"other-{number}", age=31 + number, run=10) for number in range(20)]
    records = [failed("failed", age=55), *others]

    first = {order_of(records, now=NOW + minutes(run / 60))[0] for run in range(9)}

    assert len(first) > 3
