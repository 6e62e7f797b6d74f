"""What was issued and what failed, per tenant ↔ DynamoDB.

One item each: `tenant#acme` (Record), `client#default` (ClientRecord) and `lease`. Of a tenant
that is gone, `owner` stays: whose token was asked for last. Times are ISO 8601 in UTC.
No secret and no token is in it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from token_issuer.errors import LedgerUnreadable, LedgerUnwritable
from token_issuer.foreign_errors import AWS_ERRORS, aws_code
from token_issuer.ledger import items
from token_issuer.ledger.records import ClientRecord, Issued, Memory, Owner, Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

FORMER = {"may_live_until"}  # members that earlier versions wrote
TENANT, CLIENT, LEASE = "tenant#", "client#", "lease"
DOCUMENT = "document#"  # an earlier version kept documents here; and in the lease, `checked`


class Ledger:
    """The table; each method is one request, or one for each page."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._unusable: dict[str, Any] = {}  # by tenant, the version in an item that counts as none

    def read(self) -> Memory:
        """Read it all, consistently; raises LedgerUnreadable.

        1 MB a page, and all pages:
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_Scan.html
        """
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._table, ConsistentRead=True
        )
        try:
            found = [items.decode(item) for page in pages for item in page["Items"]]
        except AWS_ERRORS as error:
            code = aws_code(error)
            raise LedgerUnreadable(f"Reading {self._table} failed: {code}", code=code) from error
        records, clients, owners, left_over = {}, {}, {}, []
        self._unusable = {}
        for item in found:
            kind, _, name = str(item.get("key")).partition("#")
            if f"{kind}#" == TENANT:
                if owner := items.parse_owner(item):
                    owners[name] = owner
                if record := items.parse_record(name, item):
                    records[name] = record
                else:
                    self._unusable[name] = item.get("version", 0)
            elif f"{kind}#" == CLIENT and (of_client := items.parse_client_record(name, item)):
                clients[name] = of_client
            elif f"{kind}#" == DOCUMENT:
                left_over.append(f"{DOCUMENT}{name}")
        return Memory(records=records, clients=clients, owners=owners, left_over=tuple(left_over))

    @contextmanager
    def lease(self, holder: str, *, now: datetime, until: datetime) -> Iterator[bool]:
        """Hold the lease in the block, if nobody else does; it is void at `until` by itself.

        Each run is another `holder`: the SDK asks again when an answer is lost. One that is held
        for twice as long as this one would be is from the future: the clock was set back.
        """
        taken = self._update(
            LEASE,
            "SET #holder = :holder, #held_until = :until",
            "attribute_not_exists(#held_until) OR NOT attribute_type(#held_until, :text)"
            " OR #held_until <= :now OR #held_until > :latest OR #holder = :holder",
            {
                "holder": holder,
                "until": until,
                "now": now,
                "latest": until + (until - now),
                "text": "S",
            },
            failure=LedgerUnreadable,
        )
        try:
            yield taken
        finally:
            if taken:
                with suppress(LedgerUnwritable):  # it will be void
                    self._update(
                        LEASE,
                        "REMOVE #holder, #held_until, #checked",
                        "#holder = :holder",
                        {"holder": holder},
                    )

    def record_token(self, record: Record, previous: Record | None) -> None:
        """Record the token that was stored, unless a later version has been recorded meanwhile.

        `previous` is the record as it was read: versions start anew after a deletion.
        """
        members = items.members_of(record)
        gone = {*Issued.__annotations__, *FORMER, "failure"} - members.keys()
        known = previous.issued.version if previous and previous.issued else 0
        self._update(
            f"{TENANT}{record.tenant}",
            f"{_setting(members)} REMOVE {_listed(gone)}",
            "attribute_not_exists(#version) OR #version = :seen OR #version < :version",
            members | {"seen": self._unusable.get(record.tenant, known)},
        )

    def record_failure(self, record: Record) -> None:
        """Record the last attempt, which failed; what is known of the token stays."""
        key, members = f"{TENANT}{record.tenant}", items.members_of(replace(record, issued=None))
        update, seen = _setting(members), self._unusable.get(record.tenant)
        anew = f"{update} REMOVE {_listed(Issued.__annotations__)}"
        unchanged = "attribute_not_exists(#version) OR #version = :seen"
        if seen is None or not self._update(key, anew, unchanged, members | {"seen": seen}):
            self._update(key, update, "", members)

    def keep_told(self, tenant: str, at: datetime) -> None:
        """Note when an event last told of a tenant's failure, if it fails still."""
        told = "SET #failure.#told_at = :told_at"
        self._update(f"{TENANT}{tenant}", told, "attribute_exists(#failure)", {"told_at": at})

    def keep_owner(self, tenant: str, owner: Owner) -> None:
        """Note whose token was asked for last."""
        members = {"schema": items.SCHEMA, "owner": items.members_of_value(owner)}
        self._update(f"{TENANT}{tenant}", _setting(members), "", members)

    def mark_lost(self, record: Record, at: datetime, *, removing: bool = False) -> bool:
        """Note that what is stored is not the token that the ledger knows, or will be gone.

        Tell whether it is still this token; of several times the first stands.
        """
        update = "SET #lost_at = if_not_exists(#lost_at, :lost_at)"
        known = record.issued.version if record.issued else 0
        return self._update(
            f"{TENANT}{record.tenant}",
            f"{update}, #removing_at = :lost_at" if removing else update,
            "#version = :known",
            {"lost_at": at, "known": known},
        )

    def record_client(self, record: ClientRecord) -> None:
        """Record what is remarkable of a client's secret, or forget it where nothing is."""
        key = f"{CLIENT}{record.client}"
        remarkable = {
            "pending": record.pending and items.members_of_value(record.pending),
            "fallback": record.fallback and items.members_of_value(record.fallback),
            "told_at": record.told_at,
        }
        members: dict[str, Any] = {name: value for name, value in remarkable.items() if value}
        if not members:
            self.drop(key)
            return
        members["schema"] = items.SCHEMA
        gone = remarkable.keys() - members.keys()
        self._update(
            key, f"{_setting(members)}{f' REMOVE {_listed(gone)}' if gone else ''}", "", members
        )

    def drop(self, key: str) -> None:
        """Delete an item."""
        self._send(self._dynamodb.delete_item, key, {}, LedgerUnwritable)

    def drop_record(self, record: Record, at: datetime) -> None:
        """Forget a tenant whose parameter is gone, but for its owner.

        Another token that has been recorded since the record was read went with it: it is lost.
        """
        key = f"{TENANT}{record.tenant}"
        gone = {*Issued.__annotations__, *FORMER, "failure", "client", "attempted_at"}
        forget = f"REMOVE {_listed(gone)}"
        if record.issued:
            seen = {"seen": record.issued.version}
            if not self._update(key, forget, "#version = :seen", seen):
                self._update(key, "SET #lost_at = :at", "attribute_exists(#version)", {"at": at})
        else:
            self._update(key, forget, "attribute_not_exists(#version)", {})

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

    def _send(
        self,
        call: Callable[..., object],
        key: str,
        request: dict[str, Any],
        failure: type[LedgerUnreadable | LedgerUnwritable],
    ) -> bool:
        try:
            call(TableName=self._table, Key={"key": {"S": key}}, **request)
        except AWS_ERRORS as error:
            code = aws_code(error)
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
    names = re.findall(r"#(\w+)", f"{update} {condition}")
    request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if values:
        request["ExpressionAttributeValues"] = {f":{n}": items.encode(v) for n, v in values.items()}
    return request
