"""Ask before a change that can't be undone."""

import sys

from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.screen import err


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless `yes` is given; raises CommandFailed unless the answer is yes."""
    if yes:
        return
    console = err()
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandFailed(
            "There is no terminal to ask on, so nothing was changed",
            "Give --yes, if you mean it.",
            code=UNCHANGED,
        )
    try:
        answer = console.input(f"{question} [y/N] ", markup=False, emoji=False)
    except (EOFError, UnicodeDecodeError):
        console.print()  # end the line of the question
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandFailed("Nothing was changed", "", code=UNCHANGED)
