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


def header(tokens: Tokens, tenant: str) -> Bearer:
    """Return the value for a call."""
    return Bearer(SCHEME + tokens[tenant])


async def aheader(tokens: Tokens, tenant: str) -> Bearer:
    """Do the same without blocking asyncio's loop."""
    if isinstance(tokens, TokenReader):
        return Bearer(SCHEME + await tokens.aread(tenant))
    return header(tokens, tenant)


def next_header(tokens: Tokens, tenant: str, refused: str) -> Bearer | None:
    """Return the value for repeating a call that was refused with that one, if there is another."""
    if isinstance(tokens, TokenReader):
        return _bearer(tokens.reread(tenant, refused.removeprefix(SCHEME)))
    value = header(tokens, tenant)
    return None if value == refused else value


async def anext_header(tokens: Tokens, tenant: str, refused: str) -> Bearer | None:
    """Do the same without blocking asyncio's loop."""
    if isinstance(tokens, TokenReader):
        return _bearer(await tokens.areread(tenant, refused.removeprefix(SCHEME)))
    return next_header(tokens, tenant, refused)


def _bearer(token: str | None) -> Bearer | None:
    return None if token is None else Bearer(SCHEME + token)
