"""`session.auth = VismaToken("acme")` for requests."""

import time
from datetime import timedelta
from functools import partial
from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from visma_tokens.bearer import UNAUTHORIZED, Source
from visma_tokens.reader import Tokens
from visma_tokens.secret import Secret


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
        sent = request.headers["Authorization"] = self._source.header()
        repeat = partial(self._repeat, [sent])
        request.register_hook("response", repeat)  # type: ignore[no-untyped-call]
        return request

    def _repeat(self, sent: list[Secret], response: Response, **options: Any) -> Response:  # noqa: ANN401
        """Return the answer to the repeated call, or this one; `sent` is what was sent last."""
        request = response.request
        # without it after a redirect to another host, which may not have the next one either
        is_ours = request.headers.get("Authorization") == sent[0]
        if response.status_code != UNAUTHORIZED or not is_ours:
            return response
        value = self._source.next_header(sent[0])
        if value is None or not _rewound(request):
            return response
        response.content  # noqa: B018  read, so that the connection can serve again
        response.close()
        response.request = request.copy()
        request.headers["Authorization"] = sent[0] = value  # of this very one: redirects copy it
        begun_at = time.perf_counter()
        repeated: Response = response.connection.send(request, **options)
        repeated.elapsed = timedelta(seconds=time.perf_counter() - begun_at)
        repeated.history.append(response)
        return repeated


def _rewound(request: PreparedRequest) -> bool:
    """Bring the body back to where it began, if it can be."""
    if request.body is None or isinstance(request.body, (str, bytes, bytearray, memoryview)):
        return True
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: a file that is closed by now
        return False
    return True
