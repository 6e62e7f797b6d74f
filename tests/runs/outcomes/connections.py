"""What a server, or the network before it, may do to a connection."""

import gzip
import socket
import struct
import threading

from tests.helpers.broken_server import Break
from tests.helpers.scene import ALL, ECHO, LOOSE_TOKEN, Case, Scene, hitting
from tests.runs.outcomes.answers import token_answer

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
    return hitting(["acme"], words, lambda scene: scene.break_connection(fault), reason, detail)


def served(words: str, *pieces: bytes) -> Case:
    """Send the pieces one after the other, with a good token for BODY, and keep the connection."""

    def arrange(scene: Scene) -> None:
        body = token_answer()(scene)
        sent = [piece.replace(LENGTH, b"%d" % len(body)).replace(BODY, body) for piece in pieces]

        def fault(connection: socket.socket, stop: threading.Event) -> None:
            for number, piece in enumerate(sent):
                stop.wait(0.3 if number else 0)
                connection.sendall(piece)
            stop.wait(60)

        scene.break_connection(fault)

    return Case(words=words, arrange=arrange)


def odd(words: str, *headers: bytes) -> Case:
    """Send these headers before the one that says how long the body is."""
    lines = b"".join(header + b"\r\n" for header in headers)
    return served(words, b"HTTP/1.1 200 OK\r\n" + lines + CONTENT_LENGTH + BODY)


def outage(words: str, *headers: bytes) -> Case:
    """Say 503 with these headers, keep the connection, and never send the body."""

    def fault(connection: socket.socket, stop: threading.Event) -> None:
        lines = b"".join(header + b"\r\n" for header in headers)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\n" + lines + b"\r\n")
        stop.wait(60)

    return broken(words, "EndpointUnavailable", "answered HTTP 503", fault)


def failed(words: str, kind: str, fault: Break) -> Case:
    return broken(words, "EndpointUnavailable", f"endpoint failed: {kind}", fault)


REFUSED = "endpoint failed: ConnectionRefusedError"
MOVED = f"HTTP/1.1 302 Found\r\n{CLOSE}Location: http://127.0.0.1:9/\r\n".encode()
HALF = OK + b"Content-Length: 900\r\n\r\n" + ECHO.encode()
NO_EMPTY_LINE = OK + f'{{ "access_token": "{LOOSE_TOKEN}"}}\r\n\r\n'.encode()
TWO_LENGTHS = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"
LENGTH, BODY = b"<length>", b"<body>"  # of an answer that is made with its case
CONTENT_LENGTH = b"Content-Length: " + LENGTH + b"\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
GOOD = b"HTTP/1.1 200 OK\r\n" + CONTENT_LENGTH + BODY
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
    hitting(ALL, "a closed port", closed_port, "EndpointUnavailable", REFUSED),
    *(
        broken(words, "EndpointUnavailable", "did not answer in time", fault)
        for words, fault in SLOW.items()
    ),
    *(
        broken(words, "AnswerInvalid", "longer than 20480 bytes", fault)
        for words, fault in LONG.items()
    ),
    broken("a gzip bomb", "AnswerInvalid", "is compressed", once(bomb(OK))),
    broken("a redirect with a gzip bomb", "AnswerInvalid", "is a redirect", once(bomb(MOVED))),
    broken(
        "a redirect to nowhere",
        "AnswerInvalid",
        "is a redirect",
        once(MOVED.replace(b"127.0.0.1:9/", b"[x") + b"Content-Length: 0\r\n\r\n"),
    ),
    failed("reset in the middle", "ConnectionResetError", reset),
    failed("closed without an answer", "RemoteDisconnected", once(b"")),
    failed("closed in the middle", "IncompleteRead", once(HALF)),
    broken("closed in the headers", "AnswerInvalid", "is empty", once(OK + b"Content-")),
    broken("headers that run into the body", "AnswerInvalid", "is empty", once(NO_EMPTY_LINE)),
    failed("no HTTP at all", "BadStatusLine", once(b"220 mail.example ESMTP\r\n")),
    failed("two lengths", "InvalidHeader", once(TWO_LENGTHS)),
    failed("interim answers and no other", "RemoteDisconnected", once(EARLY_HINTS)),
    served("an interim answer before the good one", EARLY_HINTS, GOOD),
    served("an interim answer with the good one", EARLY_HINTS + GOOD),
    served(
        "interim answers of all kinds",
        b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY_HINTS,
        b"HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\nHTTP/1.1 199\r\n\r\n",
        GOOD,
    ),
    served("more than the body", GOOD + b"\r\n" + GOOD),
    odd("a space before the colon", b"X-FRAME-OPTIONS : SAMEORIGIN"),
    odd("no colon", b"X-Frame-Options SAMEORIGIN"),
    odd("a second status line", b"HTTP/1.0 200 OK"),
    odd("no name", b": nobody's"),
    odd("a name in quotes", b'"X-Frame-Options": SAMEORIGIN'),
    odd("names of other letters", "Författare: Åsa".encode(), "Länge: 3".encode("latin-1")),
    odd("control characters", b"X: \x00\x1b[2J\x7f", b"\x00: y", b"X: a\rContent-Length: 1"),
    odd("a line that goes on in the next", b"X: a", b" b: c", b"\td"),
    odd("a first line that goes on", b" from nowhere"),
    odd("an envelope of mail", b"From nobody Mon Nov 23 12:00:00 2026", b"MIME-Version: 1.0"),
    odd("more headers than http.client takes", *(b"X-%d: y" % number for number in range(300))),
    odd("a header of 16 KB", b"Set-Cookie: " + b"x" * 16_000),
    odd("a type of many parts", b"Content-Type: multipart/mixed; boundary=x"),
    odd("a coding that the body is not in", b"Content-Encoding: gzip"),
    odd("somewhere else to go", b"Location: http://127.0.0.1:9/"),
    odd("the same length twice", b"Content-Length: " + LENGTH),
    odd("a Retry-After that isn't one", b"Retry-After: \xd9\xa1, 99999999999999999999, never"),
    served(
        "a space before the colon of the length",
        b"HTTP/1.1 200 OK\r\nContent-Length : " + LENGTH + b"\t\r\n\r\n" + BODY,
    ),
    served(
        "a list of lengths that are one",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + LENGTH + b", " + LENGTH + b"\r\n\r\n" + BODY,
    ),
    served("line feeds only", GOOD.replace(b"\r", b"")),
    outage("no more than a status"),
    outage("a length that is none", b"Content-Length: -1"),
    outage("a length beyond numbers", b"Content-Length: " + b"9" * 5000),
    outage("two lengths of an outage", b"Content-Length: 10, 20"),
    outage("a body that is never sent", b"Content-Length: 900"),
    outage("a coding that nobody knows", b"Transfer-Encoding: br, x-\xff"),
    outage("chunks that are never sent", b"Transfer-Encoding: chunked"),
    outage("a date beyond the calendar", b"Retry-After: Fri, 31 Dec 99999 23:59:59 GMT"),
    outage("a zone beyond the world", b"Retry-After: 23 Nov 2026 12:00:00 +" + b"9" * 20),
    outage("a delay in other digits", "Retry-After: ١٢".encode()),
    outage("a malformed line in an outage", b"Retry-After 5", b"x"),
]
