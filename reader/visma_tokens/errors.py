"""Why a tenant's token can't be had, and what to do; none of it is secret.

TokenError
├── NoSuchToken      there is no such parameter (a KeyError too)
├── TokenExpired     it is there, and too old
├── TokenUnusable    what is there is no access token
├── ReadDenied       IAM or KMS forbids it
└── ReadFailed       throttled, out of reach, no credentials
"""

DETAIL_CHARACTERS = 500


class TokenError(Exception):
    """A token can't be had; `tenant`, `detail` and `remedy` make up the text."""

    def __init__(self, tenant: str, detail: str, remedy: str) -> None:
        """Take whose token it is, what happened, and what to do about it."""
        tenant, detail = printable(tenant), printable(detail)
        super().__init__(tenant, detail, remedy)
        self.tenant = tenant
        self.detail = detail
        self.remedy = remedy

    def __str__(self) -> str:
        """Return all three."""
        return f"No token for {self.tenant}: {self.detail}. {self.remedy}"

    def again(self) -> "TokenError":
        """Return one that another thread can raise."""
        error = type(self)(self.tenant, self.detail, self.remedy)
        error.__cause__ = self.__cause__
        return error


def printable(text: str) -> str:
    r"""Return text of limited length that no terminal obeys: with `\x1b` for an escape."""
    if len(text) > DETAIL_CHARACTERS:
        text = f"{text[: DETAIL_CHARACTERS - 1]}…"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


class NoSuchToken(TokenError, KeyError):
    """There is no such parameter: a tenant that isn't configured, refused, or another path."""


class TokenExpired(TokenError):
    """The token that is stored has expired: nobody renews it."""


class TokenUnusable(TokenError):
    """What is stored is no access token (RFC 6750 §2.1)."""


class ReadDenied(TokenError):
    """IAM or KMS doesn't let this role read it."""


class ReadFailed(TokenError):
    """Parameter Store could not be asked."""
