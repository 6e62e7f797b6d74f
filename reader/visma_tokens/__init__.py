"""Read access tokens for Visma's APIs, which the Visma token issuer keeps in Parameter Store."""

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
