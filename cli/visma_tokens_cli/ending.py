"""Ending early, by SIGTERM or Ctrl-C; imports little, so that it works from the start."""

import signal
import sys

from visma_tokens_cli.exit_codes import INTERRUPTED
from visma_tokens_cli.streams import tell


def exit_on_sigterm() -> None:
    """Exit with 143 on SIGTERM through an exception, so that the terminal is restored first."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def tell_interrupted() -> int:
    """Say that Ctrl-C has ended the command, and return the exit code."""
    # a terminal shows ^C, so begin a new line there
    tell("\nInterrupted." if sys.stderr.isatty() else "Interrupted.")
    return INTERRUPTED
