"""What was issued and what failed, per tenant ↔ DynamoDB.

One item each: `tenant#acme` (Record), `document#/visma/tenants/acme` (a tenant parameter's last
good text), and `lease`. Times are ISO 8601 in UTC. No secret and no token is in it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import LedgerUnreadable, LedgerUnwritable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

SCHEMA = 1  # of the items; one of another schema counts as none, and is overwritten
TENANT, DOCUMENT, LEASE = "tenant#", "document#", "lease"


@dataclass(frozen=True, kw_only=True)
class Issued:
    """The token in a tenant's parameter; `purpose` and `parameter` are what it was issued for.

    `lost_at` is when the parameter was found gone, or with another version than this.
    """

    issued_at: datetime
    expires_at: datetime
    fingerprint: str
    scope: str | None
    parameter: str
    version: int
    client_secret_version: str
    purpose: str
    document: str
    lost_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last attempt, which failed, and why it was made.

    `waits` counts the attempts since there was no live token.
    """

    reason: str
    code: str | None
    detail: str
    failed_at: datetime
    count: int
    waits: int
    next_attempt_at: datetime | None
    because: str
    purpose: str
    client_secret_version: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the ledger knows of a tenant; `attempted_at` is when that run began."""

    tenant: str
    client: str
    attempted_at: datetime
    issued: Issued | None = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The whole ledger: records by tenant, last good texts by parameter.

    `checked` is the tenant up to which the last run has compared tokens with Parameter Store.
    """

    records: dict[str, Record]
    documents: dict[str, str]
    checked: str


class Ledger:
    """The table; each method is one request, or one for each page."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        """Take a client, which is thread-safe, and the table's name."""
        self._dynamodb = dynamodb
        self._table = table

    def read(self) -> Memory:
        """Read it all, consistently; raises LedgerUnreadable.

        1 MB a page, and all pages:
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
        """
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True
        )
        try:
            items = [_decoded(item) for page in pages for item in page["Items"]]
        except (ClientError, BotoCoreError) as error:
            code = _code(error)
            raise LedgerUnreadable(f"Reading {self._table} failed: {code}", code=code) from error
        records, documents, checked = {}, {}, ""
        for item in items:
            kind, _, name = item["key"].partition("#")
            if f"{kind}#" == TENANT and (record := _record(name, item)):
                records[name] = record
            elif f"{kind}#" == DOCUMENT:
                documents[name] = item["text"]
            elif kind == LEASE:
                checked = item.get("checked", "")
        return Memory(records=records, documents=documents, checked=checked)

    @contextmanager
    def lease(self, holder: str, *, now: datetime, until: datetime) -> Iterator[bool]:
        """Hold the lease in the block, if nobody else does; it is void at `until` by itself."""
        taken = self._update(
            LEASE,
            "SET #holder = :holder, #held_until = :until",
            "attribute_not_exists(#held_until) OR #held_until <= :now",
            {"holder": holder, "until": until, "now": now},
            failure=LedgerUnreadable,
        )
        try:
            yield taken
        finally:
            if taken:
                with suppress(LedgerUnwritable):  # it will be void
                    self._update(
                        LEASE,
                        "REMOVE #holder, #held_until",
                        "#holder = :holder",
                        {"holder": holder},
                    )

    def keep_checked(self, tenant: str) -> None:
        """Note up to which tenant tokens have been compared with Parameter Store."""
        self._update(LEASE, "SET #checked = :checked", "", {"checked": tenant})

    def record_token(self, record: Record, previous: Record | None) -> None:
        """Record the token that was stored, unless a later version has been recorded meanwhile.

        `previous` is the record as it was read: versions start anew after a deletion.
        """
        members = _members_of(record)
        gone = {*Issued.__annotations__, "failure"} - members.keys()
        seen = previous.issued.version if previous and previous.issued else 0
        self._update(
            f"{TENANT}{record.tenant}",
            f"{_setting(members)} REMOVE {_listed(gone)}",
            "attribute_not_exists(#version) OR #version < :version OR #version = :seen"
            " OR #schema <> :schema",
            members | {"seen": seen},
        )

    def shorten(self, tenant: str, expires_at: datetime) -> None:
        """Claim no more life than the token has that is about to be stored."""
        self._update(
            f"{TENANT}{tenant}",
            "SET #expires_at = :expires_at",
            "#expires_at > :expires_at",
            {"expires_at": expires_at},
        )

    def record_failure(self, record: Record) -> None:
        """Record the last attempt, which failed; what is known of the token stays."""
        key, members = f"{TENANT}{record.tenant}", _members_of(replace(record, issued=None))
        update = _setting(members)
        ours = "attribute_not_exists(#schema) OR #schema = :schema"
        if not self._update(key, update, ours, members):
            self._update(key, f"{update} REMOVE {_listed(Issued.__annotations__)}", "", members)

    def mark_lost(self, record: Record, at: datetime) -> None:
        """Note that what is stored is not the token that the ledger knows."""
        known = record.issued.version if record.issued else 0
        self._update(
            f"{TENANT}{record.tenant}",
            "SET #lost_at = :lost_at",
            "#version = :known",
            {"lost_at": at, "known": known},
        )

    def keep_document(self, parameter: str, text: str) -> None:
        """Keep the last good text of a tenant parameter."""
        self._update(f"{DOCUMENT}{parameter}", "SET #text = :text", "", {"text": text})

    def drop_document(self, parameter: str) -> None:
        """Forget a tenant parameter that is there no more."""
        self._delete(f"{DOCUMENT}{parameter}", "", {})

    def drop_record(self, record: Record) -> None:
        """Forget a tenant, unless another token has been recorded since it was read."""
        if record.issued:
            seen = {"seen": record.issued.version}
            self._delete(f"{TENANT}{record.tenant}", "#version = :seen", seen)
        else:
            self._delete(f"{TENANT}{record.tenant}", "attribute_not_exists(#version)", {})

    def _update(
        self,
        key: str,
        update: str,
        condition: str,
        values: Mapping[str, Any],
        failure: type[LedgerUnreadable | LedgerUnwritable] = LedgerUnwritable,
    ) -> bool:
        """Update one item, and tell whether the condition held."""
        request = {"UpdateExpression": update} | _expressions(update, condition, values)
        return self._send(self._dynamodb.update_item, key, request, failure)

    def _delete(self, key: str, condition: str, values: Mapping[str, Any]) -> bool:
        request = _expressions("", condition, values)
        return self._send(self._dynamodb.delete_item, key, request, LedgerUnwritable)

    def _send(
        self,
        call: Callable[..., object],
        key: str,
        request: dict[str, Any],
        failure: type[LedgerUnreadable | LedgerUnwritable],
    ) -> bool:
        try:
            call(TableName=self._table, Key={"key": {"S": key}}, **request)
        except (ClientError, BotoCoreError) as error:
            code = _code(error)
            if code == "ConditionalCheckFailedException":
                return False
            raise failure(f"Writing {key} to {self._table} failed: {code}", code=code) from error
        return True


