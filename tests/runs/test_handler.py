"""Whole runs, as Lambda starts them: what people asked for, what they get, what they are told."""

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from local.authorization_server import SCOPES, Fault
from tests.conftest import Event, counts
from tests.helpers.account import (
    CLIENT_SECRET,
    KEY_ARN,
    Account,
    Log,
    Run,
    lambda_context,
    names,
    tenant_id,
    token_fault,
)
from tests.helpers.observation import chain, observe
from token_issuer.errors import NoTimeLeft, RunCrashed, TenantsGone, TenantsUnreadable
from token_issuer.handler import aws_clients, lambda_handler
from token_issuer.limits.deadline import RECORD, STORE
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry


def test_one_run_stores_a_token_for_every_tenant(account: Account, run: Run, event: Event) -> None:
    account.configure("acme", "globex")

    report = run(event("scheduled"))

    assert counts(report) == {"issued": 2}
    owners = {
        name: account.visma_connect.claims(token)["tenant_id"]
        for name, token in account.tokens().items()
    }
    assert owners == {"acme": tenant_id("acme"), "globex": tenant_id("globex")}


def test_a_token_is_a_secure_string_with_the_stacks_key_and_its_expiry(
    account: Account, run: Run
) -> None:
    account.configure("acme")

    run()

    described = account.describe("acme")
    assert described["Type"] == "SecureString"
    assert described["KeyId"] == KEY_ARN
    assert described["Description"].startswith("expires 20")
    assert described["Description"].endswith("Z")


def test_a_second_run_asks_for_nothing(account: Account, run: Run) -> None:
    account.configure("acme")
    run()
    before = account.token_of("acme")

    report = run()

    assert counts(report) == {"fresh": 1}
    assert 3590 <= report["soonest_expiry_seconds"] <= 3600
    assert account.token_of("acme") == before
    assert len(account.visma_connect.received) == 1


def test_packed_tenants_of_many_pages_are_all_served(account: Account, run: Run) -> None:
    for number in range(11):
        account.configure(f"single-{number}", tenant_id=tenant_id(f"single-{number}"))
    documents = {"acme": tenant_id("acme"), "globex": tenant_id("globex")}
    account.app.tenants.update(documents.values())
    packed = {name: {"tenant_id": one, "scope": SCOPES[0]} for name, one in documents.items()}
    account.put_document("packed-1", json.dumps({"tenants": packed}))

    report = run()

    assert report["issued"] == 13
    assert {"acme", "globex", "single-10"} <= account.tokens().keys()


def test_one_refused_tenant_does_not_stop_another(account: Account, run: Run) -> None:
    account.configure("acme", "globex")
    account.put_token("acme", "the last good one")
    account.revoke("acme")

    report = run()

    assert report["issued"] == 1
    assert report["failed"] == 1
    [failure] = report["failures"]
    assert failure["tenant"] == "acme"
    assert failure["reason"] == "TokenRefused"
    assert failure["detail"] == "invalid_tenant: The tenant has not granted the application"
    assert "administrator to grant" in failure["remedy"]
    assert account.token_of("globex") is not None
    assert account.token_of("acme") == "the last good one"


def test_a_client_may_authenticate_with_basic(empty_account: Account, run: Run) -> None:
    empty_account.add_client(auth_method="client_secret_basic")
    empty_account.configure("acme")

    report = run()

    assert report["issued"] == 1
    assert empty_account.visma_connect.received[0].headers["Authorization"].startswith("Basic ")


def test_a_disabled_tenant_is_left_alone(account: Account, run: Run) -> None:
    account.configure("acme", enabled=False)

    assert counts(run()) == {}
    assert account.tokens() == {}


# Events


def test_named_tenants_are_served_and_no_others(account: Account, run: Run, event: Event) -> None:
    account.configure("acme", "globex")
    account.put_document("hooli", "{")

    report = run(event("tenants"))

    assert counts(report) == {"issued": 1}
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


def test_a_dry_run_plans_asks_for_nothing_and_writes_nothing(
    account: Account, run: Run, event: Event
) -> None:
    account.configure("acme")
    run()
    account.configure("globex")
    broken = "/visma/tenants/hooli"
    account.put_document("hooli", "{")

    report = run(event("dry_run"))

    planned = {one["tenant"]: one["action"] for one in report["planned"]}
    assert planned == {"acme": "fresh", "globex": "issue", broken: "fail"}
    assert report["issued"] == 0
    assert [failure["tenant"] for failure in report["failures"]] == [broken]
    assert len(account.visma_connect.received) == 1
    assert account.tokens().keys() == account.ledger.read().records.keys() == {"acme"}


