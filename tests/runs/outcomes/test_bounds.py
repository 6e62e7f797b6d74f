"""Whatever a server does, a request costs little time and memory, and a run serves the others."""

import json
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import cycle

import pytest

from local.authorization_server import SCOPES, VismaConnect
from tests.helpers.account import credentials, tenant_id
from tests.helpers.broken_server import Break, BrokenServer, broken_server
from tests.helpers.facts import make_tenant
from tests.helpers.observation import observe
from tests.helpers.scene import CLIENT_OF, call, opened_scene, previous
from tests.runs.outcomes.connections import LONG, MOVED, OK, SLOW, bomb, once
from token_issuer.errors import IssuerError
from token_issuer.limits.pacer import ATTEMPTS
from token_issuer.tokens.endpoint import TokenEndpoint
from token_issuer.tokens.oauth import fetch_token
from token_issuer.tokens.receiving import ANSWER_BYTES

TIMEOUT_SECONDS = 290  # of the function, with a period of five minutes
MEGABYTE = 1024 * 1024
BODY_BYTES = ANSWER_BYTES - 300  # the rest are headers
TENANT = make_tenant("acme", tenant_id=tenant_id("acme"), scope=SCOPES[0])
CREDENTIALS = replace(credentials("a-secret" * 8), auth_method="client_secret_basic")


def body(content: str) -> Break:
    encoded = content.encode()
    return once(OK + f"Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded)


def filled(start: str, piece: str, end: str) -> Break:
    """Fill a body with as many pieces as an answer may have."""
    room = BODY_BYTES - len((start + end).encode())
    return body(start + piece * (room // len(piece.encode())) + end)


COSTLY = {
    "a gzip bomb": once(bomb(OK)),
    "a redirect with a gzip bomb": once(bomb(MOVED)),
    "closed nested lists": filled('{"a":[', "[" * 400 + "]" * 400 + ",", "0]}"),
    "the same as access_token": filled(
        '{"error":"a","access_token":[', "[" * 400 + "]" * 400 + ",", "0]}"
    ),
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
    "headers": once(OK + b"X: y\r\n" * 97 + b"\r\n"),
}
REASONS = dict.fromkeys(SLOW, "EndpointUnavailable") | dict.fromkeys(
    (
        "the same as access_token",
        "a wide character in a long text",
        "a long description",
        "entities",
        "escapes",
        "an error in an object",
    ),
    "TokenRefused",
)
BREAKS = SLOW | LONG | COSTLY


@pytest.fixture(scope="module")
def front() -> Iterator[BrokenServer]:
    with broken_server(VismaConnect()) as server:
        yield server


def ask(server: BrokenServer, fault: Break) -> str:
    """Return the reason why no token was had."""
    server.reset()
    server.faults[tenant_id("acme")] = fault
    endpoint = TokenEndpoint(f"{server.url}/connect/token", answer_seconds=0.5)
    with pytest.raises(IssuerError) as caught:
        fetch_token(TENANT, CREDENTIALS, post=endpoint.post, now=lambda: datetime.now(UTC))
    return caught.value.reason


@pytest.mark.parametrize("name", BREAKS)
def test_an_answer_costs_less_than_a_megabyte(name: str, front: BrokenServer) -> None:
    ask(front, BREAKS["headers"])  # what is made once is no cost of an answer

    tracemalloc.start()
    try:
        reason = ask(front, BREAKS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < MEGABYTE
    assert reason == REASONS.get(name, "AnswerInvalid")


@pytest.mark.long
def test_twenty_tenants_that_were_never_fine_do_not_keep_one_from_its_token() -> None:
    """Five in a row end a run, and each that has failed has a scout before it in the next."""
    with opened_scene() as scene:
        scene.reset()
        for tenant in CLIENT_OF.keys() - {"globex"}:
            scene.drop_document(tenant)
        for number, fault in zip(range(20), cycle(SLOW.values()), strict=False):
            scene.account.configure(f"a{number}")  # of the same client as globex
            scene.break_connection(fault, f"a{number}")

        runs = 0
        while scene.account.tokens()["globex"] == previous("globex"):
            observed = observe(lambda: call({}))
            runs += 1
            assert observed.seconds < TIMEOUT_SECONDS
            assert runs <= 20 / 5 + 1


def test_each_attempt_of_a_write_has_its_turn() -> None:
    times: list[float] = []

    def throttle_acme(operation: str, request: dict[str, object]) -> tuple[str, str] | None:
        if operation != "PutParameter":
            return None
        times.append(time.monotonic())
        is_acme = str(request["Name"]).endswith("/acme")
        return ("ThrottlingException", "Rate exceeded") if is_acme else None

    with opened_scene() as scene:
        scene.reset()
        scene.environment.setenv("WRITES_PER_SECOND", "10")
        scene.aws.script = throttle_acme

        report = call({})

    assert report["issued"] == 2
    assert len(times) == ATTEMPTS + 2
    assert times[-1] - times[0] >= 5 / 10  # six intervals, of which one may be caught up


def times_of_reading() -> list[float]:
    times: list[float] = []

    def note(operation: str, _: dict[str, object]) -> None:
        if operation.startswith("GetParameter"):
            times.append(time.monotonic())

    with opened_scene() as scene:
        scene.reset()
        for number in range(120):  # ten a page
            scene.account.put_document(f"off-{number}", '{"scope": "", "enabled": false}')
        scene.aws.script = note

        report = call({})

    assert report["issued"] == 3
    assert len(times) >= 13
    return times


def test_reading_leaves_consumers_their_quota() -> None:
    """Ten calls take more than a second; a busy machine lets one come in late now and then."""
    runs = (times_of_reading() for _ in range(3))

    assert any(
        all(following - one > 1 for one, following in zip(times, times[9:], strict=False))
        for times in runs
    )
