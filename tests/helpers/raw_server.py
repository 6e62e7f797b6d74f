"""A server that answers each request with the bytes that it is told to."""

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

END = b"&tenant_id=af1140c1-52e0-46c7-b684-df894d4b8a5a"  # of each request


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What an answer is made of, and whether the server keeps the connection after it."""

    pieces: Sequence[bytes]
    keeps: bool


class RawServer:
    """One connection at a time: it reads a request, sends pieces, and hangs up or waits."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}/connect/token"
        self.sent = Sent(pieces=[], keeps=False)

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        sent = self.sent
        received = connection.recv(65536)
        while not received.endswith(END):
            received += connection.recv(65536)
        for piece in sent.pieces:
            connection.sendall(piece)
        if sent.keeps:
            connection.recv(1)  # until the client hangs up


@contextmanager
def raw_server() -> Iterator[RawServer]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        server = RawServer(listener)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
