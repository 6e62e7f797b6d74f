"""One POST on the wire; what servers do to it is in outcomes/connections.py."""

import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from local.authorization_server import Fault, VismaConnect
from tests.helpers.account import tenant_id
from tests.helpers.broken_server import Break, BrokenServer, broken_server
from tests.runs.outcomes.connections import LONG, SLOW, say_nothing
from token_issuer.errors import AnswerInvalid, EndpointUnavailable
from token_issuer.tokens.endpoint import ANSWER_SECONDS, CONNECT_SECONDS, TokenEndpoint
from token_issuer.tokens.oauth import Answer

type Post = Callable[..., Answer]

FORM = {"grant_type": "client_credentials", "tenant_id": tenant_id("acme")}


def shows_no_cause(error: BaseException) -> bool:
    return error.__suppress_context__ or error.__context__ is None


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


def test_a_connection_ends_with_its_answer() -> None:
    """The server would keep it, and no garbage collector is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> bytes:
            with listener.accept()[0] as connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                connection.settimeout(5)
                return b"".join(iter(lambda: connection.recv(10_000), b""))

        served = pool.submit(serve)
        answer = TokenEndpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/").post(FORM, {})

        assert answer.body == b"{}"
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


def test_nothing_is_repeated_behind_our_back() -> None:
    with broken_server(VismaConnect()) as server:
        asked: list[None] = []
        server.faults[tenant_id("acme")] = lambda *_: asked.append(None)

        with pytest.raises(EndpointUnavailable, match="RemoteDisconnected"):
            TokenEndpoint(server.url).post(FORM, {})

    assert len(asked) == 1


def test_nothing_of_the_request_is_chained_to_a_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

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
def post_by_tls(
    trust: ssl.SSLContext, tls_server: BrokenServer
) -> Iterator[Callable[[Break], Answer]]:
    endpoint = TokenEndpoint(f"https://localhost:{tls_server.server_port}/connect/token", trust)

    def call(fault: Break) -> Answer:
        tls_server.faults[tenant_id("acme")] = fault
        return endpoint.post(FORM, {}, answer_seconds=0.5)

    yield call
    tls_server.reset()


def test_a_certificate_that_is_trusted_is_taken(post_by_tls: Callable[[Break], object]) -> None:
    def answer(connection: socket.socket, _: object) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    assert post_by_tls(answer) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("fault", SLOW.values(), ids=SLOW)
def test_a_slow_answer_by_tls_ends_in_time(
    fault: Break, post_by_tls: Callable[[Break], object]
) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
        post_by_tls(fault)

    assert shows_no_cause(caught.value)


@pytest.mark.parametrize("fault", LONG.values(), ids=LONG)
def test_a_long_answer_by_tls_is_cut(fault: Break, post_by_tls: Callable[[Break], object]) -> None:
    with pytest.raises(AnswerInvalid, match="longer than") as caught:
        post_by_tls(fault)

    assert shows_no_cause(caught.value)


def test_a_certificate_that_is_not_trusted_is_named(tls_server: BrokenServer) -> None:
    with pytest.raises(
        EndpointUnavailable, match="endpoint failed: SSLCertVerificationError"
    ) as caught:
        TokenEndpoint(f"https://localhost:{tls_server.server_port}/token").post(FORM, {})

    assert "certificate has expired" in caught.value.remedy


def test_a_certificate_for_another_host_is_named(
    trust: ssl.SSLContext, tls_server: BrokenServer
) -> None:
    endpoint = TokenEndpoint(f"https://127.0.0.1:{tls_server.server_port}/token", trust)

    with pytest.raises(EndpointUnavailable, match="endpoint failed: SSLCertVerificationError"):
        endpoint.post(FORM, {})


def test_a_server_without_tls_is_not_called_a_bad_certificate(visma_connect: VismaConnect) -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: SSLError") as caught:
        TokenEndpoint(visma_connect.token_endpoint.replace("http:", "https:")).post(FORM, {})

    assert "certificate" not in caught.value.remedy


@pytest.mark.parametrize("piece", [b"", b"\0"], ids=["silence", "dripping"])
def test_a_handshake_that_never_ends_ends_in_time(piece: bytes) -> None:
    stop = threading.Event()

    def drip() -> None:
        with listener.accept()[0] as connection, suppress(OSError):
            connection.sendall(b"\x16\x03\x03\x40\x00" if piece else b"")  # a record of 16 KB
            while not stop.wait(0.1):
                connection.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/token"

        with pytest.raises(EndpointUnavailable, match="did not answer in time"):
            TokenEndpoint(url).post(FORM, {})

        stop.set()
        dripping.join()


# Time


def test_a_host_that_drops_what_is_sent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fills_the_queue = socket.create_connection(address)

        with pytest.raises(EndpointUnavailable, match="endpoint failed: TimeoutError"):
            TokenEndpoint(f"http://127.0.0.1:{address[1]}/token").post(FORM, {})

        fills_the_queue.close()


def test_a_host_without_an_address_is_named() -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: gaierror") as caught:
        TokenEndpoint("http://no-such-host.invalid/token").post(FORM, {})

    assert "has no address" in caught.value.remedy


def test_connecting_tls_and_answer_stay_below_15_seconds() -> None:
    assert 2 * CONNECT_SECONDS + ANSWER_SECONDS < 15


def test_an_answer_is_too_late_when_time_has_run_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

        with pytest.raises(EndpointUnavailable, match="did not answer in time"):
            TokenEndpoint(url).post(FORM, {}, answer_seconds=1e-9)


def test_an_answer_that_takes_a_while_is_waited_for(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    visma_connect.faults[None] = Fault(status=200, body=b"late", seconds=1.5)

    assert post_to_visma(FORM, {}) == Answer(status=200, body=b"late")


def seconds_until_given_up(fault: Break, answer_seconds: float) -> float:
    with broken_server(VismaConnect()) as server:
        server.faults[tenant_id("acme")] = fault
        started = time.monotonic()
        with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
            TokenEndpoint(f"{server.url}/token").post(FORM, {}, answer_seconds=answer_seconds)
        assert caught.value.is_timeout  # and so it is not repeated
        return time.monotonic() - started


def test_a_byte_buys_no_time() -> None:
    def say_a_byte_late(connection: socket.socket, stop: threading.Event) -> None:
        stop.wait(0.9)
        connection.sendall(b"H")
        stop.wait(60)

    with_a_byte = seconds_until_given_up(say_a_byte_late, 1)

    assert with_a_byte < 1.5 * seconds_until_given_up(say_nothing, 1)


def test_an_answer_to_the_head_alone_is_called_early_and_gets_no_body() -> None:
    """As of a gateway, which may limit requests before it reads on."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> bytes:
            with listener.accept()[0] as connection:
                connection.sendall(b"HTTP/1.1 429 \r\nRetry-After: 7\r\n\r\n")
                return b"".join(iter(lambda: connection.recv(10_000), b""))

        served = pool.submit(serve)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        answer = TokenEndpoint(url).post(FORM, {})

    assert answer == Answer(status=429, body=b"", retry_after="7", is_early=True)
    assert b"grant_type" not in served.result()


