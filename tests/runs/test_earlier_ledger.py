"""A ledger that an earlier version has written is read, serves, and is cleaned up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import counts
from tests.helpers.account import Account, Run, make_settings
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.world import START, World
from token_issuer.ledger.items import encode
from token_issuer.ledger.records import Memory
from token_issuer.tenants.documents import check_document
from token_issuer.tokens.renewal import purpose_of


def earlier_items(account: Account, now: datetime) -> list[dict[str, Any]]:
    """Return what the first version has written of a tenant whose token is due, and failed once."""
    home = "/visma/tenants/acme"
    text = account.ssm.get_parameter(Name=home)["Parameter"]["Value"]
    purpose = purpose_of(check_document("acme", text, home), make_settings())
    record = {
        "key": "tenant#acme",
        "schema": 1,
        "client": "default",
        "attempted_at": now - timedelta(minutes=5),
        "issued_at": now - timedelta(minutes=55),
        "expires_at": now + timedelta(minutes=5),
        "may_live_until": now + timedelta(minutes=5),
        "fingerprint": "0123456789abcdef",
        "scope": "read",
        "parameter": "/visma/tokens/acme",
        "version": 1,
        "client_secret_version": "v1",
        "purpose": purpose,
        "document": home,
        "failure": {
            "reason": "TokenRefused",
            "detail": "invalid_tenant",
            "failed_at": now - timedelta(minutes=5),
            "count": 3,
            "waits": 0,
            "purpose": purpose,
            "client_secret_version": "v1",
        },
    }
    return [
        record,
        {"key": "lease", "checked": "acme"},
        {"key": f"document#{home}", "text": text},
        {"key": "document#/visma/tenants/gone", "text": '{"scope": ""}'},
    ]


def test_a_ledger_of_the_earlier_version_serves_and_is_cleaned_up(
    account: Account, run: Run
) -> None:
    account.configure("acme")
    account.put_token("acme", "of the earlier version")
    for item in earlier_items(account, datetime.now(UTC)):
        account.dynamodb.put_item(TableName="ledger", Item=encode(item)["M"])
    account.put_document("acme", "{")  # so that only the record says what to ask for

    report = run()

    assert counts(report) == {"issued": 1, "failed": 1}
    assert report["failures"][0]["tenant"] == "/visma/tenants/acme"
    assert account.token_of("acme") != "of the earlier version"
    items = {
        item.pop("key")["S"]: item for item in account.dynamodb.scan(TableName="ledger")["Items"]
    }
    assert items.keys() == {"tenant#acme", "lease"}
    assert items["lease"] == {}
    assert not {"may_live_until", "failure"} & items["tenant#acme"].keys()
    record = account.ledger.read().records["acme"]
    assert record.issued
    assert (record.issued.version, record.failure) == (2, None)


class SlowLedger(MemoryLedger):
    """Has items of the earlier version; deleting one takes a minute."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.left_over = [f"document#/visma/tenants/t{number}" for number in range(4)]
        self._world = world

    def read(self) -> Memory:
        return replace(super().read(), left_over=tuple(self.left_over))

    def drop(self, key: str) -> None:
        self._world.let_pass(timedelta(minutes=1))
        self.left_over.remove(key)


def test_what_is_left_over_takes_no_time_that_tokens_need() -> None:
    world = World()
    ledger = world.ledger = SlowLedger(world)
    world.configure(["acme"])

    world.tick(START)

    assert len(ledger.left_over) == 1
    assert world.stored.keys() == {"acme"}
    world.tick(START + world.settings.period)
    assert ledger.left_over == []


def test_an_earlier_version_finds_each_member_of_a_failure_that_it_needs(
    account: Account, run: Run
) -> None:
    """Else it would read no record of a tenant that fails, after a roll-back."""
    account.put_document("acme", '{"scope": "", "tenant_id": "of-nobody"}')

    assert counts(run()) == {"failed": 1}

    items = account.dynamodb.scan(TableName="ledger")["Items"]
    [failure] = [one["failure"]["M"] for one in items if "failure" in one]
    needed = {"reason", "detail", "failed_at", "count", "waits", "purpose", "client_secret_version"}
    assert needed <= failure.keys()
    assert failure["count"] == {"N": "1"}
