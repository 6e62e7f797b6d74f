"""A token endpoint that keeps connections, and sends on them what nobody has asked for."""

import secrets
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import parse_headers
from urllib.parse import parse_qs

from tests.helpers.account import token_body
from tests.helpers.broken_server import running

type Answers = Callable[[bytes, Callable[[], bytes]], Iterator[bytes]]

INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
OUTAGE = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
MOMENT = 0.05  # seconds: longer than the next request takes to come


def well(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer


def after_an_interim_one(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield INTERIM
    time.sleep(MOMENT)
    yield answer


def after_many_interim_ones(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    for status in (b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 "):
        yield b"HTTP/1.1 " + status + b"\r\nX: y\r\n\r\n"
        time.sleep(MOMENT / 4)
    yield answer


def twice(answer: bytes, another: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer + another()


def twice_the_same(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer
    yield answer


def one_more_before_the_next_request(
    answer: bytes, another: Callable[[], bytes]
) -> Iterator[bytes]:
    yield answer
    time.sleep(MOMENT / 4)
    yield another()


def late_after_an_error(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield OUTAGE
    time.sleep(MOMENT)
    yield answer


def late_after_a_refusal(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    body = b'{"error": "temporarily_unavailable"}'
    yield b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    yield answer


def with_bytes_after_it(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer + b"\r\n0\r\n\r\nHTTP/1.1 200 "


def in_pieces(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    for start in range(0, len(answer), 64):
        yield answer[start : start + 64]


def none_at_all(_: bytes, __: Callable[[], bytes]) -> Iterator[bytes]:
    yield b""


def well_after_another_unasked(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer


def well_after_an_early_hint(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer


def well_after_a_hint_and_another(answer: bytes, _: Callable[[], bytes]) -> Iterator[bytes]:
    yield answer


UNASKED: dict[Answers, Callable[[bytes], bytes]] = {  # as soon as it is connected
    well_after_another_unasked: lambda another: another,
    well_after_an_early_hint: lambda _: INTERIM,
    well_after_a_hint_and_another: lambda another: INTERIM + another,
}
WAYS: list[Answers] = [
    well,
    well_after_an_early_hint,
    after_an_interim_one,
    after_many_interim_ones,
    twice,
    twice_the_same,
    one_more_before_the_next_request,
    late_after_an_error,
    late_after_a_refusal,
    with_bytes_after_it,
    in_pieces,
    none_at_all,
]


class UnrulyServer(socketserver.ThreadingTCPServer):
    """Issues opaque tokens, and knows for which request each one is."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, ways: Iterator[Answers]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ways = ways
        self.issued: dict[str, str] = {}  # tenant_id by token
        self.unasked_at = 0.0
        self.lock = threading.Lock()

    @property
    def token_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/connect/token"

    def way(self) -> Answers:
        with self.lock:
            return next(self.ways)

    def answer(self, tenant_id: str) -> bytes:
        token = secrets.token_urlsafe(24)
        self.issued[token] = tenant_id
        body = token_body(token)
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class Handler(socketserver.StreamRequestHandler):
    server: UnrulyServer

    def handle(self) -> None:
        way = self.server.way()
        if unasked := UNASKED.get(way):
            self.request.sendall(unasked(self.server.answer("nobody's")))
            self.server.unasked_at = time.monotonic()
        while self.rfile.readline():
            headers = parse_headers(self.rfile)
            form = parse_qs(self.rfile.read(int(headers["Content-Length"])).decode())
            if not form:
                return  # whoever was answered unasked sends none
            [tenant_id] = form["tenant_id"]
            with suppress(OSError):  # the client may have hung up
                for piece in way(
                    self.server.answer(tenant_id), lambda: self.server.answer("nobody's")
                ):
                    self.request.sendall(piece)
            if way is none_at_all:
                return
            way = self.server.way()


@contextmanager
def unruly_server(ways: Iterator[Answers]) -> Iterator[UnrulyServer]:
    with UnrulyServer(ways) as server, running(server):
        yield server