def test_an_early_answer_is_cut_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve() -> None:
            with listener.accept()[0] as connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000)
                connection.recv(10_000)

        pool.submit(serve)
        with pytest.raises(AnswerInvalid, match="longer than 20480 bytes"):
            TokenEndpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/").post(FORM, {})


def test_a_server_may_hang_up_after_the_head() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:

        def serve(answer: bytes) -> None:
            with listener.accept()[0] as connection:
                connection.recv(10_000)
                connection.sendall(answer)

        endpoint = TokenEndpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        pool.submit(serve, b"HTTP/1.1 503 \r\n\r\n")
        assert endpoint.post(FORM, {}).status == 503

        pool.submit(serve, b"")
        with pytest.raises(EndpointUnavailable, match=r"RemoteDisconnected|Reset|BrokenPipe"):
            endpoint.post(FORM, {})


# Headers; those that are served are in outcomes/connections.py


@pytest.fixture
def post_to_broken() -> Iterator[Callable[[Break], Answer]]:
    with broken_server(VismaConnect()) as server:

        def call(fault: Break) -> Answer:
            server.faults[tenant_id("acme")] = fault
            return TokenEndpoint(f"{server.url}/token").post(FORM, {}, answer_seconds=0.5)

        yield call


def kept_open(head: bytes, body: bytes = b"{}") -> Break:
    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        stop.wait(60)

    return fault


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
    header: str, named: str, post_to_broken: Callable[[Break], Answer]
) -> None:
    fault = kept_open(b"X: y\r\n" + header.encode() + b"\r\n")

    with pytest.raises(EndpointUnavailable, match=f"in time: {named} is malformed") as caught:
        post_to_broken(fault)

    assert caught.value.is_timeout
    assert shows_no_cause(caught.value)


