"""No token is shown: not by what is printed, logged or raised, with all that is chained to it."""

import asyncio
import io
import logging
import pickle
import secrets
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import boto3
import httpx
import pytest
import requests
from hypothesis import HealthCheck, example, given, settings
from hypothesis.strategies import builds, characters, text
from rich.console import Console
from rich.traceback import Traceback

from tests.helpers.frames import Interruption, frames_of
from tests.helpers.parameter_store import DENIED, NOW, OLD, Clock, Failure, ParameterStore, jwt
from tests.reader.conftest import failure_of, session
from visma_tokens import TokenError, TokenReader
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken
from visma_tokens.secret import Secret

NOWHERE = "http://127.0.0.1:9"  # nothing is sent there without a token
TOKEN = OLD
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


def shown(error: BaseException) -> str:
    return "\n".join([str(error), *traceback.format_exception(error), *frames_of(error)])


def assert_silent(text: str) -> None:
    assert not any(piece in text for piece in [TOKEN, *PIECES, "pass word"])


TROUBLES = {  # the token that was cached, what is stored then, how AWS fails, seconds later
    "expired": (None, TOKEN, None, 3601),
    "overwritten": (None, f"pass word {TOKEN}", None, 0),
    "gone": (TOKEN, None, None, 301),
    "denied": (TOKEN, TOKEN, DENIED, 3601),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_an_error_shows_no_token(
    name: str, tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    cached, stored, failure, seconds = TROUBLES[name]
    if cached:
        store.tokens["acme"] = cached
        assert tokens["acme"] == cached
    store.tokens = {"acme": stored} if stored else {}
    store.failure = failure
    clock.now = NOW + seconds

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


class Interrupted(boto3.Session):
    """Makes clients that are interrupted when they read."""

    made = 0

    def client(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        self.made += 1

        def get_parameter(**_: object) -> object:
            raise Interruption

        return SimpleNamespace(
            get_parameter=get_parameter,
            meta=SimpleNamespace(endpoint_url="https://ssm.invalid"),
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


def test_nothing_that_is_printed_shows_a_token(cached: TokenReader) -> None:
    auth, other = RequestsToken("acme", cached), HttpxToken("acme", cached)
    prepared = requests.Request("GET", "http://127.0.0.1", auth=auth).prepare()
    request = next(other.sync_auth_flow(httpx.Request("GET", "http://127.0.0.1")))

    assert (
        prepared.headers["Authorization"] == request.headers["Authorization"] == f"Bearer {TOKEN}"
    )
    for one in (cached, auth, other, vars(cached), vars(auth), prepared.headers, request.headers):
        assert_silent(f"{one!r} {one}")
    assert "'Authorization': '[secure]'" in repr(prepared.headers)
    assert repr(cached["acme"]) == "'[secure]'"


@pytest.mark.parametrize("length", [64, 90, 900])
def test_a_debugger_that_cuts_long_texts_shows_no_token(
    length: int, tokens: TokenReader, store: ParameterStore
) -> None:
    opaque = store.tokens["acme"] = secrets.token_hex(length // 2)
    console = Console(file=io.StringIO(), width=200)

    def fail() -> None:
        token = tokens["acme"]
        header = "Bearer " + token
        with requests.Session() as session:
            session.auth = RequestsToken("acme", tokens)
            session.get(NOWHERE, timeout=10)
        del token, header  # which were there until it failed

    with pytest.raises(requests.ConnectionError) as caught:
        fail()
    frames = caught.tb.tb_next  # without this one
    console.print(
        Traceback.from_exception(
            caught.type, caught.value, frames, show_locals=True, max_frames=100
        )
    )

    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "token = '[secure]'" in said
    assert not any(opaque[start : start + 8] in said for start in range(length - 7))


def test_parts_of_a_token_hide_too() -> None:
    token = Secret(TOKEN)

    made = [token[:80], token[-80:], token[0], token[:9] + "…", "Bearer " + token]

    assert set(map(repr, made)) == {"'[secure]'"}
    assert made == [TOKEN[:80], TOKEN[-80:], TOKEN[0], f"{TOKEN[:9]}…", f"Bearer {TOKEN}"]


def test_no_line_of_the_log_shows_a_token(
    cached: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "visma_tokens")
    assert cached.reread("acme", TOKEN) is None
    store.failure = DENIED
    clock.now = NOW + 301
    assert cached["acme"]

    assert len(caplog.records) == 2
    for record in caplog.records:
        assert_silent(f"{record.getMessage()} {vars(record)}")


ODD = "\x1b[2J\r\n\u202etxt\x9b31m\x00\u200f\ud800"
NO_NAMES: list[Any] = [
    ODD,
    TOKEN,
    f"Bearer {TOKEN}",
    {"acme": TOKEN},
    Secret("opaque-token"),
    Secret(TOKEN),
    TOKEN.encode(),
]


def assert_harmless(text: str) -> None:
    assert all(one.isprintable() or one == "\n" for one in text)
    assert_silent(text)
    assert "opaque-token" not in text


@pytest.mark.parametrize("number", range(len(NO_NAMES)))
def test_what_is_taken_for_a_name_is_not_shown_if_it_may_be_a_token(
    number: int, tokens: TokenReader, store: ParameterStore
) -> None:
    with pytest.raises((TokenError, TypeError)) as caught:
        asyncio.run(tokens.aread(NO_NAMES[number]))

    assert_harmless(f"{caught.value} {caught.value!r}")
    assert store.asked == []


@pytest.mark.parametrize("kind", [RequestsToken, HttpxToken])
def test_arguments_in_the_wrong_order_show_no_token(
    kind: Callable[[Any, Any], RequestsToken | HttpxToken],
) -> None:
    with pytest.raises(TypeError) as caught:
        kind({"acme": TOKEN}, "acme")

    assert_harmless(f"{caught.value} {caught.value!r}")


@settings(
    deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(failure=builds(Failure, code=text(), message=text(characters(codec=None))))
@example(failure=Failure("AccessDeniedException", ODD))
@example(failure=Failure("InvalidSignatureException", f"should have been\n'POST\n/{ODD}'"))
@example(failure=Failure("ValidationException", "x" * 100_000))
def test_what_aws_says_is_escaped_and_cut(
    failure: Failure,
    tokens: TokenReader,
    store: ParameterStore,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.clear()
    store.failure = None
    clock.now += 1000
    store.tokens["acme"] = jwt(expires_at=clock.now + 3600)
    assert tokens["acme"]
    store.failure = failure

    clock.now += 301
    assert tokens["acme"]  # which the log is told of
    clock.now += 3600
    error = failure_of(tokens)

    assert_harmless(shown(error))
    assert len(str(error)) < 1000
    for record in caplog.records:
        assert_harmless(record.getMessage())


def test_a_request_that_aws_quotes_is_not_said(store: ParameterStore, tokens: TokenReader) -> None:
    quoted = "should have been 'POST x-amz-security-token:IQoJb3JpZ2luX2Vj'"
    store.failure = Failure("SignatureDoesNotMatch", quoted, "403 Forbidden")

    shown = "".join(traceback.format_exception(failure_of(tokens)))
    assert "SignatureDoesNotMatch" in shown
    assert "IQoJ" not in shown


@pytest.mark.parametrize("url", ["https://user:pa55@127.0.0.1:9", "https://user:pa55@a..b"])
def test_a_password_in_a_url_is_not_said(url: str) -> None:
    tokens = TokenReader(session=session(), endpoint_url=url)

    assert "pa55" not in "".join(traceback.format_exception(failure_of(tokens)))
