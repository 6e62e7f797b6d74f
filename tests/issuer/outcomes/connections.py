"""What a server, or the network before it, may do to a connection."""

import gzip
import socket
import struct
import threading

from tests.issuer.outcomes.broken_server import Break
from tests.issuer.outcomes.scene import ALL, ECHO, LOOSE_TOKEN, Case, Scene

ACME = frozenset({"acme"})
CLOSE = "Connection: close\r\n"  # as a server says that hangs up, so that nobody else meets it
OK = f"HTTP/1.1 200 OK\r\n{CLOSE}X-Echo: {ECHO}\r\n".encode()


def closed_port(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    scene.environment.setenv("TOKEN_ENDPOINT", f"http://127.0.0.1:{port}/connect/token")


def say_nothing(_: socket.socket, stop: threading.Event) -> None:
    stop.wait(60)


def drip(head: bytes, piece: bytes) -> Break:
    """Send the head, then one piece after the other, ten a second."""

    def fault(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head)
        while not stop.wait(0.1):
            connection.sendall(piece)

    return fault


def a_byte_a_second(connection: socket.socket, stop: threading.Event) -> None:
    connection.sendall(OK + b"Content-Length: 1000\r\n\r\n" + ECHO.encode())
    while not stop.wait(1):
        connection.sendall(b" ")


def pour(head: bytes, piece: bytes) -> Break:
    """Send the head, then pieces as fast as they are taken."""

    def fault(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(head)
        for _piece in range(1000):  # 60 MB of the largest: without a limit, this shall end too
            connection.sendall(piece)

    return fault


def once(answer: bytes) -> Break:
    def fault(connection: socket.socket, _: threading.Event) -> None:
        connection.sendall(answer)

    return fault


def reset(connection: socket.socket, _: threading.Event) -> None:
    connection.sendall(OK + b'Content-Length: 100\r\n\r\n{"access_token": "')
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def bomb(start: bytes) -> bytes:
    packed = gzip.compress(b" " * 15_000_000)
    head = start + f"Content-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    return head + packed


def broken(words: str, reason: str, detail: str, fault: Break) -> Case:
    return Case(
        words=words,
        arrange=lambda scene: scene.break_connection(fault),
        reason=reason,
        detail=detail,
        failures=ACME,
        kept=ACME,
    )


def failed(words: str, kind: str, fault: Break) -> Case:
    return broken(words, "EndpointUnavailable", f"endpoint failed: {kind}", fault)


MOVED = f"HTTP/1.1 302 Found\r\n{CLOSE}Location: http://127.0.0.1:9/\r\n".encode()
HALF = OK + b"Content-Length: 900\r\n\r\n" + ECHO.encode()
NO_EMPTY_LINE = OK + f'{{ "access_token": "{LOOSE_TOKEN}"}}\r\n\r\n'.encode()
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

SLOW: dict[str, Break] = {
    "accepts and says nothing": say_nothing,
    "slow headers": drip(OK, b"x"),
    "a byte a second": a_byte_a_second,
    "interim answers without end": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}
LONG: dict[str, Break] = {
    "a body without end": pour(OK + b"\r\n", b" " * 65536),
    "a body of a terabyte": pour(OK + b"Content-Length: 1000000000000\r\n\r\n", b" " * 65536),
    "a header without end": pour(OK + b"X: ", b"x" * 1024),
    "headers without end": pour(OK, b"X: " + b"x" * 60_000 + b"\r\n"),
    "chunks without end": pour(CHUNKED, b"1000\r\n" + b" " * 4096 + b"\r\n"),
    "a chunk size without end": pour(CHUNKED, b"1" * 1024),
    "interim answers as fast as they go": pour(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
}
CONNECTIONS = [
    Case(
        words="a closed port",
        arrange=closed_port,
        reason="EndpointUnavailable",
        detail="endpoint failed: ConnectionRefusedError",
        failures=ALL,
        kept=ALL,
    ),
    *(
        broken(words, "EndpointUnavailable", "did not answer in time", fault)
        for words, fault in SLOW.items()
    ),
    *(
        broken(words, "AnswerInvalid", "longer than 20480 bytes", fault)
        for words, fault in LONG.items()
    ),
    broken("a gzip bomb", "AnswerInvalid", "not a JSON object", once(bomb(OK))),
    broken("a redirect with a gzip bomb", "AnswerInvalid", "is a redirect", once(bomb(MOVED))),
    broken(
        "a redirect to nowhere",
        "AnswerInvalid",
        "is a redirect",
        once(MOVED.replace(b"127.0.0.1:9/", b"[x") + b"Content-Length: 0\r\n\r\n"),
    ),
    failed("reset in the middle", "ConnectionResetError", reset),
    failed("closed without an answer", "RemoteDisconnected", once(b"")),
    failed(
        "closed in the middle",
        "IncompleteRead",
        once(HALF),
    ),
    broken("closed in the headers", "AnswerInvalid", "is empty", once(OK + b"Content-")),
    broken("headers that run into the body", "AnswerInvalid", "is empty", once(NO_EMPTY_LINE)),
    failed("no HTTP at all", "BadStatusLine", once(b"220 mail.example ESMTP\r\n")),
    failed("two lengths", "InvalidHeader", once(TWO_LENGTHS)),
]
