"""What the authentication classes share: the header, and where tokens come from."""

import time
from collections.abc import Mapping

from visma_tokens.errors import TokenError
from visma_tokens.reader import Tokens, shared
from visma_tokens.secret import Secret

SCHEME = "Bearer "  # RFC 6750 §2.1
UNAUTHORIZED = 401
SHORT_BYTES = 64 * 1024  # at most in the body of a 401 that is kept
DIGITS = 9  # of a length: Python takes no more than 4,300 for a number
SHORT_SECONDS = 1.0  # for which its pieces are taken


class Bearer(Secret):
    """The value of the header, whose token it has, and since when a request has had it."""

    tenant: str
    since: float = 0  # on the counter that times calls; 0 where none was refused

    @property
    def token(self) -> Secret:
        """Return it without the scheme."""
        return Secret(self.removeprefix(SCHEME))


class Source:
    """The tokens of one tenant, as values of the header."""

    def __init__(self, tenant: str, tokens: Tokens | None) -> None:
        """Take a TokenReader, or what does in its place; without one, all share one.

        Raises TypeError for what is neither.
        """
        if not isinstance(tenant, str):
            kind = None if tenant is None else type(tenant)  # a dictionary would show its tokens
            raise TypeError(f"{kind} is no tenant's name")
        if isinstance(tokens, str):
            raise TypeError("tokens is a text; for another path, give TokenReader(path)")
        self.tenant = tenant
        self._tokens = shared() if tokens is None else tokens

    def __deepcopy__(self, _: object) -> "Source":
        """Return itself: copies share a reader, and with it one cache."""
        return self

    def header(self) -> Bearer:
        """Return the value for a call."""
        return self._bearer(self._tokens[self.tenant])

    async def aheader(self) -> Bearer:
        """Do the same without blocking asyncio's loop."""
        aread = getattr(self._tokens, "aread", None)
        return self._bearer(await aread(self.tenant)) if aread else self.header()

    def own(self, header: str | bytes | None) -> Bearer | None:
        """Return what a request was sent with, if that is a token of this tenant."""
        if isinstance(header, Bearer):
            return header if header.tenant == self.tenant else None
        if header is None:
            return None
        try:  # another authentication may have rebuilt it
            current = self.header()
        except TokenError:
            return None
        return current if header in {current, current.encode()} else None

    def next_header(self, refused: Bearer) -> Bearer | None:
        """Return the value for repeating a call that was refused, if there is another."""
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
    """The body of a 401, of which some is read: a connection whose answer is read can be reused."""

    def __init__(self) -> None:
        """Begin without a piece."""
        self.content = b""
        self._until = time.monotonic() + SHORT_SECONDS

    def takes(self, piece: bytes) -> bool:
        """Add a piece; False once the body is long, or slow: leave it, and close the connection."""
        self.content += piece
        is_short = len(self.content) <= SHORT_BYTES and time.monotonic() <= self._until
        if not is_short:
            self.content = b""
        return is_short


def may_be_short(headers: Mapping[str, str]) -> bool:
    """Tell whether it is worth reading; what is encoded may be long once it is decoded."""
    length = headers.get("Content-Length", "0")  # in chunks without one
    is_long = length.isdecimal() and (len(length) > DIGITS or int(length) > SHORT_BYTES)
    return not is_long and "Content-Encoding" not in headers
