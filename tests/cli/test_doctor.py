"""What the doctor makes of what it finds."""

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from hypothesis import example, given
from hypothesis import strategies as st
from moto import mock_aws
from rich.console import Console

from tests.helpers.deployed_aws import make_ledger
from tests.helpers.facts import NOW, SETTINGS, make_facts, make_record, make_tenant
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    DocumentInvalid,
    EndpointUnavailable,
    IssuerError,
    TokenRefused,
)
from token_issuer.ledger.records import Memory, Record
from token_issuer.ledger.table import Ledger
from token_issuer.redaction import Quoted
from token_issuer.tenants.configuration import Configuration
from visma_tokens_cli.alarms import Alarm, judge_alarms
from visma_tokens_cli.diagnosis import (
    LastRun,
    choose_tenant,
    judge_key,
    judge_ledger,
    judge_probe,
    judge_quota,
    judge_run,
    judge_schedule,
    judge_secrets,
    judge_stack,
    judge_token,
    parse_run,
)
from visma_tokens_cli.doctor import examine, print_findings
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.findings import Check, Finding, State
from visma_tokens_cli.screen import labelled
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.stored_token import read_token

AT = round(NOW.timestamp() * 1000)  # milliseconds
FIVE_MINUTES = timedelta(minutes=5)
ENDPOINT = "https://connect.visma.com/connect/token"
SECRET = "Kq7zR2pXw9-Lm4Tb8YcH6v"


def report(*failures: IssuerError, tenant: str = "acme", deferred: int = 0) -> dict[str, Any]:
    return {
        "deferred": deferred,
        "failures": [
            {"tenant": tenant, "reason": one.reason, "detail": one.detail, "remedy": one.remedy}
            for one in failures
        ],
    }


def states(findings: list[Finding]) -> list[State]:
    return [one.state for one in findings]


def record(tenant: str, *, expires_at: datetime = NOW + timedelta(hours=1)) -> Record:
    known = make_record(tenant)
    assert known.issued
    issued = replace(known.issued, issued_at=expires_at - timedelta(hours=1))
    return replace(known, issued=replace(issued, expires_at=expires_at, version=1))


def memory(*records: Record) -> Memory:
    return make_facts(records=records).memory


def configuration(**enabled: bool) -> Configuration:
    return make_facts(
        make_tenant(name, enabled=is_on) for name, is_on in enabled.items()
    ).configuration


# The stack


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("CREATE_COMPLETE", State.WELL),
        ("UPDATE_COMPLETE", State.WELL),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", State.WELL),
        ("UPDATE_ROLLBACK_COMPLETE", State.WELL),
        ("UPDATE_IN_PROGRESS", State.UNKNOWN),
        ("UPDATE_ROLLBACK_FAILED", State.BROKEN),
        ("DELETE_FAILED", State.BROKEN),
    ],
)
def test_a_deployment_has_to_be_complete(status: str, state: State) -> None:
    assert judge_stack("token-issuer", "eu-north-1", status, "0.1.0").state is state


def test_a_rollback_is_told_and_not_deployed_over_where_it_failed() -> None:
    done = judge_stack("token-issuer", "eu-north-1", "UPDATE_ROLLBACK_COMPLETE", "0.1.0")
    failed = judge_stack("token-issuer", "eu-north-1", "UPDATE_ROLLBACK_FAILED", "0.1.0")

    assert "the last deployment failed and was rolled back" in done.detail
    assert "continue-update-rollback --stack-name token-issuer" in failed.remedy


def test_a_stack_without_alarms_is_not_well() -> None:
    assert judge_alarms([], [], {}).state is State.BROKEN


