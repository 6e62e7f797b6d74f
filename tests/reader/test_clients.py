"""How clients of HTTP combine with a call that is repeated: cookies, pools, retries, redirects."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from urllib3 import Retry

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import NEW, OLD, Changing, ParameterStore
from tests.helpers.refusing_api import TEN_SECONDS, Api
from visma_tokens import TokenReader
from visma_tokens.bearer import may_be_short
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken

SETS = [
    ("Set-Cookie", "session=new; Path=/"),
    ("Set-Cookie", "gone=; Max-Age=0; Path=/"),
    ("Set-Cookie", "other=1; Path=/elsewhere"),
]


@dataclass
class CookieApi:
    """Refuses the old token, and sets cookies with that; then fails as often as it is told."""

    failures: int = 0
    cookies: list[set[str]] = field(default_factory=list)

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer (WSGI)."""
        self.cookies.append(set(filter(None, environ.get("HTTP_COOKIE", "").split("; "))))
        if environ["HTTP_AUTHORIZATION"] == f"Bearer {OLD}":
            start_response("401 Unauthorized", SETS)
        elif self.failures:
            self.failures -= 1
            start_response("503 Service Unavailable", [])
        else:
            start_response("200 OK", [])
        return [b""]


@pytest.fixture
def cookie_api() -> CookieApi:
    return CookieApi()


@pytest.fixture
def cookie_url(cookie_api: CookieApi) -> Iterator[str]:
    with serving_wsgi(cookie_api) as served:
        yield served


def cookies_of_requests(
    tokens: TokenReader, url: str, kept: dict[str, str], headers: dict[str, str]
) -> None:
    with requests.Session() as session:
        session.auth = RequestsToken("acme", tokens)
        for name, value in kept.items():
            session.cookies.set(name, value, domain="127.0.0.1")
        assert session.get(url, headers=headers, timeout=TEN_SECONDS).ok


def cookies_of_httpx(
    tokens: TokenReader, url: str, kept: dict[str, str], headers: dict[str, str]
) -> None:
    with httpx.Client(auth=HttpxToken("acme", tokens)) as client:
        for name, value in kept.items():
            client.cookies.set(name, value, domain="127.0.0.1")
        assert client.get(url, headers=headers).is_success


def cookies_of_httpx_async(
    tokens: TokenReader, url: str, kept: dict[str, str], headers: dict[str, str]
) -> None:
    async def call() -> bool:
        async with httpx.AsyncClient(auth=HttpxToken("acme", tokens)) as client:
            for name, value in kept.items():
                client.cookies.set(name, value, domain="127.0.0.1")
            return (await client.get(url, headers=headers)).is_success

    assert asyncio.run(call())


WITH_COOKIES = [cookies_of_requests, cookies_of_httpx, cookies_of_httpx_async]
KEPT = {"session": "old", "gone": "1", "kept": "2"}


@pytest.mark.parametrize("call", WITH_COOKIES)
def test_cookies_that_come_with_a_401_are_sent_with_the_repeated_call(
    call: Callable[..., None], rotated: TokenReader, cookie_api: CookieApi, cookie_url: str
) -> None:
    call(rotated, cookie_url, {}, {})

    assert cookie_api.cookies == [set(), {"session=new"}]


@pytest.mark.parametrize("call", WITH_COOKIES)
def test_cookies_that_come_with_a_401_replace_those_that_were_sent(
    call: Callable[..., None], rotated: TokenReader, cookie_api: CookieApi, cookie_url: str
) -> None:
    call(rotated, cookie_url, KEPT, {})

    first = {"session=old", "gone=1", "kept=2"}
    assert cookie_api.cookies == [first, {"session=new", "kept=2"}]


@pytest.mark.parametrize("call", WITH_COOKIES)
def test_other_cookies_in_a_header_of_the_caller_s_are_sent_again(
    call: Callable[..., None], rotated: TokenReader, cookie_api: CookieApi, cookie_url: str
) -> None:
    call(rotated, cookie_url, {}, {"Cookie": "mine=1"})

    assert "mine=1" in cookie_api.cookies[1]


