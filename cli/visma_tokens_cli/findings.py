"""What the doctor finds: a check, what it came to, why, and what to do."""

from dataclasses import dataclass
from enum import StrEnum

NAMED = 3  # of those that have the same
DEPLOY = "Deploy the stack again"


class Check(StrEnum):
    """What is looked at, in this order."""

    STACK = "stack"
    ROLE = "role"
    SCHEDULE = "schedule"
    RUN = "last run"
    SECRET = "client secret"  # noqa: S105  a name
    ENDPOINT = "token endpoint"
    REQUEST = "token request"
    KEY = "key"
    TOKEN = "stored token"  # noqa: S105  a name
    LEDGER = "ledger"
    ALARMS = "alarms"
    QUOTA = "quota"


class State(StrEnum):
    """What a check came to; unknown is what could not be looked at."""

    WELL = "well"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check came to, why, and what to do where it is broken; nothing in it is secret."""

    check: Check
    state: State
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return what scripts read."""
        return {name: str(value) for name, value in vars(self).items()}


def well(check: Check, detail: str) -> Finding:
    """Return that all is well."""
    return Finding(check=check, state=State.WELL, detail=detail)


def broken(check: Check, detail: str, remedy: str) -> Finding:
    """Return that something is broken."""
    return Finding(check=check, state=State.BROKEN, detail=detail, remedy=remedy)


def unknown(check: Check, why: str) -> Finding:
    """Return that it could not be looked at."""
    return Finding(check=check, state=State.UNKNOWN, detail=why)
