"""Whatever a server does, a request costs little time and memory, and a run serves the others."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import cycle

import pytest

from local.authorization_server import SCOPES, VismaConnect
from tests.issuer.conftest import tenant_id
from tests.issuer.outcomes.broken_server import Break, BrokenServer, broken_server
from tests.issuer.outcomes.connections import LONG, OK, SLOW, bomb, once
from tests.issuer.outcomes.observation import observe
from tests.issuer.outcomes.scene import CLIENT_OF, call, opened_scene, previous
from token_issuer.authorization_server import fetch_token
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import IssuerError
from token_issuer.tenants import Tenant
from token_issuer.token_endpoint import ANSWER_BYTES, open_session, post

TIMEOUT_SECONDS = 290  # of the function, with a period of five minutes
MEGABYTE = 1024 * 1024
BODY_BYTES = ANSWER_BYTES - 100  # the rest are headers
TENANT = Tenant(
    name="acme", tenant_id=tenant_id("acme"), scope=SCOPES[0], client="default", enabled=True
)
CREDENTIALS = ClientCredentials(
    client_id="default-id", client_secret="a-secret" * 8, auth_method="client_secret_basic"
)


def body(content: str) -> Break:
    encoded = content.encode()
    return once(OK + f"Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded)


def filled(start: str, piece: str, end: str) -> Break:
    """Fill a body with as many pieces as an answer may have."""
    room = BODY_BYTES - len((start + end).encode())
    return body(start + piece * (room // len(piece.encode())) + end)


COSTLY = {
    "a gzip bomb": once(bomb()),
    "small objects": filled('{"a":[', '{"":0},', "0]}"),
    "small lists": filled('{"a":[', "[],", "0]}"),
    "members": body(json.dumps({f"{number:x}": [] for number in range(2000)})),
    "nested lists": body("[" * BODY_BYTES),
    "nested objects": filled("", '{"":', ""),
    "a wide character in a long text": filled('{"error":"a😀', "a", '"}'),
    "a long description": filled('{"error":"a","error_description":"😀', "%41", '"}'),
    "entities": filled('{"error":"a","error_description":"', "&#x1f600;", '"}'),
    "escapes": filled('{"error":"a","error_description":"', "\\\\u0041", '"}'),
    "an error in an object": filled('{"error":"a","error_description":[', '{"":0},', "0]}"),
    "headers": once(OK + b"X: y\r\n" * 99 + b"\r\n"),
}
BREAKS = SLOW | LONG | COSTLY


@pytest.fixture(scope="module")
def front() -> Iterator[BrokenServer]:
    with broken_server(VismaConnect()) as server:
        yield server


def ask(server: BrokenServer, fault: Break) -> None:
    server.reset()
    server.faults[tenant_id("acme")] = fault
    with open_session(8) as session, suppress(IssuerError):
        fetch_token(
            TENANT,
            CREDENTIALS,
            post=partial(post, session, f"{server.url}/connect/token", answer_seconds=0.5),
            now=lambda: datetime.now(UTC),
        )


@pytest.mark.parametrize("name", BREAKS)
def test_an_answer_costs_less_than_a_megabyte(name: str, front: BrokenServer) -> None:
    ask(front, BREAKS["headers"])  # what is made once is no cost of an answer

    tracemalloc.start()
    try:
        ask(front, BREAKS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MEGABYTE


@pytest.mark.long
def test_twenty_tenants_that_were_never_fine_do_not_keep_one_from_its_token() -> None:
    with opened_scene() as scene:
        scene.reset()
        for number, fault in zip(range(20), cycle([*SLOW.values(), *LONG.values()]), strict=False):
            scene.account.configure(f"a{number}")
            scene.break_connection(fault, f"a{number}")

        observed = observe(lambda: call({}))
        tokens = scene.account.tokens()

    assert observed.report is not None
    assert observed.report["failed"] == 20
    assert tokens.keys() == CLIENT_OF.keys()
    assert all(token != previous(tenant) for tenant, token in tokens.items())
    assert observed.seconds < TIMEOUT_SECONDS
