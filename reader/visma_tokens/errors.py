"""Why there is no token for a tenant, and what to do; none of it is secret.

TokenError
├── NoSuchToken      there is no such parameter (a KeyError too)
├── TokenExpired     it is there, and too old
├── TokenUnusable    what is there is no access token
├── ReadDenied       IAM or KMS forbids it
└── ReadFailed       throttled, out of reach, no credentials
"""

DETAIL_CHARACTERS = 500


class TokenError(Exception):
    """No token for `tenant`; `detail` says what happened, `remedy` what to do about it."""

    def __init__(self, tenant: str, detail: str, remedy: str) -> None:
        tenant, detail = printable(tenant), printable(detail)
        super().__init__(tenant, detail, remedy)
        self.tenant = tenant
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        """Return tenant, detail and remedy as text."""
        return f"No token for {self.tenant}: {self.detail}. {self.remedy}"

    def again(self) -> "TokenError":
        """Return a copy for another thread to raise."""
        error = type(self)(self.tenant, self.detail, self.remedy)
        error.__cause__ = self.__cause__
        return error


def printable(text: str) -> str:
    r"""Cut a text, and escape control characters, as in `\x1b`, so that no terminal obeys them."""
    if len(text) > DETAIL_CHARACTERS:
        text = f"{text[: DETAIL_CHARACTERS - 1]}…"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


class NoSuchToken(TokenError, KeyError):
    """There is no such parameter: the tenant isn't configured, or refused, or the path is wrong."""


class TokenExpired(TokenError):
    """The stored token has expired: it was not renewed."""


class TokenUnusable(TokenError):
    """The parameter holds no access token (RFC 6750 §2.1)."""


class ReadDenied(TokenError):
    """IAM or KMS denies this role to read the token."""


class ReadFailed(TokenError):
    """Parameter Store could not be read."""
