"""Pure: text of a document → Tenant, or what is wrong with it."""

import json
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from token_issuer.errors import DocumentInvalid
from token_issuer.ledger.records import Owner
from token_issuer.names import NAME, NAME_WORDS

TENANT_ID = re.compile(r"[\x21-\x7e]+")
SCOPE = re.compile(r"([\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*)?")  # RFC 6749 §3.3
ANYTHING = re.compile(r"[\s\S]*")
MEMBERS = {"tenant_id", "scope", "client", "enabled", "note"}


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A customer company and what to ask for on its behalf; an empty scope is not sent.

    `document` is the parameter that it is configured in; its `note` is checked, and not kept.
    """

    name: str
    tenant_id: str | None
    scope: str
    client: str
    enabled: bool
    document: str

    @property
    def owner(self) -> Owner:
        """Return whose tokens it gets."""
        return Owner(tenant_id=self.tenant_id, client=self.client)


def check_document(name: str, text: str, home: str) -> Tenant:
    """Parse a tenant's own document before it is stored at `home`; raises DocumentInvalid."""
    return parse_tenant(name, _parse_object(text), home)


class JsonObject(dict[str, Any]):
    """A JSON object that keeps each value of a member that is in it twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: Mapping[str, list[Any]] = {}
        if len(self) < len(pairs):
            values: dict[str, list[Any]] = defaultdict(list)
            for name, value in pairs:
                values[name].append(value)
            self.twice = {name: some for name, some in values.items() if len(some) > 1}

    def all(self, name: str) -> list[Any]:
        """Return each value of a member."""
        return self.twice.get(name) or [self[name]]


def parse_documents(name: str, text: str) -> list[tuple[str, object]]:
    """Return (name, document) for each tenant in the text of the parameter of that name."""
    document = _parse_object(text)
    if "tenants" not in document:
        return [(name, document)]
    packed = document["tenants"]
    if unknown := document.keys() - {"tenants"}:
        raise DocumentInvalid(f"unknown members beside tenants: {_listed(unknown)}")
    if not isinstance(packed, JsonObject) or document.twice:
        raise DocumentInvalid("tenants must be one object")
    return [(name, document) for name in packed for document in packed.all(name)]


def _parse_object(text: str) -> JsonObject:
    try:
        document = json.loads(text, object_pairs_hook=JsonObject)
    except RecursionError:
        raise DocumentInvalid("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise DocumentInvalid(f"it is not JSON: {error}") from error
    except ValueError:  # int's own, whose words are for programmers
        raise DocumentInvalid("a number in it has too many digits") from None
    if not isinstance(document, JsonObject):
        raise DocumentInvalid("it is not a JSON object")
    return document


def parse_tenant(name: str, document: object, home: str) -> Tenant:
    """Return the tenant that a document configures; raises DocumentInvalid."""
    if not NAME.fullmatch(name):
        raise DocumentInvalid(f"the name must be {NAME_WORDS}")
    if not isinstance(document, JsonObject):
        raise DocumentInvalid("it is not a JSON object")
    if unknown := document.keys() - MEMBERS:
        raise DocumentInvalid(f"unknown members: {_listed(unknown)}")
    if document.twice:
        raise DocumentInvalid(f"duplicate members: {_listed(document.twice)}")
    if "scope" not in document:
        raise DocumentInvalid('scope is missing ("" means: send no scope)')
    _text(document.get("note", ""), ANYTHING, "note must be a text")
    enabled = document.get("enabled", True)
    if not isinstance(enabled, bool):
        raise DocumentInvalid("enabled must be true or false")
    return Tenant(
        name=name,
        tenant_id=_text(
            document["tenant_id"],
            TENANT_ID,
            "tenant_id must be a text without spaces; leave it out for none",
        )
        if "tenant_id" in document
        else None,
        scope=_text(
            document["scope"], SCOPE, "scope must be a text: scopes with one space between them"
        ),
        client=_text(document.get("client", "default"), NAME, f"client must be {NAME_WORDS}"),
        enabled=enabled,
        document=home,
    )


def _text(value: object, pattern: re.Pattern[str], complaint: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DocumentInvalid(complaint)
    return value


def _listed(members: Collection[str]) -> str:
    return ", ".join(sorted(members))[:200]
