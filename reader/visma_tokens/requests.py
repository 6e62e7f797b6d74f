"""`session.auth = VismaToken("acme")` for requests."""

import time
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.cookies import extract_cookies_to_jar, get_cookie_header
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body
from urllib3.exceptions import HTTPError

from visma_tokens.bearer import SHORT_BYTES, UNAUTHORIZED, ShortBody, Source, may_be_short
from visma_tokens.reader import Tokens


class VismaToken(AuthBase):
    """Sends a tenant's token; after a 401, repeats the call once if there is a newer one."""

    def __init__(self, tenant: str, tokens: Tokens | None = None) -> None:
        """Use the process's shared reader, or `tokens`: a TokenReader, or a dictionary in tests."""
        self._source = Source(tenant, tokens)

    def __repr__(self) -> str:
        """Show the tenant."""
        return f"VismaToken({self._source.tenant!r})"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header; raises TokenError."""
        request.headers["Authorization"] = self._source.header()
        others = [one for one in request.hooks["response"] if not isinstance(one, _Repeat)]
        # a new dictionary: copies of the request share the old one, and may be for another tenant
        request.hooks = request.hooks | {"response": [*others, _Repeat(self._source)]}
        return request


@dataclass(frozen=True)
class _Repeat:
    """The hook that repeats a refused call; copies of a request share it, so it has no state."""

    source: Source | None

    def __call__(self, response: Response, **options: Any) -> Response:  # noqa: ANN401
        """Return the answer to the repeated call, or this one."""
        request = response.request
        if self.source is None or response.status_code != UNAUTHORIZED:
            return response
        # after a redirect to another host there is no token of ours, and none must be sent there
        sent = self.source.own(request.headers.get("Authorization"))
        if sent is None:
            return response
        begun_at = time.perf_counter() - response.elapsed.total_seconds()
        is_newer = sent.since > begun_at  # another thread that sends this request has set it
        value = sent if is_newer else self.source.next_header(sent)
        if value is None or not _rewound(request):
            return response
        is_read = vars(response)["_content_consumed"]  # a hook has read it
        if response.raw is not None and not is_read:
            _finish(response)
        response.request = request.copy()
        begun_at = value.since = time.perf_counter()
        request.headers["Authorization"] = value  # of this object: redirects copy it
        _take_cookies(request, response)
        repeated: Response = response.connection.send(request, **options)
        repeated.elapsed = timedelta(seconds=time.perf_counter() - begun_at)
        repeated.history.append(response)
        return repeated

    def __deepcopy__(self, _: object) -> "_Repeat":
        """Return itself."""
        return self

    def __reduce__(self) -> tuple[type["_Repeat"], tuple[None]]:
        """Pickle no tokens: the pickle of a request has only the one that was sent."""
        return _Repeat, (None,)


def _finish(response: Response) -> None:
    """Read a short body, so that the connection can be reused; otherwise close the connection."""
    read = getattr(response.raw, "read1", None)  # urllib3 1 has none
    body = ShortBody()
    if read is None or not may_be_short(response.headers):
        response.close()
        return
    try:
        is_whole = all(map(body.takes, iter(partial(read, SHORT_BYTES), b"")))
    except (HTTPError, OSError):  # the connection has ended, or nothing came in time
        is_whole = False
    if is_whole:
        # set what Response.content sets: the stream is empty now
        vars(response).update(_content=body.content, _content_consumed=True)
        response.raw.release_conn()
    else:
        response.close()


def _rewound(request: PreparedRequest) -> bool:
    """Rewind the body of a request; returns False if that is impossible."""
    if request.body is None or isinstance(request.body, (str, bytes, bytearray, memoryview)):
        return True
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: the file is closed
        return False
    return True


def _take_cookies(request: PreparedRequest, response: Response) -> None:
    """Add the answer's cookies, as the session's next call would; keep a header set by hand."""
    jar = request._cookies  # type: ignore[attr-defined]  # noqa: SLF001  as HTTPDigestAuth does
    if jar is None:  # the request was made by hand
        return
    header = request.headers.pop("Cookie", None)
    if header is None or header == get_cookie_header(jar, request):  # type: ignore[no-untyped-call]
        extract_cookies_to_jar(jar, request, response.raw)  # type: ignore[no-untyped-call]
        header = get_cookie_header(jar, request)  # type: ignore[no-untyped-call]
    if header is not None:
        request.headers["Cookie"] = header
