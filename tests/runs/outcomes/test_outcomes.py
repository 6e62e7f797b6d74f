"""Every answer has an outcome: each case is one whole run, over real sockets."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tests.helpers.account import CLIENT_SECRET, tenant_id
from tests.helpers.observation import observe, strings
from tests.helpers.scene import (
    CLIENT_OF,
    LOOSE_TOKEN,
    Case,
    Outcome,
    Scene,
    opened_scene,
    play,
    previous,
    reason_of,
)
from tests.runs.outcomes.answers import ANSWERS
from tests.runs.outcomes.client_secrets import CLIENT_SECRETS
from tests.runs.outcomes.connections import CONNECTIONS
from tests.runs.outcomes.documents import DOCUMENTS
from tests.runs.outcomes.events import EVENTS
from tests.runs.outcomes.leaks import leaks, spellings
from tests.runs.outcomes.store import STORE
from tests.runs.outcomes.table import LEDGER
from token_issuer.errors import TenantsUnreadable
from token_issuer.handler import events_client

CASES = {
    f"{part}: {case.words}": case
    for part, cases in (
        ("documents", DOCUMENTS),
        ("secrets", CLIENT_SECRETS),
        ("connections", CONNECTIONS),
        ("answers", ANSWERS),
        ("store", STORE),
        ("ledger", LEDGER),
        ("events", EVENTS),
    )
    for case in cases
}


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with opened_scene() as opened:
        yield opened


def the_report_is_that_of_the_case(outcome: Outcome) -> None:
    case = outcome.case
    failures = outcome.observed.report["failures"] if outcome.observed.report else []

    assert outcome.observed.error is None or case.raises, outcome.observed.error
    assert {one["tenant"] for one in failures} == case.failures
    assert {one["reason"] for one in failures} == ({case.reason} if case.failures else set())
    assert all(case.detail in one["detail"] for one in failures), failures
    assert all(one["remedy"] for one in failures)
    if outcome.observed.report:
        assert outcome.observed.report["failed"] == len(case.failures)
        served = outcome.tokens.keys() - case.kept - case.unrecorded
        assert outcome.observed.report["issued"] == len(served)


def who_is_not_hit_is_served(outcome: Outcome) -> None:
    case = outcome.case
    assert outcome.tokens.keys() == (CLIENT_OF.keys() if case.raises else outcome.configured)
    for tenant, token in outcome.tokens.items():
        if tenant in case.kept:
            assert token == previous(tenant)
        elif tenant == "acme" and outcome.offered:
            assert token == outcome.offered
        else:
            assert outcome.owners[tenant] == tenant_id(tenant)
    if "acme" not in case.kept:
        seconds = (expiry(outcome.description) - datetime.now(UTC)).total_seconds()
        assert case.lifetime - 300 < seconds < case.lifetime + 1
    if case.raises:
        assert outcome.calls["PutParameter"] == 0
    assert not outcome.went_elsewhere


def expiry(description: str) -> datetime:
    return datetime.strptime(description, "expires %Y-%m-%dT%H:%M:%S%z")


def lines_of(level: str, outcome: Outcome) -> list[dict[str, Any]]:
    return [line for line in outcome.observed.lines if line["level"] == level]


def each_failure_has_a_line(outcome: Outcome) -> None:
    case = outcome.case
    errors = lines_of("ERROR", outcome)
    warnings = [line["warning"] for line in lines_of("WARNING", outcome)]

    assert {line["reason"] for line in errors} == ({case.reason} if case.reason else set())
    assert {line["tenant"] for line in errors if "tenant" in line} == case.failures
    assert all(case.detail in line["detail"] and line["remedy"] for line in errors)
    assert warnings == ([case.warning] if case.warning else [])


def a_failure_of_the_run_is_raised(outcome: Outcome) -> None:
    case = outcome.case
    if case.raises:
        assert reason_of(outcome.observed.error) == case.reason
    else:
        assert outcome.observed.error is None
        assert outcome.observed.report


REMEDIES = {
    "documents: malformed JSON": "a document is, for instance",
    "documents: a nested parameter": "Put it directly under the tenants path",
    "documents: one name single and packed": "out of all places but its own parameter",
    "documents: one name in two documents": "Take the tenant out of all places but one",
    "documents: a SecureString": "put it again with --type String",
    "documents: tokens below the tenants": "TokensPath sets TOKENS_PATH",
    "documents: a listing that is throttled half way": "reads Parameter Store in a loop",
    "documents: a listing that is denied half way": "ssm:GetParametersByPath",
    "secrets: missing": "Create the secret",
    "secrets: denied": "compare the role with template.yaml",
    "secrets: its key is denied": "its key policy must let",
    "secrets: scheduled for deletion": "restore-secret",
    "secrets: not JSON but the bare secret": 'Store {"client_id": "…", "client_secret": "…"}',
    "connections: a closed port": "TokenEndpoint",
    "answers: HTTP 307 to another host": "check that the template parameter TokenEndpoint",
    "answers: HTTP 429": "how many token requests",
    "answers: HTTP 503": "Visma's status page",
    "answers: 400 invalid_client": "developer portal",
    "answers: 400 invalid_request": "Compare tenant_id and scope",
    "answers: 400 invalid_scope": "the scopes of the application",
    "answers: 400 invalid_tenant": "ask the tenant's administrator",
    "answers: 400 unauthorized_client": "must be a service integration",
    "answers: 400 unsupported_grant_type": "must know client_credentials",
    "answers: 400 invalid_moon_phase": "Ask Visma what this error means",
    "answers: a JWT for another tenant": "Compare tenant_id in the tenant document",
    "store: throttled for good": "raise the account's Parameter Store throughput",
    "store: other updates are under way": "something else writes this parameter",
    "store: an internal error": "AWS Health Dashboard",
    "store: access is denied": "the key's policy",
    "store: the key is disabled": "Enable the key",
    "store: no room for more parameters": "ask AWS for a higher limit",
    "store: a label on the oldest version": "unlabel-parameter-version",
    "store: a parameter of type String": "Delete the parameter",
    "ledger: throttled for good": "The next run tries again",
    "ledger: reading it is denied": "LedgerTableName",
    "ledger: the table is gone": "the ledger is rebuilt",
    "ledger: a token can't be recorded": "Nothing is lost",
    "events: an unknown member": "events/ has one of each",
    "events: a probe of one that isn't configured": "Check the spelling",
}


def the_remedy_is_that_of_the_cause(outcome: Outcome, expected: str) -> None:
    failures = lines_of("ERROR", outcome)
    assert failures or not expected
    assert all(expected in one["remedy"] for one in failures)


def neither_client_secret_nor_token_is_ever_said(outcome: Outcome) -> None:
    assert CLIENT_SECRET in outcome.client_secrets
    assert {LOOSE_TOKEN, *outcome.tokens.values(), outcome.offered or LOOSE_TOKEN} <= set(
        outcome.access_tokens
    )
    assert leaks(outcome.observed.said, outcome.client_secrets, outcome.access_tokens) == set()


def whatever_is_said_prints_and_is_cut(outcome: Outcome) -> None:
    said = [outcome.observed.report, outcome.observed.lines, outcome.told]

    assert [text for text in strings(said) if not text.isprintable() or len(text) > 500] == []


QUICK = [
    *[*CASES][::5],
    # and lines that nothing else of the quick run executes
    "answers: a JWT whose exp is an old text",
    "answers: expires_in missing, and no exp",
    "secrets: an unknown auth_method",
    "secrets: half a character",
]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in REMEDIES or name in QUICK else pytest.mark.long)
        for name in CASES
    ],
)
def test_every_answer_has_its_outcome(scene: Scene, name: str) -> None:
    outcome = play(scene, CASES[name])

    the_report_is_that_of_the_case(outcome)
    who_is_not_hit_is_served(outcome)
    each_failure_has_a_line(outcome)
    a_failure_of_the_run_is_raised(outcome)
    the_remedy_is_that_of_the_cause(outcome, REMEDIES.get(name, ""))
    neither_client_secret_nor_token_is_ever_said(outcome)
    whatever_is_said_prints_and_is_cut(outcome)
    if name.startswith(("connections", "answers")):
        assert outcome.observed.seconds < 15


# Leaks


def log(text: str) -> dict[str, Any]:
    Logger(service="token-issuer").debug("Token issued", extra={"detail": text})
    return {}


def log_of_another_library(text: str) -> dict[str, Any]:
    logging.getLogger("some.library").debug("sent %s", text)
    return {}


def metric(text: str) -> dict[str, Any]:
    print(json.dumps({"_aws": {"CloudWatchMetrics": []}, "reason": text}))  # noqa: T201  as EMF is
    return {}


def report(text: str) -> dict[str, Any]:
    return {"failures": [{"detail": f"got {text}"}]}


def note(text: str) -> dict[str, Any]:
    error = TenantsUnreadable("Listing failed")
    error.add_note(text)
    raise error


def exception(text: str) -> dict[str, Any]:
    raise TenantsUnreadable(text)


def cause(text: str) -> dict[str, Any]:
    raise TenantsUnreadable("Listing failed") from ValueError(text)


def suppressed_context(text: str) -> dict[str, Any]:
    try:
        raise ValueError(text)  # noqa: TRY301  what is planted
    except ValueError:
        raise TenantsUnreadable("Listing failed") from None


SECRET, TOKEN = 'pass"word/+& é', f"head.claims.{'0123456789' * 10}"


@pytest.mark.parametrize(
    "plant",
    [log, log_of_another_library, metric, report, exception, note, cause, suppressed_context],
    ids=lambda plant: plant.__name__.replace("_", " "),
)
@pytest.mark.parametrize(
    "text",
    [
        *(pytest.param(text, id=f"the secret {how}") for how, text in spellings(SECRET)),
        pytest.param(TOKEN, id="a token"),
        pytest.param(TOKEN[40:52], id="12 characters of its signature"),
    ],
)
def test_a_planted_leak_is_seen(plant: Callable[[str], dict[str, Any]], text: str) -> None:
    observed = observe(lambda: plant(text))

    assert leaks(observed.said, [SECRET], [TOKEN])


@pytest.mark.parametrize("kind", ["client secret", "access token"])
def test_a_leak_of_the_function_itself_is_seen(kind: str, scene: Scene) -> None:
    """An unknown member of a document is named in the log, whatever it is."""

    def arrange(scene: Scene) -> None:
        member = CLIENT_SECRET if kind == "client secret" else scene.token()[-20:]
        scene.account.configure("acme", **{member: 1})

    outcome = play(scene, Case(words="a secret in the wrong place", arrange=arrange))

    found = leaks(outcome.observed.said, outcome.client_secrets, outcome.access_tokens)
    assert any(one.startswith(kind) for one in found)


def test_what_is_no_leak_is_not_taken_for_one() -> None:
    observed = observe(lambda: log(f"head.claims. {TOKEN[40:51]} pass"))

    assert leaks(observed.said, [SECRET], [TOKEN]) == set()


def to_ledger(text: str, scene: Scene) -> None:
    key, value = {"key": {"S": "tenant#acme"}}, {":code": {"S": text}}
    scene.account.dynamodb.update_item(
        TableName="ledger",
        Key=key,
        UpdateExpression="SET code = :code",
        ExpressionAttributeValues=value,
    )


def to_event_bus(text: str, scene: Scene) -> None:
    del scene
    detail = json.dumps({"code": text})
    events_client().put_events(
        Entries=[{"Source": "token-issuer", "DetailType": "Test", "Detail": detail}]
    )


def to_secrets_manager(text: str, scene: Scene) -> None:
    with suppress(ClientError):
        scene.account.secretsmanager.get_secret_value(
            SecretId="visma/clients/default", VersionStage=f"got {text}"
        )


def to_parameter_store(text: str, scene: Scene) -> None:
    put_parameter("a-token", f"got {text}", scene)


def put_parameter(value: str, description: str, scene: Scene) -> None:
    scene.account.ssm.put_parameter(
        Name="/visma/tokens/acme",
        Type="SecureString",
        Overwrite=True,
        Value=value,
        Description=description,
    )


def said_by(act: Callable[[], object], scene: Scene) -> str:
    """Return all that is said and sent meanwhile."""
    scene.reset()
    scene.forget()

    def run() -> dict[str, Any]:
        act()
        return {}

    return observe(run, scene.sent).said


@pytest.mark.parametrize(
    "plant",
    [to_ledger, to_event_bus, to_secrets_manager, to_parameter_store],
    ids=lambda plant: plant.__name__.replace("_", " "),
)
@pytest.mark.parametrize("text", [CLIENT_SECRET, TOKEN], ids=["a secret", "a token"])
def test_a_leak_in_a_request_is_seen(
    plant: Callable[[str, Scene], None], text: str, scene: Scene
) -> None:
    said = said_by(lambda: plant(text, scene), scene)

    assert leaks(said, [CLIENT_SECRET], [TOKEN])


def test_a_leak_in_a_header_of_the_token_request_is_seen(scene: Scene) -> None:
    endpoint, headers = scene.visma_connect.token_endpoint, {"X-Debug": TOKEN}

    said = said_by(lambda: requests.post(endpoint, headers=headers, timeout=5), scene)

    assert leaks(said, [], [TOKEN])


def test_a_token_may_be_the_value_of_a_parameter(scene: Scene) -> None:
    scene.reset()
    scene.forget()

    put_parameter(TOKEN, "expires soon", scene)

    assert not leaks("\n".join(scene.sent()), [], [TOKEN])
