"""`httpx.Client(auth=VismaToken("acme"))`, and the same for AsyncClient on asyncio."""

from collections.abc import AsyncGenerator, Generator

import httpx

from visma_tokens.bearer import (
    SHARED,
    UNAUTHORIZED,
    Bearer,
    aheader,
    anext_header,
    header,
    next_header,
)
from visma_tokens.reader import Tokens

KEPT_BYTES = 1024 * 1024  # a longer body that is a file or a generator is not sent again


class VismaToken(httpx.Auth):
    """Sends a tenant's token; after a 401, once again with a newer one, if there is one."""

    def __init__(self, tenant: str, tokens: Tokens = SHARED) -> None:
        """Take the tenant and, for another path, a TokenReader; in tests, a dictionary."""
        self._tenant = tenant
        self._tokens = tokens

    def __repr__(self) -> str:
        """Show the tenant."""
        return f"VismaToken({self._tenant!r})"

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; raises TokenError."""
        if _is_short(request):
            request.read()
        request.headers["Authorization"] = header(self._tokens, self._tenant)
        response = yield request
        if refused := _refused(request, response):
            value = next_header(self._tokens, self._tenant, refused)
            if value is not None and _can_be_sent_again(request):
                request.headers["Authorization"] = value
                yield request

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking asyncio's loop."""
        if _is_short(request):
            await request.aread()
        request.headers["Authorization"] = await aheader(self._tokens, self._tenant)
        response = yield request
        if refused := _refused(request, response):
            value = await anext_header(self._tokens, self._tenant, refused)
            if value is not None and _can_be_sent_again(request):
                request.headers["Authorization"] = value
                yield request


def _refused(request: httpx.Request, response: httpx.Response) -> Bearer | None:
    """Return what a 401 refuses; a redirect to another host went without it."""
    sent = Bearer(request.headers["Authorization"])
    is_ours = response.request.headers.get("Authorization") == sent
    return sent if response.status_code == UNAUTHORIZED and is_ours else None


def _is_short(request: httpx.Request) -> bool:
    """Tell whether the body can be kept, so that it can be sent again."""
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= KEPT_BYTES


def _can_be_sent_again(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)