def test_an_answer_without_an_end_is_not_called_malformed(
    post_to_broken: Callable[[Break], Answer],
) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time"):
        post_to_broken(kept_open(b"X : y\r\nX: a\r\n b\r\nRetry-After: 1\r\n"))


def test_a_malformed_header_that_hides_nothing_is_not_named(
    post_to_broken: Callable[[Break], Answer],
) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time"):
        post_to_broken(kept_open(b"X y\r\nContent-Length: 3\r\n"))


@pytest.mark.parametrize("header", [b"", b"Content-Length: two\r\n", b"Content-Length 2\r\n"])
def test_an_answer_may_end_with_its_connection(
    header: bytes, post_to_broken: Callable[[Break], Answer]
) -> None:
    def fault(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + header + b"\r\n{}")

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
def test_a_length_may_stand_elsewhere(
    head: bytes, post_to_broken: Callable[[Break], Answer]
) -> None:
    assert post_to_broken(kept_open(head)) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("status", [300, 302, 307, 308, 399, 429, 500])
def test_a_body_that_says_nothing_is_not_read(
    status: int, post_to_broken: Callable[[Break], Answer]
) -> None:
    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(f"HTTP/1.1 {status} \r\n\r\n{'x' * 30_000}".encode())
        stop.wait(60)

    assert post_to_broken(fault) == Answer(status=status, body=b"")


def test_an_odd_time_to_come_back_does_not_hide_the_end(
    post_to_broken: Callable[[Break], Answer],
) -> None:
    with pytest.raises(EndpointUnavailable, match="did not answer in time"):
        post_to_broken(kept_open(b"Retry-After:\r\n"))


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
def test_chunks_are_known_by_the_last_coding(
    value: bytes, post_to_broken: Callable[[Break], Answer]
) -> None:
    fault = kept_open(b"Transfer-Encoding: " + value + b"\r\n", b"2\r\n{}\r\n0\r\n\r\n")

    assert post_to_broken(fault) == Answer(status=200, body=b"{}")


@pytest.mark.parametrize("status", [429, 500, 503, 599, 999])
def test_an_outage_is_told_by_its_status_alone(
    status: int, post_to_broken: Callable[[Break], Answer]
) -> None:
    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 %d \r\nRetry-After: 7\r\n\r\n" % status)
        stop.wait(60)

    assert post_to_broken(fault) == Answer(status=status, body=b"", retry_after="7")


def test_a_status_that_is_none_is_told_at_once(post_to_broken: Callable[[Break], Answer]) -> None:
    """A server of another protocol waits for what it would be sent next."""

    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(b"220 mail.example ESMTP\r\n")
        stop.wait(60)

    with pytest.raises(EndpointUnavailable, match="endpoint failed: BadStatusLine"):
        post_to_broken(fault)


@pytest.mark.parametrize("size", [b"-8000000000000000", b"8" * 40, b"-1", b"zz", b"", b"\xb2"])
def test_a_chunk_of_an_odd_size_is_an_outage_and_no_defect(
    size: bytes, post_to_broken: Callable[[Break], Answer]
) -> None:
    fault = kept_open(b"Transfer-Encoding: chunked\r\n", size + b"\r\n{}\r\n0\r\n\r\n")

    with pytest.raises((EndpointUnavailable, AnswerInvalid)) as caught:
        post_to_broken(fault)

    assert shows_no_cause(caught.value)
