"""What the authentication classes share: the header, and where tokens come from."""

from visma_tokens.reader import TokenReader, Tokens

SCHEME = "Bearer "
UNAUTHORIZED = 401


class Bearer(str):
    """The header's value (RFC 6750 §2.1), which hides itself where headers are shown."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Hide it."""
        return "'Bearer [secure]'"


SHARED = TokenReader()  # so that all who name no other have one cache


def authorization(token: str) -> Bearer:
    """Return the header's value."""
    return Bearer(f"{SCHEME}{token}")


def reread(tokens: Tokens, tenant: str, refused: str) -> str | None:
    """Return the token to repeat the call with, None where there is no other; takes the header."""
    refused = refused.removeprefix(SCHEME)
    if isinstance(tokens, TokenReader):
        return tokens.reread(tenant, refused)
    return _other(tokens, tenant, refused)


async def aread(tokens: Tokens, tenant: str) -> str:
    """Return the tenant's token."""
    return await tokens.aread(tenant) if isinstance(tokens, TokenReader) else tokens[tenant]


async def areread(tokens: Tokens, tenant: str, refused: str) -> str | None:
    """Do what `reread` does."""
    refused = refused.removeprefix(SCHEME)
    if isinstance(tokens, TokenReader):
        return await tokens.areread(tenant, refused)
    return _other(tokens, tenant, refused)


def _other(tokens: Tokens, tenant: str, refused: str) -> str | None:
    token = tokens[tenant]
    return None if token == refused else token
