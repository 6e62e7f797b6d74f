"""Host and port → a connected socket, within the time that there is."""

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from contextlib import suppress
from errno import ETIMEDOUT
from typing import Any

from token_issuer.errors import EndpointUnavailable
from token_issuer.redaction import Quoted

STAGGER_SECONDS = 0.25  # between two addresses (RFC 8305 §5)
MOST_LOOK_UPS = 16  # at once in this process, since none can be ended

type Address = tuple[int, int, int, str, Any]  # as getaddrinfo returns it


class LookUps:
    """Those of this process that have not ended; each has a thread."""

    free = threading.BoundedSemaphore(MOST_LOOK_UPS)


def look_up(host: str, port: int, deadline: float) -> list[Address]:
    """Return the host's addresses; raises EndpointUnavailable at the deadline.

    getaddrinfo has no time-out, so a look-up that takes longer is left alone until it ends.
    """
    found: Future[list[Any]] = Future()

    def ask() -> None:
        try:
            found.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001  raised where it is waited for
            found.set_exception(error)
        finally:
            LookUps.free.release()

    if LookUps.free.acquire(timeout=max(0.0, deadline - time.monotonic())):
        threading.Thread(target=ask, daemon=True).start()  # a daemon keeps no process from ending
    try:
        return found.result(deadline - time.monotonic())
    except TimeoutError:
        why = "Looking up the token endpoint's host took too long"
        raise EndpointUnavailable(why, code=Quoted("gaierror"), is_timeout=True) from None


def connect(addresses: Iterable[Address], deadline: float) -> socket.socket:
    """Return a connection to the address that takes one first.

    Each is tried a moment after the one before, or at once when that has failed (RFC 8305 §5).
    """
    waiting = deque(addresses)
    stagger = min(STAGGER_SECONDS, (deadline - time.monotonic()) / 2 / max(1, len(waiting)))
    next_at, failure = 0.0, OSError(ETIMEDOUT, "no address answered")
    connecting = selectors.DefaultSelector()
    try:
        while (waiting or connecting.get_map()) and (now := time.monotonic()) < deadline:
            if waiting and now >= next_at:
                try:
                    sock = _start(waiting.popleft())
                except OSError as error:
                    failure = error
                else:
                    connecting.register(sock, selectors.EVENT_WRITE, sock)
                    next_at = now + stagger
                continue
            until = min(next_at, deadline) if waiting else deadline
            for key, _ in connecting.select(until - now):
                connecting.unregister(key.data)
                code = key.data.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    connected: socket.socket = key.data
                    return connected
                key.data.close()
                next_at, failure = 0.0, OSError(code, "no connection")
        raise failure
    finally:
        for key in list(connecting.get_map().values()):
            key.data.close()
        connecting.close()


def _start(address: Address) -> socket.socket:
    """Begin to connect, without waiting for it."""
    family, kind, protocol, _, target = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as urllib3 does
        with suppress(BlockingIOError):
            sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock
