import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.aws import Account, Stack, log_lines
from local.demo import NOT_GRANTED, TENANTS, Local
from tests.conftest import Event, counts
from tests.deployed.conftest import Invoke, versions

SPARE_VERSION = "0b7d2b1e-3a52-4f6e-9a39-5e7a2e000000"
GRANTED = sorted(set(TENANTS) - {NOT_GRANTED})


# The main job


def test_the_schedule_fires_and_tokens_appear(
    scheduled: dict[str, Any], local: Local, consumer: Account
) -> None:
    tokens = {
        name: consumer.ssm.get_parameter(Name=f"/visma/tokens/{name}", WithDecryption=True)
        for name in GRANTED
    }

    assert (scheduled["issued"], scheduled["failed"]) == (3, 1)
    for name, answer in tokens.items():
        claims = local.visma_connect.claims(answer["Parameter"]["Value"])
        assert claims["tenant_id"] == TENANTS[name]
        assert claims["exp"] > time.time()


def test_the_first_line_of_a_run_says_which_version_runs(account: Account, local: Local) -> None:
    first = log_lines(account, local.stack)[0]

    assert first["message"] == "Run started"
    assert first["version"] == local.stack.outputs["Version"]


def test_a_token_is_a_secure_string_with_the_stacks_key(account: Account, local: Local) -> None:
    described = account.ssm.describe_parameters(
        ParameterFilters=[{"Key": "Path", "Values": ["/visma/tokens"]}]
    )["Parameters"]

    assert {one["Name"].removeprefix("/visma/tokens/") for one in described} == set(GRANTED)
    assert {one["Type"] for one in described} == {"SecureString"}
    assert {one["KeyId"] for one in described} == {local.stack.outputs["TokenKeyArn"]}
    assert {one["Description"][:10] for one in described} == {"expires 20"}


def test_what_is_deployed_stays_small(local: Local) -> None:
    files = (local.folder / "build/Function").rglob("*")

    assert 1_000_000 < sum(file.stat().st_size for file in files) < 10_000_000


def test_boto3_is_the_runtimes_and_not_ours(local: Local) -> None:
    packages = {path.name for path in (local.folder / "build/Function").iterdir()}

    assert {"token_issuer", "requests", "aws_lambda_powertools"} <= packages
    assert not {"boto3", "botocore"} & packages


# Events, as people send them


@pytest.mark.parametrize("name", ["scheduled", "all"])
def test_a_full_run_leaves_fresh_tokens_alone(
    name: str, account: Account, invoke: Invoke, event: Event, local: Local
) -> None:
    before = versions(account)
    local.visma_connect.received.clear()

    report = invoke(event(name))

    assert counts(report) == {"fresh": 3, "failed": 1}
    assert versions(account) == before
    assert {one.form["tenant_id"] for one in local.visma_connect.received} <= {TENANTS[NOT_GRANTED]}


def test_force_renews_every_token(account: Account, invoke: Invoke, event: Event) -> None:
    before = versions(account)

    report = invoke(event("force"))

    assert counts(report) == {"issued": 3, "failed": 1}
    assert versions(account) == {tenant: version + 1 for tenant, version in before.items()}


def test_a_run_for_named_tenants_leaves_the_others(
    account: Account, invoke: Invoke, event: Event
) -> None:
    before = versions(account)

    report = invoke(event("tenants") | {"force": True})

    assert counts(report) == {"issued": 1}
    assert versions(account) == before | {"acme": before["acme"] + 1}


def test_a_dry_run_asks_for_nothing(
    account: Account, invoke: Invoke, event: Event, local: Local
) -> None:
    before, received = versions(account), len(local.visma_connect.received)

    report = invoke(event("dry_run"))

    assert counts(report)["fresh"] == 3
    assert {one["tenant"]: one["action"] for one in report["planned"]}["acme"] == "fresh"
    assert versions(account) == before
    assert len(local.visma_connect.received) == received


def test_a_probe_asks_once_and_stores_nothing(
    account: Account, invoke: Invoke, event: Event, local: Local
) -> None:
    before, received = versions(account), len(local.visma_connect.received)

    report = invoke(event("probe"))

    assert counts(report) == {}
    assert versions(account) == before
    assert len(local.visma_connect.received) == received + 1


def test_an_event_that_fails_is_not_repeated_and_ends_in_the_queue(
    account: Account, local: Local
) -> None:
    before = runs_started(account, local)

    account.functions.invoke(
        FunctionName=local.stack.outputs["FunctionName"],
        InvocationType="Event",
        Payload=json.dumps({"tenant": "acme"}),
    )

    [queue] = account.sqs.list_queues(QueueNamePrefix="token-issuer-FailedInvocations")["QueueUrls"]
    [message] = account.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"]
    body = json.loads(message["Body"])
    assert body["requestPayload"]["tenant"] == "acme"
    assert "The event has unknown members: tenant" in body["responsePayload"]["errorMessage"]
    time.sleep(2)  # a repeat would have come by now
    assert runs_started(account, local) == before + 1


