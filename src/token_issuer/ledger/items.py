"""Pure: records ↔ items of DynamoDB."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from token_issuer.ledger.records import (
    ClientRecord,
    Failure,
    Fallback,
    Issued,
    Owner,
    Pending,
    Record,
)
from token_issuer.names import NAME
from token_issuer.redaction import DETAIL_CHARACTERS, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


SCHEMA = 1  # of the items; one of another schema counts as none, and is overwritten
COUNT = re.compile(r"[0-9]{1,9}")
# as this module writes it, so that texts compare as times, and no sum of two is out of range
TIME = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
TIMES = (datetime, datetime | None)  # annotations of members that are times
LONGEST_HOURS = 25  # that a token lives, or a tenant waits: a day, and what is rounded
SPANS = (  # none of them is longer
    ("issued_at", "expires_at"),
    ("failed_at", "next_attempt_at"),
    ("tried_at", "next_attempt_at"),
)
COUNT_OF_FORMER = {"count": 1}  # of failures: without it, a version to roll back to reads none
# members that schema 1 has by another name
RENAMED: dict[type, dict[str, str]] = {Failure: {"refusals": "waits"}}
SHOWN = {"reason", "code", "detail"}  # of a failure, to people
TEXT_CHARACTERS = 16 * 1024  # of what is compared only: a purpose holds the scopes of a document


def _text(time: datetime) -> str:
    """Return a time as it is written: of equal length always, so that texts compare as times."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def _time(value: object) -> datetime:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise ValueError
    return datetime.fromisoformat(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError
    return value


@dataclass(frozen=True)
class _Foreign:
    """A value such as no item of ours has."""

    typed: "AttributeValueTypeDef"


def encode(value: "str | int | datetime | dict[str, Any] | _Foreign") -> "AttributeValueTypeDef":
    """Return a value as DynamoDB has it."""
    if isinstance(value, _Foreign):
        return value.typed
    if isinstance(value, dict):
        return {"M": {name: encode(one) for name, one in value.items()}}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": _text(value) if isinstance(value, datetime) else value}


def decode(item: "Mapping[str, AttributeValueTypeDef]") -> dict[str, Any]:
    """Return an item as Python has it; a value such as none of ours has stays as it is."""
    found: dict[str, Any] = {}
    for name, typed in item.items():
        match typed:
            case {"M": members}:
                found[name] = decode(members)
            case {"N": number} if COUNT.fullmatch(number):
                found[name] = int(number)
            case {"S": text}:
                found[name] = text
            case _:
                found[name] = _Foreign(typed)
    return found


def members_of(record: Record) -> dict[str, Any]:
    """Return what an item holds of a record."""
    members: dict[str, Any] = {
        "schema": SCHEMA,
        "client": record.client,
        "attempted_at": record.attempted_at,
    }
    if record.issued:
        members |= members_of_value(record.issued)
    if record.failure:
        members["failure"] = members_of_value(record.failure) | COUNT_OF_FORMER
    if record.owner:
        members["owner"] = members_of_value(record.owner)
    return members


def members_of_value(value: Issued | Failure | Pending | Fallback | Owner) -> dict[str, Any]:
    """Return the members of a value, without those that are None."""
    names = RENAMED.get(type(value), {})
    present = {name: member for name, member in vars(value).items() if member is not None}
    return {names.get(name, name): member for name, member in present.items()}


def parse_record(tenant: str, item: dict[str, Any]) -> Record | None:
    """Return what an item says; None where another version, or a person, wrote it."""
    return _parsed(
        item,
        lambda: Record(
            tenant=_name(tenant),
            client=_name(item.get("client")),
            attempted_at=_time(item.get("attempted_at")),
            issued=_value(Issued, item if "version" in item else None),
            failure=_value(Failure, item.get("failure")),
        ),
    )


def parse_owner(item: dict[str, Any]) -> Owner | None:
    """Return whose token was asked for last, as parse_record does."""
    return _parsed(item, lambda: _value(Owner, item.get("owner")))


def parse_client_record(client: str, item: dict[str, Any]) -> ClientRecord | None:
    """Return what an item says, as parse_record does."""
    return _parsed(
        item,
        lambda: ClientRecord(
            client=_name(client),
            pending=_value(Pending, item.get("pending")),
            fallback=_value(Fallback, item.get("fallback")),
            told_at={reason: _time(at) for reason, at in item.get("told_at", {}).items()},
        ),
    )


def _parsed[T](item: dict[str, Any], parse: "Callable[[], T | None]") -> T | None:
    try:
        return parse() if item.get("schema") == SCHEMA else None
    except (AttributeError, TypeError, ValueError):
        return None


def _value[T: Issued | Failure | Pending | Fallback | Owner](
    kind: type[T], item: dict[str, Any] | None
) -> T | None:
    """Return the value, each member of its type and in its range; None where there is none.

    Raises AttributeError, TypeError or ValueError.
    """
    if item is None:
        return None
    members: dict[str, Any] = {}
    renamed = RENAMED.get(kind, {})
    for name, expected in kind.__annotations__.items():
        value = item.get(renamed.get(name, name))
        if value is not None and expected in TIMES:
            value = _time(value)
        elif name == "client":
            value = _name(value)
        elif isinstance(value, str):
            value = quote(value, DETAIL_CHARACTERS if name in SHOWN else TEXT_CHARACTERS)
        if not isinstance(value, expected):
            raise TypeError(name)
        members[name] = value
    for first, last in SPANS:
        begin, end = members.get(first), members.get(last)
        if begin and end and end - begin > timedelta(hours=LONGEST_HOURS):
            raise ValueError(last)
    return kind(**members)