@pytest.mark.parametrize(
    ("state", "expression", "parameter", "remedy"),
    [
        ("DISABLED", "rate(5 minutes)", "DISABLED", "Deploy the stack with ScheduleState=ENABLED"),
        ("DISABLED", "rate(5 minutes)", "ENABLED", "Enable it in EventBridge Scheduler"),
        ("ENABLED", "rate(1 hour)", "ENABLED", "Correct the expression"),
        ("ENABLED", "rate(5 minutes)", "ENABLED", ""),
    ],
    ids=["off as deployed", "off by hand", "another expression", "on"],
)
def test_the_remedy_of_a_schedule_fits_who_changed_it(
    state: str, expression: str, parameter: str, remedy: str
) -> None:
    found = judge_schedule(state, expression, period=FIVE_MINUTES, parameter=parameter)

    assert found.state is (State.BROKEN if remedy else State.WELL)
    assert found.remedy.startswith(remedy)


def test_one_minute_is_no_plural() -> None:
    minute = timedelta(minutes=1)

    found = judge_schedule("ENABLED", "rate(1 minute)", period=minute, parameter="ENABLED")

    assert found.state is State.WELL


# The last run


def test_the_end_of_a_full_run_is_the_line_with_its_metrics() -> None:
    line = {"TokensIssued": [3.0], "TokensFresh": [10.0], "RunSeconds": [0.86]}

    found = parse_run(json.dumps(line), AT)

    assert found == LastRun(at=NOW, counts={"issued": 3, "fresh": 10})


@pytest.mark.parametrize(
    "line",
    [
        '{"message": "Run finished", "issued": 0}',
        '{"message": "Run failed", "reason": "EventInvalid"}',
        '"START"',
        "START",
    ],
    ids=["a probe's", "somebody's wrong event", "a text", "no JSON"],
)
def test_other_lines_are_no_run(line: str) -> None:
    assert parse_run(line, AT) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
)
LINES = st.fixed_dictionaries(
    {},
    optional={
        "RunSeconds": ANY_JSON,
        "TokensIssued": ANY_JSON,
        "message": st.just("Run failed"),
        "detail": ANY_JSON,
    },
).map(json.dumps)


@given(st.text() | LINES, st.integers() | st.just(AT))
@example("[" * 20_000, AT)
@example('{"RunSeconds": 1, "TokensIssued": 1' + "0" * 4000 + "}", AT)
@example('{"RunSeconds": 1, "TokensIssued": 1e999}', AT)
@example('{"RunSeconds": 1}', 10**30)
def test_whatever_is_in_the_log_is_judged(text: str, milliseconds: int) -> None:
    run = parse_run(text, milliseconds)

    assert judge_run(run, NOW, period=FIVE_MINUTES, log="group").check is Check.RUN


def test_a_count_that_is_none_hides_no_other() -> None:
    line = {"RunSeconds": 1, "TokensIssued": "many", "TokensFresh": [], "TokensFailed": 2}

    assert parse_run(json.dumps(line), AT) == LastRun(at=NOW, counts={"failed": 2})


def test_a_failed_run_brings_its_own_remedy() -> None:
    line = {"message": "Run failed", "detail": "Listing failed", "remedy": "Look at the role."}
    run = parse_run(json.dumps(line), AT - 60_000)

    found = judge_run(run, NOW, period=FIVE_MINUTES, log="group")

    assert (found.state, found.remedy) == (State.BROKEN, "Look at the role.")
    assert "60 s ago, and failed: Listing failed" in found.detail


@pytest.mark.parametrize(
    ("minutes", "state"), [(4, State.WELL), (15, State.WELL), (16, State.BROKEN)]
)
def test_a_run_is_late_after_three_periods(minutes: int, state: State) -> None:
    run = LastRun(at=NOW - timedelta(minutes=minutes), counts={"issued": 3})

    found = judge_run(run, NOW, period=FIVE_MINUTES, log="group")

    assert found.state is state
    assert "3 issued" in found.detail


def test_no_run_at_all_is_broken() -> None:
    found = judge_run(None, NOW, period=FIVE_MINUTES, log="group")

    assert found.state is State.BROKEN
    assert "aws logs tail group" in found.remedy


# Asking for a token


