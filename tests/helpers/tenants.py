"""One tenant is added, removed, turned on or off, while the function answers as a test has it."""

from dataclasses import dataclass, field

from tests.helpers.applying import make_stack
from tests.helpers.invoked import Lambda
from token_issuer.limits.deadline import Clock
from visma_tokens_cli.tenant import add_tenant, disable_tenant, enable_tenant, remove_tenant

A: dict[str, object] = {"scope": "a"}
OFF = '{"scope": "a", "enabled": false}'
ON = '{"scope": "a", "enabled": true}'


@dataclass
class Issuer(Lambda):
    """The function, and a clock for who waits for it."""

    seconds: float = 0.0
    pauses: list[float] = field(default_factory=list)

    @property
    def clock(self) -> Clock:
        return Waiting(self)


class Waiting(Clock):
    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    def seconds(self) -> float:
        return self._issuer.seconds

    def sleep(self, seconds: float) -> None:
        self._issuer.pauses.append(seconds)
        self._issuer.seconds += seconds


def add(issuer: Issuer, name: str = "acme", *, as_json: bool = False, **members: object) -> int:
    return add_tenant(make_stack(), name, A | members, as_json=as_json, clock=issuer.clock)


def remove(name: str, *, yes: bool = True, as_json: bool = False) -> int:
    return remove_tenant(make_stack(), name, yes=yes, as_json=as_json)


def enable(issuer: Issuer, name: str = "acme") -> int:
    return enable_tenant(make_stack(), name, as_json=False, clock=issuer.clock)


def disable(name: str = "acme", *, as_json: bool = False) -> int:
    return disable_tenant(make_stack(), name, as_json=as_json)
