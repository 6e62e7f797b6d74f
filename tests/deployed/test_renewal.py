"""What changes from one run to the next: each test has tenants of its own."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from local.authorization_server import SCOPES
from local.aws import Account
from local.demo import CLIENT_ID, NOT_GRANTED, TENANTS, Local
from tests.conftest import Event, counts
from tests.deployed.conftest import Invoke, configure, versions

IDS = {name: str(uuid4()) for name in ("hooli", "stark", "wayne")}
NAMES = {tenant_id: name for name, tenant_id in (TENANTS | IDS).items()}
SECONDS = 10  # a short lifetime


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Who configures tenants, and looks at what came of it."""

    local: Local
    consumer: Account
    invoke: Invoke
    event: Event
    parameters: set[str] = field(default_factory=set)

    @property
    def account(self) -> Account:
        return self.local.account

    def configure(self, parameter: str, content: object) -> None:
        self.parameters.add(f"/visma/tenants/{parameter}")
        text = content if isinstance(content, str) else json.dumps(content)
        configure(self.account, parameter, text)

    def run(self, event: str = "scheduled") -> dict[str, Any]:
        self.local.visma_connect.received.clear()
        return self.invoke(self.event(event))

    def asked(self) -> set[str]:
        """Return the tenants for whom the last run asked, but for the one who is refused."""
        received = {NAMES[one.form["tenant_id"]] for one in self.local.visma_connect.received}
        return received - {NOT_GRANTED}

    def owner(self, name: str) -> str:
        """Return the tenant_id in the token that consumers read."""
        answer = self.consumer.ssm.get_parameter(Name=f"/visma/tokens/{name}", WithDecryption=True)
        claims = self.local.visma_connect.claims(answer["Parameter"]["Value"])
        return str(claims["tenant_id"])

    def tidy_up(self) -> None:
        tokens = {f"/visma/tokens/{name}" for name in IDS}
        self.account.ssm.delete_parameters(Names=[*self.parameters, *tokens])


@pytest.fixture
def operator(
    account: Account, local: Local, consumer: Account, invoke: Invoke, event: Event
) -> Iterator[Operator]:
    assert account is local.account
    local.visma_connect.clients[CLIENT_ID].tenants.update(IDS.values())
    operator = Operator(local=local, consumer=consumer, invoke=invoke, event=event)
    yield operator
    operator.tidy_up()


def document(name: str, scope: str = SCOPES[0]) -> dict[str, Any]:
    return {"tenant_id": IDS[name], "scope": scope}


def test_another_scope_renews_that_tenant_only(operator: Operator) -> None:
    for name in ("hooli", "stark"):
        operator.configure(name, document(name))
    assert operator.run()["issued"] == 2
    before = versions(operator.account)

    operator.configure("hooli", document("hooli", scope=SCOPES[1]))
    report = operator.run()

    assert report["issued"] == 1
    assert operator.asked() == {"hooli"}
    assert versions(operator.account) == before | {"hooli": before["hooli"] + 1}


@pytest.mark.parametrize("how", ["deleted", "overwritten"])
def test_a_lost_token_comes_back(how: str, operator: Operator) -> None:
    operator.configure("hooli", document("hooli"))
    assert operator.run()["issued"] == 1

    if how == "deleted":
        operator.account.ssm.delete_parameter(Name="/visma/tokens/hooli")
    else:
        operator.account.ssm.put_parameter(
            Name="/visma/tokens/hooli", Value="by hand", Overwrite=True
        )
    planned = {one["tenant"]: one["because"] for one in operator.run("dry_run")["planned"]}
    report = operator.run()

    assert planned["hooli"] == "lost"
    assert report["issued"] == 1
    assert operator.asked() == {"hooli"}
    assert operator.owner("hooli") == IDS["hooli"]
    assert operator.run()["issued"] == 0


def test_the_tenants_of_a_broken_document_are_renewed_as_before(operator: Operator) -> None:
    packed = json.dumps({"tenants": {name: document(name) for name in IDS}})
    operator.configure("packed", packed)
    assert operator.run()["issued"] == 3

    operator.configure("packed", packed[:-1])
    report = operator.run("force")

    assert operator.asked() == (IDS | TENANTS).keys() - {NOT_GRANTED}
    [broken] = [one for one in report["failures"] if one["tenant"] != NOT_GRANTED]
    assert broken["tenant"] == "/visma/tenants/packed"
    assert broken["reason"] == "DocumentInvalid"

    operator.configure("packed", packed)
    assert counts(operator.run()) == {"fresh": 6, "failed": 1}


def test_the_token_of_a_deleted_tenant_stays_until_it_has_expired(operator: Operator) -> None:
    operator.configure("hooli", document("hooli"))
    operator.local.visma_connect.lifetime = SECONDS
    try:
        assert operator.run()["issued"] == 1
    finally:
        operator.local.visma_connect.lifetime = 3600
    expired_by = time.time() + SECONDS

    operator.account.ssm.delete_parameter(Name="/visma/tenants/hooli")
    report = operator.run()

    assert time.time() < expired_by
    assert report["removed"] == 0
    assert "hooli" in versions(operator.account)

    time.sleep(expired_by - time.time() + 1)
    report = operator.run()

    assert report["removed"] == 1
    assert "hooli" not in versions(operator.account)
    assert operator.asked() == set()
    assert operator.run()["removed"] == 0
