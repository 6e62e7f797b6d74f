"""`httpx.Client(auth=VismaToken("acme"))`, and the same for AsyncClient on asyncio."""

from collections.abc import AsyncGenerator, Generator
from contextlib import suppress

import httpx

from visma_tokens.bearer import DIGITS, UNAUTHORIZED, Bearer, ShortBody, Source, may_be_short
from visma_tokens.reader import Tokens

KEPT_BYTES = 1024 * 1024  # a longer body from a stream is not repeated
TOO_LONG = "The body is longer than its Content-Length"


class VismaToken(httpx.Auth):
    """Sends a tenant's token; after a 401, repeats the call once if there is a newer one."""

    def __init__(self, tenant: str, tokens: Tokens | None = None) -> None:
        """Use the process's shared reader, or `tokens`: a TokenReader, or a dictionary in tests."""
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
    """Return a copy with the header, since other calls may send the same request at this time."""
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
    """Tell whether a stream is short enough to read it first, for sending it twice."""
    length = request.headers.get("Content-Length", "")
    return length.isdecimal() and len(length) <= DIGITS and int(length) <= KEPT_BYTES


class _Body:
    """The body of a request, no longer than its Content-Length."""

    def __init__(self, request: httpx.Request) -> None:
        self._request = request
        self._length = int(request.headers["Content-Length"])
        self._content = bytearray()

    def add(self, piece: bytes) -> None:
        """Add a piece; raises LocalProtocolError, as httpx does, if the body is too long."""
        self._content += piece
        if len(self._content) > self._length:
            raise httpx.LocalProtocolError(TOO_LONG, request=self._request)

    def keep(self) -> None:
        """Replace the request's stream by the body."""
        self._request.stream = httpx.ByteStream(bytes(self._content))


def _finish(response: httpx.Response, stream: httpx.SyncByteStream) -> None:
    """Read a short body, so that the connection can be reused; otherwise close the connection."""
    body = ShortBody()
    if not response.is_closed and may_be_short(response.headers):
        try:
            all(map(body.takes, stream))
        except httpx.TransportError:  # the connection has ended, or nothing came in time
            body.content = b""
    stream.close()
    response.stream = httpx.ByteStream(body.content)  # httpx reads it to the end


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
    """Tell whether our token was refused; after a redirect to another host it was not sent."""
    is_ours = response.request.headers.get("Authorization") == sent
    return response.status_code == UNAUTHORIZED and is_ours


def _can_be_sent_again(request: httpx.Request) -> bool:
    return isinstance(request.stream, httpx.ByteStream)


def _again(value: Bearer, response: httpx.Response) -> httpx.Request:
    """Return the refused request, which after a redirect is not the first, with a new header."""
    request = response.request
    request.headers["Authorization"] = value
    _take_cookies(request, response)
    return request


def _take_cookies(request: httpx.Request, response: httpx.Response) -> None:
    """Add the answer's cookies to a request, in place of those of the same names."""
    bare = httpx.Request("GET", request.url)
    cookies_set = httpx.Cookies()  # response.cookies would stay there, with a lock
    cookies_set.extract_cookies(response)
    with suppress(UnicodeEncodeError):  # httpx can't send such a cookie
        cookies_set.set_cookie_header(bare)
    sets = {line.partition("=")[0].strip() for line in response.headers.get_list("Set-Cookie")}
    sent = request.headers.get("Cookie", "").split("; ")
    kept = [one for one in sent if one.partition("=")[0] not in sets]
    cookies = "; ".join(filter(None, [*kept, bare.headers.get("Cookie")]))
    request.headers.pop("Cookie", None)
    if cookies:
        request.headers["Cookie"] = cookies
