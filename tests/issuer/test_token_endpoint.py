"""One POST on the wire; what servers do to it is in outcomes/connections.py."""

import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import trustme

from local.authorization_server import Fault, VismaConnect
from tests.issuer.conftest import tenant_id
from tests.issuer.outcomes.broken_server import Break, BrokenServer, broken_server
from tests.issuer.outcomes.connections import LONG, SLOW, say_nothing
from token_issuer.authorization_server import Answer
from token_issuer.errors import AnswerInvalid, EndpointUnavailable
from token_issuer.token_endpoint import ANSWER_SECONDS, CONNECT_SECONDS, connect, open_session, post

type Post = Callable[..., Answer]

FORM = {"grant_type": "client_credentials", "tenant_id": tenant_id("acme")}


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with open_session(8) as one:
        yield one


@pytest.fixture
def post_to_visma(session: requests.Session, visma_connect: VismaConnect) -> Post:
    visma_connect.faults[None] = Fault(status=200, body=b"answer")
    return partial(post, session, visma_connect.token_endpoint)


def test_a_form_goes_out_and_status_and_body_come_back(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    assert post_to_visma(FORM, {"Accept": "application/json"}) == Answer(status=200, body=b"answer")

    [received] = visma_connect.received
    assert received.form == FORM
    assert received.headers["Accept"] == "application/json"
    assert received.headers["Accept-Encoding"] == "identity"
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"


def test_connections_are_kept(post_to_visma: Post, visma_connect: VismaConnect) -> None:
    post_to_visma(FORM, {})
    post_to_visma(FORM, {})

    assert len({received.port for received in visma_connect.received}) == 1


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


def test_nothing_is_repeated_behind_our_back(session: requests.Session) -> None:
    adapters = [session.get_adapter(url) for url in ("https://x/", "http://x/")]

    assert [adapter.max_retries.total for adapter in adapters] == [0, 0]  # type: ignore[attr-defined]


def test_nothing_of_the_request_is_chained_to_a_failure(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

    with pytest.raises(EndpointUnavailable) as caught:
        post(session, url, FORM, {})

    assert url not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__suppress_context__


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def tls_server(authority: trustme.CA) -> Iterator[BrokenServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with broken_server(VismaConnect(), context) as server:
        yield server


@pytest.fixture
def post_by_tls(
    session: requests.Session, authority: trustme.CA, tls_server: BrokenServer, tmp_path: Path
) -> Iterator[Callable[[Break], Answer]]:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    session.verify = str(tmp_path / "ca.pem")

    def call(fault: Break) -> Answer:
        tls_server.faults[tenant_id("acme")] = fault
        url = f"https://localhost:{tls_server.server_port}/connect/token"
        return post(session, url, FORM, {}, answer_seconds=0.5)

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

    assert caught.value.__suppress_context__


@pytest.mark.parametrize("fault", LONG.values(), ids=LONG)
def test_a_long_answer_by_tls_is_cut(fault: Break, post_by_tls: Callable[[Break], object]) -> None:
    with pytest.raises(AnswerInvalid, match="longer than") as caught:
        post_by_tls(fault)

    assert caught.value.__suppress_context__


def test_a_certificate_that_is_not_trusted_is_named(
    session: requests.Session, tls_server: BrokenServer
) -> None:
    with pytest.raises(
        EndpointUnavailable, match="endpoint failed: SSLCertVerificationError"
    ) as caught:
        post(session, f"https://localhost:{tls_server.server_port}/token", FORM, {})

    assert "certificate has expired" in caught.value.remedy


def test_a_certificate_for_another_host_is_named(
    session: requests.Session, authority: trustme.CA, tls_server: BrokenServer, tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    session.verify = str(tmp_path / "ca.pem")

    with pytest.raises(EndpointUnavailable, match="endpoint failed: SSLCertVerificationError"):
        post(session, f"https://127.0.0.1:{tls_server.server_port}/token", FORM, {})


def test_a_server_without_tls_is_not_called_a_bad_certificate(
    session: requests.Session, visma_connect: VismaConnect
) -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: SSLError") as caught:
        post(session, visma_connect.token_endpoint.replace("http:", "https:"), FORM, {})

    assert "certificate" not in caught.value.remedy


@pytest.mark.parametrize("piece", [b"", b"\0"], ids=["silence", "dripping"])
def test_a_handshake_that_never_ends_ends_in_time(piece: bytes, session: requests.Session) -> None:
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
            post(session, url, FORM, {})

        stop.set()
        dripping.join()


# Time


def test_a_host_that_drops_what_is_sent_is_given_up(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        fills_the_queue = socket.create_connection(address)

        with pytest.raises(EndpointUnavailable, match="endpoint failed: TimeoutError"):
            post(session, f"http://127.0.0.1:{address[1]}/token", FORM, {})

        fills_the_queue.close()


def test_many_addresses_have_the_time_of_one() -> None:
    def seconds_until_given_up(addresses: list[str]) -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(addresses, port, seconds=0.5)
        return time.monotonic() - started

    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        port = listener.getsockname()[1]
        fills_the_queue = socket.create_connection(listener.getsockname())

        six = seconds_until_given_up(["127.0.0.1"] * 6)

        assert six < 2 * seconds_until_given_up(["127.0.0.1"])
        fills_the_queue.close()


def test_the_next_address_is_tried(visma_connect: VismaConnect) -> None:
    port = urlsplit(visma_connect.url).port
    assert port

    with connect(["127.0.0.2", "127.0.0.1"], port) as connected:
        assert connected.getpeername() == ("127.0.0.1", port)


def test_a_host_without_an_address_is_named(session: requests.Session) -> None:
    with pytest.raises(EndpointUnavailable, match="endpoint failed: gaierror") as caught:
        post(session, "http://no-such-host.invalid/token", FORM, {})

    assert "has no address" in caught.value.remedy


def test_connecting_tls_and_answer_stay_below_15_seconds() -> None:
    assert 2 * CONNECT_SECONDS + ANSWER_SECONDS < 15


def test_an_answer_is_too_late_when_time_has_run_out(session: requests.Session) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/token"

        with pytest.raises(EndpointUnavailable, match="did not answer in time"):
            post(session, url, FORM, {}, answer_seconds=1e-9)


def test_an_answer_that_takes_a_while_is_waited_for(
    post_to_visma: Post, visma_connect: VismaConnect
) -> None:
    visma_connect.faults[None] = Fault(status=200, body=b"late", seconds=1.5)

    assert post_to_visma(FORM, {}) == Answer(status=200, body=b"late")


def seconds_until_given_up(fault: Break, session: requests.Session, answer_seconds: float) -> float:
    with broken_server(VismaConnect()) as server:
        server.faults[tenant_id("acme")] = fault
        started = time.monotonic()
        with pytest.raises(EndpointUnavailable, match="did not answer in time") as caught:
            post(session, f"{server.url}/token", FORM, {}, answer_seconds=answer_seconds)
        assert caught.value.is_timeout  # and so it is not repeated
        return time.monotonic() - started


def test_a_byte_buys_no_time(session: requests.Session) -> None:
    def say_a_byte_late(connection: socket.socket, stop: threading.Event) -> None:
        stop.wait(0.9)
        connection.sendall(b"H")
        stop.wait(60)

    with_a_byte = seconds_until_given_up(say_a_byte_late, session, 1)

    assert with_a_byte < 1.5 * seconds_until_given_up(say_nothing, session, 1)
