"""An opaque token names nobody: what the ledger and the run know of it decides whose it is."""

import json

import pytest

from local.authorization_server import SCOPES
from tests.helpers.account import Account, Run, tenant_id, token_fault

SHARED_TOKEN = "opaque-token-that-a-gateway-gave-twice"


def answer_always(account: Account, *tenants: str) -> None:
    for tenant in tenants:
        account.visma_connect.faults[tenant_id(tenant)] = token_fault(SHARED_TOKEN)


def without_tenant(account: Account, name: str, **members: str) -> None:
    account.put_document(name, json.dumps({"scope": SCOPES[0]} | members))


def test_one_token_is_not_stored_for_two_tenants_in_a_run(account: Account, run: Run) -> None:
    for name in ("acme", "globex", "initech"):
        account.configure(name)
    answer_always(account, "acme", "globex")

    report = run()

    assert report["issued"] == 2
    [failure] = report["failures"]
    assert failure["reason"] == "WrongTenant"
    [owner] = {"acme", "globex"} - {failure["tenant"]}
    assert f"was issued to {owner}, for tenant_id {tenant_id(owner)}" in failure["detail"]
    assert list(account.tokens().values()).count(SHARED_TOKEN) == 1


@pytest.mark.parametrize("event", [{"tenants": ["globex"]}, {"probe": "globex"}], ids=json.dumps)
def test_a_token_that_the_ledger_knows_for_another_tenant_is_refused(
    event: object, account: Account, run: Run
) -> None:
    account.configure("acme", "globex")
    answer_always(account, "acme", "globex")
    run({"tenants": ["acme"]})

    report = run(event)

    assert [one["reason"] for one in report["failures"]] == ["WrongTenant"]
    assert account.tokens() == {"acme": SHARED_TOKEN}


def test_a_token_from_before_a_tenant_was_moved_to_another_company_is_refused(
    account: Account, run: Run
) -> None:
    account.configure("acme")
    answer_always(account, "acme", "globex")
    run()
    account.configure("acme", tenant_id=tenant_id("globex"))

    report = run()

    assert [one["reason"] for one in report["failures"]] == ["WrongTenant"]


def test_a_tenant_may_get_its_own_token_again(account: Account, run: Run) -> None:
    account.configure("acme")
    answer_always(account, "acme")
    run()

    assert run({"force": True})["issued"] == 1


def test_two_names_of_one_company_may_share_a_token(account: Account, run: Run) -> None:
    account.configure("acme")
    account.configure("acme-invoices", tenant_id=tenant_id("acme"))
    answer_always(account, "acme")

    assert run()["issued"] == 2


@pytest.mark.parametrize("purpose", ["", "[]", "{}", "null", "[" * 9000])
def test_a_record_with_an_odd_purpose_knows_no_owner(
    purpose: str, account: Account, run: Run
) -> None:
    account.configure("acme")
    answer_always(account, "acme")
    run()
    account.dynamodb.update_item(
        TableName="ledger",
        Key={"key": {"S": "tenant#acme"}},
        UpdateExpression="SET purpose = :purpose",
        ExpressionAttributeValues={":purpose": {"S": purpose}},
    )

    report = run()

    assert report["failures"] == []
    assert report["issued"] == 1


@pytest.mark.parametrize("same", [True, False], ids=["the same token", "one of its own"])
def test_a_jwt_of_a_company_that_another_asks_for_is_nobody_elses(
    account: Account, run: Run, *, same: bool
) -> None:
    without_tenant(account, "acme")
    account.configure("globex")
    for asked in (None, tenant_id("globex")):
        claims = {"tenant_id": tenant_id("globex").upper(), "jti": "" if same else str(asked)}
        token = account.visma_connect.sign(claims)
        account.visma_connect.faults[asked] = token_fault(token)

    report = run()

    [failure] = report["failures"]
    assert (failure["tenant"], failure["reason"]) == ("acme", "WrongTenant")
    assert failure["detail"].endswith("tenant_id of globex; the document of acme has none")
    assert account.tokens().keys() == {"globex"}


def test_a_jwt_that_names_its_tenant_needs_no_ledger(account: Account, run: Run) -> None:
    without_tenant(account, "acme")
    token = account.visma_connect.sign({"tenant_id": tenant_id("acme")})
    fault = token_fault(token)
    account.visma_connect.faults |= {None: fault, tenant_id("acme"): fault}
    run()
    account.configure("acme")

    assert run()["issued"] == 1


def test_a_token_without_tenant_is_not_shared_between_clients(account: Account, run: Run) -> None:
    account.add_client("sales")
    without_tenant(account, "acme")
    without_tenant(account, "globex", client="sales")
    account.visma_connect.faults[None] = token_fault(SHARED_TOKEN)

    report = run()

    assert [one["reason"] for one in report["failures"]] == ["WrongTenant"]
    assert len(account.tokens()) == 1
