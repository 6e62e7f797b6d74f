"""What was issued and what failed, per tenant ↔ DynamoDB.

One item each: `tenant#acme` (Record), `client#default` (ClientRecord), `lease`, and
`document#/visma/tenants/acme` (a tenant parameter's last good text). Of a tenant that is gone,
`owner` stays: whose token was asked for last. Times are ISO 8601 in UTC.
No secret and no token is in it.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from token_issuer.errors import AWS_ERRORS, LedgerUnreadable, LedgerUnwritable, aws_code
from token_issuer.redaction import DETAIL_CHARACTERS, Quoted, quote
from token_issuer.tenants import NAME, Owner

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

SCHEMA = 1  # of the items; one of another schema counts as none, and is overwritten
TENANT, CLIENT, DOCUMENT, LEASE = "tenant#", "client#", "document#", "lease"
COUNT = re.compile(r"[0-9]{1,9}")
# as this module writes it, so that texts compare as times, and no sum of two is out of range
TIME = re.compile(r"2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
LONGEST_HOURS = 25  # that a token lives, or a tenant waits: a day, and what is rounded
SPANS = (  # none of them is longer
    ("issued_at", "expires_at"),
    ("issued_at", "may_live_until"),
    ("failed_at", "next_attempt_at"),
    ("tried_at", "next_attempt_at"),
)
SHOWN = {"reason", "code", "detail"}  # of a failure, to people
TEXT_CHARACTERS = 16 * 1024  # of what is compared only: a purpose holds the scopes of a document


@dataclass(frozen=True, kw_only=True)
class Issued:
    """The token in a tenant's parameter; `purpose` and `parameter` are what it was issued for.

    `lost_at` is when the parameter was found gone, or with another version than this;
    `may_live_until` is set where what is stored may be an earlier token that lives longer.
    """

    issued_at: datetime
    expires_at: datetime
    fingerprint: str
    scope: Quoted | None
    parameter: str
    version: int
    client_secret_version: str
    purpose: str
    document: str
    lost_at: datetime | None = None
    may_live_until: datetime | None = None

    def lives(self, now: datetime) -> bool:
        """Tell whether consumers can have this token."""
        return now < self.expires_at and self.lost_at is None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The last attempt, which failed.

    `waits` counts the attempts since there was no live token; `told_at` is when an event last said
    so.
    """

    reason: str
    code: Quoted | None
    detail: Quoted
    failed_at: datetime
    count: int
    waits: int
    next_attempt_at: datetime | None
    purpose: str
    client_secret_version: str
    told_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What the ledger knows of a tenant; `attempted_at` is when that run began.

    `owner` is to be remembered of this attempt; None leaves it as it was.
    """

    tenant: str
    client: str
    attempted_at: datetime
    issued: Issued | None = None
    failure: Failure | None = None
    owner: Owner | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """Why a pending version of a client secret is not current yet; `tried` is for which tenant.

    `refusals` counts those of the authorization server.
    """

    version: str
    reason: str
    detail: Quoted
    tried_at: datetime
    refusals: int
    tried: str | None = None
    next_attempt_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """The version of a client secret that works where `current` doesn't, and since when."""

    version: str
    stage: str
    current: str | None
    detail: Quoted
    since: datetime