def test_a_probe_asks_and_stores_nothing(
    account: Account, run: Run, event: Event, log: Log
) -> None:
    account.configure("acme", enabled=False)

    report = run(event("probe"))

    assert counts(report) == {}
    assert len(account.visma_connect.received) == 1
    assert account.tokens() == {}
    assert [line["message"] for line in log()] == ["Run started", "Token checked", "Run finished"]


def test_a_probe_asks_though_the_token_is_fresh_or_the_tenant_waits(
    account: Account, run: Run, event: Event
) -> None:
    account.configure("acme")
    run()
    account.app.tenants.clear()
    assert [one["reason"] for one in run(event("probe"))["failures"]] == ["TokenRefused"]
    account.ledger.drop_record(account.ledger.read().records["acme"], datetime.now(UTC))
    run()  # refused, and waits from now on
    asked = len(account.visma_connect.received)

    run(event("probe"))

    assert len(account.visma_connect.received) == asked + 1


@pytest.mark.parametrize(
    ("text", "subject"), [('{"scop": ""}', "acme"), ("{", "/visma/tenants/acme")]
)
@pytest.mark.parametrize("named", [{"probe": "acme"}, {"tenants": ["acme"], "force": True}])
def test_a_run_for_a_tenant_tells_that_its_document_is_broken(
    named: dict[str, object], text: str, subject: str, account: Account, run: Run
) -> None:
    account.configure("acme")
    run()
    account.put_document("acme", text)

    report = run(named)

    told = [(one["tenant"], one["reason"]) for one in report["failures"]]
    assert told == [(subject, "DocumentInvalid")]
    assert report["issued"] == ("force" in named)
    assert len(account.visma_connect.received) == 2  # as its token was issued for


# The report and the log


def test_each_tenant_has_one_line_and_the_run_a_first_and_a_last_one(
    account: Account, run: Run, log: Log
) -> None:
    account.configure("acme", "globex")
    account.revoke("globex")

    report = run()

    started, *lines = log()
    issued, failed, finished = sorted(lines, key=lambda line: line.get("tenant", "~"))
    assert started["message"] == "Run started"
    assert {line["version"] for line in log()} == {"1.2.3"}
    assert {line["request_id"] for line in log()} == {"c0ffee00-request"}
    assert (issued["message"], issued["level"]) == ("Token issued", "INFO")
    assert issued["tenant"] == "acme"
    assert issued["expires_at"].endswith("Z")
    assert len(issued["fingerprint"]) == 16
    assert (failed["message"], failed["level"]) == ("Token failed", "ERROR")
    told = {key: failed[key] for key in ("tenant", "reason", "detail", "remedy")}
    assert told == report["failures"][0]
    assert finished["message"] == "Run finished"
    assert (finished["issued"], finished["failed"]) == (1, 1)
    assert finished["seconds"] > 0


def test_a_narrower_scope_is_stored_and_warned_of(account: Account, run: Run, log: Log) -> None:
    account.configure("acme", scope=f"{SCOPES[0]} {SCOPES[1]}")
    account.app.scopes = SCOPES[:1]

    report = run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert report["issued"] == 1
    assert line["level"] == "WARNING"
    assert line["warning"] == "ScopeNarrowed"
    assert line["scope_missing"] == SCOPES[1]
    assert account.token_of("acme") is not None


def test_no_scope_at_all_is_a_narrower_one(account: Account, run: Run, log: Log) -> None:
    account.configure("acme")
    account.visma_connect.faults[None] = token_fault("t", expires_in=60, scope="")

    run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert line["scope_missing"] == SCOPES[0]


def test_a_wider_scope_is_no_warning(account: Account, run: Run, log: Log) -> None:
    account.configure("acme", scope="")

    run()

    [line] = [line for line in log() if line["message"] == "Token issued"]
    assert line["level"] == "INFO"
    assert len(account.visma_connect.received) == 1


# Connections


def test_each_token_request_of_a_run_has_a_connection_of_its_own(
    account: Account, run: Run
) -> None:
    account.configure(*names(12))

    report = run()

    assert report["issued"] == 12
    assert len({received.port for received in account.visma_connect.received}) == 12


