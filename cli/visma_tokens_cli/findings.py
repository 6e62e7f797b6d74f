"""The findings of the doctor."""

from dataclasses import dataclass
from enum import StrEnum

NAMED = 3  # names in one finding
DEPLOY = "Deploy the stack again"


class Check(StrEnum):
    """The checks, in the order in which they are made."""

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
    """The result of a check; it is unknown if the check could not be made."""

    WELL = "well"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The result of a check, the reason, and a remedy if it is broken; nothing in it is secret."""

    check: Check
    state: State
    detail: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return what scripts read."""
        return {name: str(value) for name, value in vars(self).items()}


def well(check: Check, detail: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(check=check, state=State.WELL, detail=detail)


def broken(check: Check, detail: str, remedy: str) -> Finding:
    """Return the finding that something is broken."""
    return Finding(check=check, state=State.BROKEN, detail=detail, remedy=remedy)


def unknown(check: Check, why: str) -> Finding:
    """Return the finding that the check could not be made."""
    return Finding(check=check, state=State.UNKNOWN, detail=why)
