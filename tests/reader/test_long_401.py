"""Bodies of a 401 while there is a newer token: a short one is kept, no other is waited for."""

import asyncio
import gzip
import itertools
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import requests

from tests.conftest import rarely
from tests.helpers.parameter_store import NEW, OLD
from visma_tokens import TokenReader
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken

MEGABYTE = 1024 * 1024
PIECE = b"x" * 65536
BUFFERED = 32 * MEGABYTE  # of which the kernel may take some on its way
TIMEOUT = 2.0  # seconds for which a client waits for the next byte


def long() -> Iterator[bytes]:
    yield b"Content-Length: 209715200\r\n\r\n"
    yield from itertools.repeat(PIECE, 3200)


def endless() -> Iterator[bytes]:
    yield b"Transfer-Encoding: chunked\r\n\r\n"
    yield from itertools.repeat(b"10000\r\n" + PIECE + b"\r\n")


def until_closed() -> Iterator[bytes]:
    yield b"Connection: close\r\n\r\n"
    yield from itertools.repeat(PIECE)


BOMB = gzip.compress(b"\0" * MEGABYTE) * 200


def bomb() -> Iterator[bytes]:
    yield b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB)
    yield BOMB


def slow() -> Iterator[bytes]:
    yield b"Content-Length: 1000\r\n\r\n"
    for _ in range(1000):
        time.sleep(0.1)
        yield b"x"


def mute() -> Iterator[bytes]:
    yield b"Content-Length: 10\r\n\r\n"
    time.sleep(3 * TIMEOUT)


def unknown() -> Iterator[bytes]:
    yield b"Content-Encoding: br, zstd, deflate, gzip\r\nContent-Length: 4\r\n\r\nnone"


def beyond() -> Iterator[bytes]:
    yield b"Content-Length: 65537\r\n\r\n" + PIECE + b"x"


def short() -> Iterator[bytes]:
    yield b"Content-Length: 12\r\n\r\nnot this one"


def chunked() -> Iterator[bytes]:
    yield b"Transfer-Encoding: chunked\r\n\r\n9\r\nnot this \r\n"
    yield b"3\r\none\r\n0\r\n\r\n"


def longest() -> Iterator[bytes]:
    yield b"Content-Length: 65536\r\n\r\n" + PIECE


def empty() -> Iterator[bytes]:
    yield b"Content-Length: 0\r\n\r\n"


BODIES: dict[str, Callable[[], Iterator[bytes]]] = {
    one.__name__: one for one in (long, endless, until_closed, bomb, slow, mute, unknown, beyond)
}
SHORT = {short: b"not this one", chunked: b"not this one", longest: PIECE, empty: b""}


@dataclass
class Api:
    """Answers 401 with a body to the old token, and 200 to the new one."""

    body: Callable[[], Iterator[bytes]]
    url: str = ""
    sent: int = 0  # bytes of the body
    statuses: list[int] = field(default_factory=list)
    connections: int = 0

    def serve(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                is_taken = False
                for line in lines:
                    is_taken = is_taken or f"Bearer {NEW}".encode() in line
                    if line == b"\r\n":
                        self._answer(connection, is_taken)
                        is_taken = False
            except OSError:
                pass

    def _answer(self, connection: socket.socket, is_taken: bool) -> None:  # noqa: FBT001
        self.statuses.append(200 if is_taken else 401)
        if is_taken:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nwelcome")
            return
        connection.sendall(b"HTTP/1.1 401 Unauthorized\r\n")
        for piece in self.body():
            connection.sendall(piece)
            self.sent += len(piece)


@contextmanager
def serving(body: Callable[[], Iterator[bytes]]) -> Iterator[Api]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        api = Api(body, f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread = threading.Thread(target=api.serve, args=(listening,), daemon=True)
        thread.start()
        yield api
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


type Outcome = tuple[bytes, list[bytes]]  # the body, and those of the answers before


def by_requests(tokens: TokenReader, url: str, *, is_stream: bool) -> Outcome:
    with requests.Session() as session:
        session.auth = RequestsToken("acme", tokens)
        answer = session.get(url, timeout=TIMEOUT, stream=is_stream)
        return answer.content, [one.content for one in answer.history]


def by_httpx(tokens: TokenReader, url: str, *, is_stream: bool) -> Outcome:
    with httpx.Client(auth=HttpxToken("acme", tokens), timeout=TIMEOUT) as client:
        answer = client.send(client.build_request("GET", url), stream=is_stream)
        return answer.read(), [one.content for one in answer.history]


def by_httpx_async(tokens: TokenReader, url: str, *, is_stream: bool) -> Outcome:
    async def call() -> Outcome:
        async with httpx.AsyncClient(auth=HttpxToken("acme", tokens), timeout=TIMEOUT) as client:
            answer = await client.send(client.build_request("GET", url), stream=is_stream)
            return await answer.aread(), [one.content for one in answer.history]

    return asyncio.run(call())


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("call", [by_requests, by_httpx, *rarely(by_httpx_async)])
def test_a_refusal_that_is_not_short_is_dropped_and_the_call_is_repeated_on_another_connection(
    call: Callable[..., Outcome], *, is_stream: bool, name: str, rotated: TokenReader
) -> None:
    with serving(BODIES[name]) as api:
        begun_at = time.monotonic()
        outcome = call(rotated, api.url, is_stream=is_stream)
        seconds = time.monotonic() - begun_at

    assert outcome == (b"welcome", [b""])
    assert api.statuses == [401, 200]
    assert api.connections == 2
    assert api.sent < BUFFERED
    assert seconds < 3 * TIMEOUT  # which the slow and the mute one would take


@pytest.mark.parametrize(("body", "content"), SHORT.items())
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("call", [by_requests, by_httpx, *rarely(by_httpx_async)])
def test_a_short_refusal_is_kept_and_so_is_its_connection(
    call: Callable[..., Outcome],
    *,
    is_stream: bool,
    body: Callable[[], Iterator[bytes]],
    content: bytes,
    rotated: TokenReader,
) -> None:
    with serving(body) as api:
        outcome = call(rotated, api.url, is_stream=is_stream)

    assert outcome == (b"welcome", [content])
    assert (api.statuses, api.connections) == ([401, 200], 1)


@pytest.mark.parametrize("call", [by_requests, by_httpx, *rarely(by_httpx_async)])
@pytest.mark.parametrize("name", ["long", "endless", "bomb"])
def test_a_refusal_takes_no_memory(
    name: str, call: Callable[..., Outcome], rotated: TokenReader
) -> None:
    with serving(BODIES[name]) as api, serving(short) as another:
        call(rotated, another.url, is_stream=False)  # which imports what is needed
        tracemalloc.start()
        call(rotated, api.url, is_stream=False)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize("call", [by_requests, by_httpx, *rarely(by_httpx_async)])
def test_a_refusal_without_a_newer_token_is_read_by_the_caller(
    call: Callable[..., Outcome], rotated: TokenReader
) -> None:
    assert rotated.reread("acme", OLD) == NEW

    with serving(short) as api:
        api_takes_nothing = api.url
        outcome = call(rotated, api_takes_nothing, is_stream=False)

    assert outcome == (b"welcome", [])
