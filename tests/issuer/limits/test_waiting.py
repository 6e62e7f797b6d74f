from datetime import timedelta

import pytest

from tests.helpers.account import make_settings
from token_issuer.limits.waiting import back_off


@pytest.mark.parametrize("period", [1, 5, 15])
def test_waits_are_1_2_4_8_12_periods_less_half_a_one(period: int) -> None:
    settings = make_settings(period_minutes=period)

    waits = [back_off(steps, settings) / timedelta(minutes=period) for steps in range(7)]

    assert waits == [0.5, 1.5, 3.5, 7.5, 11.5, 11.5, 11.5]