def runs_started(account: Account, local: Local) -> int:
    return sum(line.get("message") == "Run started" for line in log_lines(account, local.stack))


# Who may do what: each denial beside the same call by a role that may

type Call = Callable[[Account, Stack], object]

FUNCTION_MAY: dict[str, Call] = {
    "write a token": lambda by, _: by.ssm.put_parameter(
        Name="/visma/tokens/spare", Value="t", Type="SecureString", Overwrite=True
    ),
    "read the client secret": lambda by, _: by.secretsmanager.get_secret_value(
        SecretId="visma/clients/default"
    ),
    "describe the client secret": lambda by, _: by.secretsmanager.describe_secret(
        SecretId="visma/clients/default"
    ),
    "move stages of a client secret": lambda by, _: move_a_stage(by, "visma/clients/spare"),
}
CONSUMER_MAY: dict[str, Call] = {
    "read a token": lambda by, _: by.ssm.get_parameter(
        Name="/visma/tokens/spare", WithDecryption=True
    )
}
NEITHER_MAY: dict[str, Call] = {
    "write to another path": lambda by, _: by.ssm.put_parameter(
        Name="/elsewhere/spare", Value="t", Type="SecureString", Overwrite=True
    ),
    "write a tenant document": lambda by, _: by.ssm.put_parameter(
        Name="/visma/tenants/spare", Value='{"scope": "", "enabled": false}', Type="String"
    ),
    "read the history of a token": lambda by, _: by.ssm.get_parameter_history(
        Name="/visma/tokens/spare", WithDecryption=True
    ),
    "read a parameter elsewhere": lambda by, _: by.ssm.get_parameter(Name="/visma/elsewhere"),
    "delete a token": lambda by, _: by.ssm.delete_parameter(Name="/visma/tokens/spare"),
    "read another secret": lambda by, _: by.secretsmanager.get_secret_value(SecretId="elsewhere"),
    "describe another secret": lambda by, _: by.secretsmanager.describe_secret(
        SecretId="elsewhere"
    ),
    "move stages of another secret": lambda by, _: move_a_stage(by, "elsewhere"),
    "write a client secret": lambda by, _: by.secretsmanager.put_secret_value(
        SecretId="visma/clients/spare", SecretString="{}"
    ),
    "invoke the function": lambda by, stack: by.functions.invoke(
        FunctionName=stack.outputs["FunctionName"], Payload=b'{"dry_run": true}'
    ),
}


def move_a_stage(by: Account, secret: str) -> object:
    return by.secretsmanager.update_secret_version_stage(
        SecretId=secret, VersionStage="spare", MoveToVersionId=SPARE_VERSION
    )


@pytest.fixture
def furnished(account: Account, local: Local) -> Iterator[Stack]:
    """Put something at each place that is tried."""
    account.ssm.put_parameter(Name="/visma/elsewhere", Value="v", Type="String")
    account.ssm.put_parameter(Name="/visma/tokens/spare", Value="t", Type="SecureString")
    for name in ("elsewhere", "visma/clients/spare"):
        account.secretsmanager.create_secret(Name=name, SecretString="{}")
        account.secretsmanager.put_secret_value(
            SecretId=name, SecretString="{}", ClientRequestToken=SPARE_VERSION
        )
    yield local.stack
    account.ssm.delete_parameters(
        Names=["/visma/elsewhere", "/visma/tokens/spare", "/visma/tenants/spare"]
    )
    for name in ("elsewhere", "visma/clients/spare"):
        account.secretsmanager.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


MAY = {"function": FUNCTION_MAY, "consumer": CONSUMER_MAY}
CALLS = NEITHER_MAY | FUNCTION_MAY | CONSUMER_MAY


@pytest.fixture
def by(role: str, function: Account, consumer: Account) -> Account:
    return {"function": function, "consumer": consumer}[role]


@pytest.mark.parametrize(("role", "what"), [(role, what) for role in MAY for what in MAY[role]])
def test_a_role_may(what: str, furnished: Stack, by: Account) -> None:
    assert CALLS[what](by, furnished)


@pytest.mark.parametrize(
    ("role", "what"), [(role, what) for role in MAY for what in CALLS if what not in MAY[role]]
)
def test_a_role_may_nothing_else(
    what: str, furnished: Stack, by: Account, administrator: Account
) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        CALLS[what](by, furnished)

    assert CALLS[what](administrator, furnished)
