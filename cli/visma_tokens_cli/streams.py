"""Prepare the standard streams so that printing never fails for a character or a closed stream."""

import codecs
import os
import sys
import time
from contextlib import suppress
from functools import cache
from typing import Any, TextIO

from token_issuer.redaction import quote

PLAIN = str.maketrans(
    {
        "━": "=",
        "╸": "=",
        "╺": "-",
        "╌": "-",
        "─": "-",
        "✓": "+",
        "✗": "x",
        "–": "-",  # noqa: RUF001  an en dash it is
        "→": "->",
        "…": "...",
    }
)
LEAST, MOST = 20, 1000  # columns; a table of fewer is unreadable
COLUMNS, LINES = 80, 24  # of a screen whose size is unknown
DAY = 86_400  # seconds


def printable(text: str) -> str:
    """Escape control characters but for line ends, so that a terminal obeys nothing in the text."""
    return "\n".join(quote(line, sys.maxsize) for line in text.split("\n"))


@cache
def callers_environment() -> dict[str, str]:
    """Return the environment as it was at the first call, before the command changed it."""
    return dict(os.environ)


def prepare() -> None:
    """Open closed streams on /dev/null; have them replace characters that they can't encode."""
    callers_environment()
    codecs.register_error("plain", _plain)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: Any = getattr(sys, name)
        if stream is None:  # in this order, each gets its number, and no socket does
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
            continue
        with suppress(OSError):  # raised on Windows for a stream that is no pipe
            os.set_blocking(stream.fileno(), True)  # else a pause looks like the end
        if mode == "w":
            stream.reconfigure(errors="plain")
    for name, usual in (("COLUMNS", COLUMNS), ("LINES", LINES)):
        if (size := os.environ.get(name)) and not is_size(size):
            os.environ[name] = str(usual)
    # the AWS SDK fails with such time zones, and the command prints UTC anyway
    if max(abs(time.timezone), abs(time.altzone)) >= DAY:
        os.environ["TZ"] = "UTC"
        time.tzset()


def is_size(text: str) -> bool:
    """Tell whether a text is a usable number of columns or lines."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST))
    return is_number and LEAST <= int(text) <= MOST


def tell(text: str) -> None:
    """Print on stderr, if it is open."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def abandon(stream: TextIO) -> None:
    """Flush a stream; if that fails, discard all that is written to it later.

    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end
