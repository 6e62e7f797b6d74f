"""The fixtures of account.py, for each folder whose tests are about the issuer."""

from tests.helpers.account import (
    account,
    empty_account,
    environment,
    log,
    log_stream,
    measured,
    nobodys_settings,
    run,
)

__all__ = [
    "account",
    "empty_account",
    "environment",
    "log",
    "log_stream",
    "measured",
    "nobodys_settings",
    "run",
]