def test_a_repeated_call_is_retried_as_others_are(
    http: requests.Session, cookie_api: CookieApi, cookie_url: str
) -> None:
    cookie_api.failures = 2
    http.mount("http://", HTTPAdapter(max_retries=Retry(3, status_forcelist=[503])))

    assert http.get(cookie_url, timeout=TEN_SECONDS).status_code == 200
    assert len(cookie_api.cookies) == 4


def test_a_pool_of_one_connection_is_enough(
    http: requests.Session, rotated: TokenReader, api: Api, url: str
) -> None:
    http.mount("http://", HTTPAdapter(pool_maxsize=1, pool_block=True))
    limits = httpx.Limits(max_connections=1)

    async def call() -> int:
        auth = HttpxToken("acme", Changing())
        async with httpx.AsyncClient(auth=auth, limits=limits, timeout=TEN_SECONDS) as client:
            return (await client.get(url)).status_code

    assert http.get(url, timeout=TEN_SECONDS).status_code == 200
    with httpx.Client(auth=HttpxToken("acme", Changing()), limits=limits) as client:
        assert client.get(url, timeout=TEN_SECONDS).status_code == 200
    assert asyncio.run(call()) == 200
    assert rotated["acme"] == NEW
    assert [call.token for call in api.calls] == [OLD, NEW] * 3


def test_one_authentication_serves_loops_in_several_threads(
    rotated: TokenReader, store: ParameterStore, url: str, pool: ThreadPoolExecutor
) -> None:
    auth = HttpxToken("acme", rotated)

    async def call() -> set[int]:
        async with httpx.AsyncClient(auth=auth, timeout=TEN_SECONDS) as client:
            answers = await asyncio.gather(*(client.get(url) for _ in range(5)))
        return {answer.status_code for answer in answers}

    statuses = list(pool.map(lambda _: asyncio.run(call()), range(4)))

    assert statuses == [{200}] * 4
    assert len(store.asked) == 2


def test_elsewhere_than_on_asyncio_nothing_is_read(
    rotated: TokenReader, store: ParameterStore
) -> None:
    for coroutine in (
        rotated.aread("globex"),
        rotated.areread("acme", OLD),
        rotated.aprefetch(["globex"]),
    ):
        with pytest.raises(RuntimeError, match="on asyncio only: elsewhere, look the token up"):
            coroutine.send(None)

    assert len(store.asked) == 1


def test_a_redirect_to_another_host_after_the_repeated_call_has_no_token(
    rotated: TokenReader, http: requests.Session, api: Api, url: str
) -> None:
    other = Api()
    with serving_wsgi(other) as elsewhere:
        api.redirect = elsewhere
        with httpx.Client(auth=HttpxToken("acme", rotated), follow_redirects=True) as client:
            for call in (http.get, client.get):
                assert call(f"{url}/guarded-elsewhere", timeout=TEN_SECONDS).status_code == 401

    assert {call.token for call in other.calls} == {None}


def test_a_hook_of_httpx_may_read_the_refusal(rotated: TokenReader, url: str) -> None:
    seen: list[str] = []

    def read(answer: httpx.Response) -> None:
        answer.read()
        seen.append(answer.text)

    hooks: dict[str, list[Callable[..., Any]]] = {"response": [read]}
    with httpx.Client(auth=HttpxToken("acme", rotated), event_hooks=hooks) as client:
        answer = client.get(url)

    assert (answer.text, answer.history[0].text) == ("welcome", "not this one")
    assert seen == ["not this one", "welcome"]


def test_a_hook_of_requests_may_read_the_refusal(http: requests.Session, url: str) -> None:
    seen: list[str] = []
    request = http.prepare_request(requests.Request("GET", url))
    request.hooks["response"].insert(0, lambda answer, **_: seen.append(answer.text))

    answer = http.send(request, timeout=TEN_SECONDS)

    assert (answer.text, answer.history[0].text) == ("welcome", "not this one")
    assert seen == ["not this one"]


