"""A reader of a Parameter Store on loopback, and a wall clock that tests set."""

from collections.abc import Iterator
from dataclasses import dataclass

import boto3
import pytest

from local.authorization_server import serving_wsgi
from tests.reader.parameter_store import Clock, ParameterStore
from visma_tokens import TokenReader


@dataclass
class Served:
    """A Parameter Store, and where it is."""

    store: ParameterStore
    url: str


def session() -> boto3.Session:
    return boto3.Session(
        aws_access_key_id="testing", aws_secret_access_key="testing", region_name="eu-north-1"
    )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def served() -> Iterator[Served]:
    store = ParameterStore()
    with serving_wsgi(store) as url:
        yield Served(store, url)


@pytest.fixture
def store(served: Served) -> ParameterStore:
    return served.store


@pytest.fixture
def tokens(served: Served, clock: Clock) -> TokenReader:
    return TokenReader(session=session(), endpoint_url=served.url, now=clock)