def test_aws_clients_have_large_pools_short_time_outs_and_keep_to_quotas(
    environment: dict[str, str],
) -> None:
    assert environment["AWS_DEFAULT_REGION"] == "eu-north-1"

    configs: list[Any] = [client.meta.config for client in vars(aws_clients(32)).values()]

    assert [config.max_pool_connections for config in configs] == [32, 32, 32]
    again = {"mode": "standard", "total_max_attempts": 2}
    once = again | {"total_max_attempts": 1}  # its pacer repeats, in turn
    assert [config.retries for config in configs] == [once, again, again]
    timeouts = [(config.connect_timeout, config.read_timeout) for config in configs]
    assert timeouts == [(2, 5), (1, 2), (1, 2)]
    for (connect, read), budget in zip(timeouts, (STORE, *[RECORD] * 2), strict=True):
        attempts = 1 if (connect, read) == timeouts[0] else 2
        assert attempts * (connect + read) + (attempts - 1) <= budget  # a second between them


def test_aws_clients_are_made_once() -> None:
    assert aws_clients(32) is aws_clients(32)


# What nobody has thought of


def test_a_defect_outside_of_any_tenant_ends_the_run_with_a_line_and_no_text_of_it(
    account: Account,
) -> None:
    account.configure("acme")
    context = lambda_context()

    def broken() -> int:
        raise OverflowError(f"the secret is {CLIENT_SECRET}")

    context.get_remaining_time_in_millis = broken

    observed = observe(lambda: lambda_handler({}, context))

    assert isinstance(observed.error, RunCrashed)
    assert observed.error.detail.startswith("OverflowError in handler.py, line ")
    assert [*chain(observed.error)] == [observed.error]
    assert CLIENT_SECRET not in observed.said
    last = observed.lines[-1]
    assert (last["message"], last["level"]) == ("Run failed", "ERROR")
    assert (last["reason"], last["detail"]) == ("RunCrashed", observed.error.detail)
    assert last["remedy"]


# What the run remembers


def test_a_changed_document_renews_that_tenant_only(account: Account, run: Run) -> None:
    account.configure("acme", "globex")
    run()

    account.configure("acme", scope=SCOPES[1])
    report = run()

    assert counts(report) == {"issued": 1, "fresh": 1}
    assert account.visma_connect.received[-1].form["scope"] == SCOPES[1]


@pytest.mark.parametrize("event", [{}, {"tenants": ["acme"]}], ids=["all", "named"])
def test_a_token_that_somebody_deleted_comes_back(
    event: object, account: Account, run: Run
) -> None:
    account.configure("acme", "globex")
    run()
    account.ssm.delete_parameter(Name="/visma/tokens/acme")

    report = run(event)

    assert report["issued"] == 1
    assert account.tokens().keys() == {"acme", "globex"}
    assert counts(run()) == {"fresh": 2}


def test_a_token_that_somebody_overwrote_comes_back(account: Account, run: Run) -> None:
    account.configure("acme")
    run()
    before = account.token_of("acme")
    account.put_token("acme", "somebody else's")

    assert counts(run()) == {"issued": 1}

    assert account.token_of("acme") not in {before, "somebody else's"}


def test_force_renews_what_is_fresh(account: Account, run: Run, event: Event) -> None:
    account.configure("acme")
    run()

    assert counts(run(event("force"))) == {"issued": 1}


def test_a_broken_document_is_reported_and_hits_nobody(
    account: Account, run: Run, event: Event
) -> None:
    document = {"tenant_id": tenant_id("acme"), "scope": SCOPES[0]}
    account.visma_connect.clients["default-id"].tenants.add(tenant_id("acme"))
    account.put_document("packed-1", json.dumps({"tenants": {"acme": document}}))
    run()

    account.put_document("packed-1", "{")
    report = run(event("force"))

    assert counts(report) == {"issued": 1, "failed": 1}
    assert report["failures"][0]["tenant"] == "/visma/tenants/packed-1"
    assert counts(run()) == {"fresh": 1, "failed": 1}


def test_a_disabled_tenant_loses_its_token_now(account: Account, run: Run, log: Log) -> None:
    account.configure("acme", "globex")
    run()

    account.configure("acme", enabled=False)
    report = run()

    assert counts(report) == {"fresh": 1, "removed": 1}
    assert account.tokens().keys() == {"globex"}
    assert account.ledger.read().records.keys() == {"globex"}
    [line] = [line for line in log() if line["message"] == "Token removed"]
    assert (line["tenant"], line["because"]) == ("acme", "disabled")


