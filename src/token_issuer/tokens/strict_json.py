"""JSON of a server, where a member may stand once."""

import json
from typing import Any

from token_issuer.errors import AnswerInvalid


def decode(content: bytes) -> str:
    """Decode JSON; a byte of another encoding, as some servers have in a name, is replaced."""
    return content.decode(json.detect_encoding(content), "replace")


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what stands twice (RFC 6749 §3.2): another parser might take the other one."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise AnswerInvalid("The answer names a member twice")
    return members
