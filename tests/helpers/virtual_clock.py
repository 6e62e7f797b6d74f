"""Time that passes when somebody sleeps, or when a test says so."""

from datetime import UTC, datetime, timedelta

from token_issuer.limits.deadline import Clock

NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class VirtualClock(Clock):
    """`passed` are the seconds since noon."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed)

    def seconds(self) -> float:
        return 1000 + self.passed  # since no particular moment

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.passed += seconds
