"""What a socket receives → one answer, limited in time and in bytes."""

import http.client
import io
import re
import socket
import time
from typing import TYPE_CHECKING, Any

from token_issuer.errors import AnswerInvalid, EndpointUnavailable

if TYPE_CHECKING:
    from collections.abc import Buffer


ANSWER_BYTES = 20 * 1024  # headers included; a token has 8 KB, and JSON grows fortyfold in memory
PIECE_BYTES = 8 * 1024

LATE = "The token endpoint did not answer in time"

INTERIM = re.compile(rb"HTTP/\S+[ \t]+1[0-9]{2}(?=\s)")
INTERIM_HEADS = re.compile(rb"(?s:%s.*?\n\r?\n)*" % INTERIM.pattern)
FIELD_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
FIELDS = {  # the headers that are read, and what of their values
    b"content-length": re.compile(rb"([0-9]{1,18})([ \t]*,[ \t]*\1)*"),  # RFC 9112 §6.3
    # after the last coding, RFC 9110 §5.6.1 allows empty members, and RFC 2616 had `identity`
    b"transfer-encoding": re.compile(
        rb"(?:.*,[ \t]*)?(chunked)(?:[ \t]*,[ \t]*(?:identity)?)*", re.IGNORECASE
    ),
    b"retry-after": re.compile(rb"([ -~]+)"),
}
LENGTHS = {b"content-length", b"transfer-encoding"}
EARLY = "Early"  # our own header: of theirs only FIELDS are kept


class _Received(io.RawIOBase):
    """What a socket receives for one answer.

    A read time-out alone starts anew with each byte, and http.client reads headers of 6 MB.
    """

    def __init__(self, sock: socket.socket, early: bytes, asked_at: float) -> None:
        self._sock = sock
        self._received = sock.makefile("rb", buffering=0)
        self._early = early
        # urllib3 has set the read time-out by now
        self._deadline = asked_at + (sock.gettimeout() or 0.0)
        self._bytes_left = ANSWER_BYTES
        self.late = LATE

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "Buffer") -> int:
        count = self._receive(buffer)
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise AnswerInvalid(f"The answer is longer than {ANSWER_BYTES} bytes")
        return count

    def _receive(self, buffer: "Buffer") -> int:
        if self._early:
            place = memoryview(buffer)
            piece, self._early = self._early[: len(place)], self._early[len(place) :]
            place[: len(piece)] = piece
            return len(piece)
        # never 0, which would mean not to wait, and be taken for the end
        self._sock.settimeout(max(1e-6, self._deadline - time.monotonic()))
        try:
            return self._received.readinto(buffer) or 0
        except TimeoutError:
            raise EndpointUnavailable(self.late, is_timeout=True) from None

    def close(self) -> None:
        self._received.close()
        super().close()


class Response(http.client.HTTPResponse):
    """The final answer, and of its headers those in FIELDS.

    http.client takes an interim answer for the final one, and ends at a header that is malformed.
    """

    def __init__(
        self,
        sock: socket.socket,
        *args: Any,  # noqa: ANN401  those of http.client
        early: bytes,
        is_early: bool,
        asked_at: float,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self._is_early = is_early
        self._received = _Received(sock, early, asked_at)
        super().__init__(self._received, *args, **options)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the head."""
        received = self.fp
        status = received.readline()
        while INTERIM.match(status):  # RFC 9110 §15.2
            _rest_of_head(received)
            status = received.readline()
        head = _rest_of_head(received) if status.startswith(b"HTTP/") else []
        fields, malformed = _fields(head)
        if malformed:
            self._received.late = f"The answer did not end in time: {malformed} is malformed"
        if self._is_early:
            fields.append(f"{EARLY}: yes\r\n".encode())
        self.fp = io.BufferedReader(io.BytesIO(status + b"".join(fields)))
        try:
            super().begin()
        finally:
            self.fp = received


def _rest_of_head(received: io.BufferedReader) -> list[bytes]:
    """Return the lines up to the empty one, and a value that was folded in its line again."""
    head: list[bytes] = []
    for line in iter(lambda: received.readline().rstrip(b"\r\n"), b""):
        if head and line[:1].isspace():  # RFC 9112 §5.2
            head[-1] += line
        else:
            head.append(line)
    return head


def _fields(head: list[bytes]) -> tuple[list[bytes], str | None]:
    """Return the lines in FIELDS, as http.client knows them.

    Where they don't say how long the body is, name also a malformed line that may have said it.
    """
    fields, malformed, has_length = [], None, False
    for number, line in enumerate(head, start=1):
        name, colon, value = (part.strip(b" \t") for part in line.partition(b":"))
        if pattern := FIELDS.get(name.lower()):
            if match := pattern.fullmatch(value):
                fields.append(b"%s: %s\r\n" % (name, match[1]))
                has_length |= name.lower() in LENGTHS
            elif name.lower() in LENGTHS:
                malformed = name.decode()
        elif not (colon and FIELD_NAME.fullmatch(name)):
            malformed = malformed or f"line {number} of its headers"
    return fields, None if has_length else malformed
