"""One POST on the wire; what servers do to it is in outcomes/connections.py."""

import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme

from local.authorization_server import Fault, VismaConnect
from tests.helpers.account import tenant_id
from tests.helpers.broken_server import Break, BrokenServer, broken_server
from tests.runs.outcomes.connections import LONG, SLOW, once, say_nothing
from token_issuer.errors import AnswerInvalid, EndpointUnavailable
from token_issuer.limits.deadline import ASK
from token_issuer.tokens.endpoint import ANSWER_SECONDS, CONNECT_SECONDS, TokenEndpoint
from token_issuer.tokens.oauth import Answer

type Post = Callable[..., Answer]

FORM = {"grant_type": "client_credentials", "tenant_id": tenant_id("acme")}


def shows_no_cause(error: BaseException) -> bool:
    return error.__suppress_context__ or error.__context__ is None


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def posting(url: str, server: BrokenServer, trust: ssl.SSLContext | None = None) -> Post:
    """Return what posts to a server that breaks HTTP so."""

    def post(fault: Break, answer_seconds: float = 0.5) -> Answer:
        server.faults[tenant_id("acme")] = fault
        return TokenEndpoint(url, trust, answer_seconds).post(FORM, {})

    return post


@pytest.fixture
def post_to_broken() -> Iterator[Post]:
    with broken_server(VismaConnect()) as server:
        yield posting(f"{server.url}/token", server)


@pytest.fixture
def post_to_visma(visma_connect: VismaConnect) -> Post:
    visma_connect.faults[None] = Fault(status=200, body=b"answer")
    return TokenEndpoint(visma_connect.token_endpoint).post


def test_a_form_goes_out_and_status_and_body_come_back(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    assert post_to_visma(FORM, {"Accept": "application/json"}) == Answer(status=200, body=b"answer")

    [received] = visma_connect.received
    assert received.form == FORM
    assert received.headers["Accept"] == "application/json"
    assert received.headers["Accept-Encoding"] == "identity"
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"


def serve(listener: socket.socket, serving: Callable[[socket.socket], bytes]) -> Future[bytes]:
    """Serve one connection, and return what the server has read."""

    def accept() -> bytes:
        with listener.accept()[0] as connection:
            return serving(connection)

    return ThreadPoolExecutor(1).submit(accept)


def rest_of(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(10_000), b""))


def post_to(listener: socket.socket, **options: float) -> Answer:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
    return TokenEndpoint(url, **options).post(FORM, {})  # type: ignore[arg-type]


def test_a_connection_ends_with_its_answer(listener: socket.socket) -> None:
    """The server would keep it, and no garbage collector is waited for."""

    def keep(connection: socket.socket) -> bytes:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        connection.settimeout(5)
        return rest_of(connection)

    served = serve(listener, keep)

    assert post_to(listener).body == b"{}"
    served.result()


