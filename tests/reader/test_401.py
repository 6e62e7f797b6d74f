"""What requests and httpx do about a 401, over a real socket."""

import asyncio
import io
from collections.abc import AsyncIterator, Buffer, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import pytest
import requests

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import DENIED, NEW, OLD, Changing, Clock, ParameterStore, jwt
from tests.helpers.refusing_api import TEN_SECONDS, Api
from tests.reader.conftest import held, until_asked
from visma_tokens import NoSuchToken, TokenReader, Tokens
from visma_tokens.httpx import KEPT_BYTES
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken


@dataclass
class Answer:
    status: int
    body: str
    before: list[int]  # the statuses of answers that were not the last


type Body = dict[str, Any]


class Send(Protocol):
    def __call__(self, tokens: Tokens, url: str, body: Body | None = None) -> Answer:
        """Send a GET, or a POST with that body."""
        ...


def by_requests(tokens: Tokens, url: str, body: Body | None = None) -> Answer:
    method = "POST" if body else "GET"
    with requests.Session() as session:
        session.auth = RequestsToken("acme", tokens)
        got = session.request(method, url, timeout=TEN_SECONDS, **(body or {}))
    return Answer(got.status_code, got.text, [one.status_code for one in got.history])


def by_httpx(tokens: Tokens, url: str, body: Body | None = None) -> Answer:
    method = "POST" if body else "GET"
    auth = HttpxToken("acme", tokens)
    with httpx.Client(auth=auth, timeout=TEN_SECONDS, follow_redirects=True) as client:
        got = client.request(method, url, **(body or {}))
    return Answer(got.status_code, got.text, [one.status_code for one in got.history])


def by_httpx_async(tokens: Tokens, url: str, body: Body | None = None) -> Answer:
    method = "POST" if body else "GET"
    auth = HttpxToken("acme", tokens)

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(
            auth=auth, timeout=TEN_SECONDS, follow_redirects=True
        ) as client:
            return await client.request(method, url, **(body or {}))

    got = asyncio.run(send())
    return Answer(got.status_code, got.text, [one.status_code for one in got.history])


BYTES: dict[Send, Body] = {
    by_requests: {"data": b"bytes"},
    by_httpx: {"content": b"bytes"},
    by_httpx_async: {"content": b"bytes"},
}
CALLERS: dict[str, Send] = {
    "requests": by_requests,
    "httpx": by_httpx,
    "httpx-async": by_httpx_async,
}


@pytest.fixture(params=CALLERS)
def send(request: pytest.FixtureRequest) -> Send:
    return CALLERS[request.param]


