"""Whole runs, as Lambda starts them: what people asked for, what they get, what they are told."""

import json
from typing import Any

import pytest

from local.authorization_server import SCOPES, Fault, VismaConnect
from tests.conftest import Event
from tests.issuer.conftest import KEY_ARN, Account, Log, Run, tenant_id
from token_issuer.handler import aws_clients


def test_one_run_stores_a_token_for_every_tenant(
    account: Account, run: Run, event: Event, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    account.configure("globex")

    report = run(event("scheduled"))

    assert report == {"issued": 2, "failed": 0, "failures": []}
    owners = {
        name: visma_connect.claims(token)["tenant_id"] for name, token in account.tokens().items()
    }
    assert owners == {"acme": tenant_id("acme"), "globex": tenant_id("globex")}


def test_a_token_is_a_secure_string_with_the_stacks_key_and_its_expiry(
    account: Account, run: Run
) -> None:
    account.configure("acme")

    run()

    [described] = account.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Name", "Values": ["/visma/tokens/acme"]}]
    )["Parameters"]
    assert described["Type"] == "SecureString"
    assert described["KeyId"] == KEY_ARN
    assert described["Description"].startswith("expires 20")
    assert described["Description"].endswith("Z")


def test_every_run_renews_every_token(account: Account, run: Run) -> None:
    account.configure("acme")
    run()
    before = account.token_of("acme")

    run()

    assert account.token_of("acme") not in {before, None}


def test_packed_tenants_of_many_pages_are_all_served(account: Account, run: Run) -> None:
    for number in range(11):
        account.configure(f"single-{number}", tenant_id=tenant_id(f"single-{number}"))
    for name in ("acme", "globex"):
        account.visma_connect.clients["default-id"].tenants.add(tenant_id(name))
    packed = {
        name: {"tenant_id": tenant_id(name), "scope": SCOPES[0]} for name in ("acme", "globex")
    }
    account.put_document("packed-1", json.dumps({"tenants": packed}))

    report = run()

    assert report["issued"] == 13
    assert {"acme", "globex", "single-10"} <= account.tokens().keys()


def test_one_refused_tenant_does_not_stop_another(
    account: Account, run: Run, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    account.configure("globex")
    account.put_token("acme", "the last good one")
    visma_connect.clients["default-id"].tenants.discard(tenant_id("acme"))

    report = run()

    assert report["issued"] == 1
    assert report["failed"] == 1
    [failure] = report["failures"]
    assert failure["tenant"] == "acme"
    assert failure["reason"] == "TokenRefused"
    assert failure["detail"] == "invalid_tenant: The tenant has not granted the application"
    assert "administrator" in failure["remedy"]
    assert account.token_of("globex") is not None
    assert account.token_of("acme") == "the last good one"


def test_a_dead_client_secret_costs_one_refusal_and_no_token(
    account: Account, run: Run, visma_connect: VismaConnect
) -> None:
    account.add_client("sales")
    account.configure("hooli", client="sales")
    for number in range(20):
        account.configure(f"t{number}")
        account.put_token(f"t{number}", "the last good one")
    visma_connect.clients["default-id"].client_secrets.clear()

    report = run()

    assert report["issued"] == 1
    assert report["failed"] == 20
    assert {failure["reason"] for failure in report["failures"]} == {"ClientRefused"}
    assert sum(one.form["client_id"] == "default-id" for one in visma_connect.received) == 1
    assert {account.token_of(f"t{number}") for number in range(20)} == {"the last good one"}
    assert account.token_of("hooli") is not None


def test_a_client_may_authenticate_with_basic(
    empty_account: Account, run: Run, visma_connect: VismaConnect
) -> None:
    empty_account.add_client(auth_method="client_secret_basic")
    empty_account.configure("acme")

    report = run()

    assert report["issued"] == 1
    assert visma_connect.received[0].headers["Authorization"].startswith("Basic ")


def test_a_document_that_cannot_be_used_stops_nobody_else(account: Account, run: Run) -> None:
    account.configure("acme")
    account.put_document("globex", "{")
    account.put_document("packed-1", '{"tenants": {"hooli": {}}}')

    report = run()

    assert report["issued"] == 1
    assert report["failed"] == 2
    assert {(one["tenant"], one["reason"]) for one in report["failures"]} == {
        ("/visma/tenants/globex", "DocumentInvalid"),
        ("hooli", "DocumentInvalid"),
    }


def test_a_disabled_tenant_is_left_alone(account: Account, run: Run) -> None:
    account.configure("acme", enabled=False)

    assert run() == {"issued": 0, "failed": 0, "failures": []}
    assert account.tokens() == {}


# Events


def test_named_tenants_are_served_and_no_others(account: Account, run: Run, event: Event) -> None:
    account.configure("acme")
    account.configure("globex")
    account.put_document("hooli", "{")

    report = run(event("tenants"))

    assert report == {"issued": 1, "failed": 0, "failures": []}
    assert account.tokens().keys() == {"acme"}


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        pytest.param(
            "umbrella", "UnknownTenant", "umbrella; it may be in one of 2 that", id="unknown"
        ),
        pytest.param("ooli", "UnknownTenant", "configures ooli", id="the end of another's name"),
        pytest.param("globex", "TenantDisabled", "globex is disabled", id="disabled"),
        pytest.param(
            "hooli", "DocumentInvalid", "/visma/tenants/hooli: it is not JSON", id="alone"
        ),
        pytest.param("initech", "DocumentInvalid", "tenant initech: scope is missing", id="packed"),
    ],
)
def test_a_named_tenant_that_cannot_be_served_is_a_failure(
    name: str, reason: str, words: str, account: Account, run: Run
) -> None:
    account.configure("acme")
    account.configure("globex", enabled=False)
    account.put_document("hooli", "{")
    account.put_document("packed-1", '{"tenants": {"initech": {}}}')

    report = run({"tenants": [name, "acme"]})

    assert report["issued"] == 1
    [failure] = report["failures"]
    assert failure["tenant"] == name
    assert failure["reason"] == reason
    assert words in failure["detail"]
    assert failure["remedy"]


