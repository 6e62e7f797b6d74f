"""The ledger without DynamoDB, for simulations; test_table.py holds it to the real one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from token_issuer.ledger.records import ClientRecord, Issued, Memory, Owner, Record
from token_issuer.ledger.table import Ledger


class MemoryLedger(Ledger):
    def __init__(self) -> None:
        self.records: dict[str, Record] = {}
        self.clients: dict[str, ClientRecord] = {}
        self.owners: dict[str, Owner] = {}
        self.holder: tuple[str, datetime] | None = None
        self.is_dead = False  # the run that writes was killed

    def snapshot(self) -> dict[str, Any]:
        return {"records": dict(self.records)}

    def read(self) -> Memory:
        return Memory(
            records=dict(self.records),
            clients=dict(self.clients),
            owners=dict(self.owners),
        )

    @contextmanager
    def lease(self, holder: str, *, now: datetime, until: datetime) -> Iterator[bool]:
        held_by, held_until = self.holder or (holder, now)
        taken = held_by == holder or not now < held_until <= until + (until - now)
        if taken:
            self.holder = (holder, until)
        try:
            yield taken
        finally:
            if not self.is_dead and self.holder and self.holder[0] == holder:
                self.holder = None

    def record_token(self, record: Record, previous: Record | None) -> None:
        assert record.issued
        known = self.records.get(record.tenant)
        recorded = known.issued.version if known and known.issued else 0
        seen = previous.issued.version if previous and previous.issued else 0
        if recorded < record.issued.version or recorded == seen:
            self.records[record.tenant] = record
            self._keep_owner(record)

    def _keep_owner(self, record: Record) -> None:
        if record.owner:
            self.owners[record.tenant] = record.owner

    def record_failure(self, record: Record) -> None:
        self._keep_owner(record)
        known = self.records.get(record.tenant)
        self.records[record.tenant] = replace(record, issued=known.issued if known else None)

    def keep_told(self, tenant: str, at: datetime) -> None:
        known = self.records.get(tenant)
        if known and known.failure:
            self.records[tenant] = replace(known, failure=replace(known.failure, told_at=at))

    def keep_owner(self, tenant: str, owner: Owner) -> None:
        self.owners[tenant] = owner

    def mark_lost(self, record: Record, at: datetime, *, removing: bool = False) -> bool:
        issued = self._issued(record.tenant)
        if not issued or not record.issued or issued.version != record.issued.version:
            return False
        marked = replace(issued, lost_at=issued.lost_at or at)
        self._replace(record.tenant, replace(marked, removing_at=at) if removing else marked)
        return True

    def _issued(self, tenant: str) -> Issued | None:
        record = self.records.get(tenant)
        return record.issued if record else None

    def _replace(self, tenant: str, issued: Issued) -> None:
        self.records[tenant] = replace(self.records[tenant], issued=issued)

    def record_client(self, record: ClientRecord) -> None:
        if record.pending or record.fallback or record.told_at:
            self.clients[record.client] = record
        else:
            self.clients.pop(record.client, None)

    def drop_record(self, record: Record, at: datetime) -> None:
        issued = self._issued(record.tenant)
        if (issued and issued.version) == (record.issued and record.issued.version):
            self.records.pop(record.tenant, None)
        elif issued and record.issued:
            self._replace(record.tenant, replace(issued, lost_at=at))
