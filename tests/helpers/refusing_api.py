"""An API on loopback that takes some tokens and answers 401 to others, and remembers all calls."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

TEN_SECONDS = 10.0  # for which a client waits for it


@dataclass(frozen=True)
class Called:
    """A call as it came in."""

    method: str
    path: str
    token: str | None = field(repr=False)
    body: bytes


@dataclass
class Api:
    """Takes tokens out of `taken`; /elsewhere leads to `redirect`, /guarded and /ordered on."""

    taken: set[str] = field(default_factory=set)
    redirect: str = ""
    status: str = "200 OK"
    calls: list[Called] = field(default_factory=list)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer (WSGI)."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        body = environ["wsgi.input"].read()
        path = environ["PATH_INFO"]
        self.calls.append(
            Called(environ["REQUEST_METHOD"], path, token if scheme == "Bearer" else None, body)
        )
        headers = [("Content-Type", "text/plain"), ("Set-Cookie", "seen=1")]
        if path == "/elsewhere":
            start_response("307 Temporary Redirect", [*headers, ("Location", self.redirect)])
            return [b""]
        if path.startswith("/guarded") and token in self.taken:
            to = "/here" if path == "/guarded" else self.redirect
            start_response("307 Temporary Redirect", [*headers, ("Location", to)])
            return [b""]
        if path == "/ordered":
            start_response("303 See Other", [*headers, ("Location", "/ordered/1")])
            return [b""]
        if token not in self.taken:
            challenge = ("WWW-Authenticate", 'Bearer error="invalid_token"')  # RFC 6750 §3
            start_response("401 Unauthorized", [*headers, challenge])
            return [b"not this one"]
        start_response(self.status, headers)
        return [b"welcome"]
