"""Access tokens for Visma's APIs, as the Visma token issuer keeps them in Parameter Store."""

from visma_tokens.errors import (
    NoSuchToken,
    ReadDenied,
    ReadFailed,
    TokenError,
    TokenExpired,
    TokenUnusable,
)
from visma_tokens.reader import TokenReader, Tokens

__all__ = [
    "NoSuchToken",
    "ReadDenied",
    "ReadFailed",
    "TokenError",
    "TokenExpired",
    "TokenReader",
    "TokenUnusable",
    "Tokens",
]
