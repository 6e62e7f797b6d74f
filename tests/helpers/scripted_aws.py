"""AWS on loopback: moto, but for the calls that are told to fail."""

import io
import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local.authorization_server import serving_wsgi

type Script = Callable[[str, dict[str, Any]], tuple[str, str] | None]
type StartResponse = Callable[[str, list[tuple[str, str]]], object]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What AWS was sent, with its headers."""

    operation: str
    members: dict[str, Any] = field(repr=False)
    headers: list[str] = field(repr=False)

    @classmethod
    def of(cls, operation: str, body: bytes, environ: dict[str, Any]) -> "Request":
        headers = [
            f"{name}: {value}"
            for name, value in environ.items()
            if name.startswith(("HTTP_", "PATH_INFO", "QUERY_STRING"))
        ]
        return cls(operation=operation, members=json.loads(body), headers=headers)

    def said(self) -> str:
        """Return all of it, but the token in the one place that is for tokens."""
        is_for_token = self.operation == "PutParameter" and self.members["Type"] == "SecureString"
        hidden = {"Value"} if is_for_token else set()
        shown = {name: value for name, value in self.members.items() if name not in hidden}
        return "\n".join([*self.headers, json.dumps(shown, ensure_ascii=False)])

    def told(self) -> list[object]:
        """Return what it tells people: details of events, a failure that the ledger keeps."""
        if self.operation == "PutEvents":
            return [json.loads(entry["Detail"]) for entry in self.members["Entries"]]
        return [self.members.get("ExpressionAttributeValues", {}).get(":failure")]


class ScriptedAws:
    """A WSGI application; `script` takes operation and request, and returns an error."""

    def __init__(self) -> None:
        self.url = ""
        self.calls: Counter[str] = Counter()
        self.received: list[Request] = []
        self.script: Script | None = None
        self._moto = _moto()
        # a condition and its write are one step in AWS, and aren't in moto
        self._one_at_a_time = threading.Lock()

    def reset(self) -> None:
        self.script = None
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()
        self.forget()

    def forget(self) -> None:
        """Begin anew to count and keep what is asked."""
        self.calls.clear()
        self.received.clear()

    def fail(
        self,
        operation: str,
        code: str,
        message: str = "",
        *,
        times: int | None = None,
        **members: object,
    ) -> None:
        """Fail the operation, for requests with these members, so many times or for good."""
        left = iter(range(times)) if times is not None else itertools.count()

        def script(asked: str, request: dict[str, Any]) -> tuple[str, str] | None:
            if asked != operation or not members.items() <= request.items():
                return None
            # AWS quotes what it was sent, now and then
            error = (code, message or f"got {json.dumps(request)}")
            return None if next(left, None) is None else error

        self.script = script

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if not operation:  # moto's own switches
            return self._passed_on(environ, start_response)
        self.calls[operation] += 1
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        self.received.append(Request.of(operation, body, environ))
        if self.script and (error := self.script(operation, json.loads(body))):
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps(dict(zip(("__type", "message"), error, strict=True))).encode()]
        return self._passed_on(environ | {"wsgi.input": io.BytesIO(body)}, start_response)

    def _passed_on(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        with self._one_at_a_time:
            answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer


@cache
def _moto() -> DomainDispatcherApplication:
    """Return all of moto, whose state is that of the process anyway."""
    moto = DomainDispatcherApplication(create_backend_app)
    # each time it reads the folder of moto itself
    moto.get_backend_for_host = cache(moto.get_backend_for_host)  # type: ignore[method-assign]
    return moto


@contextmanager
def serving_aws[Kind: ScriptedAws](aws: Kind) -> Iterator[Kind]:
    """Serve it until the block ends, empty at first."""
    with serving_wsgi(aws) as aws.url:
        aws.reset()
        yield aws