def test_an_unknown_tenant_where_all_documents_are_well(account: Account, run: Run) -> None:
    account.configure("acme")

    [failure] = run({"tenants": ["umbrella"]})["failures"]

    assert failure["detail"] == "No tenant document configures umbrella"


def test_a_dry_run_asks_for_nothing_and_writes_nothing(
    account: Account, run: Run, event: Event, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    account.put_document("globex", "{")

    report = run(event("dry_run"))

    assert report["issued"] == 0
    assert [failure["tenant"] for failure in report["failures"]] == ["/visma/tenants/globex"]
    assert visma_connect.received == []
    assert account.tokens() == {}


def test_a_probe_asks_and_stores_nothing(
    account: Account, run: Run, event: Event, log: Log
) -> None:
    account.configure("acme", enabled=False)

    report = run(event("probe"))

    assert report == {"issued": 0, "failed": 0, "failures": []}
    assert len(account.visma_connect.received) == 1
    assert account.tokens() == {}
    assert [line["message"] for line in log()] == ["Run started", "Token checked", "Run finished"]


def test_a_probe_tells_what_is_wrong(
    account: Account, run: Run, event: Event, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    visma_connect.clients["default-id"].tenants.clear()

    [failure] = run(event("probe"))["failures"]

    assert failure["reason"] == "TokenRefused"


# The report and the log


def test_a_report_shows_a_hundred_failures_and_counts_all(account: Account, run: Run) -> None:
    packed: dict[str, object] = {f"t{number}": {} for number in range(101)}
    account.put_document("packed-1", json.dumps({"tenants": packed}))

    report = run()

    assert report["failed"] == 101
    assert len(report["failures"]) == 100


def test_the_first_line_says_which_version_runs(account: Account, run: Run, log: Log) -> None:
    account.configure("acme")

    run()

    assert log()[0]["message"] == "Run started"
    assert {line["version"] for line in log()} == {"1.2.3"}
    assert {line["request_id"] for line in log()} == {"c0ffee00-request"}


def test_each_tenant_has_one_line_and_the_run_another(
    account: Account, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    account.configure("globex")
    visma_connect.clients["default-id"].tenants.discard(tenant_id("globex"))

    report = run()

    issued, failed, finished = sorted(log()[1:], key=lambda line: line.get("tenant", "~"))
    assert (issued["message"], issued["level"], issued["tenant"]) == (
        "Token issued",
        "INFO",
        "acme",
    )
    assert issued["expires_at"].endswith("Z")
    assert len(issued["fingerprint"]) == 16
    assert (failed["message"], failed["level"]) == ("Token failed", "ERROR")
    told = {key: failed[key] for key in ("tenant", "reason", "detail", "remedy")}
    assert told == report["failures"][0]
    assert finished["message"] == "Run finished"
    assert (finished["issued"], finished["failed"]) == (1, 1)
    assert finished["seconds"] > 0


def test_a_narrower_scope_is_stored_and_warned_of(
    account: Account, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    account.configure("acme", scope=f"{SCOPES[0]} {SCOPES[1]}")
    visma_connect.clients["default-id"].scopes = SCOPES[:1]

    report = run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert report["issued"] == 1
    assert line["level"] == "WARNING"
    assert line["warning"] == "ScopeNarrowed"
    assert line["scope_missing"] == SCOPES[1]
    assert account.token_of("acme") is not None


def test_no_scope_at_all_is_a_narrower_one(account: Account, run: Run, log: Log) -> None:
    account.configure("acme")
    answer = {"access_token": "t", "token_type": "Bearer", "expires_in": 60, "scope": ""}
    body = json.dumps(answer).encode()
    account.visma_connect.faults[None] = Fault(status=200, body=body)

    run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert line["scope_missing"] == SCOPES[0]


def test_a_wider_scope_is_no_warning(
    account: Account, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    account.configure("acme", scope="")

    run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert line["level"] == "INFO"
    assert len(visma_connect.received) == 1


# Connections


def test_connections_are_as_many_as_tenants_side_by_side_and_kept(
    account: Account, run: Run, visma_connect: VismaConnect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONCURRENCY", "12")
    visma_connect.faults[None] = Fault(seconds=0.05)
    for number in range(49):
        account.configure(f"t{number}")

    report = run()

    assert report["issued"] == 49
    assert len({received.port for received in visma_connect.received}) == 12


def test_aws_clients_have_large_pools_short_time_outs_and_keep_to_quotas(
    environment: dict[str, str],
) -> None:
    assert environment["AWS_DEFAULT_REGION"] == "eu-north-1"

    configs: list[Any] = [client.meta.config for client in aws_clients(32)]

    assert [config.max_pool_connections for config in configs] == [32, 32]
    retries = {"mode": "adaptive", "total_max_attempts": 5}
    assert [config.retries for config in configs] == [retries, retries]
    assert {(config.connect_timeout, config.read_timeout) for config in configs} == {(3, 10)}


def test_aws_clients_are_made_once() -> None:
    assert aws_clients(32) is aws_clients(32)
