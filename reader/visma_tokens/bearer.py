"""What the authentication classes for requests and httpx share."""

import time
from collections.abc import Mapping

from visma_tokens.errors import TokenError
from visma_tokens.reader import Tokens, shared
from visma_tokens.secret import Secret

SCHEME = "Bearer "  # RFC 6750 §2.1
UNAUTHORIZED = 401
SHORT_BYTES = 64 * 1024  # the longest body of a 401 that is read
DIGITS = 9  # of a Content-Length at most: int() raises for more than 4,300
SHORT_SECONDS = 1.0  # after which reading it stops


class Bearer(Secret):
    """The value of the Authorization header, with the token's tenant."""

    tenant: str
    since: float = 0  # when a repeated call set it, by its performance counter; else 0

    @property
    def token(self) -> Secret:
        """Return the token without the scheme."""
        return Secret(self.removeprefix(SCHEME))


class Source:
    """A source of header values for one tenant."""

    def __init__(self, tenant: str, tokens: Tokens | None) -> None:
        """Use `tokens`, a TokenReader or a mapping; None is the process's shared reader.

        Raises TypeError if the tenant is no text, or `tokens` is one.
        """
        if not isinstance(tenant, str):
            kind = None if tenant is None else type(tenant)  # a dictionary would show its tokens
            raise TypeError(f"{kind} is no tenant's name")
        if isinstance(tokens, str):
            raise TypeError("tokens is a text; for another path, give TokenReader(path)")
        self.tenant = tenant
        self._tokens = shared() if tokens is None else tokens

    def __deepcopy__(self, _: object) -> "Source":
        """Return itself, so that copies share one reader and its cache."""
        return self

    def header(self) -> Bearer:
        """Return the header for a call; raises TokenError."""
        return self._bearer(self._tokens[self.tenant])

    async def aheader(self) -> Bearer:
        """Do the same without blocking asyncio's loop."""
        aread = getattr(self._tokens, "aread", None)
        return self._bearer(await aread(self.tenant)) if aread else self.header()

    def own(self, header: str | bytes | None) -> Bearer | None:
        """Return the header that a request was sent with, if it is this tenant's token."""
        if isinstance(header, Bearer):
            return header if header.tenant == self.tenant else None
        if header is None:
            return None
        try:  # other code may have replaced our object by equal text
            current = self.header()
        except TokenError:
            return None
        return current if header in {current, current.encode()} else None

    def next_header(self, refused: Bearer) -> Bearer | None:
        """Return the header for repeating a refused call, None if there is no other token."""
        reread = getattr(self._tokens, "reread", None)
        other = reread(self.tenant, refused.token) if reread else self._tokens[self.tenant]
        return None if other is None or other == refused.token else self._bearer(other)

    async def anext_header(self, refused: Bearer) -> Bearer | None:
        """Do the same without blocking asyncio's loop."""
        areread = getattr(self._tokens, "areread", None)
        if not areread:
            return self.next_header(refused)
        other = await areread(self.tenant, refused.token)
        return None if other is None or other == refused.token else self._bearer(other)

    def _bearer(self, token: str) -> Bearer:
        value = Bearer(SCHEME + token)
        value.tenant = self.tenant
        return value


class ShortBody:
    """The start of a 401's body: if the body is read to its end, its connection can be reused."""

    def __init__(self) -> None:
        """Start the clock."""
        self.content = b""
        self._until = time.monotonic() + SHORT_SECONDS

    def takes(self, piece: bytes) -> bool:
        """Add a piece; False if the body is long or slow: then close the connection."""
        self.content += piece
        is_short = len(self.content) <= SHORT_BYTES and time.monotonic() <= self._until
        if not is_short:
            self.content = b""
        return is_short


def may_be_short(headers: Mapping[str, str]) -> bool:
    """Tell whether a body may be short; an encoded one may be long once it is decoded."""
    length = headers.get("Content-Length", "0")  # without one, it is chunked
    is_long = length.isdecimal() and (len(length) > DIGITS or int(length) > SHORT_BYTES)
    return not is_long and "Content-Encoding" not in headers
