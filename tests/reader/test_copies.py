"""Requests, answers, sessions and readers that are copied or pickled, and used again."""

import copy
import pickle
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import requests

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import NEW, OLD, ParameterStore, jwt
from tests.helpers.refusing_api import TEN_SECONDS, Api
from visma_tokens import TokenReader
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken

OTHER = jwt("globex")
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def through_a_pickle[T](value: T) -> T:
    copied: T = pickle.loads(pickle.dumps(value))  # noqa: S301  our own
    return copied


COPIES: dict[str, Callable[[requests.PreparedRequest], requests.PreparedRequest]] = {
    "copy": lambda request: request.copy(),
    "copy.deepcopy": copy.deepcopy,
}


@pytest.mark.parametrize("how", COPIES)
def test_each_copy_of_a_request_is_repeated(
    how: str, http: requests.Session, api: Api, url: str
) -> None:
    request = http.prepare_request(requests.Request("GET", url))
    copies = [COPIES[how](request) for _ in range(4)]

    answers = [http.send(one, timeout=TEN_SECONDS) for one in copies]

    assert [one.status_code for one in answers] == [200] * 4
    assert [call.token for call in api.calls] == [OLD, NEW] * 4


def test_one_request_that_threads_send_together_is_repeated_for_each(
    http: requests.Session, api: Api, pool: ThreadPoolExecutor
) -> None:
    together, is_repeated = threading.Barrier(4), threading.Event()

    def late(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        """Refuse one of the four, and the others once the first is repeated."""
        if environ["HTTP_AUTHORIZATION"] == f"Bearer {NEW}":
            is_repeated.set()
        elif together.wait(TEN_SECONDS):
            is_repeated.wait(TEN_SECONDS)
        return api(environ, start_response)

    def send(request: requests.PreparedRequest) -> int:
        with requests.Session() as another:
            return another.send(request, timeout=TEN_SECONDS).status_code

    with serving_wsgi(late) as url:
        request = http.prepare_request(requests.Request("GET", url))
        assert list(pool.map(send, [request] * 4)) == [200] * 4

    assert sorted(call.token == OLD for call in api.calls) == [False] * 4 + [True] * 4


def test_a_copy_for_another_tenant_is_repeated_with_its_own_token(
    rotated: TokenReader, store: ParameterStore, http: requests.Session, api: Api, url: str
) -> None:
    store.tokens["globex"] = jwt("globex", number=1)
    request = http.prepare_request(requests.Request("GET", url))
    another = RequestsToken("globex", rotated)(request.copy())
    store.tokens["globex"] = OTHER
    api.taken = {NEW, OTHER}

    answers = [http.send(one, timeout=TEN_SECONDS) for one in (another, request)]

    assert [one.status_code for one in answers] == [200, 200]
    assert [call.token for call in api.calls] == [jwt("globex", number=1), OTHER, OLD, NEW]


def test_a_header_of_another_tenant_is_never_replaced(
    rotated: TokenReader, store: ParameterStore, http: requests.Session, api: Api, url: str
) -> None:
    store.tokens["globex"] = OTHER
    request = http.prepare_request(requests.Request("GET", url))
    another = requests.Request("GET", url, auth=RequestsToken("globex", rotated)).prepare()
    request.headers.update(another.headers)

    answer = http.send(request, timeout=TEN_SECONDS)

    assert answer.status_code == 401
    assert [call.token for call in api.calls] == [OTHER]


def test_an_authentication_that_is_applied_twice_repeats_once(api: Api, url: str) -> None:
    class Counting(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            self[name] = f"{self.get(name, '')}x"
            return super().__getitem__(name)

    auth = RequestsToken("acme", Counting())
    with requests.Session() as session:
        request = session.prepare_request(requests.Request("GET", url, auth=auth))
        session.send(auth(request), timeout=TEN_SECONDS)

    assert [call.token for call in api.calls] == ["xx", "xxx"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_pickle_of_an_answer_holds_the_tokens_that_were_sent_and_no_others(
    protocol: int, rotated: TokenReader, store: ParameterStore, url: str
) -> None:
    store.tokens["globex"] = OTHER
    assert rotated["globex"] == OTHER
    by_dictionary = {"acme": NEW, "globex": OTHER}
    for tokens, sent in ((rotated, [OLD, NEW]), (by_dictionary, [NEW])):
        with httpx.Client(auth=HttpxToken("acme", tokens)) as client:
            answers: list[requests.Response | httpx.Response] = [
                requests.get(url, auth=RequestsToken("acme", tokens), timeout=TEN_SECONDS),
                client.get(url),
            ]
        for answer in answers:
            pickled = pickle.dumps(answer, protocol)
            held = [token for token in (OLD, NEW, OTHER) if token.encode() in pickled]
            assert held == (sent if answer.history else [NEW])
            copied: requests.Response = pickle.loads(pickled)  # noqa: S301  our own
            assert (copied.status_code, copied.text) == (200, "welcome")
            assert copied.request.headers["Authorization"] == f"Bearer {NEW}"
            assert NEW not in repr(copied.request.headers)


def test_the_pickle_of_a_request_is_sent_as_it_is(
    http: requests.Session, api: Api, url: str
) -> None:
    request = through_a_pickle(http.prepare_request(requests.Request("GET", url)))

    assert http.send(request, timeout=TEN_SECONDS).status_code == 401
    assert [call.token for call in api.calls] == [OLD]


def test_deep_copies_share_the_reader(
    rotated: TokenReader, http: requests.Session, store: ParameterStore, api: Api, url: str
) -> None:
    assert copy.copy(rotated) is copy.deepcopy(rotated) is rotated
    with httpx.Client(auth=copy.deepcopy(HttpxToken("acme", rotated))) as client:
        answers = [copy.deepcopy(http).get(url).text, client.get(url).text]

    assert answers == ["welcome", "welcome"]
    assert copy.deepcopy(http.get(url)).text == "welcome"
    assert [call.token for call in api.calls] == [OLD, NEW, NEW, NEW]
    assert len(store.asked) == 2


def test_an_answer_of_httpx_that_took_two_calls_is_copied_and_pickled(
    rotated: TokenReader, url: str
) -> None:
    with httpx.Client(auth=HttpxToken("acme", rotated)) as client:
        answer = client.get(url)

    for copied in (copy.deepcopy(answer), through_a_pickle(answer)):
        assert copied.text == "welcome"
        assert [one.status_code for one in copied.history] == [401]


def test_what_keeps_tokens_of_its_own_is_not_looked_at_by_copies(url: str) -> None:
    class Locked(dict[str, str]):
        """As a cache that can be neither copied nor pickled."""

        def __reduce_ex__(self, protocol: object) -> str:
            raise TypeError(protocol)

    auth = RequestsToken("acme", Locked(acme=NEW, globex=OTHER))
    answer: requests.Response = requests.get(url, auth=auth, timeout=TEN_SECONDS)

    assert through_a_pickle(answer).text == copy.deepcopy(answer).text == "welcome"
    assert copy.deepcopy(auth)(answer.request).headers["Authorization"] == f"Bearer {NEW}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reader_is_pickled_as_its_settings(protocol: int) -> None:
    reader = TokenReader(cache_seconds=100, endpoint_url="http://127.0.0.1:9")

    pickled = pickle.dumps(reader, protocol)
    first, second = pickle.loads(pickled), pickle.loads(pickled)  # noqa: S301  our own

    assert first is second
    assert first is not reader
    assert pickle.dumps(first, protocol) == pickled
    assert repr(first) == repr(reader)
    assert pickle.loads(pickle.dumps(TokenReader("/another/path"))) is not first  # noqa: S301


def test_a_reader_with_a_session_of_its_own_can_t_be_pickled(rotated: TokenReader) -> None:
    for one in (rotated, RequestsToken("acme", rotated), HttpxToken("acme", rotated)):
        with pytest.raises(TypeError, match="can't be pickled: make one in the other process"):
            pickle.dumps(one)
