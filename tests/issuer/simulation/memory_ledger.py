"""The ledger without DynamoDB, for simulations; test_ledger.py holds it to the real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from token_issuer.ledger import Ledger, Memory, Record


class MemoryLedger(Ledger):
    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.documents: dict[str, str] = {}
        self.checked = ""
        self.holder: tuple[str, datetime] | None = None
        self.is_dead = False  # the run that writes was killed

    def snapshot(self) -> dict[str, Any]:
        return {"records": dict(self.records), "documents": dict(self.documents)}

    def read(self) -> Memory:
        return Memory(
            records=dict(self.records), documents=dict(self.documents), checked=self.checked
        )

    @contextmanager
    def lease(self, holder: str, *, now: datetime, until: datetime) -> Iterator[bool]:
        taken = self.holder is None or self.holder[1] <= now
        if taken:
            self.holder = (holder, until)
        try:
            yield taken
        finally:
            if not self.is_dead and self.holder and self.holder[0] == holder:
                self.holder = None

    def keep_checked(self, tenant: str) -> None:
        self.checked = tenant

    def record_token(self, record: Record, previous: Record | None) -> None:
        assert record.issued
        known = self.records.get(record.tenant)
        recorded = known.issued.version if known and known.issued else 0
        seen = previous.issued.version if previous and previous.issued else 0
        if recorded < record.issued.version or recorded == seen:
            self.records[record.tenant] = record

    def record_failure(self, record: Record) -> None:
        known = self.records.get(record.tenant)
        self.records[record.tenant] = replace(record, issued=known.issued if known else None)

    def shorten(self, tenant: str, expires_at: datetime) -> None:
        record = self.records.get(tenant)
        if record and record.issued and record.issued.expires_at > expires_at:
            shorter = replace(record.issued, expires_at=expires_at)
            self.records[tenant] = replace(record, issued=shorter)

    def mark_lost(self, record: Record, at: datetime) -> None:
        now = self.records.get(record.tenant)
        if now and now.issued and record.issued and now.issued.version == record.issued.version:
            self.records[record.tenant] = replace(now, issued=replace(now.issued, lost_at=at))

    def keep_document(self, parameter: str, text: str) -> None:
        self.documents[parameter] = text

    def drop_document(self, parameter: str) -> None:
        self.documents.pop(parameter, None)

    def drop_record(self, record: Record) -> None:
        now = self.records.get(record.tenant)
        seen = record.issued.version if record.issued else None
        if now and (now.issued.version if now.issued else None) == seen:
            del self.records[record.tenant]
