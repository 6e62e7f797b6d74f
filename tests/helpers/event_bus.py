"""EventBridge without AWS: it takes events, refuses some of them, or is down."""

import json
from collections import Counter
from collections.abc import Container, Iterable
from typing import Any

from tests.helpers.virtual_clock import VirtualClock
from token_issuer.limits.deadline import Clock
from token_issuer.reporting.events import Events


class EventBus:
    """`failing` says for each request in turn what is raised, or which of its entries fail."""

    def __init__(
        self, clock: Clock | None = None, failing: Iterable[Exception | Container[int]] = ()
    ) -> None:
        self.clock = clock or VirtualClock()
        self.latency = 0.0  # seconds
        self.failing = [*failing]
        self.tried: list[int] = []  # events in each request
        self.delivered: list[tuple[str, dict[str, Any]]] = []

    @property
    def events(self) -> Events:
        bus: Any = self
        return Events(lambda: bus, "issuer")

    def kinds(self) -> Counter[str]:
        return Counter(kind for kind, _ in self.delivered)

    def put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:  # noqa: N803
        self.tried.append(len(Entries))
        if self.latency:
            self.clock.sleep(self.latency)
        failing = self.failing.pop(0) if self.failing else ()
        if isinstance(failing, Exception):
            raise failing
        self.delivered += [
            (one["DetailType"], json.loads(one["Detail"]))
            for number, one in enumerate(Entries)
            if number not in failing
        ]
        code = {"ErrorCode": "InternalFailure"}
        return {"Entries": [code if number in failing else {} for number in range(len(Entries))]}
