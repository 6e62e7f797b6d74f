"""Parameter Store on loopback: a real server that holds tokens, and answers as a test has it."""

import base64
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

PATH = "/visma/tokens"
NOW = 1_800_000_000.0


@dataclass
class Clock:
    """A wall clock that tests set; seconds since the epoch."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def jwt(tenant: str = "acme", *, expires_at: object = NOW + 3600, number: int = 0) -> str:
    """Return an unsigned token that tells its tenant and its number."""
    parts = {"alg": "none"}, {"tenant": tenant, "exp": expires_at, "number": number}
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join([*(part.rstrip("=") for part in encoded), "c2lnbmF0dXJl"])


OLD, NEW = jwt(number=1), jwt(number=2)


class Changing(dict[str, str]):
    """Does for a reader, and has the old token at first."""

    def __init__(self) -> None:
        super().__init__(acme=OLD)

    def __getitem__(self, name: str) -> str:
        token = super().__getitem__(name)
        self[name] = NEW
        return token


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def claims(token: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return content


@dataclass(frozen=True)
class Failure:
    """An answer that is an error."""

    code: str
    message: str = ""
    status: str = "400 Bad Request"


THROTTLED = Failure("ThrottlingException", "Rate exceeded")
DENIED = Failure("AccessDeniedException", "User: arn:aws:iam::1:role/r is not authorized")
DOWN = Failure("InternalServerError", status="500 Internal Server Error")


@dataclass
class ParameterStore:
    """Its tokens, what it answers instead, who has to wait, and what it was asked."""

    tokens: dict[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    throttles: int = 0  # as many of the next requests
    bad: set[str] = field(default_factory=set)  # tenants for whom it is down
    refused_key: str = ""
    refusal: Failure | None = None  # of who signs with that key
    keys: list[str] = field(default_factory=list)
    raw: bytes | None = None
    denied_together: bool = False
    holds_together: bool = True
    held: dict[str, threading.Event] = field(default_factory=dict)
    asked: list[list[str]] = field(default_factory=list)
    user_agents: list[str] = field(default_factory=list)
    most_at_once: Counter[str] = field(default_factory=Counter)
    _in_flight: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, tenant: str) -> threading.Event:
        """Let whoever reads this tenant wait until the event is set."""
        return self.held.setdefault(tenant, threading.Event())

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer GetParameter and GetParameters (WSGI)."""
        sent = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if len(sent) < int(environ["CONTENT_LENGTH"]):  # who asked was interrupted
            start_response("400 Bad Request", [])
            return []
        body = json.loads(sent)
        assert body["WithDecryption"] is True
        names = body.get("Names") or [body["Name"]]
        tenants = [name.removeprefix(f"{PATH}/") for name in names]
        key = environ["HTTP_AUTHORIZATION"].partition("Credential=")[2].partition("/")[0]
        with self._lock:
            self.keys.append(key)
            self.asked.append(tenants)
            self.user_agents.append(environ["HTTP_USER_AGENT"])
            self._in_flight.update(tenants)
            self.most_at_once |= self._in_flight
        for tenant in tenants:
            if tenant in self.held and (self.holds_together or "Name" in body):
                assert self.held[tenant].wait(30)
        refusal = self.refusal if key == self.refused_key else None
        status, answer = self._answer(tenants, refusal, is_one="Name" in body)
        with self._lock:
            self._in_flight.subtract(tenants)
        start_response(status, [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps(answer).encode() if self.raw is None else self.raw]

    def _is_throttled(self) -> bool:
        with self._lock:
            self.throttles -= 1
            return self.throttles >= 0

    def _answer(
        self, tenants: list[str], refusal: Failure | None, *, is_one: bool
    ) -> tuple[str, dict[str, Any]]:
        if self._is_throttled() or self.bad & set(tenants):
            return THROTTLED.status, {"__type": THROTTLED.code, "message": THROTTLED.message}
        failure = (
            refusal or self.failure or (DENIED if self.denied_together and not is_one else None)
        )
        found = [
            {"Name": f"{PATH}/{tenant}", "Value": self.tokens[tenant]}
            for tenant in tenants
            if tenant in self.tokens
        ]
        if failure is None and is_one and not found:
            failure = Failure("ParameterNotFound")
        if failure is not None:
            return failure.status, {"__type": failure.code, "message": failure.message}
        return "200 OK", {"Parameter": found[0]} if is_one else {"Parameters": found}


def asked(store: ParameterStore, count: int) -> Callable[[], bool]:
    return lambda: len(store.asked) == count
