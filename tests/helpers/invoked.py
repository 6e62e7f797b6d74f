"""Lambda on loopback: a real server that answers each invocation as a test has it."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HEAD = "HTTP/1.1 {}\r\nContent-Type: application/json\r\n"
NOTHING: dict[str, Any] = dict.fromkeys(("issued", "fresh", "failed", "deferred", "removed"), 0) | {
    "failures": []
}
ISSUED = NOTHING | {"issued": 1}


def answer(content: object, *headers: str, status: str = "200 OK", cut: int = 0) -> bytes:
    """Return an answer whose body lacks that many bytes."""
    body = json.dumps(content).encode()
    lines = [HEAD.format(status), *(f"{one}\r\n" for one in headers)]
    head = "".join([*lines, f"Content-Length: {len(body) + cut}\r\n\r\n"])
    return head.encode() + body


def failed_run(kind: str, message: str) -> bytes:
    return answer({"errorType": kind, "errorMessage": message}, "X-Amz-Function-Error: Unhandled")


DENIED = answer({}, "x-amzn-ErrorType: AccessDeniedException", status="403 Forbidden")


@dataclass
class Lambda:
    """What it answers, reports or bytes, the last for good; how late; and what it was sent."""

    answers: list[dict[str, Any] | bytes] = field(default_factory=lambda: [ISSUED])
    delay: float = 0.0  # seconds
    sent: list[dict[str, Any]] = field(default_factory=list)

    def take(self, event: dict[str, Any]) -> bytes:
        self.sent.append(event)
        one = self.answers.pop(0) if self.answers[1:] else self.answers[0]
        time.sleep(self.delay)
        return one if isinstance(one, bytes) else answer(one)


@contextmanager
def serving(function: Lambda) -> Iterator[str]:
    """Serve it until the block ends, and give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(function.take(json.loads(body)))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