def _setting(members: Collection[str]) -> str:
    return "SET " + ", ".join(f"#{name} = :{name}" for name in members)


def _listed(members: Collection[str]) -> str:
    return ", ".join(f"#{name}" for name in sorted(members))


def _expressions(update: str, condition: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return condition, names and values as DynamoDB takes them: none where there is none.

    Every name is an alias, since many words are reserved:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ReservedWords.html
    """
    request: dict[str, Any] = {}
    if condition:
        request["ConditionExpression"] = condition
    if names := re.findall(r"#(\w+)", f"{update} {condition}"):
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if values:
        request["ExpressionAttributeValues"] = {f":{n}": _encoded(v) for n, v in values.items()}
    return request


def _code(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"]
    return type(error).__name__


def _text(time: datetime) -> str:
    """Return a time as it is written: of equal length always, so that texts compare as times."""
    return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _encoded(value: str | int | datetime | dict[str, Any]) -> "AttributeValueTypeDef":
    if isinstance(value, dict):
        return {"M": {name: _encoded(one) for name, one in value.items()}}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": _text(value) if isinstance(value, datetime) else value}


def _decoded(item: "Mapping[str, AttributeValueTypeDef]") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, typed in item.items():
        if "M" in typed:
            found[name] = _decoded(typed["M"])
        elif "N" in typed:
            found[name] = int(typed["N"])
        else:
            found[name] = typed.get("S")
    return found


def _members_of(record: Record) -> dict[str, Any]:
    members: dict[str, Any] = {
        "schema": SCHEMA,
        "client": record.client,
        "attempted_at": record.attempted_at,
    }
    if record.issued:
        members |= _members(record.issued)
    if record.failure:
        members["failure"] = _members(record.failure)
    return members


def _members(value: Issued | Failure) -> dict[str, Any]:
    return {name: member for name, member in vars(value).items() if member is not None}


def _record(tenant: str, item: dict[str, Any]) -> Record | None:
    """Return what an item says; None where another version, or a person, wrote it."""
    if item.get("schema") != SCHEMA:
        return None
    try:
        return Record(
            tenant=tenant,
            client=item["client"],
            attempted_at=_time(item["attempted_at"]),
            issued=_issued(item) if "version" in item else None,
            failure=_failure(item["failure"]) if "failure" in item else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _issued(item: dict[str, Any]) -> Issued:
    return Issued(
        issued_at=_time(item["issued_at"]),
        expires_at=_time(item["expires_at"]),
        fingerprint=item["fingerprint"],
        scope=item.get("scope"),
        parameter=item["parameter"],
        version=item["version"],
        client_secret_version=item["client_secret_version"],
        purpose=item["purpose"],
        document=item["document"],
        lost_at=_time(item["lost_at"]) if "lost_at" in item else None,
    )


def _failure(item: dict[str, Any]) -> Failure:
    next_attempt_at = item.get("next_attempt_at")
    return Failure(
        reason=item["reason"],
        code=item.get("code"),
        detail=item["detail"],
        failed_at=_time(item["failed_at"]),
        count=item["count"],
        waits=item["waits"],
        next_attempt_at=_time(next_attempt_at) if next_attempt_at else None,
        because=item["because"],
        purpose=item["purpose"],
        client_secret_version=item["client_secret_version"],
    )
