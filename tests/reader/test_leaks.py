"""No token is shown: not by what is printed, logged or raised, with all that is chained to it."""

import asyncio
import logging
import pickle
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest
import requests

from tests.reader.parameter_store import DENIED, NOW, Clock, ParameterStore, jwt
from visma_tokens import TokenError, TokenReader
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken

if TYPE_CHECKING:
    from types import TracebackType

NOWHERE = "http://127.0.0.1:9"  # nothing is sent there without a token
TOKEN = jwt(number=1)
PIECES = TOKEN.split(".")[1:]


def call_by_requests(tokens: TokenReader, url: str = NOWHERE) -> object:
    return requests.get(url, auth=RequestsToken("acme", tokens), timeout=10)


def call_by_httpx(tokens: TokenReader, url: str = NOWHERE) -> object:
    return httpx.get(url, auth=HttpxToken("acme", tokens))


def call_by_httpx_async(tokens: TokenReader, url: str = NOWHERE) -> object:
    async def call() -> object:
        async with httpx.AsyncClient(auth=HttpxToken("acme", tokens)) as client:
            return await client.get(url)

    return asyncio.run(call())


LOOK_UPS: list[Callable[[TokenReader], object]] = [
    lambda tokens: tokens["acme"],
    lambda tokens: asyncio.run(tokens.aread("acme")),
    call_by_requests,
    call_by_httpx,
    call_by_httpx_async,
]


def frames_of(error: BaseException | None) -> Iterator[str]:
    """Yield what a tool that shows local variables would show of ours, causes and contexts too."""
    while error:
        yield repr(error)
        trace: TracebackType | None = error.__traceback__
        while trace:
            code = trace.tb_frame.f_code
            is_ours = trace.tb_frame.f_globals["__name__"].startswith("visma_tokens")
            if is_ours and code.co_name != "_values":  # which hides what boto3 has returned
                for value in trace.tb_frame.f_locals.values():
                    with suppress(AttributeError):  # of what is half made
                        yield repr(value)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def shown(error: BaseException) -> str:
    return "\n".join([str(error), *traceback.format_exception(error), *frames_of(error)])


def assert_silent(text: str) -> None:
    assert not any(piece in text for piece in [TOKEN, *PIECES, "pass word"])


def expired(store: ParameterStore, clock: Clock) -> None:
    store.tokens["acme"] = TOKEN
    clock.now = NOW + 3601


def overwritten(store: ParameterStore, clock: Clock) -> None:
    del clock
    store.tokens["acme"] = f"pass word {TOKEN}"


def gone(store: ParameterStore, clock: Clock) -> None:
    del store.tokens["acme"]
    clock.now = NOW + 301


def denied(store: ParameterStore, clock: Clock) -> None:
    store.failure = DENIED
    clock.now = NOW + 3601


TROUBLES: dict[str, Callable[[ParameterStore, Clock], None]] = {
    one.__name__: one for one in (expired, overwritten, gone, denied)
}


@pytest.mark.parametrize("name", TROUBLES)
def test_an_error_shows_no_token(
    name: str, tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    if name in {"gone", "denied"}:  # after a token was cached
        store.tokens["acme"] = TOKEN
        assert tokens["acme"] == TOKEN
    TROUBLES[name](store, clock)

    for look_up in LOOK_UPS:
        with pytest.raises(TokenError) as caught:
            look_up(tokens)
        assert_silent(shown(caught.value))
        assert_silent(shown(pickle.loads(pickle.dumps(caught.value))))  # noqa: S301  our own


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """Serve a 401 to the first call, and hang up on the next ones; return the URL."""
    calls = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(self.path)
            if not calls[1:]:
                self.wfile.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("call", [call_by_requests, call_by_httpx, call_by_httpx_async])
def test_a_call_that_fails_when_it_is_repeated_shows_no_token(
    call: Callable[[TokenReader, str], object],
    tokens: TokenReader,
    store: ParameterStore,
    hanging_up: str,
) -> None:
    store.tokens["acme"] = jwt(number=0)
    assert tokens["acme"]
    store.tokens["acme"] = TOKEN

    with pytest.raises((requests.ConnectionError, httpx.RemoteProtocolError)) as caught:
        call(tokens, hanging_up)

    assert_silent(shown(caught.value))


class Interruption(BaseException):
    """As a signal's handler may raise, anywhere."""


class Interrupted(boto3.Session):
    """Makes clients that are interrupted when they read."""

    made = 0

    def client(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        self.made += 1

        def get_parameter(**_: object) -> object:
            raise Interruption

        return SimpleNamespace(
            get_parameter=get_parameter,
            exceptions=SimpleNamespace(ParameterNotFound=KeyError),
        )


def test_whatever_passes_through_finds_no_token(clock: Clock) -> None:
    session = Interrupted(region_name="eu-north-1")
    tokens = TokenReader(session=session, now=clock)

    with pytest.raises(Interruption) as caught:
        tokens.reread("acme", TOKEN)

    with pytest.raises(Interruption):
        tokens["acme"]
    assert session.made == 2  # locks of the first may be held for good
    assert_silent("\n".join(frames_of(caught.value)))


def test_nothing_that_is_printed_shows_a_token(tokens: TokenReader, store: ParameterStore) -> None:
    store.tokens["acme"] = TOKEN
    auth, other = RequestsToken("acme", tokens), HttpxToken("acme", tokens)
    prepared = requests.Request("GET", "http://127.0.0.1", auth=auth).prepare()
    request = next(other.sync_auth_flow(httpx.Request("GET", "http://127.0.0.1")))

    assert (
        prepared.headers["Authorization"] == request.headers["Authorization"] == f"Bearer {TOKEN}"
    )
    for one in (tokens, auth, other, vars(tokens), vars(auth), prepared.headers, request.headers):
        assert_silent(f"{one!r} {one}")
    assert "'Authorization': '[secure]'" in repr(prepared.headers)
    assert repr(tokens["acme"]) == "'[secure]'"


def test_no_line_of_the_log_shows_a_token(
    tokens: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "visma_tokens")
    store.tokens["acme"] = TOKEN
    assert tokens["acme"]
    assert tokens.reread("acme", TOKEN) is None
    store.failure = DENIED
    clock.now = NOW + 301
    assert tokens["acme"]

    assert len(caplog.records) == 2
    for record in caplog.records:
        assert_silent(f"{record.getMessage()} {vars(record)}")
