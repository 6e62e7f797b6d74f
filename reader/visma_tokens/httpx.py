"""`httpx.Client(auth=VismaToken("acme"))`, and the same for AsyncClient on asyncio."""

from collections.abc import AsyncGenerator, Generator

import httpx

from visma_tokens.bearer import UNAUTHORIZED, Source
from visma_tokens.reader import Tokens
from visma_tokens.secret import Secret

KEPT_BYTES = 1024 * 1024  # a longer body that is a file is not sent again


class VismaToken(httpx.Auth):
    """Sends a tenant's token; after a 401, once again with a newer one, if there is one."""

    def __init__(self, tenant: str, tokens: Tokens | None = None) -> None:
        """Take the tenant and, for another path, a TokenReader; in tests, a dictionary."""
        self._source = Source(tenant, tokens)

    def __repr__(self) -> str:
        """Show the tenant."""
        return f"VismaToken({self._source.tenant!r})"

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header; raises TokenError."""
        if isinstance(request.stream, httpx.SyncByteStream) and _is_short(request):
            request.read()
        request.headers["Authorization"] = sent = self._source.header()
        response = yield request
        if _is_refused(response, sent):
            value = self._source.next_header(sent)
            if value is not None and _can_be_sent_again(response.request):
                yield _with(value, response.request)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking asyncio's loop."""
        if isinstance(request.stream, httpx.AsyncByteStream) and _is_short(request):
            await request.aread()
        request.headers["Authorization"] = sent = await self._source.aheader()
        response = yield request
        if _is_refused(response, sent):
            value = await self._source.anext_header(sent)
            if value is not None and _can_be_sent_again(response.request):
                yield _with(value, response.request)


def _is_short(request: httpx.Request) -> bool:
    """Tell whether the body can be kept, so that it can be sent again."""
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and int(length) <= KEPT_BYTES


def _is_refused(response: httpx.Response, sent: Secret) -> bool:
    """Tell whether our token is; a redirect to another host went without it."""
    is_ours = response.request.headers.get("Authorization") == sent
    return response.status_code == UNAUTHORIZED and is_ours


def _can_be_sent_again(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)


def _with(value: Secret, request: httpx.Request) -> httpx.Request:
    """Return the request that was refused, which is not the first one after a redirect."""
    request.headers["Authorization"] = value
    return request