def test_transports_of_httpx_that_open_no_connection_do_as_well() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        is_taken = request.headers["Authorization"] == f"Bearer {NEW}"
        return httpx.Response(200 if is_taken else 401, text="welcome" if is_taken else "no")

    async def call() -> httpx.Response:
        transport = httpx.MockTransport(answer)
        async with httpx.AsyncClient(
            auth=HttpxToken("acme", Changing()), transport=transport
        ) as client:
            return await client.get("https://api.example")

    with httpx.Client(
        auth=HttpxToken("acme", Changing()), transport=httpx.MockTransport(answer)
    ) as client:
        answers = [client.get("https://api.example"), asyncio.run(call())]

    assert [one.text for one in answers] == ["welcome"] * 2


def test_an_adapter_of_requests_that_opens_no_connection_does_as_well() -> None:
    class Adapter(BaseAdapter):
        def send(
            self, request: requests.PreparedRequest, *_: object, **__: object
        ) -> requests.Response:
            answer = requests.Response()
            is_taken = request.headers["Authorization"] == f"Bearer {NEW}"
            answer.status_code = 200 if is_taken else 401
            answer.request, answer.url = request, request.url or ""
            answer.connection = self  # type: ignore[assignment]  # as all adapters do
            return answer

        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.mount("https://", Adapter())
        session.auth = RequestsToken("acme", Changing())

        assert session.get("https://api.example", timeout=TEN_SECONDS).status_code == 200


TENANTS = ["acme", "globex", "initech"]


class Names:
    """Has a token for each tenant, which says whose it is."""

    def __getitem__(self, tenant: str) -> str:
        return f"token-of-{tenant}"


def test_tenants_that_share_a_request_of_httpx_send_their_own_token() -> None:
    sent: dict[str, str] = {}

    async def look(_: httpx.Request) -> None:
        await asyncio.sleep(0)  # as a hook that traces; another task goes on meanwhile

    async def call(client: httpx.AsyncClient, request: httpx.Request, tenant: str) -> None:
        answer = await client.send(request, auth=HttpxToken(tenant, Names()))
        sent[tenant] = answer.request.headers["Authorization"]

    async def calls() -> None:
        transport = httpx.MockTransport(lambda _: httpx.Response(200))
        hooks = {"request": [look]}
        async with httpx.AsyncClient(transport=transport, event_hooks=hooks) as client:
            request = client.build_request("POST", "https://api.example", content=b"body")
            await asyncio.gather(*[call(client, request, tenant) for tenant in TENANTS])
            assert "Authorization" not in request.headers

    asyncio.run(calls())

    assert sent == {tenant: f"Bearer token-of-{tenant}" for tenant in TENANTS}


class Renewed:
    """Has another token after a refusal, which takes a moment to read."""

    def __init__(self) -> None:
        self.token = OLD

    def __getitem__(self, _: str) -> str:
        return self.token

    async def aread(self, _: str) -> str:
        return self.token

    async def areread(self, _: str, refused: str) -> str:
        await asyncio.sleep(0)
        assert refused == OLD
        self.token = NEW
        return NEW


def test_each_sending_of_a_shared_request_of_httpx_is_repeated() -> None:
    repeated, refused = asyncio.Event(), 0

    async def answer(request: httpx.Request) -> httpx.Response:
        """Refuse one at once, and the others after that one has been repeated."""
        nonlocal refused
        if request.headers["Authorization"] == f"Bearer {NEW}":
            repeated.set()
            return httpx.Response(200)
        refused += 1
        if refused > 1:
            await repeated.wait()
        return httpx.Response(401)

    async def calls() -> list[int]:
        auth = HttpxToken("acme", Renewed())
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), auth=auth) as client:
            request = client.build_request("GET", "https://api.example")
            answers = await asyncio.gather(*[client.send(request) for _ in range(4)])
        return [one.status_code for one in answers]

    assert asyncio.run(calls()) == [200] * 4


def test_a_cookie_that_httpx_cannot_send_is_not_sent(rotated: TokenReader) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == f"Bearer {NEW}":
            return httpx.Response(200)
        return httpx.Response(401, headers=[(b"Set-Cookie", b"n=\xc3\xa6")])

    with httpx.Client(
        transport=httpx.MockTransport(answer), auth=HttpxToken("acme", rotated)
    ) as client:
        assert client.get("https://api.example").status_code == 200


def test_a_length_that_is_no_number_for_python_is_a_long_one() -> None:
    assert not may_be_short({"Content-Length": "1" * 5000})