def test_a_run_for_named_tenants_removes_nobody(account: Account, run: Run, event: Event) -> None:
    account.configure("acme", "globex")
    run()
    account.configure("globex", enabled=False)

    run(event("tenants"))

    assert account.tokens().keys() == {"acme", "globex"}


def test_a_vanished_tenant_keeps_its_token_until_it_expires(account: Account, run: Run) -> None:
    account.visma_connect.lifetime = 5  # seconds, which two runs must not need
    account.configure("acme")
    run()
    account.configure("globex")
    account.ssm.delete_parameter(Name="/visma/tenants/acme")

    assert "removed" not in counts(run())
    assert "acme" in account.tokens()

    time.sleep(5)
    assert counts(run())["removed"] == 1
    assert account.tokens().keys() == {"globex"}


def test_an_empty_listing_while_tokens_live_is_a_wrong_path_and_gives_the_lease_back(
    account: Account, run: Run
) -> None:
    account.configure("acme")
    run()
    account.ssm.delete_parameter(Name="/visma/tenants/acme")

    with pytest.raises(TenantsGone, match="Nothing is below /visma/tenants, while 1 tokens live"):
        run()

    assert "acme" in account.tokens()
    account.configure("acme")
    assert counts(run()) == {"fresh": 1}


def test_an_empty_listing_is_believed_once_no_token_lives(account: Account, run: Run) -> None:
    account.visma_connect.lifetime = 1
    account.configure("acme")
    run()
    account.ssm.delete_parameter(Name="/visma/tenants/acme")
    time.sleep(1)

    assert counts(run())["removed"] == 1


def test_a_second_full_run_at_once_is_skipped(
    account: Account, run: Run, event: Event, log: Log
) -> None:
    account.configure("acme")
    now = datetime.now(UTC)
    with account.ledger.lease("another", now=now, until=now + timedelta(minutes=5)):
        assert run() == {
            "issued": 0,
            "fresh": 0,
            "failed": 0,
            "deferred": 0,
            "removed": 0,
            "soonest_expiry_seconds": None,
            "failures": [],
            "skipped": True,
        }
        assert "Run skipped: another one is at work" in [line["message"] for line in log()]
        assert account.tokens() == {}
        assert counts(run(event("tenants"))) == {"issued": 1}

    assert counts(run()) == {"fresh": 1}


def test_a_refused_tenant_waits_until_its_secret_is_another_that_can_be_read(
    account: Account, run: Run
) -> None:
    account.configure("acme")
    account.app.tenants.clear()
    run()

    [waits] = run()["failures"]
    assert waits["reason"] == "TokenRefused"
    assert "; backing off until 20" in waits["detail"]
    assert len(account.visma_connect.received) == 1

    secret = account.secretsmanager.get_secret_value(SecretId="visma/clients/default")
    account.secretsmanager.put_secret_value(
        SecretId="visma/clients/default", SecretString=secret["SecretString"]
    )
    [refused] = run()["failures"]
    assert "backing off" not in refused["detail"]
    assert len(account.visma_connect.received) == 2

    account.secretsmanager.delete_secret(
        SecretId="visma/clients/default", ForceDeleteWithoutRecovery=True
    )
    [waits] = run()["failures"]
    assert "; backing off until 20" in waits["detail"]


def test_lifetimes_too_short_are_said_once(account: Account, run: Run, log: Log) -> None:
    account.visma_connect.lifetime = 60
    account.configure("acme", "globex")

    run()

    [line] = [line for line in log() if line.get("warning") == "LifetimeTooShort"]
    assert line["tenants"] == 2


# Metrics


