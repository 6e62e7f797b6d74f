import pytest

from token_issuer.errors import EndpointUnavailable
from token_issuer.limits.breaker import Breaker, pause_before_repeat


def test_a_breaker_opens_after_so_many_in_a_row_and_stays_open() -> None:
    breaker = Breaker(3)
    breaker.failed()
    breaker.failed()
    breaker.worked()
    breaker.failed()
    breaker.failed()
    assert not breaker.is_open

    breaker.failed()
    breaker.worked()

    assert breaker.is_open


def test_a_failure_that_lasts_opens_it_at_once() -> None:
    breaker = Breaker(3)

    breaker.failed(for_long=True)

    assert breaker.is_open


@pytest.mark.parametrize(
    ("error", "repeats", "pause"),
    [
        (EndpointUnavailable("503"), 0, (0.1, 0.5)),
        (EndpointUnavailable("503"), 1, (0.5, 1.5)),
        (EndpointUnavailable("503"), 2, None),
        (EndpointUnavailable("late", is_timeout=True), 0, None),
        (EndpointUnavailable("429", retry_after=0.0), 0, (0.1, 0.5)),
        (EndpointUnavailable("429", retry_after=7.0), 0, (7.1, 7.5)),
        (EndpointUnavailable("429", retry_after=10.0), 1, (10.5, 11.5)),
        (EndpointUnavailable("429", retry_after=10.1), 0, None),
    ],
)
def test_how_long_to_wait_before_a_repeat(
    error: EndpointUnavailable, repeats: int, pause: tuple[float, float] | None
) -> None:
    found = {pause_before_repeat(error, repeats) for _ in range(50)}

    if pause is None:
        assert found == {None}
        return
    assert all(one is not None and pause[0] <= one <= pause[1] for one in found)
    assert len(found) > 1
