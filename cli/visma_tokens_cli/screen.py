"""Print tables and text for people, JSON for scripts; only `print_bare` prints a token."""

import json
import os
import sys
import textwrap
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import rich.console
import rich.text
from rich.control import Control
from rich.segment import ControlType

from visma_tokens_cli.streams import COLUMNS, is_size, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FINE_MINUTES = 2  # shorter spans are shown in seconds
PIPED_COLUMNS = 200  # of output that goes to a pipe or a file


class Text(rich.text.Text):
    """Text whose control characters are escaped, so that a terminal shows and never obeys them."""

    def __init__(self, text: str = "", style: str = "", **settings: Any) -> None:  # noqa: ANN401
        super().__init__(printable(text), style, **settings)

    def append(self, text: "rich.text.Text | str", style: Any = None) -> "Text":  # noqa: ANN401
        """Append text, escaped too."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class Console(rich.console.Console):
    """A console that prints text as it is: markup is no markup, control characters are escaped."""

    def __init__(self, *, stderr: bool) -> None:
        """Write on stdout or on stderr."""
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)
        if not self.is_terminal and not os.environ.get("COLUMNS"):
            self.width = PIPED_COLUMNS
        elif not is_size(str(self.width)):
            self.width = COLUMNS

    def render_str(self, text: str, **settings: Any) -> rich.text.Text:  # noqa: ANN401
        """Escape a string; Rich calls this for each string that it prints."""
        return super().render_str(printable(text), **settings)

    @property
    def is_screen(self) -> bool:
        """Tell whether lines can be erased and shown anew; FORCE_COLOR doesn't count."""
        can_erase = self.is_terminal and self.is_interactive and not self.is_dumb_terminal
        return can_erase and self.file.isatty()

    @property
    def encoding(self) -> str:
        """Return utf-8, for all characters: the stream replaces those that it can't encode."""
        return "utf-8"

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError to the caller, in place of Rich's exit."""
        raise  # noqa: PLE0704  while it is handled


def out() -> Console:
    """Return the console for results, on stdout."""
    return Console(stderr=False)


def err() -> Console:
    """Return the console for progress, questions and failures, on stderr."""
    return Console(stderr=True)


@contextmanager
def waiting(words: str) -> "Iterator[Callable[[str], None]]":
    """Show on a terminal what the command waits for; yields a function to replace the text.

    The line isn't animated: a question of the AWS SDK, as for an MFA code, has to stay visible.
    """
    console = err()

    def show(words: str) -> None:
        if console.is_screen:
            console.control(Control(ControlType.CARRIAGE_RETURN, (ControlType.ERASE_IN_LINE, 2)))
            console.print(words and f"{words} ", end="", no_wrap=True, overflow="ellipsis")

    show(words)
    try:
        yield show
    finally:
        show("")


def print_json(value: "Mapping[str, Any] | Sequence[Any]") -> None:
    """Print a value as JSON, for a script."""
    json.dump(value, sys.stdout, indent=2, default=str)  # ASCII works on any terminal
    sys.stdout.write("\n")


def print_bare(text: str) -> None:
    """Print a text as it is, for a script."""
    sys.stdout.write(f"{text}\n")


def plain(value: object) -> dict[str, Any]:
    """Return the fields of a dataclass for JSON; times are ISO 8601 in UTC."""
    return {
        name: one.isoformat(timespec="seconds") if isinstance(one, datetime) else one
        for name, one in vars(value).items()
    }


def listed(names: "Sequence[str]", most: int) -> str:
    """Return the first names for a sentence, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, what: str) -> str:
    """Return a number of things for a sentence."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say(text: str, style: str = "") -> None:
    """Print a message on stderr."""
    console = err()
    with suppress(OSError):  # stderr is closed, so nobody can be told
        console.print(text, style=style, soft_wrap=not console.is_terminal)


def labelled(label: str, text: str, columns: int, console: rich.console.Console) -> str:
    """Return a label, and a text that starts at that column and is wrapped to the console."""
    return textwrap.fill(
        printable(text),
        width=max(console.width, 2 * columns),
        initial_indent=label.ljust(columns),
        subsequent_indent=" " * columns,
        break_on_hyphens=False,
    )


def shown_span(span: timedelta) -> str:
    """Return a time span in one or two units, as in `3 h 12 min` or `45 s`."""
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
