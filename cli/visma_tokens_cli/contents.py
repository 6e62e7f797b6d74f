"""The content of a parameter: one tenant's document, or many; edits return a copy; pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed

type Pairs = list[tuple[str, Any]]

STANDARD_BYTES = 4096  # of a parameter that is free
OURS = re.compile(r".*/packed-[0-9]{3,}")  # the parameters that `apply` makes for many tenants


class Members(dict[str, Any]):
    """A JSON object that keeps all members, even if two have the same name."""

    def __init__(self, pairs: Pairs) -> None:
        """Keep the pairs that `json.loads` passes to its `object_pairs_hook`."""
        super().__init__(pairs)
        self.pairs = pairs

    def items(self) -> Pairs:  # type: ignore[override]  # `json.dumps` takes a list
        """Return all members, those of the same name too."""
        return self.pairs


@dataclass(frozen=True)
class Number:
    """A number with a point or an exponent, as it is written: a float may be another number."""

    literal: str

    def value(self) -> float:
        """Return the number as a float; raises ArithmeticError where that is another number."""
        value = float(self.literal)
        if Decimal(self.literal) != Decimal(repr(value)):
            raise ArithmeticError
        return value


@dataclass(frozen=True, kw_only=True)
class Content:
    """The documents in a parameter, in their order; a tenant may have two.

    `has_lines` is True if the text has line breaks: each document then starts a line.
    """

    name: str
    documents: tuple[tuple[str, Any], ...]
    is_packed: bool = False
    has_lines: bool = False

    @property
    def is_spare(self) -> bool:
        """Tell whether the parameter is empty, and not a packed one that a person has made."""
        return not self.documents and (not self.is_packed or bool(OURS.fullmatch(self.name)))

    def document(self, tenant: str) -> Any:  # noqa: ANN401  it may be no object
        """Return a tenant's document."""
        return dict(self.documents)[tenant]

    def put(self, tenant: str, document: Mapping[str, object]) -> "Content":
        """Replace a tenant's document, or add it as the last one."""
        if tenant in dict(self.documents):
            return self._edit(tenant, lambda _: document)
        return replace(self, documents=(*self.documents, (tenant, document)))

    def drop(self, tenant: str) -> "Content":
        """Remove all documents of a tenant."""
        return replace(self, documents=tuple(one for one in self.documents if one[0] != tenant))

    def set_members(self, tenant: str, members: Mapping[str, object]) -> "Content":
        """Set members of a tenant's document; a member that is None is removed."""
        return self._edit(
            tenant,
            lambda document: {
                name: value for name, value in {**document, **members}.items() if value is not None
            },
        )

    def switch(self, tenant: str, *, enabled: bool) -> "Content":
        """Set `enabled` in each of a tenant's documents, even in one that is invalid."""
        switched = self._edit(tenant, lambda document: _switch(document, enabled=enabled))
        pairs = zip(self.documents, switched.documents, strict=True)
        return self if all(old[1] is new[1] for old, new in pairs) else switched

    def _edit(self, tenant: str, edit: Callable[[Any], object]) -> "Content":
        documents = tuple(
            (name, edit(document) if name == tenant else document)
            for name, document in self.documents
        )
        return replace(self, documents=documents)

    def text(self) -> str:
        """Return the text with spaces, or without if only that fits a free parameter.

        Raises CommandFailed where a number in it would become another number.
        """
        try:
            text = self._text(" ")
            return text if len(text.encode()) <= STANDARD_BYTES else self._text("")
        except ArithmeticError:
            raise CommandFailed(
                f"{self.name}: a number in it can't be kept as it is",
                "Correct the parameter: no member of a document is a number.",
                code=UNCHANGED,
            ) from None

    def _text(self, space: str) -> str:
        if not self.is_packed:
            [(_, document)] = self.documents
            return to_json(document, space)
        first, between = ("\n", ",\n") if self.has_lines else ("", f",{space}")
        documents = between.join(
            f"{to_json(name)}:{space}{to_json(document, space)}"
            for name, document in self.documents
        )
        return f'{{"tenants":{space}{{{first}{documents}}}}}'


def parse_content(name: str, text: str) -> Content:
    """Parse the text of a parameter that `parse_configuration` has accepted."""
    found = json.loads(text, object_pairs_hook=Members, parse_float=Number)
    if "tenants" not in found:
        return Content(name=name, documents=((name.rpartition("/")[2], found),))
    documents = tuple(found["tenants"].pairs)
    return Content(name=name, documents=documents, is_packed=True, has_lines="\n" in text)


def _switch(document: object, *, enabled: bool) -> object:
    """Return a document with `enabled` set, the same object if it is set already.

    A document that is no object becomes one: `"enabled": false` works even if the rest is invalid.
    """
    if not isinstance(document, Members):
        return {"enabled": enabled}
    said = [value for name, value in document.pairs if name == "enabled"]
    if all(value is enabled for value in said) and (said or enabled):
        return document
    added = [] if said else [("enabled", enabled)]
    return Members(
        [(name, enabled if name == "enabled" else value) for name, value in document.pairs] + added
    )


def to_json(value: object, space: str = " ") -> str:
    """Return JSON that people can read, and that Parameter Store accepts.

    Parameter Store refuses `{{`, which is only in strings here, and is escaped:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    """
    text = json.dumps(
        value, ensure_ascii=False, separators=(f",{space}", f":{space}"), default=Number.value
    )
    if not text.isprintable():
        text = "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in text)
    return text.replace("{{", "{\\u007b")
