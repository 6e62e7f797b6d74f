"""`session.auth = VismaToken("acme")` for requests."""

from typing import Any

from requests import PreparedRequest, Response
from requests.auth import AuthBase
from requests.exceptions import UnrewindableBodyError
from requests.utils import rewind_body

from visma_tokens.bearer import SHARED, UNAUTHORIZED, Bearer, header, next_header
from visma_tokens.reader import Tokens


class VismaToken(AuthBase):
    """Sends a tenant's token; after a 401, once again with a newer one, if there is one."""

    def __init__(self, tenant: str, tokens: Tokens = SHARED) -> None:
        """Take the tenant and, for another path, a TokenReader; in tests, a dictionary."""
        self._tenant = tenant
        self._tokens = tokens

    def __repr__(self) -> str:
        """Show the tenant."""
        return f"VismaToken({self._tenant!r})"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header; raises TokenError."""
        request.headers["Authorization"] = header(self._tokens, self._tenant)
        request.register_hook("response", self._repeat_refused)  # type: ignore[no-untyped-call]
        return request

    def _repeat_refused(self, response: Response, **options: Any) -> Response:  # noqa: ANN401
        """Return the answer to the repeated call, or this one."""
        refused = response.request.headers.get("Authorization")
        # not ours after a redirect to another host, which may not have the next one either
        if response.status_code != UNAUTHORIZED or not isinstance(refused, Bearer):
            return response
        value = next_header(self._tokens, self._tenant, refused)
        request = response.request.copy()
        if value is None or not _rewound(request):
            return response
        response.content  # noqa: B018  read, so that the connection can serve again
        response.close()
        request.headers["Authorization"] = value
        repeated: Response = response.connection.send(request, **options)
        repeated.history.append(response)
        repeated.request = request
        return repeated


def _rewound(request: PreparedRequest) -> bool:
    """Bring the body back to where it began, if it can be."""
    if request.body is None or isinstance(request.body, (str, bytes)):
        return True
    try:
        rewind_body(request)
    except UnrewindableBodyError:
        return False
    return True