def test_a_full_run_is_measured(account: Account, run: Run, measured: Log) -> None:
    account.configure("acme", "globex", "initech")
    account.configure("umbrella", enabled=False)
    account.put_document("hooli", "{")
    account.revoke("globex")
    account.revoke("initech")

    began = time.time()
    run()
    ended = time.time()

    whole, *by_reason = measured()
    [at] = {one["_aws"]["Timestamp"] for one in (whole, *by_reason)}  # milliseconds
    assert began + whole["RunSeconds"][0] - 0.002 < at / 1000 < ended + 0.001
    values = {name: value for name, value in whole.items() if name != "_aws"}
    assert 3590 <= values.pop("SoonestExpirySeconds")[0] <= 3600
    assert 3590 <= values.pop("SoonestOwnExpirySeconds")[0] <= 3600
    assert values.pop("RunSeconds")[0] > 0
    assert values == {
        "service": "issuer",
        "TokensIssued": [1.0],
        "TokensFresh": [0.0],
        "TokensFailed": [3.0],
        "TokensDeferred": [0.0],
        "TokensRemoved": [0.0],
        "TenantsConfigured": [3.0],
        "TenantsVanished": [0.0],
        "TenantsRefused": [2.0],
        "OwnFailures": [1.0],
        "DocumentsUnreadable": [1.0],
        "WritesThrottled": [0.0],
        "ClientSecretFallback": [0.0],
    }
    [directive] = whole["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("TokenIssuer", [["service"]])
    assert {one["reason"]: one["TokensFailed"] for one in by_reason} == {
        "DocumentInvalid": [1.0],
        "TokenRefused": [2.0],
    }
    assert by_reason[0]["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "reason"]]


def test_who_is_deferred_is_counted_and_said_once(
    account: Account, run: Run, log: Log, measured: Log
) -> None:
    account.configure(*names(20))
    account.visma_connect.faults[None] = Fault(status=429, body=b"", headers={"Retry-After": "120"})

    report = run()

    assert counts(report) == {"failed": 1, "deferred": 19}
    assert measured()[0]["TokensDeferred"] == [19.0]
    assert len(account.visma_connect.received) == 1
    [line] = [line for line in log() if line["message"] == "Tenants deferred"]
    assert (line["warning"], line["tenants"]) == ("EndpointBreakerOpen", 19)
    assert line["detail"].endswith("The token endpoint answered HTTP 429")
    assert "status page" in line["remedy"]
    account.visma_connect.faults.clear()
    assert counts(run()) == {"issued": 20}


def test_a_server_that_wants_to_be_left_alone_gets_ten_more_requests_at_most(
    account: Account, run: Run
) -> None:
    account.configure(*names(60))
    account.visma_connect.limit = 20

    report = run()

    assert report["issued"] == 20
    assert len(account.visma_connect.received) <= 20 + 1 + 10
    assert report["deferred"] >= 60 - 20 - 1 - 10


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        pytest.param(32, {"deferred": 3, "failed": 1}, id="too few to ask, store and record"),
        pytest.param(36, {"issued": 3}, id="enough"),
    ],
)
def test_a_run_ends_before_its_time_out(
    seconds: int, found: dict[str, int], account: Account, run: Run
) -> None:
    for name in ("acme", "globex", "hooli"):
        account.configure(name)
    run()

    report = run({"force": True}, seconds=seconds)

    assert counts(report) == found
    unlisted = {"TenantsUnreadable"} if "failed" in found else set()
    assert {one["reason"] for one in report["failures"]} == unlisted
    assert len(account.visma_connect.received) == 3 + found.get("issued", 0)


def test_reading_takes_half_of_the_time_at_most(account: Account, run: Run) -> None:
    for number in range(91):  # ten pages, eight of them a second
        account.put_document(f"off-{number}", '{"scope": "", "enabled": false}')

    with pytest.raises(TenantsUnreadable, match="The run had no time left"):
        run(seconds=2)


