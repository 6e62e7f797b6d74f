"""The fixtures of tests/helpers/account.py."""

from tests.helpers.account import (
    account,
    empty_account,
    environment,
    log,
    log_stream,
    nobodys_settings,
    run,
)

__all__ = [
    "account",
    "empty_account",
    "environment",
    "log",
    "log_stream",
    "nobodys_settings",
    "run",
]
