"""The standard streams: open, and such that whatever is printed can be printed."""

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
LEAST, MOST = 20, 1000  # columns; fewer show nothing that can be read
COLUMNS, LINES = 80, 24  # where a screen doesn't tell how many it has
DAY = 86_400  # seconds


def printable(text: str) -> str:
    """Return text, escaped but for the ends of its lines: a terminal obeys nothing in it."""
    return "\n".join(quote(line, sys.maxsize) for line in text.split("\n"))


@cache
def callers_environment() -> dict[str, str]:
    """Return the environment as it is at the first call, which is before the command adapts it."""
    return dict(os.environ)


def prepare() -> None:
    """Open what is closed; replace characters that a stream can't encode with plain ones."""
    callers_environment()
    codecs.register_error("plain", _plain)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: Any = getattr(sys, name)
        if stream is None:  # in this order, so that each gets its own number, and no socket does
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123
            continue
        with suppress(OSError):  # on Windows, of what is no pipe
            os.set_blocking(stream.fileno(), True)  # else a pause is taken for the end
        if mode == "w":
            stream.reconfigure(errors="plain")
    for name, usual in (("COLUMNS", COLUMNS), ("LINES", LINES)):
        if (size := os.environ.get(name)) and not is_size(size):
            os.environ[name] = str(usual)
    # the AWS SDK breaks on these; what is printed is in UTC anyway
    if max(abs(time.timezone), abs(time.altzone)) >= DAY:
        os.environ["TZ"] = "UTC"
        time.tzset()


def is_size(text: str) -> bool:
    """Tell whether that can be a number of columns or lines."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(MOST))
    return is_number and LEAST <= int(text) <= MOST


def tell(text: str) -> None:
    """Print on stderr, where that can be printed on."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def abandon(stream: TextIO) -> None:
    """Have nothing more written where that fails, not even at the end.

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