def test_deletions_keep_the_pace_of_writes(
    account: Account, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.configure(*names(11))
    run()
    account.configure(*names(11), enabled=False)
    monkeypatch.setenv("WRITES_PER_SECOND", "1")
    begun_at = time.monotonic()

    assert counts(run()) == {"removed": 11}  # ten in a request, and one

    assert time.monotonic() - begun_at > 0.9  # a turn lies between the two


def test_the_pace_of_writes_is_measured(
    account: Account, run: Run, measured: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.configure(*names(15))
    monkeypatch.setenv("WRITES_PER_SECOND", "10")
    monkeypatch.setenv("CONCURRENCY", "6")  # clients of its own
    times: list[float] = []
    ssm = aws_clients(6).ssm
    ssm.meta.events.register(
        "before-call.ssm.PutParameter", lambda **_: times.append(time.monotonic())
    )

    run()

    [whole] = measured()
    achieved = 14 / (max(times) - min(times))
    assert whole["WritesPerSecond"][0] == pytest.approx(achieved, rel=0.2)
    assert achieved < 15
    assert whole["WritesThrottled"] == [0.0]


def test_writes_that_are_throttled_are_made_again_and_counted(
    account: Account, run: Run, measured: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.configure("acme", "globex")
    monkeypatch.setenv("CONCURRENCY", "7")  # clients of its own
    ssm = aws_clients(7).ssm
    left = [
        {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    ] * 2

    def refuse(**_: object) -> Any:  # noqa: ANN401  (http response, its content), as botocore has it
        return (SimpleNamespace(status_code=400), left.pop()) if left else None

    ssm.meta.events.register("before-call.ssm.PutParameter", refuse)

    assert counts(run()) == {"issued": 2}

    [whole] = measured()
    assert whole["WritesThrottled"] == [2.0]
    assert account.tokens().keys() == {"acme", "globex"}


def test_listing_and_checking_share_one_pace(account: Account, run: Run) -> None:
    account.configure(*names(91))  # ten pages, and ten requests for versions
    run()
    begun_at = time.monotonic()

    assert counts(run()) == {"fresh": 91}

    assert time.monotonic() - begun_at > 18 / 8  # turns between twenty calls, one caught up


@pytest.mark.parametrize("name", ["tenants", "dry_run", "probe"])
def test_what_is_done_by_hand_is_not_measured(
    name: str, account: Account, run: Run, event: Event, measured: Log
) -> None:
    account.configure("acme")

    run(event(name))

    assert measured() == []


def test_a_refused_tenant_leaves_the_soonest_expiry_once_its_token_has_expired(
    account: Account, run: Run, measured: Log
) -> None:
    account.visma_connect.lifetime = 2
    account.configure("acme")
    run()
    account.app.tenants.clear()

    still, metric_before = run()["soonest_expiry_seconds"], measured()[1]
    time.sleep(2)
    gone, metrics = run()["soonest_expiry_seconds"], measured()

    assert still >= 0
    assert "SoonestExpirySeconds" in metric_before
    assert gone <= 0
    assert "SoonestExpirySeconds" not in metrics[0]
    assert metrics[0]["TenantsRefused"] == [1.0]
    account.visma_connect.faults[tenant_id("acme")] = Fault(status=503)
    assert run({"force": True})["failures"][0]["reason"] == "EndpointUnavailable"
    assert "SoonestExpirySeconds" not in measured()[0]


def test_whoever_is_refused_is_counted_until_another_answer_but_not_among_our_tokens(
    account: Account, run: Run, measured: Log
) -> None:
    account.visma_connect.lifetime = 2
    account.configure("acme")
    run()
    app, found = account.app, []
    granted = set(app.tenants)

    def measure() -> None:
        measured()
        run({"force": True})
        metrics = measured()[0]
        own = "SoonestOwnExpirySeconds" in metrics
        found.append((metrics["TenantsRefused"][0], metrics["OwnFailures"][0], own))

    app.tenants.clear()
    measure()
    time.sleep(2)
    measure()
    account.visma_connect.faults[tenant_id("acme")] = Fault(status=503)
    measure()
    account.visma_connect.faults.clear()
    app.tenants.update(granted)
    account.visma_connect.lifetime = 3600  # which no pause of the machine outlasts
    measure()

    assert found == [(1, 0, False), (1, 0, False), (1, 1, False), (0, 0, True)]


def test_whoever_was_refused_and_is_deferred_is_not_among_our_tokens(measured: Log) -> None:
    now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
    report = Report(
        started_at=now,
        finished_at=now,
        expiries={"acme": now + timedelta(seconds=60), "globex": now + timedelta(seconds=900)},
        deferred={"acme": NoTimeLeft()},
        doubtful=frozenset({"acme"}),
    )

    Telemetry(Logger(service="token-issuer"), "issuer").run_finished(report, measured=True)

    [metrics] = measured()
    assert metrics["SoonestExpirySeconds"] == [60.0]
    assert metrics["SoonestOwnExpirySeconds"] == [900.0]


def test_a_tenant_that_fails_in_passing_stays_in_the_soonest_expiry(
    account: Account, run: Run, measured: Log
) -> None:
    account.visma_connect.lifetime = 1
    account.configure("acme")
    run()
    measured()
    account.visma_connect.faults[tenant_id("acme")] = Fault(status=503)
    time.sleep(1)

    run()

    [soonest] = measured()[0]["SoonestExpirySeconds"]
    assert soonest <= 0
