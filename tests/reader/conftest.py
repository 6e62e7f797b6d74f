"""A reader of a Parameter Store on loopback, and a wall clock that tests set."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import boto3
import pytest

from local.authorization_server import serving_wsgi
from tests.reader.parameter_store import Clock, ParameterStore
from visma_tokens import TokenReader


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
def served_url(store: ParameterStore) -> Iterator[str]:
    """Serve it, and return the URL."""
    with serving_wsgi(store) as url:
        yield url


@pytest.fixture
def tokens(served_url: str, clock: Clock) -> TokenReader:
    return TokenReader(session=session(), endpoint_url=served_url, now=clock)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as threads:
        yield threads


@contextmanager
def held(store: ParameterStore, tenant: str) -> Iterator[None]:
    """Let nobody read this tenant until the block ends."""
    gate = store.hold(tenant)
    try:
        yield
    finally:
        gate.set()