def test_a_tenant_with_a_live_token_is_tried_first() -> None:
    known = memory(record("acme", expires_at=NOW), record("globex"), record("hooli"))

    assert choose_tenant(configuration(acme=True, globex=True, hooli=True), known, NOW) == "globex"


def test_a_disabled_tenant_is_not_tried_by_itself() -> None:
    known = memory(record("acme"))

    assert choose_tenant(configuration(acme=False, globex=True), known, NOW) == "globex"
    assert choose_tenant(configuration(acme=False), known, NOW) is None


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([], [State.WELL, State.WELL]),
        ([EndpointUnavailable("HTTP 503")], [State.BROKEN, State.UNKNOWN]),
        (
            [TokenRefused("invalid_tenant", code=Quoted("invalid_tenant"))],
            [State.WELL, State.BROKEN],
        ),
        ([ClientRefused("invalid_client")], [State.WELL, State.BROKEN]),
        ([ClientSecretInvalid("not JSON")], [State.UNKNOWN, State.BROKEN]),
    ],
    ids=["none", "endpoint", "tenant", "client", "secret"],
)
def test_a_probe_tells_the_endpoint_from_the_tenant(
    failures: list[IssuerError], expected: list[State]
) -> None:
    found = judge_probe("acme", report(*failures), ENDPOINT)

    assert states(found) == expected
    assert [one.remedy for one in found if one.state is State.BROKEN] == [
        one.remedy for one in failures
    ]


def test_what_the_values_of_the_last_token_came_to_counts() -> None:
    failures = [DocumentInvalid("it is not JSON"), EndpointUnavailable("HTTP 503")]

    found = judge_probe("acme", report(*failures), ENDPOINT)

    assert states(found) == [State.BROKEN, State.UNKNOWN]


def test_a_probe_without_time_tells_nothing() -> None:
    found = judge_probe("acme", report(deferred=1), ENDPOINT)

    assert states(found) == [State.UNKNOWN, State.UNKNOWN]


def test_secrets_that_are_well_share_a_line() -> None:
    failures = {
        "a": None,
        "b": ClientSecretUnreadable("gone", code=Quoted("ResourceNotFoundException")),
        "c": None,
    }

    bad, good = judge_secrets(failures)

    assert (bad.state, bad.detail) == (State.BROKEN, "b: gone")
    assert bad.remedy.startswith("Create the secret")
    assert (good.state, good.detail) == (State.WELL, "a, c: as the function wants it")


# What is stored


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion", "gone"])
def test_a_key_that_cannot_be_used_is_broken(state: str) -> None:
    assert judge_key(state).state is State.BROKEN
    assert judge_key("Enabled").state is State.WELL


@pytest.mark.parametrize(
    ("left", "state", "words"),
    [
        (timedelta(minutes=30), State.WELL, "lives for 30 min"),
        (timedelta(minutes=4), State.BROKEN, "less than the five minutes promised"),
        (timedelta(minutes=-4), State.BROKEN, "expired 4 min ago"),
    ],
    ids=["live", "below the promise", "expired"],
)
def test_a_token_has_to_keep_the_promise(left: timedelta, state: State, words: str) -> None:
    found = judge_token("acme", NOW + left, NOW)

    assert found.state is state
    assert words in found.detail


def test_tenants_that_disagree_are_named() -> None:
    found = judge_ledger(["a", "b", "c", "d"], 5_000)

    assert found.state is State.BROKEN
    assert found.detail.startswith("4 of 5,000 token parameters")
    assert found.detail.endswith(": a, b, c and 1 more")
    assert judge_ledger([], 1).detail == "agrees with 1 token parameter"


# Who is told, and how many fit


TOPIC = "arn:aws:sns:eu-north-1:123456789012:alarms"
GOOD = Alarm(name="no run", topics=frozenset({TOPIC}), is_raised=False)


