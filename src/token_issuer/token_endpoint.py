"""Form → status and body: one POST that is bounded in time and in bytes, whoever answers."""

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

from token_issuer.errors import AnswerInvalid, EndpointUnavailable

if TYPE_CHECKING:
    from collections.abc import Buffer

CONNECT_SECONDS = 3.05  # to each address, TLS included
ANSWER_SECONDS = 8.0  # from the request to the last byte of the answer
REQUEST_SECONDS = 13.0  # both
ANSWER_BYTES = 24 * 1024  # headers included; a token has 8 KB, and JSON grows thirtyfold in memory
PIECE_BYTES = 8 * 1024


def open_session(concurrency: int) -> requests.Session:
    """Return a session for one run: Lambda freezes between runs and leaves dead sockets."""
    session = requests.Session()
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
) -> tuple[int, bytes]:
    """Post once, without repeats, redirects or decompression.

    Raises EndpointUnavailable or AnswerInvalid; nothing is chained to them, since exceptions of
    requests carry the request, and with it the client secret.
    """
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=answer_seconds, total=REQUEST_SECONDS)
    try:
        with session.post(
            url,
            data=form,
            headers=headers | {"Accept-Encoding": "identity"},
            timeout=timeout,  # type: ignore[arg-type]  # requests hands it on to urllib3
            allow_redirects=False,  # a 307 would post the secret elsewhere
            stream=True,
        ) as response:
            read = partial(response.raw.read1, PIECE_BYTES, decode_content=False)
            return response.status_code, b"".join(iter(read, b""))
    except requests.ConnectTimeout:
        raise EndpointUnavailable("The token endpoint could not be reached in time") from None
    except (requests.Timeout, urllib3.exceptions.TimeoutError):
        raise EndpointUnavailable("The token endpoint did not answer in time") from None
    except requests.exceptions.SSLError:
        raise EndpointUnavailable(
            "The token endpoint's TLS certificate is not valid", code="TLS"
        ) from None
    except _AnswerTooLongError:
        raise AnswerInvalid(f"The answer is longer than {ANSWER_BYTES} bytes") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        kind = type(_root(error)).__name__  # no more of it: its text quotes URLs
        raise EndpointUnavailable(f"The connection to the token endpoint failed: {kind}") from None


def _root(error: BaseException) -> BaseException:
    """Return what went wrong at the bottom: requests and urllib3 call everything alike."""
    while error.__context__:
        error = error.__context__
    return error


class _AnswerTooLongError(Exception):
    """An answer has more than ANSWER_BYTES."""


class _Bounded(io.RawIOBase):
    """What a socket receives for one answer.

    A read time-out alone starts anew with each byte, and http.client reads a hundred headers of
    64 KB, or interim answers (RFC 9110 §15.2) without end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = sock.makefile("rb", buffering=0)
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


class _HTTPConnection(HTTPConnection):
    response_class = _Answer


class _HTTPSConnection(HTTPSConnection):
    response_class = _Answer


class _HTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HTTPConnection


class _HTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HTTPSConnection
