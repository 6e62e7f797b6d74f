from dataclasses import replace
from typing import Any

import pytest

from tests.helpers.facts import (
    NOW,
    SETTINGS,
    fail,
    lose,
    make_facts,
    make_record,
    make_renewal,
    make_tenant,
    minutes,
    plan,
    renewals_in,
)
from token_issuer.errors import (
    ClientRefused,
    DocumentInvalid,
    EndpointUnavailable,
    IssuerError,
    LedgerUnwritable,
    NoTimeLeft,
    ParameterUnwritable,
    StoreDenied,
    TenantReassigned,
    TenantRefused,
    TokenRefused,
    Unexpected,
)
from token_issuer.ledger.records import Owner, Record
from token_issuer.reporting.report import Report
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import Decision, Fresh, Leaving, Outcome, Removal, Waiting, decide
from token_issuer.tokens.renewal import Reason

ACME = make_tenant("acme")
FORCE, PROBE = Invocation(force=True), Invocation(tenants=("acme",), probe=True)
V2 = {"stages": {"default": {"AWSCURRENT": "v2"}}}
LOST = {"lost": frozenset(["acme"])}


def only(decisions: list[Decision]) -> Decision:
    [decision] = decisions
    return decision


# Reasons


REASONS: dict[str, tuple[Reason, Record | None, dict[str, Any]]] = {
    "no token": (Reason.MISSING, None, {}),
    "one that has expired": (Reason.MISSING, make_record("acme", age=60), {}),
    "an expired one that was lost": (Reason.MISSING, lose(make_record("acme", age=60)), LOST),
    "one that is gone or overwritten": (Reason.LOST, make_record("acme"), LOST),
    "one that was found lost": (Reason.LOST, lose(make_record("acme")), {}),
    "one that is due": (Reason.DUE, make_record("acme", age=30), {}),
    "one that was below its floor at once": (Reason.DUE, make_record("acme", life=22), {}),
    "one from the future": (Reason.DUE, make_record("acme", age=-1), {}),
    "one that is due after a refusal": (Reason.DUE, fail(make_record("acme", age=40)), {}),
    "a refusal for another client secret": (Reason.MISSING, fail(None), V2),
    "a passing failure": (Reason.MISSING, fail(fail(None), error=EndpointUnavailable("503")), {}),
    "a fresh one, by force": (Reason.FORCED, make_record("acme"), {"invocation": FORCE}),
    "a wait, by force": (Reason.FORCED, fail(None), {"invocation": FORCE}),
    "a wait, in a probe": (Reason.FORCED, fail(None), {"invocation": PROBE}),
}


@pytest.mark.parametrize(("reason", "record", "members"), REASONS.values(), ids=REASONS)
def test_a_tenant_is_asked_for_that_has(
    reason: Reason, record: Record | None, members: dict[str, Any]
) -> None:
    [renewal] = renewals_in(plan([ACME], [record] if record else [], **members))

    assert (renewal.name, renewal.reason) == ("acme", reason)
    assert renewal.record == record


@pytest.mark.parametrize(
    ("tenant", "record"),
    [
        pytest.param(ACME, make_record("acme", age=23), id="young"),
        pytest.param(
            replace(ACME, document="/visma/tenants/packed-1"), make_record("acme"), id="moved"
        ),
        pytest.param(
            ACME,
            fail(make_record("acme"), error=EndpointUnavailable("503"), reason=Reason.FORCED),
            id="forced in vain",
        ),
    ],
)
def test_a_tenant_with_a_young_token_is_fresh(tenant: Tenant, record: Record) -> None:
    decision = only(plan([tenant], [record]))

    assert isinstance(decision, Fresh)
    assert decision.name == "acme"
    assert NOW < decision.due < NOW + minutes(30)


@pytest.mark.parametrize(
    ("tenant", "setting"),
    [
        pytest.param(replace(ACME, scope="write"), None, id="scope"),
        pytest.param(replace(ACME, tenant_id="7"), None, id="tenant_id"),
        pytest.param(replace(ACME, client="sales"), None, id="client"),
        *(
            pytest.param(ACME, name, id=name)
            for name in ("token_endpoint", "token_key_arn", "tokens_path")
        ),
    ],
)
def test_another_document_or_setting_is_a_change(tenant: Tenant, setting: str | None) -> None:
    other: dict[str, Any] = {setting: "/another"} if setting else {}

    [renewal] = renewals_in(
        plan([tenant], [make_record("acme")], settings=replace(SETTINGS, **other))
    )

    assert renewal.reason == Reason.CHANGED


