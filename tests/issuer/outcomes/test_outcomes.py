"""Every answer has an outcome: each case is one whole run, over real sockets."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from tests.issuer.conftest import CLIENT_SECRET, tenant_id
from tests.issuer.outcomes.answers import ANSWERS
from tests.issuer.outcomes.client_secrets import CLIENT_SECRETS
from tests.issuer.outcomes.connections import CONNECTIONS
from tests.issuer.outcomes.documents import DOCUMENTS
from tests.issuer.outcomes.events import EVENTS
from tests.issuer.outcomes.leaks import leaks, spellings
from tests.issuer.outcomes.observation import observe
from tests.issuer.outcomes.scene import (
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
from tests.issuer.outcomes.store import STORE
from tests.issuer.outcomes.table import LEDGER
from token_issuer.errors import TenantsUnreadable

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

OF_THE_SERVER = [name for name in CASES if name.startswith(("connections", "answers"))]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with opened_scene() as opened:
        yield opened


@pytest.fixture(scope="module", params=list(CASES))
def outcome(request: pytest.FixtureRequest, scene: Scene) -> Outcome:
    """Play each case once, for all the tests below."""
    return play(scene, CASES[request.param])


def test_every_answer_has_its_outcome(outcome: Outcome) -> None:
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


def test_who_is_not_hit_is_served(outcome: Outcome) -> None:
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


def test_each_failure_has_a_line(outcome: Outcome) -> None:
    case = outcome.case
    errors = lines_of("ERROR", outcome)
    warnings = [line["warning"] for line in lines_of("WARNING", outcome)]

    assert {line["reason"] for line in errors} == ({case.reason} if case.reason else set())
    assert {line["tenant"] for line in errors if "tenant" in line} == case.failures
    assert all(case.detail in line["detail"] and line["remedy"] for line in errors)
    assert warnings == ([case.warning] if case.warning else [])


def test_a_failure_of_the_run_is_raised(outcome: Outcome) -> None:
    case = outcome.case
    if case.raises:
        assert reason_of(outcome.observed.error) == case.reason
    else:
        assert outcome.observed.error is None
        assert outcome.observed.report


REMEDIES = {
    "documents: malformed JSON": "a document is, for instance",
    "documents: a nested parameter": "Put it directly under the tenants path",
    "documents: one name single and packed": "Take the tenant out of all places but one",
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


@pytest.mark.parametrize("outcome", REMEDIES, indirect=True, scope="module")
def test_the_remedy_is_that_of_the_cause(outcome: Outcome, request: pytest.FixtureRequest) -> None:
    expected = REMEDIES[request.node.callspec.params["outcome"]]

    failures = lines_of("ERROR", outcome)
    assert failures
    assert all(expected in one["remedy"] for one in failures)


@pytest.mark.parametrize("outcome", OF_THE_SERVER, indirect=True, scope="module")
def test_one_odd_answer_costs_a_run_less_than_15_seconds(outcome: Outcome) -> None:
    assert outcome.observed.seconds < 15


# Leaks


def test_neither_client_secret_nor_token_is_ever_said(outcome: Outcome) -> None:
    assert CLIENT_SECRET in outcome.client_secrets
    assert {LOOSE_TOKEN, *outcome.tokens.values(), outcome.offered or LOOSE_TOKEN} <= set(
        outcome.access_tokens
    )
    assert leaks(outcome.observed.said, outcome.client_secrets, outcome.access_tokens) == set()


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
