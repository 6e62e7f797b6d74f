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
    tenants: Iterable[Tenant],
    records: Iterable[Record],
    now: datetime = NOW,
    **members: Any,  # noqa: ANN401  of Facts
) -> list[str]:
    """Return the names of those that are asked for, in order."""
    return [one.name for one in renewals_in(plan(tenants, records, now=now, **members))]


def test_the_order_is_live_ones_below_the_floor_then_those_without_then_the_rest() -> None:
    records = [
        make_record("due", age=31),
        make_record("due-more", age=35),
        make_record("below", age=40),
        make_record("below-more", age=55),
        make_record("lost", age=10),
        make_record("lost-below", age=50),
        make_record("expired", age=61),
        replace(make_record("changed", age=20), client="default"),
    ]
    tenants = [make_tenant(one.tenant) for one in records if one.tenant != "changed"]
    tenants += [make_tenant("new"), make_tenant("changed", scope="write")]

    planned = order_of(tenants, records, lost=frozenset(["lost", "lost-below"]))

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
    tenants = [make_tenant("live"), make_tenant("expired"), make_tenant("new")]

    planned = order_of(tenants, records, invocation=Invocation(force=True))

    assert planned == ["expired", "new", "live"]


def test_broken_ones_come_last_when_their_client_served_others_beside_them() -> None:
    served = [make_record(f"served-{age}", age=age, run=5) for age in range(31, 37)]
    broken = fail(make_record("broken", age=55), "broken", at=NOW - minutes(5))
    names = [one.tenant for one in [*served, broken]]

    planned = order_of(map(make_tenant, names), [*served, broken])

    assert len(planned) == 7
    assert planned[-1] == "broken"


def test_what_another_client_serves_makes_nobody_broken_nor_a_scout() -> None:
    others = [replace(make_record(f"o{age}", age=age, run=5), client="b") for age in range(31, 37)]
    failed = fail(make_record("failed", age=55), "failed", at=NOW - minutes(5))
    tenants = [make_tenant(one.tenant, client="b") for one in others]

    planned = order_of([*tenants, make_tenant("failed")], [*others, failed])

    assert planned[0] == "failed"


def test_a_broken_one_has_its_place_again_after_two_periods_and_a_half() -> None:
    served = [make_record(f"served-{age}", age=age, run=5) for age in range(31, 37)]
    broken = fail(make_record("broken", age=50), "broken", at=NOW - minutes(5))
    tenants = [make_tenant(one.tenant) for one in [*served, broken]]

    def place(later: float) -> int:
        planned = order_of(tenants, [*served, broken], now=NOW + minutes(later))
        return planned.index("broken")

    assert place(7.4) == 6
    assert place(7.5) == 1  # behind a scout


def test_of_those_without_a_token_who_has_not_failed_comes_first() -> None:
    hanging = EndpointUnavailable("no answer", is_timeout=True)
    failed = [fail(None, f"a{number}", hanging) for number in range(5)]
    others = [f"b{number}" for number in range(5)]
    tenants = [make_tenant(name) for name in (*(one.tenant for one in failed), *others)]

    for later in range(1, 6):  # whatever the lot
        first = order_of(tenants, failed, now=NOW + minutes(later))[:5]
        assert set(first) == set(others)


def test_one_that_has_not_failed_comes_before_each_four_that_have() -> None:
    failed = [
        fail(make_record(f"failed-{age}", age=age), f"failed-{age}", at=NOW - minutes(5))
        for age in range(59, 48, -1)
    ]
    others = [make_record(f"other-{age}", age=age, run=10) for age in range(31, 37)]
    tenants = [make_tenant(one.tenant) for one in [*failed, *others]]

    order = order_of(tenants, [*failed, *others])

    rest = ["failed"] * 4
    kinds = [name.partition("-")[0] for name in order]
    assert kinds == ["other", *rest, "other", *rest, "other", *rest[:3], *["other"] * 3]
    assert [name for name in order if name in {one.tenant for one in failed}] == [
        one.tenant for one in failed
    ]
    assert len(set(order)) == 17


def test_each_client_has_scouts_of_its_own() -> None:
    failed = [
        fail(make_record(f"failed-{age}", age=age), f"failed-{age}", at=NOW - minutes(5))
        for age in (59, 58, 56, 55, 54)
    ]
    other = replace(make_record("other", age=57, run=10), client="b")
    scouts = [make_record(f"scout-{age}", age=age, run=10) for age in (31, 32)]
    tenants = [make_tenant(one.tenant, client=one.client) for one in [*failed, other, *scouts]]

    planned = order_of(tenants, [*failed, other, *scouts])

    order = [one.replace("scout-31", "scout-32") for one in planned]
    four = ["failed-59", "failed-58", "other", "failed-56", "failed-55"]
    assert order == ["scout-32", *four, "scout-32", "failed-54"]


def test_a_scout_has_its_place_before_four_and_one_in_its_own_place_counts() -> None:
    failed = [
        fail(make_record(f"f{age}", age=age), f"f{age}", at=NOW - minutes(5))
        for age in (59, 57, 56, 55, 54, 53)
    ]
    ages = {"early": 58, "late": 40, "last": 39}
    others = [make_record(name, age=age, run=10) for name, age in ages.items()]
    tenants = [make_tenant(one.tenant) for one in [*failed, *others]]

    orders = {
        " ".join(order_of(tenants, [*failed, *others], now=now))
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
    failed = fail(make_record("failed", age=55), "failed", at=NOW - minutes(5))
    others = [make_record(f"other-{number}", age=31 + number, run=10) for number in range(20)]
    tenants = [make_tenant(one.tenant) for one in [failed, *others]]

    first = {
        order_of(tenants, [failed, *others], now=NOW + minutes(run / 60))[0] for run in range(9)
    }

    assert len(first) > 3
