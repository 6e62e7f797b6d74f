"""The calls of the function, in the order in which they come; one of them may be its last."""

import io
import json
import random
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

type Application = Callable[..., Iterable[bytes]]
type StartResponse = Callable[[str, list[tuple[str, str]]], object]

SUBJECTS = ("Name", "Path", "SecretId", "TableName")  # members of AWS requests that name what


@dataclass
class Wire:
    """Middleware of the servers: it lists calls, and ends a process before or after one.

    `killed_at` counts from 1; a call that is killed *before* has no effect, one that is killed
    *after* has, and its answer is never read.
    """

    names: Mapping[str, str]  # of tenants, by tenant_id
    calls: list[str] = field(default_factory=list)
    victim: subprocess.Popen[bytes] | None = None
    killed_at: int = 0
    killed_after: bool = False
    delay: float = 0.0  # seconds at most, by chance
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(
        self, victim: subprocess.Popen[bytes], killed_at: int = 0, *, after: bool = False
    ) -> None:
        self.calls.clear()
        self.victim, self.killed_at, self.killed_after = victim, killed_at, after

    def around(self, application: Application) -> Application:
        def watched(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            if not self.victim:
                return application(environ, start_response)
            length = int(environ["CONTENT_LENGTH"])
            body = environ["wsgi.input"].read(length)
            if len(body) < length:  # killed while it was sending
                return self._refuse(start_response)
            with self._lock:
                self.calls.append(self._described(environ, body))
                is_last = len(self.calls) == self.killed_at
            time.sleep(random.uniform(0, self.delay))  # noqa: S311  to shuffle
            if is_last and not self.killed_after:
                self._kill()
                return self._refuse(start_response)
            environ["wsgi.input"] = io.BytesIO(body)
            answer = [*application(environ, start_response)]
            if is_last:
                self._kill()
            return answer

        return watched

    def _kill(self) -> None:
        assert self.victim
        self.victim.kill()
        self.victim.wait()

    def _refuse(self, start_response: StartResponse) -> Iterable[bytes]:
        start_response("503 Service Unavailable", [])
        return []

    def _described(self, environ: dict[str, Any], body: bytes) -> str:
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        if not operation:
            return f"token for {self.names[parse_qs(body.decode())['tenant_id'][0]]}"
        request = json.loads(body)
        key = request.get("Key", {}).get("key", {}).get("S")
        update = request.get("UpdateExpression", "").split(" = ")[0]
        if stage := request.get("VersionStage"):
            return f"{operation} {stage}"
        subject = key or next((request[name] for name in SUBJECTS if name in request), "")
        return f"{operation} {subject} {update}".strip()
