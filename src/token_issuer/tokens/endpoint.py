"""Form → answer: one POST over a connection of its own, limited in time and in bytes."""

import http.client
import socket
import ssl
import time
from contextlib import closing
from functools import cache, partial
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection

from token_issuer.errors import EndpointUnavailable
from token_issuer.redaction import Quoted
from token_issuer.tokens import receiving
from token_issuer.tokens.connecting import connect, look_up
from token_issuer.tokens.oauth import Answer, is_outage, is_redirect

# the last two come from http.client, for a number that no server means
FAILURES = requests.RequestException, urllib3.exceptions.HTTPError, ArithmeticError, ValueError
CONNECT_SECONDS = 3.0  # to look the host up and to connect to one of its addresses; 3 more for TLS
ANSWER_SECONDS = 8.0  # from the request's head to the last byte of the answer
EARLY_SECONDS = 0.02  # beyond a round trip, before the body is sent: an answer until then is early
LONGEST_ROUND_TRIP = 0.25  # seconds: connecting takes longer where a packet was lost


class TokenEndpoint:
    """Where tokens are requested.

    Each request has a connection of its own. Whatever else a server sends on it, late, early or
    twice, ends with it, so that no request can get the answer to another one.
    """

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._url = url
        self._tls = tls
        self._timeout = CONNECT_SECONDS, answer_seconds

    def post(self, form: dict[str, str], headers: dict[str, str]) -> Answer:
        """Post once.

        Raises EndpointUnavailable or AnswerInvalid, which show no cause: exceptions of requests
        carry the request, and with it the client secret.
        """
        headers = headers | {"Accept-Encoding": "identity"}
        try:
            request = requests.Request("POST", self._url, headers, data=form).prepare()
            # without a requests.Session, which follows redirects (a 307 would post the secret
            # elsewhere), keeps cookies, and listens to .netrc and proxies of the environment
            with (
                closing(_Adapter(self._tls or _public_authorities())) as adapter,
                adapter.send(request, stream=True, timeout=self._timeout) as response,
            ):
                status = response.status_code
                return Answer(
                    status=status,
                    body=b"" if is_outage(status) or is_redirect(status) else _read(response),
                    retry_after=response.headers.get("Retry-After"),
                    is_early=receiving.EARLY in response.headers,
                )
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise EndpointUnavailable(receiving.LATE, is_timeout=True) from None
        except FAILURES as error:
            kind = Quoted(type(_root(error)).__name__)  # no more of it: its text quotes URLs
            failed = f"The connection to the token endpoint failed: {kind}"
            raise EndpointUnavailable(failed, code=kind) from None


def _read(response: requests.Response) -> bytes:
    read = partial(response.raw.read1, receiving.PIECE_BYTES, decode_content=False)
    return b"".join(iter(read, b""))


def _root(error: BaseException) -> BaseException:
    """Return what went wrong at the bottom: requests and urllib3 call everything alike."""
    while error.__context__ and not isinstance(error, http.client.HTTPException):
        error = error.__context__
    return error


@cache
def _public_authorities() -> ssl.SSLContext:
    """Return a context that is made once: reading over a hundred certificates takes a while."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)


class _Connection(HTTPConnection):
    _round_trip: float
    _is_answered = False

    def _new_conn(self) -> socket.socket:  # what urllib3 and its SOCKS proxies open sockets with
        deadline = time.monotonic() + CONNECT_SECONDS
        addresses = look_up(self.host, self.port, deadline)
        began = time.monotonic()
        sock = connect(addresses, deadline)
        self._round_trip = min(time.monotonic() - began, LONGEST_ROUND_TRIP)
        sock.settimeout(CONNECT_SECONDS)  # for TLS, and for sending
        return sock

    def endheaders(self, *args: Any, **options: Any) -> None:  # noqa: ANN401  those of http.client
        """Send the head, and a moment later the body, which says who asks.

        Where a server has answered before, it gets none.
        """
        super().endheaders(*args, **options)
        asked_at = time.monotonic()
        early = _early(self.sock, asked_at + self._round_trip + EARLY_SECONDS)
        answer = receiving.INTERIM_HEADS.sub(b"", early, 1)
        self._is_answered = bool(answer) and not receiving.INTERIM.match(answer)
        self.response_class = partial(  # type: ignore[assignment]
            receiving.Response, early=early, is_early=self._is_answered, asked_at=asked_at
        )

    def send(self, data: Any) -> None:  # noqa: ANN401  bytes of the head, then of the body
        if not self._is_answered:
            super().send(data)


def _early(sock: socket.socket, until: float) -> bytes:
    """Return what a server sends until then."""
    seconds, early = sock.gettimeout(), b""
    try:
        while len(early) <= receiving.ANSWER_BYTES:
            sock.settimeout(max(1e-6, until - time.monotonic()))
            if not (piece := sock.recv(receiving.PIECE_BYTES)):
                break  # whoever sends on hears of it
            early += piece
    except TimeoutError:
        pass
    finally:
        sock.settimeout(seconds)
    return early


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Adapter(HTTPAdapter):
    """Opens our connections, with a TLS context that knows already whom to trust."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self.init_poolmanager(1, 1, ssl_context=tls)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}

    def cert_verify(self, *_: object) -> None:
        """Don't have the same authorities read for each connection; the context verifies."""
