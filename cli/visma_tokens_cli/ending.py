"""How the command ends early, and what is said; it imports next to nothing."""

import signal
import sys

from visma_tokens_cli.exit_codes import INTERRUPTED
from visma_tokens_cli.streams import tell


def exit_on_sigterm() -> None:
    """Exit with 143 on SIGTERM, but not at once, so that a terminal is left as it was."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def tell_interrupted() -> int:
    """Say that Ctrl-C has ended it, and return the exit code."""
    # on a terminal, behind the ^C that it shows
    tell("\nInterrupted." if sys.stderr.isatty() else "Interrupted.")
    return INTERRUPTED
