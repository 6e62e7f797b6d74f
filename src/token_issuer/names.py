"""Names of tenants and clients, and ids of companies."""

import re
from uuid import UUID

NAME_CHARACTERS = 64
NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS}}}")
NAME_WORDS = "1 to 64 of A-Z a-z 0-9 _ . -"


def comparable(tenant_id: object) -> object:
    """Return equal values for the spellings of one UUID (RFC 9562 §4: case doesn't count)."""
    try:
        return UUID(str(tenant_id))
    except ValueError:
        return tenant_id
