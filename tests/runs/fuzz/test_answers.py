"""A token endpoint sends whatever bytes it likes, in pieces, and hangs up or doesn't."""

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.authorization_server import SCOPES
from tests.helpers.account import credentials, token_body
from tests.helpers.facts import make_tenant
from tests.helpers.raw_server import END, RawServer, Sent, raw_server
from tests.runs.fuzz import cases
from token_issuer.errors import IssuerError
from token_issuer.tokens.endpoint import CONNECT_SECONDS, TokenEndpoint
from token_issuer.tokens.oauth import fetch_token

ANSWER_SECONDS = 0.05
TENANT = make_tenant("acme", tenant_id=END.decode().partition("=")[2], scope=SCOPES[0])

numbers = (
    st.integers(-(10**6), 10**6)
    | st.integers(-(10**30), 10**30)
    | st.sampled_from([0, 1, 20 * 1024, 2**31, 2**63, 2**64])
)
odd_values = st.one_of(
    numbers.map(lambda number: b"%d" % number),
    numbers.map(lambda number: b"%x" % abs(number)),
    st.sampled_from(
        [b"", b"chunked", b"gzip, chunked", b"identity", b"close", b"9" * 5000, b"1_0"]
    ),
    st.sampled_from([b"10, 20", b"+10", b"\xb2", b"0x1F", b"23 Nov 2026 12:00:00 +" + b"9" * 20]),
    st.binary(max_size=30),
)
names = st.sampled_from(
    b"Content-Length,Transfer-Encoding,Retry-After,Connection,Content-Encoding,Location,Set-Cookie,"
    b"Content-Type,Trailer,Upgrade,WWW-Authenticate,Date,Keep-Alive".split(b",")
) | st.binary(max_size=10)
colons = st.sampled_from([b": ", b":", b" : ", b"", b" ", b"=", b"\t:\t"])
ends = st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r", b"\r\r\n", b"\r\n ", b""])
headers = st.tuples(names, colons, odd_values, ends).map(b"".join)
versions = st.sampled_from(
    [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2", b"http/1.1", b""]
)
codes = st.sampled_from([b"200"] * 6 + [b"503", b"429", b"400", b"401", b"204", b"304", b"307"]) | (
    st.sampled_from([b"100", b"101", b"103", b"000", b"999", b"1000", b"-1", b"2_0", b"\xb2", b""])
)
odd_status = st.tuples(
    versions, st.just(b" "), codes, st.sampled_from([b" OK", b"", b" \xff"]), ends
).map(b"".join)
good_status = st.just(b"HTTP/1.1 200 OK\r\n")
status = st.one_of(good_status, good_status, good_status, odd_status)
bodies = st.one_of(
    st.just(token_body("opaque-token")),
    st.sampled_from([b'{"error": "invalid_client"}', b"{}", b"[]", b"", b"<html>", b"[" * 5000]),
    st.binary(max_size=60),
)


def chunked(body: bytes, sizes: list[bytes]) -> bytes:
    """Return chunks that may lie about their sizes."""
    step = max(1, len(body) // max(1, len(sizes)))
    pieces = [body[start : start + step] for start in range(0, len(body), step)]
    told = [*sizes, *(b"%x" % len(piece) for piece in pieces[len(sizes) :])]
    chunks = (b"%s\r\n%s\r\n" % chunk for chunk in zip(told, pieces, strict=False))
    return b"".join(chunks) + b"0\r\n\r\n"


interim_answers = st.tuples(
    st.sampled_from([b"HTTP/1.1 103 \r\n"] * 4 + [b"HTTP/1.0 100\n", b"HTTP/1.1 1\xb23 \r\n"]),
    st.lists(headers, max_size=3).map(b"".join),
    st.sampled_from([b"\r\n"] * 4 + [b""]),
).map(b"".join)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Draw what is much like an answer, and then cut or change a part of it."""
    body = draw(bodies)
    if draw(st.booleans()):
        head = b"Content-Length: %d\r\n" % len(body)
    elif draw(st.booleans()):
        sizes = st.lists(odd_values.filter(lambda value: b"\n" not in value), max_size=2)
        head, body = b"Transfer-Encoding: chunked\r\n", chunked(body, draw(sizes))
    else:
        head = b""
    interim = b"".join(draw(st.lists(interim_answers, max_size=2)))
    lines = b"".join((*draw(st.lists(headers, max_size=4)), head, b"\r\n"))
    message = (
        interim
        + draw(status)
        + lines
        + body
        + draw(st.sampled_from([b"", b"", b"\r\n", b"HTTP/1"]))
    )
    if draw(st.integers(0, 3)) == 0:
        start, length = draw(st.integers(0, len(message))), draw(st.integers(0, 20))
        message = message[:start] + draw(st.binary(max_size=10)) + message[start + length :]
    return message


@st.composite
def sent(draw: st.DrawFn) -> Sent:
    """Draw an answer, or anything, in one or two pieces."""
    message = draw(st.one_of(messages(), messages(), messages(), st.binary(max_size=200)))
    at = draw(st.integers(0, len(message)))
    pieces = [message[:at], message[at:]] if draw(st.booleans()) else [message]
    return Sent(pieces=pieces, keeps=draw(st.booleans()))


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@cases("answers")
@given(sent=sent())
def test_a_server_may_send_any_bytes(sent: Sent, server: RawServer) -> None:
    server.sent = sent
    post = TokenEndpoint(server.url, answer_seconds=ANSWER_SECONDS).post
    began = time.monotonic()

    token = None
    with suppress(IssuerError):  # of which Unexpected is none that is raised
        token = fetch_token(TENANT, credentials("v1"), post=post, now=lambda: datetime.now(UTC))

    assert token is None or token.value.encode() in b"".join(sent.pieces)
    assert time.monotonic() - began < 2 * CONNECT_SECONDS + ANSWER_SECONDS