def test_a_token_that_is_taken_is_sent_once(
    rotated: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    api.taken = {OLD}

    assert send(rotated, url) == Answer(200, "welcome", [])

    assert [call.token for call in api.calls] == [OLD]
    assert len(store.asked) == 1


def test_a_refused_token_is_read_past_the_cache_and_the_call_is_repeated(
    rotated: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    assert send(rotated, url) == Answer(200, "welcome", [401])
    assert send(rotated, url) == Answer(200, "welcome", [])

    assert [call.token for call in api.calls] == [OLD, NEW, NEW]
    assert len(store.asked) == 2


def test_it_is_repeated_once_only(
    rotated: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    api.taken = set()

    assert send(rotated, url) == Answer(401, "not this one", [401])

    assert [call.token for call in api.calls] == [OLD, NEW]
    assert len(store.asked) == 2


def test_it_is_not_repeated_with_the_same_token_and_causes_no_storm(
    cached: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    answers = [send(cached, url) for _ in range(20)]

    assert answers == [Answer(401, "not this one", [])] * 20
    assert len(api.calls) == 20
    assert len(store.asked) == 2


def test_where_it_can_t_be_read_again_the_401_is_the_answer(
    cached: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    store.failure = DENIED

    assert send(cached, url) == Answer(401, "not this one", [])
    assert len(api.calls) == 1


def test_another_refusal_is_no_401(
    rotated: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    api.taken, api.status = {OLD}, "403 Forbidden"

    assert send(rotated, url) == Answer(403, "welcome", [])
    assert len(store.asked) == 1


def test_without_a_token_nothing_is_sent(
    tokens: TokenReader, api: Api, url: str, send: Send
) -> None:
    with pytest.raises(NoSuchToken):
        send(tokens, url)

    assert api.calls == []


def test_a_dictionary_will_do(api: Api, url: str, send: Send) -> None:
    api.taken = {"one"}

    assert send({"acme": "one"}, url) == Answer(200, "welcome", [])
    assert send({"acme": "two"}, url) == Answer(401, "not this one", [])
    assert [call.token for call in api.calls] == ["one", "two"]


def test_a_dictionary_that_changes_does_for_a_rotation(url: str, send: Send) -> None:
    assert send(Changing(), url) == Answer(200, "welcome", [401])


class Unseekable(io.RawIOBase):
    """A pipe, as it were."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._content.readinto(buffer)

    def seekable(self) -> bool:
        return False


class Closing(io.BytesIO):
    """A file that whoever reads it to its end closes."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(size)
        if not content:
            self.close()
        return content


def pieces() -> Iterator[bytes]:
    yield from (b"pie", b"ces")


async def async_pieces() -> AsyncIterator[bytes]:
    for piece in (b"pie", b"ces"):
        yield piece


FORM = {"data": {"a": "1"}}
FILES = {"files": {"upload": ("name.txt", b"content")}}
SIX_BYTES = {"Content-Length": "6"}
AGAIN: dict[str, list[tuple[Send, Body]]] = {
    "json": [(one, {"json": {"a": 1}}) for one in CALLERS.values()],
    "form": [(one, FORM) for one in CALLERS.values()],
    "multipart": [(one, FILES) for one in CALLERS.values()],
    "bytes": list(BYTES.items()),
    "bytearray": [(by_requests, {"data": bytearray(b"bytes")})],
    "text": [
        (by_requests, {"data": "text"}),
        (by_httpx, {"content": "text"}),
        (by_httpx_async, {"content": "text"}),
    ],
    "file": [
        (by_requests, {"data": io.BytesIO(b"file")}),
        (by_httpx, {"content": io.BytesIO(b"file")}),
    ],
    "long-file": [(by_requests, {"data": io.BytesIO(b"x" * (KEPT_BYTES + 1))})],
    "generator-of-known-length": [
        (by_httpx, {"content": pieces(), "headers": SIX_BYTES}),
        (by_httpx_async, {"content": async_pieces(), "headers": SIX_BYTES}),
    ],
}
NOT_AGAIN: dict[str, tuple[Send, Callable[[], Body]]] = {
    "generator-requests": (by_requests, lambda: {"data": pieces()}),
    "generator-httpx": (by_httpx, lambda: {"content": pieces()}),
    "generator-httpx-async": (by_httpx_async, lambda: {"content": async_pieces()}),
    "closed-file-requests": (by_requests, lambda: {"data": Closing(b"file")}),
    "pipe-requests": (by_requests, lambda: {"data": Unseekable(b"pieces")}),
    "long-file-httpx": (by_httpx, lambda: {"content": io.BytesIO(b"x" * (KEPT_BYTES + 1))}),
}


@pytest.mark.parametrize(
    ("caller", "body"),
    [
        pytest.param(caller, body, id=f"{name}-{number}")
        for name, some in AGAIN.items()
        for number, (caller, body) in enumerate(some)
    ],
)
def test_a_body_that_can_be_sent_again_is(
    caller: Send, body: Body, rotated: TokenReader, api: Api, url: str
) -> None:
    assert caller(rotated, url, body).before == [401]

    first, second = api.calls
    assert first.body == second.body != b""
    assert (first.token, second.token) == (OLD, NEW)


@pytest.mark.parametrize("name", NOT_AGAIN)
def test_a_body_that_can_t_be_sent_again_is_not(
    name: str, rotated: TokenReader, api: Api, url: str
) -> None:
    caller, body = NOT_AGAIN[name]

    assert caller(rotated, url, body()) == Answer(401, "not this one", [])

    assert len(api.calls) == 1
    assert rotated["acme"] == NEW  # the next call has it


async def each(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("send", [by_httpx, by_httpx_async])
def test_a_body_that_is_longer_than_it_says_is_not_read_any_further(
    send: Send, rotated: TokenReader, api: Api, url: str
) -> None:
    pieces = iter([b"123456", b"7", b"x" * KEPT_BYTES])
    content = pieces if send is by_httpx else each(pieces)

    with pytest.raises(httpx.LocalProtocolError) as caught:
        send(rotated, url, {"content": content, "headers": SIX_BYTES})

    assert len([*pieces]) == 1
    assert caught.value.request.headers["Content-Length"] == "6"
    assert api.calls == []


def test_no_other_host_gets_the_token(
    rotated: TokenReader, store: ParameterStore, api: Api, url: str, send: Send
) -> None:
    api.taken = {OLD}
    other = Api()
    with serving_wsgi(other) as elsewhere:
        api.redirect = elsewhere
        answer = send(rotated, f"{url}/elsewhere")

    assert (answer.status, answer.before) == (401, [307])
    assert [call.token for call in other.calls] == [None]
    assert len(store.asked) == 1


REDIRECTS = {
    "a refusal after one is repeated": [
        ("GET", "/elsewhere", OLD),
        ("GET", "/here", OLD),
        ("GET", "/here", NEW),
    ],
    "what was ordered before one is not ordered twice": [
        ("POST", "/ordered", OLD),
        ("GET", "/ordered/1", OLD),
        ("GET", "/ordered/1", NEW),
    ],
    "one after the repeated call has the newer token": [
        ("GET", "/guarded", OLD),
        ("GET", "/guarded", NEW),
        ("GET", "/here", NEW),
    ],
}


@pytest.mark.parametrize("calls", REDIRECTS.values(), ids=REDIRECTS)
def test_redirects_on_the_same_host(
    calls: list[tuple[str, str, str]], rotated: TokenReader, api: Api, url: str, send: Send
) -> None:
    api.redirect = f"{url}/here"
    method, path, _ = calls[0]

    answer = send(rotated, f"{url}{path}", BYTES[send] if method == "POST" else None)

    assert answer.status == 200
    assert [(call.method, call.path, call.token) for call in api.calls] == calls


def test_twenty_threads_that_are_refused_all_get_through(
    rotated: TokenReader, store: ParameterStore, url: str, pool: ThreadPoolExecutor
) -> None:
    answers = list(pool.map(lambda _: by_requests(rotated, url), range(20)))

    assert {one.status for one in answers} == {200}
    assert len(store.asked) == 2


def test_a_wrapper_of_a_reader_does_as_well(rotated: TokenReader, url: str, send: Send) -> None:
    class Wrapper:
        """Has what is looked up and read again, and nothing else of a reader."""

        def __init__(self) -> None:
            self.aread, self.reread, self.areread = rotated.aread, rotated.reread, rotated.areread

        def __getitem__(self, tenant: str) -> str:
            return rotated[tenant]

    assert send(Wrapper(), url) == Answer(200, "welcome", [401])


@pytest.mark.parametrize("is_refused", [False, True], ids=["at first", "after a 401"])
def test_no_read_blocks_the_loop_of_a_client(
    *, is_refused: bool, tokens: TokenReader, store: ParameterStore, url: str
) -> None:
    if is_refused:
        store.tokens["acme"] = OLD
        assert tokens["acme"] == OLD
    store.tokens["acme"] = NEW
    reads = len(store.asked)

    async def call() -> tuple[int, bool]:
        async with httpx.AsyncClient(auth=HttpxToken("acme", tokens)) as client:
            with held(store, "acme"):
                calling = asyncio.create_task(client.get(url))
                await until_asked(store, reads + 1)
                was_done = calling.done()
            return (await calling).status_code, was_done

    assert asyncio.run(call()) == (200, False)


def test_a_file_that_httpx_can_t_send_there_fails_as_without_us(
    tokens: TokenReader, store: ParameterStore, url: str
) -> None:
    store.tokens["acme"] = NEW

    with pytest.raises(RuntimeError, match="Attempted to send an sync request with an AsyncClient"):
        by_httpx_async(tokens, url, {"content": io.BytesIO(b"file")})


@pytest.mark.parametrize("kind", [RequestsToken, HttpxToken])
def test_what_is_no_tenant_and_what_is_no_reader_is_refused_at_once(
    kind: type[RequestsToken | HttpxToken],
) -> None:
    nobody: Any = None
    path: Any = "/visma/tokens"

    with pytest.raises(TypeError, match="None is no tenant's name"):
        kind(nobody)
    with pytest.raises(TypeError, match=r"for another path, give TokenReader\(path\)"):
        kind("acme", path)


def test_the_time_of_the_repeated_call_is_told(http: requests.Session, url: str) -> None:
    assert http.get(url, timeout=TEN_SECONDS).elapsed.total_seconds() > 0


@pytest.mark.parametrize("kind", [str.__str__, str.encode])
def test_a_header_that_another_authentication_has_rebuilt_is_ours_all_the_same(
    kind: Callable[[str], Any], rotated: TokenReader, api: Api, url: str
) -> None:
    class Rebuilding(RequestsToken):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            header = super().__call__(request).headers["Authorization"]
            request.headers["Authorization"] = kind("".join(list(header)))
            return request

    answer = requests.get(url, auth=Rebuilding("acme", rotated), timeout=TEN_SECONDS)

    assert (answer.status_code, [call.token for call in api.calls]) == (200, [OLD, NEW])


@pytest.mark.parametrize("can_be_read", [True, False])
def test_a_header_that_is_not_ours_is_never_replaced(  # noqa: PLR0913  what it runs against
    rotated: TokenReader,
    store: ParameterStore,
    clock: Clock,
    api: Api,
    url: str,
    *,
    can_be_read: bool,
) -> None:
    class Replacing(RequestsToken):
        def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
            super().__call__(request).headers["Authorization"] = "Bearer of-somebody-else"
            if not can_be_read:
                store.failure, clock.now = DENIED, clock.now + 3601
            return request

    answer = requests.get(url, auth=Replacing("acme", rotated), timeout=TEN_SECONDS)

    assert answer.status_code == 401
    assert [call.token for call in api.calls] == ["of-somebody-else"]
    assert len(store.asked) == (1 if can_be_read else 2)


def test_hooks_of_a_session_see_the_last_answer_only(http: requests.Session, url: str) -> None:
    seen: list[int] = []
    hooks = http.hooks["response"]
    hooks.append(lambda answer, **_: seen.append(answer.status_code))

    answer = http.get(url, timeout=TEN_SECONDS)

    assert seen == [200]
    assert answer.history[0].request.headers["Authorization"] == f"Bearer {OLD}"
    assert answer.request.headers["Authorization"] == f"Bearer {NEW}"
    assert http.cookies["seen"] == "1"


def test_a_request_that_is_sent_again_later_is_repeated_again(
    http: requests.Session, store: ParameterStore, clock: Clock, api: Api, url: str
) -> None:
    request = http.prepare_request(requests.Request("GET", url))
    for number in (2, 3):
        clock.now += 11
        store.tokens["acme"] = jwt(number=number)
        api.taken = {store.tokens["acme"]}

        assert http.send(request, timeout=TEN_SECONDS).status_code == 200


def test_a_stream_that_is_refused_is_repeated_as_a_stream(http: requests.Session, url: str) -> None:
    with http.get(url, stream=True, timeout=TEN_SECONDS) as answer:
        assert answer.raw.read() == b"welcome"
