"""What is printed: tables and words for people, JSON for scripts; a token by `print_bare` alone."""

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

FINE_MINUTES = 2  # below, seconds matter
PIPED_COLUMNS = 200  # where nobody has a width


class Text(rich.text.Text):
    """Text of which a terminal obeys nothing."""

    def __init__(self, text: str = "", style: str = "", **settings: Any) -> None:  # noqa: ANN401
        """Take the text, from wherever it is."""
        super().__init__(printable(text), style, **settings)

    def append(self, text: "rich.text.Text | str", style: Any = None) -> "Text":  # noqa: ANN401
        """Add a text, from wherever it is."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class Console(rich.console.Console):
    """One to which text is never markup, nor anything that a terminal obeys."""

    def __init__(self, *, stderr: bool) -> None:
        """Write on stdout or on stderr."""
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False)
        if not self.is_terminal and not os.environ.get("COLUMNS"):
            self.width = PIPED_COLUMNS
        elif not is_size(str(self.width)):
            self.width = COLUMNS

    def render_str(self, text: str, **settings: Any) -> rich.text.Text:  # noqa: ANN401
        """Make a text of a string, as Rich does for all that it prints."""
        return super().render_str(printable(text), **settings)

    @property
    def is_screen(self) -> bool:
        """Tell whether one picture can be shown over another, whatever FORCE_COLOR says."""
        can_erase = self.is_terminal and self.is_interactive and not self.is_dumb_terminal
        return can_erase and self.file.isatty()

    @property
    def encoding(self) -> str:
        """Say that any character can be written: the stream has a plain one where it can't."""
        return "utf-8"

    def on_broken_pipe(self) -> None:
        """Leave it to who called, where nobody reads on."""
        raise  # noqa: PLE0704  while it is handled


def out() -> Console:
    """Return the console for what was asked for."""
    return Console(stderr=False)


def err() -> Console:
    """Return the console for progress, questions and failures."""
    return Console(stderr=True)


@contextmanager
def waiting(words: str) -> "Iterator[Callable[[str], None]]":
    """Show on a terminal what is waited for, until the block ends; give what replaces that.

    It stands still: what AWS's library asks meanwhile, such as for a code, has to stay.
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


def counted(number: int, what: str) -> str:
    """Return a number of things for a sentence."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def say(text: str, style: str = "") -> None:
    """Tell on stderr what goes on; a text from elsewhere is not markup."""
    console = err()
    with suppress(OSError):  # of which nobody could be told
        console.print(text, style=style, soft_wrap=not console.is_terminal)


def labelled(label: str, text: str, columns: int, console: rich.console.Console) -> str:
    """Return a label and, from that column on, a text that is wrapped to the console's width."""
    return textwrap.fill(
        printable(text),
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
