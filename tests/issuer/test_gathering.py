"""Whose tokens a run compares with what is stored."""

from dataclasses import replace

import pytest

from tests.helpers.account import make_settings
from tests.helpers.facts import SETTINGS, fail, make_record
from token_issuer.gathering import to_check


def names_to_check(count: int, after: str = "", period: int = 5) -> list[str]:
    records = {f"{number:05}": make_record(f"{number:05}") for number in range(count)}
    return [
        one.tenant
        for one in to_check(records, after, make_settings(period_minutes=period)).values()
    ]


def test_300_are_checked_after_the_last_one_and_round_again() -> None:
    assert names_to_check(400)[::299] == ["00000", "00299"]
    assert names_to_check(400, "00299")[::299] == ["00300", "00199"]
    assert len(names_to_check(400)) == 300


@pytest.mark.parametrize(("period", "count"), [(5, 1000), (15, 3000), (1, 300)])
def test_each_is_checked_once_an_hour(period: int, count: int) -> None:
    assert len(names_to_check(12_000, period=period)) == count


def test_few_are_checked_in_each_run() -> None:
    assert names_to_check(3, "00001") == ["00002", "00000", "00001"]


def test_who_has_no_token_or_one_elsewhere_is_not_checked() -> None:
    record = make_record("acme")
    assert record.issued is not None
    elsewhere = replace(record, issued=replace(record.issued, parameter="/old/acme"))

    assert to_check({"acme": elsewhere, "globex": fail(None, "globex")}, "", SETTINGS) == {}