def test_nothing_is_taken_from_a_netrc_file(
    post_to_visma: Post,
    visma_connect: VismaConnect,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    post_to_visma(FORM, {})

    assert "Authorization" not in visma_connect.received[0].headers


def test_no_proxy_is_taken_from_the_environment(
    post_to_visma: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    assert post_to_visma(FORM, {}) == Answer(status=200, body=b"answer")


def test_a_cookie_of_one_tenant_is_not_sent_for_another(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    visma_connect.faults[None] = Fault(status=200, headers={"Set-Cookie": "session=acme; Path=/"})
    post_to_visma(FORM, {})

    post_to_visma(FORM, {})

    assert "Cookie" not in visma_connect.received[1].headers


def test_nothing_is_repeated_behind_our_back(post_to_broken: Post) -> None:
    asked: list[None] = []

    with pytest.raises(EndpointUnavailable, match="RemoteDisconnected"):
        post_to_broken(lambda *_: asked.append(None))

    assert len(asked) == 1


def test_nothing_of_the_request_is_chained_to_a_failure(listener: socket.socket) -> None:
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
    listener.close()

    with pytest.raises(EndpointUnavailable) as caught:
        TokenEndpoint(url).post(FORM, {})

    assert url not in "".join(traceback.format_exception(caught.value))
    assert shows_no_cause(caught.value)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA) -> Iterator[BrokenServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with broken_server(VismaConnect(), context) as server:
        yield server


@pytest.fixture
def post_by_tls(trust: ssl.SSLContext, tls_server: BrokenServer) -> Iterator[Post]:
    yield posting(f"https://localhost:{tls_server.server_port}/connect/token", tls_server, trust)
    tls_server.reset()


def test_a_certificate_that_is_trusted_is_taken(post_by_tls: Post) -> None:
    answer = once(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    assert post_by_tls(answer) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_a_slow_answer_by_tls_ends_in_time(fault: Break, post_by_tls: Post) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
        post_by_tls(fault)

    assert shows_no_cause(caught.value)


@pytest.mark.parametrize("fault", LONG.values(), ids=LONG)
def test_a_long_answer_by_tls_is_cut(fault: Break, post_by_tls: Post) -> None:
    with pytest.raises(AnswerInvalid, match="longer than") as caught:
        post_by_tls(fault)

    assert shows_no_cause(caught.value)


@pytest.mark.parametrize(
    ("host", "is_trusted"),
    [pytest.param("localhost", False, id="no trust"), pytest.param("127.0.0.1", True, id="a host")],
)
def test_a_certificate_that_is_not_trusted_or_for_another_host_is_named(
    host: str, trust: ssl.SSLContext, tls_server: BrokenServer, *, is_trusted: bool
) -> None:
    url = f"https://{host}:{tls_server.server_port}/token"
    endpoint = TokenEndpoint(url, trust) if is_trusted else TokenEndpoint(url)

    with pytest.raises(EndpointUnavailable, match="failed: SSLCertVerificationError") as caught:
        endpoint.post(FORM, {})

    assert "certificate has expired" in caught.value.remedy


def test_a_server_without_tls_is_not_called_a_bad_certificate(visma_connect: VismaConnect) -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: SSLError") as caught:
        TokenEndpoint(visma_connect.token_endpoint.replace("http:", "https:")).post(FORM, {})

    assert "certificate" not in caught.value.remedy


@pytest.mark.parametrize("piece", [b"", b"\0"], ids=["silence", "dripping"])
def test_a_handshake_that_never_ends_ends_in_time(piece: bytes, listener: socket.socket) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> bytes:
        connection.sendall(b"\x16\x03\x03\x40\x00" if piece else b"")  # a record of 16 KB
        while not stop.wait(0.1):
            connection.sendall(piece)
        return b""

    serve(listener, drip)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/token"

    with pytest.raises(EndpointUnavailable, match="did not answer in time"):
        TokenEndpoint(url).post(FORM, {})

    stop.set()


# Time


def test_a_host_that_drops_what_is_sent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fills_the_queue = socket.create_connection(address)

        with pytest.raises(EndpointUnavailable, match="endpoint failed: TimeoutError"):
            TokenEndpoint(f"http://127.0.0.1:{address[1]}/token").post(FORM, {})

        fills_the_queue.close()


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: gaierror") as caught:
        TokenEndpoint("http://no-such-host.invalid/token").post(FORM, {})

    assert "has no address" in caught.value.remedy


def test_connecting_tls_and_answer_take_no_longer_than_the_deadline_reckons_with() -> None:
    assert 2 * CONNECT_SECONDS + ANSWER_SECONDS <= ASK < 15


def test_an_answer_is_too_late_when_time_has_run_out(listener: socket.socket) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time"):
        post_to(listener, answer_seconds=1e-9)


def test_an_answer_that_takes_a_while_is_waited_for(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    visma_connect.faults[None] = Fault(status=200, body=b"late", seconds=1.5)

    assert post_to_visma(FORM, {}) == Answer(status=200, body=b"late")


def test_a_byte_buys_no_time(post_to_broken: Post) -> None:
    def say_a_byte_late(connection: socket.socket, stop: threading.Event) -> None:
        stop.wait(0.9)
        connection.sendall(b"H")
        stop.wait(60)

    def seconds_until_given_up(fault: Break) -> float:
        started = time.monotonic()
        with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
            post_to_broken(fault, 1)
        assert caught.value.is_timeout  # and so it is not repeated
        return time.monotonic() - started

    with_a_byte = seconds_until_given_up(say_a_byte_late)

    assert with_a_byte < 1.5 * seconds_until_given_up(say_nothing)


def test_an_answer_to_the_head_alone_is_called_early_and_gets_no_body(
    listener: socket.socket,
) -> None:
    """As of a gateway, which may limit requests before it reads on."""

    def limit(connection: socket.socket) -> bytes:
        connection.sendall(b"HTTP/1.1 429 \r\nRetry-After: 7\r\n\r\n")
        return rest_of(connection)

    served = serve(listener, limit)

    assert post_to(listener) == Answer(status=429, body=b"", retry_after="7", is_early=True)
    assert b"grant_type" not in served.result()


def test_an_early_answer_is_cut_too(listener: socket.socket) -> None:
    def pour(connection: socket.socket) -> bytes:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
        return connection.recv(10_000)

    serve(listener, pour)  # which may end with an OSError

    with pytest.raises(AnswerInvalid, match="longer than 20480 bytes"):
        post_to(listener)


def test_a_server_may_hang_up_after_the_head(listener: socket.socket) -> None:
    def hang_up(connection: socket.socket) -> bytes:
        return connection.recv(10_000)

    def answer_and_hang_up(connection: socket.socket) -> bytes:
        head = connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 503 \r\n\r\n")
        return head

    serve(listener, answer_and_hang_up)
    assert post_to(listener).status == 503

    serve(listener, hang_up)
    with pytest.raises(EndpointUnavailable, match=r"RemoteDisconnected|Reset|BrokenPipe"):
        post_to(listener)


# Headers; those that are served are in outcomes/connections.py


def saying(answer: bytes) -> Break:
    """Say this, and keep the connection."""

    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(answer)
        stop.wait(60)

    return fault


def kept_open(head: bytes, body: bytes = b"{}") -> Break:
    return saying(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("Content-Length 2", "line 2 of its headers"),
        ("Content-Length=2", "line 2 of its headers"),
        ("Content Length: 2", "line 2 of its headers"),
        ("Content‑Length: 2", "line 2 of its headers"),  # noqa: RUF001  another hyphen
        ("content-length: two", "content-length"),
        ("Content-Length:", "Content-Length"),
        ("Content-Length: -2", "Content-Length"),
        ("Content-Length: +2", "Content-Length"),
        ("Content-Length: 0x2", "Content-Length"),
        ("Content-Length: 1_0", "Content-Length"),
        ("Content-Length: ٢", "Content-Length"),
        ("Content-Length: 2, 3", "Content-Length"),
        (f"Content-Length: {'9' * 5000}", "Content-Length"),
        ("Transfer-Encoding: gzip", "Transfer-Encoding"),
        ("Transfer-Encoding: chunked, gzip", "Transfer-Encoding"),
    ],
)
def test_a_malformed_header_is_named_where_it_hides_the_end(
    header: str, named: str, post_to_broken: Post
) -> None:
    fault = kept_open(b"X: y\r\n" + header.encode() + b"\r\n")

    with pytest.raises(EndpointUnavailable, match=f"in time: {named} is malformed") as caught:
        post_to_broken(fault)

    assert caught.value.is_timeout
    assert shows_no_cause(caught.value)


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"X : y\r\nX: a\r\n b\r\nRetry-After: 1\r\n", id="no end"),
        pytest.param(b"X y\r\nContent-Length: 3\r\n", id="a malformed header that hides nothing"),
        pytest.param(b"Retry-After:\r\n", id="an odd time to come back"),
    ],
)
def test_an_answer_without_an_end_is_not_called_malformed(
    head: bytes, post_to_broken: Post
) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
        post_to_broken(kept_open(head))

    assert "malformed" not in caught.value.detail


@pytest.mark.parametrize("header", [b"", b"Content-Length: two\r\n", b"Content-Length 2\r\n"])
def test_an_answer_may_end_with_its_connection(header: bytes, post_to_broken: Post) -> None:
    fault = once(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n{}")

    assert post_to_broken(fault) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b" Content-Length: 2\r\n", id="behind a space"),
        pytest.param(
            b"X: y\r\n Content-Length: 3\r\nContent-Length: 2\r\n", id="after one in a text"
        ),
        pytest.param(b"Content-Length:\r\n\t2\r\n", id="in a line of its own"),
    ],
)
def test_a_length_may_stand_elsewhere(head: bytes, post_to_broken: Post) -> None:
    assert post_to_broken(kept_open(head)) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("status", [300, 302, 307, 308, 399, 429, 500])
