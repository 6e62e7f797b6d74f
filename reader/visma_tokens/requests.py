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
    """Sends a tenant's token; after a 401, once again with a newer one, if there is one."""

    def __init__(self, tenant: str, tokens: Tokens | None = None) -> None:
        """Take the tenant and, for another path, a TokenReader; in tests, a dictionary."""
        self._source = Source(tenant, tokens)

    def __repr__(self) -> str:
        """Show the tenant."""
        return f"VismaToken({self._source.tenant!r})"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header; raises TokenError."""
        request.headers["Authorization"] = self._source.header()
        others = [one for one in request.hooks["response"] if not isinstance(one, _Repeat)]
        # not in place: copies of the request share it, and may be for another tenant
        request.hooks = request.hooks | {"response": [*others, _Repeat(self._source)]}
        return request


@dataclass(frozen=True)
class _Repeat:
    """The hook of a request and of all its copies, so it knows nothing of what each has sent."""

    source: Source | None

    def __call__(self, response: Response, **options: Any) -> Response:  # noqa: ANN401
        """Return the answer to the repeated call, or this one."""
        request = response.request
        if self.source is None or response.status_code != UNAUTHORIZED:
            return response
        # without it after a redirect to another host, which may not have the next one either
        sent = self.source.own(request.headers.get("Authorization"))
        if sent is None:
            return response
        begun_at = time.perf_counter() - response.elapsed.total_seconds()
        is_newer = sent.since > begun_at  # put there by another thread that sends this request
        value = sent if is_newer else self.source.next_header(sent)
        if value is None or not _rewound(request):
            return response
        is_read = vars(response)["_content_consumed"]  # by a hook
        if response.raw is not None and not is_read:
            _finish(response)
        response.request = request.copy()
        begun_at = value.since = time.perf_counter()
        request.headers["Authorization"] = value  # of this very one: redirects copy it
        _take_cookies(request, response)
        repeated: Response = response.connection.send(request, **options)
        repeated.elapsed = timedelta(seconds=time.perf_counter() - begun_at)
        repeated.history.append(response)
        return repeated

    def __deepcopy__(self, _: object) -> "_Repeat":
        """Return itself."""
        return self

    def __reduce__(self) -> tuple[type["_Repeat"], tuple[None]]:
        """Leave all tokens behind: the pickle of a request has the one that was sent, no other."""
        return _Repeat, (None,)


def _finish(response: Response) -> None:
    """Read a short body, and let the connection be used again; else close the connection."""
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
        # as its own reading does, which would find nothing any more
        vars(response).update(_content=body.content, _content_consumed=True)
        response.raw.release_conn()
    else:
        response.close()


def _rewound(request: PreparedRequest) -> bool:
    """Bring the body back to where it began, if it can be."""
    if request.body is None or isinstance(request.body, (str, bytes, bytearray, memoryview)):
        return True
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: a file that is closed by now
        return False
    return True


def _take_cookies(request: PreparedRequest, response: Response) -> None:
    """Send what the answer has set, as the session's next call would; not in place of a header."""
    jar = request._cookies  # type: ignore[attr-defined]  # noqa: SLF001  as HTTPDigestAuth does
    if jar is None:  # of a request that was put together by hand
        return
    header = request.headers.pop("Cookie", None)
    if header is None or header == get_cookie_header(jar, request):  # type: ignore[no-untyped-call]
        extract_cookies_to_jar(jar, request, response.raw)  # type: ignore[no-untyped-call]
        header = get_cookie_header(jar, request)  # type: ignore[no-untyped-call]
    if header is not None:
        request.headers["Cookie"] = header
