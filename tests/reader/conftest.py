"""A reader of a Parameter Store on loopback, and a wall clock that tests set."""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import boto3
import pytest
import requests

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import (
    DOWN,
    NEW,
    NOW,
    OLD,
    Clock,
    ParameterStore,
    jwt,
    wait_until,
)
from tests.helpers.refusing_api import Api
from visma_tokens import TokenError, TokenReader
from visma_tokens.requests import VismaToken


def session() -> boto3.Session:
    return boto3.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-north-1"
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> ParameterStore:
    return ParameterStore()


@pytest.fixture
def token(store: ParameterStore) -> str:
    """Store the token of acme, and return it."""
    return store.tokens.setdefault("acme", jwt())


@pytest.fixture
def served_url(store: ParameterStore) -> Iterator[str]:
    """Serve it, and return the URL."""
    with serving_wsgi(store) as url:
        yield url


@pytest.fixture
def tokens(served_url: str, clock: Clock) -> TokenReader:
    return TokenReader(session=session(), endpoint_url=served_url, now=clock)


@pytest.fixture
def cached(tokens: TokenReader, store: ParameterStore) -> TokenReader:
    """Return a reader that has cached the token of acme."""
    store.tokens["acme"] = OLD
    assert tokens["acme"] == OLD
    return tokens


@pytest.fixture
def rotated(cached: TokenReader, store: ParameterStore) -> TokenReader:
    """Return a reader that has cached the token before the one that is stored."""
    store.tokens["acme"] = NEW
    return cached


@pytest.fixture
def http(rotated: TokenReader) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = VismaToken("acme", rotated)
        yield session


@pytest.fixture
def api() -> Api:
    """Return one that takes the newer token."""
    return Api({NEW})


@pytest.fixture
def url(api: Api) -> Iterator[str]:
    with serving_wsgi(api) as served:
        yield served


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as threads:
        yield threads


def cache(names: list[str], tokens: TokenReader, store: ParameterStore) -> None:
    """Give each of these a token, and have it cached."""
    store.tokens = {name: jwt(name) for name in names}
    tokens.prefetch(names)


def failure_of(tokens: TokenReader, kind: type[TokenError] = TokenError) -> TokenError:
    """Look acme up, and return the error of that kind."""
    with pytest.raises(kind) as caught:
        tokens["acme"]
    return caught.value


def served_in_an_outage(
    names: list[str], tokens: TokenReader, store: ParameterStore, clock: Clock
) -> dict[str, str]:
    """Return what is served of these tenants once the cache is old and the store fails."""
    cache(names, tokens, store)
    store.failure = DOWN
    clock.now = NOW + 301
    return {name: tokens[name] for name in names}


@contextmanager
def held(store: ParameterStore, tenant: str, *, together: bool = True) -> Iterator[None]:
    """Let nobody read this tenant until the block ends; alone, or together with others."""
    store.holds_together = together
    gate = store.hold(tenant)
    try:
        yield
    finally:
        gate.set()


@contextmanager
def all_held(store: ParameterStore, tenants: list[str]) -> Iterator[None]:
    """Let nobody read any of these."""
    with ExitStack() as stack:
        for tenant in tenants:
            stack.enter_context(held(store, tenant))
        yield


def waiting() -> int:
    """Return how many threads wait for a read that another does."""
    tops = [frame for frame in sys._current_frames().values() if frame.f_code.co_name == "wait"]  # noqa: SLF001  there is no other way
    return sum(one.f_back is not None and one.f_back.f_code.co_name == "result" for one in tops)


def wait_for(threads: int) -> None:
    wait_until(lambda: waiting() == threads)


async def until_asked(store: ParameterStore, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(store.asked) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
