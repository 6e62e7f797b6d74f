"""Form → answer: one POST that is bounded in time and in bytes, whoever answers."""

import http.client
import http.cookiejar
import io
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import connection

from token_issuer.authorization_server import Answer
from token_issuer.errors import AnswerInvalid, EndpointUnavailable

if TYPE_CHECKING:
    from collections.abc import Buffer

CONNECT_SECONDS = 3.0  # to all addresses of the host together, and once more for TLS
ANSWER_SECONDS = 8.0  # from the request to the last byte of the answer
ANSWER_BYTES = 20 * 1024  # headers included; a token has 8 KB, and JSON grows fortyfold in memory
PIECE_BYTES = 8 * 1024


def open_session(concurrency: int) -> requests.Session:
    """Return a session for one run: Lambda freezes between runs and leaves dead sockets."""
    session = _Session()
    session.trust_env = False  # no .netrc, no proxy: nobody else hears the client secret
    session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=concurrency, max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return session


def post(
    session: requests.Session,
    url: str,
    form: dict[str, str],
    headers: dict[str, str],
    *,
    answer_seconds: float = ANSWER_SECONDS,
) -> Answer:
    """Post once, without repeats, redirects or decompression.

    Raises EndpointUnavailable or AnswerInvalid, which show no cause: exceptions of requests carry
    the request, and with it the client secret.
    """
    try:
        with session.post(
            url,
            data=form,
            headers=headers | {"Accept-Encoding": "identity"},
            timeout=(CONNECT_SECONDS, answer_seconds),
            allow_redirects=False,  # a 307 would post the secret elsewhere
            stream=True,
        ) as response:
            read = partial(response.raw.read1, PIECE_BYTES, decode_content=False)
            return Answer(
                status=response.status_code,
                body=b"".join(iter(read, b"")),
                retry_after=response.headers.get("Retry-After"),
            )
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise EndpointUnavailable(
            "The token endpoint did not answer in time", is_timeout=True
        ) from None
    except _AnswerTooLongError:
        raise AnswerInvalid(f"The answer is longer than {ANSWER_BYTES} bytes") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        kind = type(_root(error)).__name__  # no more of it: its text quotes URLs
        failed = f"The connection to the token endpoint failed: {kind}"
        raise EndpointUnavailable(failed, code=kind) from None


def _root(error: BaseException) -> BaseException:
    """Return what went wrong at the bottom: requests and urllib3 call everything alike."""
    while error.__context__:
        error = error.__context__
    return error


class _AnswerTooLongError(Exception):
    """An answer has more than ANSWER_BYTES."""


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """See no redirect: requests would read and unpack its body, though it follows none."""


class _Bounded(io.RawIOBase):
    """What a socket receives for one answer.

    A read time-out alone starts anew with each byte, and http.client reads a hundred headers of
    64 KB, or interim answers (RFC 9110 §15.2) without end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = sock.makefile("rb", buffering=0)
        # urllib3 has set the read time-out by now
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)
        self._bytes_left = ANSWER_BYTES

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        self._sock.settimeout(seconds)
        count = self._received.readinto(buffer) or 0
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise _AnswerTooLongError
        return count

    def close(self) -> None:
        self._received.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401  those of http.client
        super().__init__(_Bounded(sock), *args, **options)  # type: ignore[arg-type]


def connect(
    addresses: list[str],
    port: int,
    options: connection._TYPE_SOCKET_OPTIONS | None = None,
    *,
    seconds: float = CONNECT_SECONDS,
) -> socket.socket:
    """Connect to the first address that answers; urllib3 gives each of them the whole time-out."""
    deadline = time.monotonic() + seconds
    failure: OSError = TimeoutError()
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        try:
            return connection.create_connection((address, port), left, socket_options=options)
        except OSError as error:
            failure = error
    raise failure


class _HTTPConnection(HTTPConnection):
    response_class = _Answer

    def _new_conn(self) -> socket.socket:
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return connect([str(address[0]) for *_, address in found], self.port, self.socket_options)


class _HTTPSConnection(HTTPSConnection):
    response_class = _Answer
    _new_conn = _HTTPConnection._new_conn  # noqa: SLF001  # what urllib3 calls it


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