@dataclass(frozen=True, kw_only=True)
class ClientRecord:
    """What the ledger knows of a client's secret beside what Secrets Manager does.

    `told_at` says by reason when an event last told of it.
    """

    client: str
    pending: Pending | None = None
    fallback: Fallback | None = None
    told_at: dict[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """The whole ledger: records by tenant and by client, last good texts by parameter.

    `checked` is the tenant up to which the last run has compared tokens with Parameter Store.
    `owners` says by name whose token was asked for last, also of tenants that are gone.
    """

    records: dict[str, Record]
    documents: dict[str, str]
    checked: str
    clients: dict[str, ClientRecord] = field(default_factory=dict)
    owners: dict[str, Owner] = field(default_factory=dict)


class Ledger:
    """The table; each method is one request, or one for each page."""

    def __init__(self, dynamodb: "DynamoDBClient", table: str) -> None:
        """Take a client, which is thread-safe, and the table's name."""
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
            items = [_decoded(item) for page in pages for item in page["Items"]]
        except AWS_ERRORS as error:
            code = aws_code(error)
            raise LedgerUnreadable(f"Reading {self._table} failed: {code}", code=code) from error
        records, clients, documents, owners, checked = {}, {}, {}, {}, ""
        self._unusable = {}
        for item in items:
            kind, _, name = str(item.get("key")).partition("#")
            if f"{kind}#" == TENANT:
                if owner := _owner(item):
                    owners[name] = owner
                if record := _record(name, item):
                    records[name] = record
                else:
                    self._unusable[name] = item.get("version", 0)
            elif f"{kind}#" == CLIENT and (of_client := _client_record(name, item)):
                clients[name] = of_client
            elif f"{kind}#" == DOCUMENT and isinstance(text := item.get("text"), str):
                documents[name] = text
            elif kind == LEASE and isinstance(bookmark := item.get("checked"), str):
                checked = bookmark
        return Memory(
            records=records, documents=documents, checked=checked, clients=clients, owners=owners
        )

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
        known = previous.issued.version if previous and previous.issued else 0
        self._update(
            f"{TENANT}{record.tenant}",
            f"{_setting(members)} REMOVE {_listed(gone)}",
            "attribute_not_exists(#version) OR #version = :seen OR #version < :version",
            members | {"seen": self._unusable.get(record.tenant, known)},
        )

    def shorten(self, tenant: str, expires_at: datetime) -> None:
        """Claim no more life than the token has that is about to be stored."""
        self._update(
            f"{TENANT}{tenant}",
            "SET #may_live_until = if_not_exists(#may_live_until, #expires_at),"
            " #expires_at = :expires_at",
            "#expires_at > :expires_at",
            {"expires_at": expires_at},
        )

    def record_failure(self, record: Record) -> None:
        """Record the last attempt, which failed; what is known of the token stays."""
        key, members = f"{TENANT}{record.tenant}", _members_of(replace(record, issued=None))
        update, seen = _setting(members), self._unusable.get(record.tenant)
        anew = f"{update} REMOVE {_listed(Issued.__annotations__)}"
        unchanged = "attribute_not_exists(#version) OR #version = :seen"
        if seen is None or not self._update(key, anew, unchanged, members | {"seen": seen}):
            self._update(key, update, "", members)

    def mark_lost(self, record: Record, at: datetime) -> bool:
        """Note that what is stored is not the token that the ledger knows, or will be gone.

        Tell whether it is still this token; of several times the first stands.
        """
        known = record.issued.version if record.issued else 0
        return self._update(
            f"{TENANT}{record.tenant}",
            "SET #lost_at = if_not_exists(#lost_at, :lost_at)",
            "#version = :known",
            {"lost_at": at, "known": known},
        )

    def record_client(self, record: ClientRecord) -> None:
        """Record what is remarkable of a client's secret, or forget it where nothing is."""
        key = f"{CLIENT}{record.client}"
        remarkable = {
            "pending": record.pending and _members(record.pending),
            "fallback": record.fallback and _members(record.fallback),
            "told_at": record.told_at,
        }
        members: dict[str, Any] = {name: value for name, value in remarkable.items() if value}
        if not members:
            self._delete(key, "", {})
            return
        members["schema"] = SCHEMA
        gone = remarkable.keys() - members.keys()
        self._update(
            key, f"{_setting(members)}{f' REMOVE {_listed(gone)}' if gone else ''}", "", members
        )

    def keep_document(self, parameter: str, text: str) -> None:
        """Keep the last good text of a tenant parameter."""
        self._update(f"{DOCUMENT}{parameter}", "SET #text = :text", "", {"text": text})

    def drop_document(self, parameter: str) -> None:
        """Forget a tenant parameter that is there no more."""
        self._delete(f"{DOCUMENT}{parameter}", "", {})

    def drop_record(self, record: Record, at: datetime) -> None:
        """Forget a tenant whose parameter is gone, but for its owner.

        Another token that has been recorded since the record was read went with it: it is lost.
        """
        key = f"{TENANT}{record.tenant}"
        forget = f"REMOVE {_listed({*Issued.__annotations__, 'failure', 'client', 'attempted_at'})}"
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
    if names := re.findall(r"#(\w+)", f"{update} {condition}"):
        request["ExpressionAttributeNames"] = {f"#{name}": name for name in names}
    if values:
        request["ExpressionAttributeValues"] = {f":{n}": _encoded(v) for n, v in values.items()}
    return request


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


def _encoded(
    value: "str | int | datetime | dict[str, Any] | _Foreign",
) -> "AttributeValueTypeDef":
    if isinstance(value, _Foreign):
        return value.typed
    if isinstance(value, dict):
        return {"M": {name: _encoded(one) for name, one in value.items()}}
    if isinstance(value, int):
        return {"N": str(value)}
    return {"S": _text(value) if isinstance(value, datetime) else value}


def _decoded(item: "Mapping[str, AttributeValueTypeDef]") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, typed in item.items():
        match typed:
            case {"M": members}:
                found[name] = _decoded(members)
            case {"N": number} if COUNT.fullmatch(number):
                found[name] = int(number)
            case {"S": text}:
                found[name] = text
            case _:
                found[name] = _Foreign(typed)
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
    if record.owner:
        members["owner"] = _members(record.owner)
    return members


def _members(value: Issued | Failure | Pending | Fallback | Owner) -> dict[str, Any]:
    return {name: member for name, member in vars(value).items() if member is not None}


def _record(tenant: str, item: dict[str, Any]) -> Record | None:
    """Return what an item says; None where another version, or a person, wrote it."""
    if item.get("schema") != SCHEMA:
        return None
    try:
        failure, client = item.get("failure"), item.get("client")
        return Record(
            tenant=_name(tenant),
            client=_name(client),
            attempted_at=_time(item.get("attempted_at")),
            issued=Issued(**_checked(Issued, item)) if "version" in item else None,
            failure=Failure(**_checked(Failure, failure)) if failure is not None else None,
        )
    except (AttributeError, TypeError, ValueError):
        return None


def _owner(item: dict[str, Any]) -> Owner | None:
    """Return whose token was asked for last, as _record does."""
    owner = item.get("owner")
    if item.get("schema") != SCHEMA or not isinstance(owner, dict):
        return None
    try:
        tenant_id = owner.get("tenant_id")
        if not isinstance(tenant_id, str | None):
            return None
        return Owner(tenant_id=tenant_id, client=_name(owner.get("client")))
    except ValueError:
        return None


def _client_record(client: str, item: dict[str, Any]) -> ClientRecord | None:
    """Return what an item says, as _record does."""
    if item.get("schema") != SCHEMA:
        return None
    try:
        pending, fallback = item.get("pending"), item.get("fallback")
        return ClientRecord(
            client=_name(client),
            pending=Pending(**_checked(Pending, pending)) if pending is not None else None,
            fallback=Fallback(**_checked(Fallback, fallback)) if fallback is not None else None,
            told_at={reason: _time(at) for reason, at in item.get("told_at", {}).items()},
        )
    except (AttributeError, TypeError, ValueError):
        return None


def _checked(
    kind: type[Issued | Failure | Pending | Fallback], item: dict[str, Any]
) -> dict[str, Any]:
    """Return the members of an item, each of its type and in its range.

    Raises AttributeError, TypeError or ValueError.
    """
    members: dict[str, Any] = {}
    for name, expected in kind.__annotations__.items():
        value = item.get(name)
        if value is not None and expected in {datetime, datetime | None}:
            value = _time(value)
        elif isinstance(value, str):
            value = quote(value, DETAIL_CHARACTERS if name in SHOWN else TEXT_CHARACTERS)
        if not isinstance(value, expected):
            raise TypeError(name)
        members[name] = value
    for first, last in SPANS:
        begin, end = members.get(first), members.get(last)
        if begin and end and end - begin > timedelta(hours=LONGEST_HOURS):
            raise ValueError(last)
    return members
