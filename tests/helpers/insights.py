"""As much of CloudWatch Logs Insights as the template's queries use; anything else is an error."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

LISTED = re.compile(r"[\w@]+(, [\w@]+)*")
EQUAL = re.compile(r'(\w+) = "([^"]*)"')
ORDER = re.compile(r"([\w@]+) desc")
GROUPED = re.compile(r"(.+) by (\w+)")
FUNCTION = re.compile(r"(?:count|count_distinct|latest)\((\*|\w+)\)(?: as (\w+))?")


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a query shows of which lines, and the fields of a line that it names."""

    shown: tuple[str, ...]
    where: dict[str, str]
    order: str
    limit: int | None
    named: frozenset[str]

    def takes(self, line: dict[str, Any]) -> bool:
        """Tell whether the query is about this line."""
        return all(line.get(name) == value for name, value in self.where.items())

    def rows(self, lines: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
        """Return what a query without `stats` shows."""
        found = sorted(filter(self.takes, lines), key=lambda one: one[self.order], reverse=True)
        return [tuple(str(one.get(name, "")) for name in self.shown) for one in found[: self.limit]]


def parse_query(text: str) -> Query:
    """Return what the query means; raises ValueError for what is not known here."""
    shown: list[str] = []
    named: list[str] = []
    made: list[str] = []  # by the query itself
    where: dict[str, str] = {}
    order, limit = "", None
    for part in text.split("|"):
        command, _, rest = part.strip().partition(" ")
        if command == "SOURCE":
            continue
        if command == "fields" and LISTED.fullmatch(rest):
            shown += rest.split(", ")
        elif command == "filter" and (equal := EQUAL.fullmatch(rest)):
            where[equal[1]] = equal[2]
        elif command == "stats" and (grouped := GROUPED.fullmatch(rest)):
            named.append(grouped[2])
            for one in grouped[1].split(", "):
                if not (function := FUNCTION.fullmatch(one)):
                    raise ValueError(f"Unknown in stats: {one}")
                named += [function[1]] if function[1] != "*" else []
                made += [function[2]] if function[2] else []
        elif command == "sort" and (ordered := ORDER.fullmatch(rest)):
            order = ordered[1]
        elif command == "limit" and rest.isdecimal():
            limit = int(rest)
        else:
            raise ValueError(f"Unknown in a query: {part.strip()}")
    return Query(
        shown=tuple(shown),
        where=where,
        order=order,
        limit=limit,
        named=frozenset({*named, *shown, *where, order} - {*made, ""}),
    )
