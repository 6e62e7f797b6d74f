"""`httpx.Client(auth=VismaToken("acme"))`, and the same for AsyncClient on asyncio."""

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress

import httpx

from visma_tokens.bearer import DIGITS, UNAUTHORIZED, Bearer, ShortBody, Source, may_be_short
from visma_tokens.reader import Tokens

KEPT_BYTES = 1024 * 1024  # a longer body that is a file is not sent again
TOO_LONG = "The body is longer than its Content-Length"


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
        if isinstance(request.stream, httpx.SyncByteStream) and _can_be_kept(request):
            body = _Body(request)
            for piece in request.stream:
                body.add(piece)
            body.keep()
        response = yield _with(sent := self._source.header(), request)
        if _is_refused(response, sent):
            value = self._source.next_header(sent)
            if value is not None and _can_be_sent_again(response.request):
                if isinstance(response.stream, httpx.SyncByteStream):
                    _finish(response, response.stream)
                yield _again(value, response)

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Do the same without blocking asyncio's loop."""
        if isinstance(request.stream, httpx.AsyncByteStream) and _can_be_kept(request):
            body = _Body(request)
            async for piece in request.stream:
                body.add(piece)
            body.keep()
        response = yield _with(sent := await self._source.aheader(), request)
        if _is_refused(response, sent):
            value = await self._source.anext_header(sent)
            if value is not None and _can_be_sent_again(response.request):
                if isinstance(response.stream, httpx.AsyncByteStream):
                    await _afinish(response, response.stream)
                yield _again(value, response)


def _with(value: Bearer, request: httpx.Request) -> httpx.Request:
    """Return a copy with that header: other calls may send the same request at the same time."""
    own = httpx.Request(
        request.method,
        request.url,
        headers=request.headers,
        stream=request.stream,
        extensions=request.extensions,
    )
    if isinstance(own.stream, httpx.ByteStream):
        own.read()  # for hooks that look at it
    own.headers["Authorization"] = value
    return own


def _can_be_kept(request: httpx.Request) -> bool:
    """Tell whether the body is short: a stream is read, so that it can be sent again."""
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and len(length) <= DIGITS and int(length) <= KEPT_BYTES


class _Body:
    """The body of a request, no longer than it says."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._length = int(request.headers["Content-Length"])
        self._content = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece; raises what httpx raises when it sends a body that is too long."""
        self._content += piece
        if len(self._content) > self._length:
            raise httpx.LocalProtocolError(TOO_LONG, request=self._request)

    def keep(self) -> None:
        """Have the request hold the body, in place of the stream."""
        self._request.stream = httpx.ByteStream(bytes(self._content))


def _finish(response: httpx.Response, stream: httpx.SyncByteStream) -> None:
    """Read a short body, and let the connection be used again; else close the connection."""
    body = ShortBody()
    if not response.is_closed and may_be_short(response.headers):
        try:
            all(map(body.takes, stream))
        except httpx.TransportError:  # the connection has ended, or nothing came in time
            body.content = b""
    stream.close()
    response.stream = httpx.ByteStream(body.content)  # httpx reads it, which must come to an end


async def _afinish(response: httpx.Response, stream: httpx.AsyncByteStream) -> None:
    """Do the same without blocking asyncio's loop."""
    body = ShortBody()
    if not response.is_closed and may_be_short(response.headers):
        try:
            async for piece in stream:
                if not body.takes(piece):
                    break
        except httpx.TransportError:
            body.content = b""
    await stream.aclose()
    response.stream = httpx.ByteStream(body.content)


def _is_refused(response: httpx.Response, sent: Bearer) -> bool:
    """Tell whether our token is; a redirect to another host went without it."""
    is_ours = response.request.headers.get("Authorization") == sent
    return response.status_code == UNAUTHORIZED and is_ours


def _can_be_sent_again(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)


def _again(value: Bearer, response: httpx.Response) -> httpx.Request:
    """Return the request that was refused, which is not the first one after a redirect."""
    request = response.request
    request.headers["Authorization"] = value
    _take_cookies(request, response)
    return request


def _take_cookies(request: httpx.Request, response: httpx.Response) -> None:
    """Send what the answer has set, in place of what was sent by these names."""
    bare = httpx.Request("GET", request.url)
    cookies_set = httpx.Cookies()  # not response.cookies, which would stay there: it has a lock
    cookies_set.extract_cookies(response)
    with suppress(UnicodeEncodeError):  # which httpx can't send
        cookies_set.set_cookie_header(bare)
    sets = {line.partition("=")[0].strip() for line in response.headers.get_list("Set-Cookie")}
    sent = request.headers.get("Cookie", "").split("; ")
    kept = [one for one in sent if one.partition("=")[0] not in sets]
    cookies = "; ".join(filter(None, [*kept, bare.headers.get("Cookie")]))
    request.headers.pop("Cookie", None)
    if cookies:
        request.headers["Cookie"] = cookies