@pytest.mark.parametrize(
    ("alarms", "confirmed", "state", "words"),
    [
        ([GOOD], 1, State.WELL, "1 alarm to alarms"),
        ([], 1, State.BROKEN, "gone: no run"),
        ([replace(GOOD, topics=frozenset())], 1, State.BROKEN, "without a topic: no run"),
        ([GOOD], 0, State.BROKEN, "alarms has no confirmed subscription"),
        ([GOOD], None, State.UNKNOWN, "who is subscribed could not be looked at"),
        ([replace(GOOD, is_raised=True)], 1, State.WELL, "raised: no run"),
    ],
    ids=["wired", "gone", "mute", "deaf", "another's topic", "raised"],
)
def test_each_alarm_has_to_reach_somebody(
    alarms: list[Alarm], confirmed: int | None, state: State, words: str
) -> None:
    found = judge_alarms(["no run"], alarms, {TOPIC: confirmed})

    assert found.state is state
    assert words in found.detail
    assert bool(found.remedy) is (state is State.BROKEN)


@pytest.mark.parametrize(
    ("is_higher", "writes", "tenants", "state"),
    [
        (False, 2.4, 3_000, State.WELL),
        (False, 2.4, 3_823, State.WELL),
        (False, 2.4, 3_824, State.BROKEN),
        (False, 2.5, 1, State.BROKEN),
        (False, 8.0, 1, State.BROKEN),
        (True, 8.0, 10_000, State.WELL),
        (True, 8.0, 12_745, State.BROKEN),
    ],
)
def test_the_quota_has_to_hold_the_tenants(
    *, is_higher: bool, writes: float, tenants: int, state: State
) -> None:
    settings = replace(SETTINGS, writes_per_second=writes)

    assert judge_quota(is_higher=is_higher, settings=settings, tenants=tenants).state is state


def test_more_tenants_than_recommended_are_told() -> None:
    at = judge_quota(is_higher=False, settings=SETTINGS, tenants=3_000)
    above = judge_quota(is_higher=False, settings=SETTINGS, tenants=3_001)

    assert "outage" not in at.detail
    assert "above 3,000, an outage of 20 minutes is caught up too late" in above.detail


# The whole, where AWS denies all but what is stored, and the quota

MAY = {"dynamodb", "kms", "secretsmanager", "ssm"}


def deny(*, model: OperationModel, **_: object) -> None:
    """Stand between client and moto, which has no service settings either."""
    if model.service_model.service_name not in MAY or model.name == "GetServiceSetting":
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, model.name)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        session = boto3.Session(region_name="eu-north-1")
        session.events.register("before-call", deny)
        key = session.client("kms").create_key()["KeyMetadata"]["Arn"]
        make_ledger(session.client("dynamodb"))
        session.client("ssm").put_parameter(
            Name="/visma/tenants/acme", Type="String", Value='{"scope": ""}'
        )
        session.client("ssm").put_parameter(
            Name="/visma/tokens/acme", Type="SecureString", Value="opaque"
        )
        session.client("secretsmanager").create_secret(
            Name="visma/clients/default",
            SecretString=json.dumps({"client_id": "demoapp", "client_secret": SECRET}),
        )
        now = datetime.now(UTC)
        Ledger(session.client("dynamodb"), "ledger").record_token(
            record("acme", expires_at=now + timedelta(minutes=30)), None
        )
        yield Stack(
            name="token-issuer",
            region="eu-north-1",
            outputs={
                "FunctionName": "function",
                "LedgerTableName": "ledger",
                "LogGroupName": "group",
                "ReadTokensPolicyArn": "arn:aws:iam::123456789012:policy/read",
            },
            parameters={},
            status="CREATE_COMPLETE",
            role="role",
            settings=replace(SETTINGS, token_key_arn=key),
            aws=session,
        )


def examined(stack: Stack, tenant: str | None = None) -> dict[Check, Finding]:
    return {one.check: one for one in examine(stack, tenant)}


