"""Read a file that a person names, or standard input, up to a limit."""

import os
import sys
from pathlib import Path

from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed

STDIN = "-"
REMEDIES: dict[type[OSError], str] = {
    FileNotFoundError: "Check its name.",
    IsADirectoryError: "Name a file in it.",
    PermissionError: "Check its permissions.",
}


def read_bytes(file: Path, most: int) -> bytes:
    """Read at most `most` bytes; raises CommandFailed if there are more, none, or no such file."""
    name = "Standard input" if str(file) == STDIN else file
    try:
        content = _read(file, most + 1)
    except OSError as error:
        remedy = REMEDIES.get(type(error), "Check what it is, and where.")
        raise CommandFailed(
            f"{name} can't be read: {error.strerror}", remedy, code=UNCHANGED
        ) from None
    if not content:
        raise CommandFailed(f"{name} is empty", "Fill it, then try again.", code=UNCHANGED)
    if len(content) > most:
        raise CommandFailed(
            f"{name} has more than {most:,} bytes",
            "Check whether it is the one that is meant.",
            code=UNCHANGED,
        )
    return content


def name_of(file: Path) -> str:
    """Return the name of a file for the middle of a sentence."""
    return "standard input" if str(file) == STDIN else str(file)


def _read(file: Path, most: int) -> bytes:
    if str(file) == STDIN:
        return sys.stdin.buffer.read(most)
    # without O_NONBLOCK, opening a pipe that nobody writes to would wait forever
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with open(descriptor, "rb") as stream:  # noqa: PTH123  it is open
        begins = stream.read(1)
        if begins == b"":
            return b""
        os.set_blocking(descriptor, True)
        return (begins or b"") + stream.read(most)
