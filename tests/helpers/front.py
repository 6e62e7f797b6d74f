"""What stands before MiniStack: it passes everything on, or answers that reads are throttled."""

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import urllib3

from local.authorization_server import serving_wsgi

OWN = {"connection", "keep-alive", "transfer-encoding", "content-length"}  # headers of a connection


@dataclass
class Front:
    """A server before another; a `share` of the reads of Parameter Store is throttled."""

    endpoint: str
    url: str = ""
    share: float = 0.0
    throttled: Counter[str] = field(default_factory=Counter)  # by operation
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(maxsize=40))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer, or pass on (WSGI)."""
        body = environ["wsgi.input"].read()
        operation = environ.get("HTTP_X_AMZ_TARGET", "").removeprefix("AmazonSSM.")
        if operation.startswith("GetParameter") and random.random() < self.share:  # noqa: S311
            with self._lock:
                self.throttled[operation] += 1
            answer = {"__type": "ThrottlingException", "message": "Rate exceeded"}
            start_response("400 Bad Request", [("Content-Type", "application/x-amz-json-1.1")])
            return [json.dumps(answer).encode()]
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        passed = self._pool.request(
            environ["REQUEST_METHOD"],
            self.endpoint + environ["REQUEST_URI"],
            body=body,
            headers={name: value for name, value in headers.items() if name not in OWN},
            retries=False,
            decode_content=False,
            timeout=60.0,  # seconds
        )
        told = [(name, value) for name, value in passed.headers.items() if name.lower() not in OWN]
        start_response(f"{passed.status} {passed.reason}", told)
        return [passed.data]


@contextmanager
def standing_before(endpoint: str) -> Iterator[Front]:
    """Serve one until the block ends."""
    front = Front(endpoint)
    with serving_wsgi(front) as url:
        front.url = url
        yield front