def test_what_cannot_be_looked_at_does_not_keep_from_the_rest(stack: Stack) -> None:
    found = examined(stack)

    assert list(found) == list(Check)
    assert found[Check.REQUEST].detail == "AWS denies you Invoke"
    denied = {*Check} - {Check.STACK, Check.SECRET, Check.KEY, Check.TOKEN, Check.LEDGER}
    assert {one.check for one in found.values() if one.state is State.UNKNOWN} == denied
    assert found[Check.SECRET].state is State.WELL
    assert found[Check.KEY].state is State.WELL
    assert found[Check.LEDGER].detail == "agrees with 1 token parameter"
    assert found[Check.TOKEN].state is State.WELL


def test_a_malformed_secret_is_not_shown(stack: Stack) -> None:
    stack.aws.client("secretsmanager").put_secret_value(
        SecretId="visma/clients/default", SecretString=f'{{"{SECRET}": "{SECRET}"}}'
    )

    found = examined(stack)

    assert found[Check.SECRET].state is State.BROKEN
    assert SECRET not in str(found)


def test_an_earlier_version_of_a_token_is_not_read(stack: Stack) -> None:
    assert read_token(stack, "acme") is not None
    assert read_token(stack, "acme:1") is None


def test_a_token_that_another_wrote_disagrees(stack: Stack) -> None:
    stack.aws.client("ssm").put_parameter(
        Name="/visma/tokens/acme", Type="SecureString", Value="another", Overwrite=True
    )

    found = examined(stack)[Check.LEDGER]

    assert (found.state, found.detail[:26]) == (State.BROKEN, "1 of 1 token parameter hol")


BREAK: dict[Check, Callable[[Stack], object]] = {
    Check.SECRET: lambda stack: stack.aws.client("secretsmanager").delete_secret(
        SecretId="visma/clients/default", ForceDeleteWithoutRecovery=True
    ),
    Check.KEY: lambda stack: stack.aws.client("kms").disable_key(
        KeyId=stack.settings.token_key_arn.rpartition("/")[2]
    ),
    Check.LEDGER: lambda stack: stack.aws.client("dynamodb").delete_table(TableName="ledger"),
}


@pytest.mark.parametrize("check", BREAK)
def test_what_is_gone_or_disabled_is_broken_and_hides_nothing_else(
    check: Check, stack: Stack
) -> None:
    BREAK[check](stack)

    found = examined(stack)

    states = {one: found[one].state for one in BREAK}
    assert states == dict.fromkeys(BREAK, State.WELL) | {check: State.BROKEN}


def test_a_name_that_is_not_configured_is_refused(stack: Stack) -> None:
    with pytest.raises(CommandFailed, match="No tenant document configures nobody"):
        examined(stack, "nobody")


# What is printed

FINDINGS = [
    Finding(check=Check.STACK, state=State.WELL, detail="there"),
    Finding(check=Check.KEY, state=State.UNKNOWN, detail="AWS denies you DescribeKey"),
    Finding(check=Check.QUOTA, state=State.BROKEN, detail="too little", remedy="Do it."),
]


def test_each_has_a_line_and_a_remedy_below(capsys: pytest.CaptureFixture[str]) -> None:
    code = print_findings(FINDINGS, as_json=False)

    lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in lines] == ["✓", "–", "✗", "Do"]  # noqa: RUF001  an en dash it is
    assert code == 1


def test_what_could_not_be_looked_at_is_neither(capsys: pytest.CaptureFixture[str]) -> None:
    code = print_findings(FINDINGS[:2], as_json=True)

    assert json.loads(capsys.readouterr().out) == [
        {"check": "stack", "state": "well", "detail": "there", "remedy": ""},
        {"check": "key", "state": "unknown", "detail": "AWS denies you DescribeKey", "remedy": ""},
    ]
    assert code == 3


def test_a_long_detail_is_wrapped_below_itself() -> None:
    console = Console(file=io.StringIO(), width=40)

    lines = labelled("✗ alarms", "nobody is told: alarms has none", 18, console).splitlines()

    assert max(map(len, lines)) <= 40
    assert lines[1] == " " * 18 + "has none"