def test_who_asks_for_another_company_than_last_is_reassigned() -> None:
    before = Owner(tenant_id="7", client="default")
    facts = make_facts([ACME], [make_record("acme")])
    remembered = replace(facts, memory=replace(facts.memory, owners={"acme": before}))
    unlisted = replace(remembered.configuration, invalid={"/visma/tenants": DocumentInvalid("")})

    [first, second] = [
        renewals_in(decide(one, now=NOW + minutes(30), settings=SETTINGS))[0]
        for one in (facts, remembered)
    ]

    assert first.reassigned is None
    assert second.reassigned is not None
    assert second.reassigned.detail == (
        "Tenant acme had tenant_id 7; it has no tenant_id (client default) now,"
        " in /visma/tenants/acme"
    )
    assert second.because == f"due. TenantReassigned: {second.reassigned.detail}"
    recalled = replace(remembered, configuration=unlisted)
    [third] = renewals_in(decide(recalled, now=NOW + minutes(30), settings=SETTINGS))
    assert third.reassigned is None
    assert [one.owner for one in (first, second, third)] == [ACME.owner, None, None]


# Waiting


WAITS = fail(fail(None))


def test_a_tenant_that_waits_says_until_when_and_why() -> None:
    decision = only(plan([ACME], [WAITS]))

    assert isinstance(decision, Waiting)
    assert decision.failure.reason == "TokenRefused"
    assert decision.because == "invalid_tenant; backing off until 2026-11-24T12:07:30Z"
    assert decision.failure.remedy == TokenRefused.remedies["invalid_tenant"]


def test_a_failure_that_this_version_does_not_know_is_a_refusal() -> None:
    assert WAITS.failure is not None
    unknown = replace(WAITS, failure=replace(WAITS.failure, reason="FromTheFuture"))

    decision = only(plan([ACME], [unknown]))

    assert isinstance(decision, Waiting)
    assert isinstance(decision.failure, TenantRefused)


@pytest.mark.parametrize(
    ("record", "later", "waits"),
    [
        pytest.param(WAITS, 7.4, True, id="before its end"),
        pytest.param(WAITS, 7.5, False, id="at its end"),
        pytest.param(WAITS, -1, False, id="a refusal from the future: the clock was set back"),
        pytest.param(
            replace(WAITS, issued=make_record("acme", age=59).issued),
            0,
            False,
            id="a live token, such as a run for named tenants has brought",
        ),
        pytest.param(
            lose(fail(make_record("acme", age=10), reason=Reason.LOST)), 0, True, id="a lost token"
        ),
    ],
)
def test_a_refusal_is_waited_for(record: Record, later: float, *, waits: bool) -> None:
    decision = only(plan([ACME], [record], now=NOW + minutes(later)))

    assert isinstance(decision, Waiting) is waits


def test_a_changed_document_ends_the_wait() -> None:
    [renewal] = renewals_in(plan([replace(ACME, scope="write")], [WAITS]))

    assert renewal.reason == Reason.MISSING


def test_who_was_refused_without_a_live_token_is_known() -> None:
    passing = fail(WAITS, error=EndpointUnavailable("HTTP 503"))
    live = fail(make_record("globex", age=10), "globex")
    facts = make_facts([ACME, make_tenant("globex")], [passing, live])

    report = Report.of(decide(facts, now=NOW, settings=SETTINGS), facts)

    assert report.refused == {"acme"}
    assert report.doubtful == {"globex"}


# Removal


def test_a_disabled_tenant_is_removed_now() -> None:
    facts = make_facts([make_tenant("acme", enabled=False)], [make_record("acme")])

    decisions = decide(facts, now=NOW, settings=SETTINGS)

    assert decisions == [
        Removal(record=make_record("acme"), parameter="/visma/tokens/acme", because="disabled")
    ]
    assert Report.of(decisions, facts).expiries == {}