def test_a_body_that_says_nothing_is_not_read(status: int, post_to_broken: Post) -> None:
    fault = saying(f"HTTP/1.1 {status} \r\n\r\n{'x' * 30_000}".encode())

    assert post_to_broken(fault) == Answer(status=status, body=b"")


@pytest.mark.parametrize(
    "value",
    [
        b"chunked",
        b"Chunked ",
        b"gzip, chunked",
        b"chunked, chunked",
        b"chunked,",
        b"chunked , ,, identity",
    ],
)
def test_chunks_are_known_by_the_last_coding(value: bytes, post_to_broken: Post) -> None:
    fault = kept_open(b"Transfer-Encoding: " + value + b"\r\n", b"2\r\n{}\r\n0\r\n\r\n")

    assert post_to_broken(fault) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("status", [429, 500, 503, 599, 999])
def test_an_outage_is_told_by_its_status_alone(status: int, post_to_broken: Post) -> None:
    fault = saying(b"HTTP/1.1 %d \r\nRetry-After: 7\r\n\r\n" % status)

    assert post_to_broken(fault) == Answer(status=status, body=b"", retry_after="7")


def test_a_status_that_is_none_is_told_at_once(post_to_broken: Post) -> None:
    """A server of another protocol waits for what it would be sent next."""
    with pytest.raises(EndpointUnavailable, match="endpoint failed: BadStatusLine"):
        post_to_broken(saying(b"220 mail.example ESMTP\r\n"))


@pytest.mark.parametrize("size", [b"-8000000000000000", b"8" * 40, b"-1", b"zz", b"", b"\xb2"])
def test_a_chunk_of_an_odd_size_is_an_outage_and_no_defect(
    size: bytes, post_to_broken: Post
) -> None:
    fault = kept_open(b"Transfer-Encoding: chunked\r\n", size + b"\r\n{}\r\n0\r\n\r\n")

    with pytest.raises((EndpointUnavailable, AnswerInvalid)) as caught:
        post_to_broken(fault)

    assert shows_no_cause(caught.value)
