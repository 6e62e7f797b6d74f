"""Pure: how long to wait after a refusal, and what is reported once a day."""

from datetime import datetime, timedelta

from token_issuer.settings import Settings

BACK_OFF = (1, 2, 4, 8, 12)  # periods
JITTER = 0.5  # of a period, by which ticks may come early: so much less is waited
TOLD_AGAIN = 24  # hours after which an event says again what lasts


def was_told(at: datetime | None, now: datetime) -> bool:
    """Tell whether an event has been put within a day; not in the future: a clock set back."""
    return at is not None and at <= now < at + timedelta(hours=TOLD_AGAIN)


def back_off(refusals: int, settings: Settings) -> timedelta:
    """Return how long to wait after so many refusals before this one: 1, 2, 4, 8, 12 periods."""
    return (BACK_OFF[min(refusals, len(BACK_OFF) - 1)] - JITTER) * settings.period
