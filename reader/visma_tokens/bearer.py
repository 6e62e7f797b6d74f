"""What the authentication classes share: the header, and where tokens come from."""

from visma_tokens.reader import Tokens, shared
from visma_tokens.secret import Secret

SCHEME = "Bearer "  # RFC 6750 §2.1
UNAUTHORIZED = 401


class Source:
    """The tokens of one tenant, as values of the header."""

    def __init__(self, tenant: str, tokens: Tokens | None) -> None:
        """Take a TokenReader, or what does in its place; without one, all share one.

        Raises TypeError for what is neither.
        """
        if not isinstance(tenant, str):
            raise TypeError(f"{tenant!r} is no tenant's name")
        if isinstance(tokens, str):
            raise TypeError("tokens is a text; for another path, give TokenReader(path)")
        self.tenant = tenant
        self._tokens = shared() if tokens is None else tokens

    def header(self) -> Secret:
        """Return the value for a call."""
        return _bearer(self._tokens[self.tenant])

    async def aheader(self) -> Secret:
        """Do the same without blocking asyncio's loop."""
        aread = getattr(self._tokens, "aread", None)
        return _bearer(await aread(self.tenant)) if aread else self.header()

    def next_header(self, refused: str) -> Secret | None:
        """Return the value for repeating a call that was refused, if there is another."""
        reread = getattr(self._tokens, "reread", None)
        token = Secret(refused.removeprefix(SCHEME))
        other = reread(self.tenant, token) if reread else self._tokens[self.tenant]
        return None if other is None or other == token else _bearer(other)

    async def anext_header(self, refused: str) -> Secret | None:
        """Do the same without blocking asyncio's loop."""
        areread = getattr(self._tokens, "areread", None)
        if not areread:
            return self.next_header(refused)
        other = await areread(self.tenant, Secret(refused.removeprefix(SCHEME)))
        return None if other is None or other == refused.removeprefix(SCHEME) else _bearer(other)


def _bearer(token: str) -> Secret:
    return Secret(SCHEME + token)
