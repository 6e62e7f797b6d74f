from datetime import UTC, datetime, timedelta

import pytest

from tests.helpers.account import make_settings
from token_issuer.limits.waiting import back_off, was_told

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize("period", [1, 5, 15])
def test_waits_are_1_2_4_8_12_periods_less_half_a_one(period: int) -> None:
    settings = make_settings(period_minutes=period)

    waits = [back_off(steps, settings) / timedelta(minutes=period) for steps in range(7)]

    assert waits == [0.5, 1.5, 3.5, 7.5, 11.5, 11.5, 11.5]


@pytest.mark.parametrize(
    ("hours", "is_told"),
    [
        pytest.param(None, False, id="never"),
        pytest.param(0, True, id="just now"),
        pytest.param(23.9, True, id="within a day"),
        pytest.param(24, False, id="a day ago"),
        pytest.param(-0.1, False, id="in the future: a clock set back"),
    ],
)
def test_what_lasts_is_told_once_a_day(hours: float | None, *, is_told: bool) -> None:
    at = None if hours is None else NOW - timedelta(hours=hours)

    assert was_told(at, NOW) is is_told
