"""The ledger's table in memory, as far as the ledger uses DynamoDB; test_table.py holds it to it.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.OperatorsAndFunctions.html
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

from tests.helpers.account import client_error
from token_issuer.ledger.table import Ledger

TERM = re.compile(
    r"(?P<not>NOT )?((?P<call>\w+)\(#(?P<of>\w+)(, :(?P<type>\w+))?\)"
    r"|#(?P<left>\w+) (?P<sign>[<>=]+) :(?P<right>\w+))"
)
ASSIGNMENT = re.compile(r"#(\w+)(?:\.#(\w+))? = (?:if_not_exists\(#(\w+), ([:#]\w+)\)|([:#]\w+))")

type Value = Mapping[str, Any]


class Table:
    def __init__(self, items: Iterable[Mapping[str, Value]] = ()) -> None:
        self.items = {item["key"]["S"]: dict(item) for item in items}

    @property
    def ledger(self) -> Ledger:
        return Ledger(cast("Any", self), "ledger")

    def get_paginator(self, _: str) -> "Table":
        return self

    def paginate(self, **_: object) -> list[dict[str, Any]]:
        return [{"Items": [dict(item) for item in self.items.values()]}]

    def update_item(self, **request: Any) -> None:  # noqa: ANN401  as boto3 takes it
        item, values = self._checked(request), request.get("ExpressionAttributeValues", {})
        before: dict[str, Value] = dict(item)

        def operand(text: str) -> Value:
            found: Value = values[text] if text[0] == ":" else before[text[1:]]
            return found

        setting, _, removed = request["UpdateExpression"].partition("REMOVE ")
        for name, member, unless, default, plain in ASSIGNMENT.findall(setting):
            kept = before.get(unless) if unless else None
            value = kept or operand(default or plain)
            if member and "M" not in item[name]:
                raise client_error("ValidationException")
            item[name] = {"M": item[name]["M"] | {member: value}} if member else value
        for name in re.findall(r"#(\w+)", removed):
            item.pop(name, None)
        self.items[request["Key"]["key"]["S"]] = request["Key"] | item

    def delete_item(self, **request: Any) -> None:  # noqa: ANN401  likewise
        self._checked(request)
        self.items.pop(request["Key"]["key"]["S"], None)

    def _checked(self, request: Mapping[str, Any]) -> dict[str, Any]:
        item = dict(self.items.get(request["Key"]["key"]["S"], {}))
        condition = request.get("ConditionExpression")
        values = {
            name.removeprefix(":"): value
            for name, value in request.get("ExpressionAttributeValues", {}).items()
        }
        if condition and not any(_holds(term, item, values) for term in condition.split(" OR ")):
            raise client_error("ConditionalCheckFailedException")
        return item


def _holds(term: str, item: Mapping[str, Value], values: Mapping[str, Value]) -> bool:
    found = TERM.fullmatch(term)
    assert found, term
    match found["call"]:
        case "attribute_exists":
            holds = found["of"] in item
        case "attribute_not_exists":
            holds = found["of"] not in item
        case "attribute_type":
            holds = values[found["type"]]["S"] in item.get(found["of"], {})
        case _:
            left, right = item.get(found["left"], {}), values[found["right"]]
            holds = _compare(left, found["sign"], right)
    return not holds if found["not"] else holds


def _compare(left: Value, sign: str, right: Value) -> bool:
    """Compare values of one type; others are neither equal nor in order."""
    if sign == "=" or left.keys() != right.keys() or not left.keys() & {"S", "N"}:
        return sign == "=" and left == right
    (one,), (other,) = left.values(), right.values()
    first, second = (Decimal(one), Decimal(other)) if "N" in left else (one, other)
    return bool({"<": first < second, "<=": first <= second, ">": first > second}[sign])
