"""What is printed: tables and words for people, JSON for scripts; a token by `print_bare` alone."""

import json
import os
import sys
import textwrap
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FINE_MINUTES = 2  # below, seconds matter
PIPED_COLUMNS = 200  # where nobody has a width


def out() -> Console:
    """Return the console for what was asked for."""
    return _console(stderr=False)


def err() -> Console:
    """Return the console for progress, questions and failures."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_COLUMNS
    return console


def print_json(value: "Mapping[str, Any] | Sequence[Any]") -> None:
    """Print a value as JSON, for a script."""
    json.dump(value, sys.stdout, indent=2, default=str)  # in ASCII, which any terminal takes
    sys.stdout.write("\n")


def print_bare(text: str) -> None:
    """Print a text as it is, for a script."""
    sys.stdout.write(f"{text}\n")


def plain(value: object) -> dict[str, Any]:
    """Return the members of a value as scripts read them; times are ISO 8601 in UTC."""
    return {
        name: one.isoformat(timespec="seconds") if isinstance(one, datetime) else one
        for name, one in vars(value).items()
    }


def listed(names: "Sequence[str]", most: int) -> str:
    """Return names for a sentence, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def say(text: str, style: str = "") -> None:
    """Tell on stderr what goes on; a text from elsewhere is not markup."""
    console = err()
    console.print(text, style=style, markup=False, soft_wrap=not console.is_terminal)


def labelled(label: str, text: str, columns: int, console: Console) -> str:
    """Return a label and, from that column on, a text that is wrapped to the console's width."""
    return textwrap.fill(
        text,
        width=max(console.width, 2 * columns),
        initial_indent=label.ljust(columns),
        subsequent_indent=" " * columns,
        break_on_hyphens=False,
    )


def shown_span(span: timedelta) -> str:
    """Return a time span as people read it, as fine as it matters."""
    seconds = int(abs(span).total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600, seconds // 60
    if days:
        text = f"{days} d {hours % 24} h"
    elif hours:
        text = f"{hours} h {minutes % 60} min"
    elif minutes >= FINE_MINUTES:
        text = f"{minutes} min"
    else:
        text = f"{seconds} s"
    return f"-{text}" if span < timedelta(0) else text