@pytest.mark.parametrize(
    ("record", "later", "members", "until"),
    [
        pytest.param(make_record("acme", age=10), 0, {}, 50, id="its token lives"),
        pytest.param(make_record("acme", age=10), 50, {}, None, id="its token has expired"),
        pytest.param(make_record("acme", age=10), 0, LOST, 60, id="another token is stored"),
        pytest.param(
            lose(make_record("acme", age=10), NOW + minutes(20)),
            79,
            {},
            80,
            id="another was found",
        ),
        pytest.param(
            lose(make_record("acme", age=10), NOW + minutes(20)),
            80,
            {},
            None,
            id="another was found, a life ago",
        ),
        pytest.param(
            make_record("acme", age=61), 0, {"compared": frozenset()}, -1, id="it was not looked at"
        ),
    ],
)
def test_a_vanished_tenant_is_removed_once_what_is_stored_has_surely_expired(
    record: Record, later: float, members: dict[str, Any], until: float | None
) -> None:
    decision = only(plan([], [record], now=NOW + minutes(later), **members))

    if until is None:
        assert decision == Removal(
            record=record, parameter="/visma/tokens/acme", because="vanished"
        )
    else:
        assert decision == Leaving(name="acme", until=NOW + minutes(until))


def test_a_run_for_some_removes_nobody() -> None:
    gone = [make_record("acme", age=60), make_record("globex")]

    assert plan([make_tenant("globex", enabled=False)], gone, whole=False) == []


def elsewhere(record: Record) -> Record:
    assert record.issued is not None
    return replace(record, issued=replace(record.issued, parameter="/old/acme"))


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(fail(None), id="never had a token"),
        pytest.param(elsewhere(make_record("acme", age=60)), id="had one below another path"),
    ],
)
def test_of_a_vanished_tenant_no_parameter_is_deleted_that(record: Record) -> None:
    assert plan([], [record], compared=frozenset()) == [
        Removal(record=record, parameter=None, because="vanished")
    ]


# Outcomes


@pytest.mark.parametrize(
    ("failure", "is_recorded", "was_asked"),
    [
        (TokenRefused("no"), True, True),
        (EndpointUnavailable("503"), True, True),
        (ParameterUnwritable(""), True, True),
        (Unexpected(""), True, True),
        (StoreDenied(""), False, False),
        (ClientRefused(""), False, False),
        (LedgerUnwritable(""), False, True),  # the token is stored
        (NoTimeLeft(), False, False),
    ],
    ids=lambda one: one.reason if isinstance(one, IssuerError) else "",
)
def test_a_new_owner_is_told_where_a_token_was_asked_for(
    failure: IssuerError, *, is_recorded: bool, was_asked: bool
) -> None:
    reassigned = TenantReassigned("")
    renewal = replace(make_renewal("acme"), reassigned=reassigned)
    token = AccessToken(value="t", issued_at=NOW, expires_at=NOW + minutes(60), scope=None)

    failed = Outcome(decision=renewal, failure=failure)

    assert failed.is_recorded is is_recorded
    assert failed.reassigned is (reassigned if was_asked else None)
    assert Outcome(decision=renewal, token=token).reassigned is reassigned
    removal = Removal(record=make_record("acme"), parameter=None, because="vanished")
    assert Outcome(decision=removal, failure=failure).reassigned is None


def test_a_token_like_the_last_one_is_routine() -> None:
    plain, token = (
        make_renewal("acme"),
        AccessToken(value="t", issued_at=NOW, expires_at=NOW + minutes(60), scope=None),
    )
    failed = replace(plain, record=fail(make_record("acme")))
    reassigned = replace(plain, reassigned=TenantReassigned(""))

    assert Outcome(decision=plain, token=token).is_routine
    assert not Outcome(decision=plain, failure=NoTimeLeft()).is_routine
    for decision in (failed, reassigned, Fresh(tenant=ACME, due=NOW)):
        assert not Outcome(decision=decision, token=token).is_routine


# A dry run


def test_a_plan_says_what_becomes_of_whom() -> None:
    facts = make_facts(
        [make_tenant(name) for name in ("new", "fresh", "waits")]
        + [make_tenant("off", enabled=False)],
        [
            make_record("fresh"),
            fail(fail(None, "waits"), "waits"),
            make_record("off"),
            make_record("leaves"),
        ],
        failures={"bad": DocumentInvalid("it is not JSON")},
    )

    assert Report.of(decide(facts, now=NOW, settings=SETTINGS), facts).planned == [
        ("off", "remove", "disabled"),
        ("leaves", "wait", "vanished, its token expires at 2026-11-24T13:00:00Z"),
        ("new", "issue", "missing"),
        ("bad", "fail", "it is not JSON"),
        ("waits", "wait", "invalid_tenant; backing off until 2026-11-24T12:07:30Z"),
        ("fresh", "fresh", "due at 2026-11-24T12:25:06Z"),
    ]
