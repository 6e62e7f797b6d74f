from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.helpers.account import make_settings
from token_issuer.errors import (
    DocumentInvalid,
    EndpointUnavailable,
    IssuerError,
    TenantRefused,
    TokenRefused,
)
from token_issuer.facts import Facts
from token_issuer.gathering import to_check
from token_issuer.ledger.records import Failure, Memory, Record
from token_issuer.redaction import Quoted
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import Plan, plan_run
from token_issuer.tokens.renewal import (
    Reason,
    Renewal,
    floor_of,
    is_too_short,
    purpose_of,
    renew_at,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SETTINGS = make_settings()


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def make_tenant(
    name: str, *, scope: str = "read", client: str = "default", enabled: bool = True
) -> Tenant:
    return Tenant(
        name=name,
        tenant_id=None,
        scope=scope,
        client=client,
        enabled=enabled,
        document=f"/visma/tenants/{name}",
    )


def make_record(name: str, *, age: float = 0, life: float = 60, run: float = 0) -> Record:
    """Return the record of a token of that age and lifetime, in minutes."""
    renewal = Renewal(
        tenant=make_tenant(name),
        reason=Reason.MISSING,
        parameter=f"/visma/tokens/{name}",
        purpose=purpose_of(make_tenant(name), SETTINGS),
        record=None,
    )
    issued_at = NOW - minutes(age)
    token = AccessToken(
        value="t",
        issued_at=issued_at,
        expires_at=issued_at + minutes(life),
        scope=frozenset({Quoted("b")}),
    )
    return renewal.succeeded(
        token, version=3, client_secret_version="v1", attempted_at=NOW - minutes(run)
    )


def fail(  # noqa: PLR0913  one more failed attempt, and what matters of it
    record: Record | None,
    name: str = "acme",
    error: IssuerError | None = None,
    at: datetime = NOW,
    reason: Reason = Reason.MISSING,
    *,
    period: int = 5,
    told: bool = False,
) -> Record:
    """Return the record after one more failed attempt."""
    renewal = Renewal(
        tenant=make_tenant(name),
        reason=reason,
        parameter=f"/visma/tokens/{name}",
        purpose=purpose_of(make_tenant(name), SETTINGS),
        record=record,
    )
    return renewal.failed(
        error or TokenRefused("invalid_tenant", code=Quoted("invalid_tenant")),
        told=told,
        client_secret_version="v1",
        now=at,
        attempted_at=at,
        settings=make_settings(period_minutes=period),
    )


def plan(  # noqa: PLR0913  the facts, one by one
    tenants: Iterable[Tenant],
    records: Iterable[Record] = (),
    *,
    lost: Iterable[str] = (),
    is_compared: bool = True,
    version_of_secret: str = "v1",  # noqa: S107  none is in it
    force: bool = False,
    whole: bool = True,
    now: datetime = NOW,
) -> Plan:
    configured = {one.name: one for one in tenants}
    known = {one.tenant: one for one in records}
    facts = Facts(
        memory=Memory(records=known, documents={}, checked=""),
        configuration=Configuration(
            path="/visma/tenants",
            parameters=frozenset(),
            tenants=configured,
            invalid={},
            good_texts={},
        ),
        tenants=[one for one in configured.values() if one.enabled],
        whole=whole,
        failures={},
        compared=frozenset(known if is_compared else ()),
        lost=frozenset(lost),
        checked="",
        stages={},
        secret_versions={"default": version_of_secret},
    )
    return plan_run(facts, force=force, now=now, settings=SETTINGS)


def reasons(planned: Plan) -> dict[str, Reason]:
    return {one.tenant.name: one.reason for one in planned.renewals}


ACME = make_tenant("acme")


# Reasons


def test_a_tenant_without_a_token_is_missing_one() -> None:
    assert reasons(plan([ACME])) == {"acme": Reason.MISSING}


def test_a_tenant_whose_token_has_expired_is_missing_one() -> None:
    assert reasons(plan([ACME], [make_record("acme", age=60)])) == {"acme": Reason.MISSING}


def test_a_tenant_with_a_young_token_is_fresh() -> None:
    record = make_record("acme", age=23)

    planned = plan([ACME], [record])

    assert planned.renewals == []
    assert NOW < planned.fresh["acme"] < NOW + minutes(13)


def test_a_token_is_due_after_half_its_life_at_the_latest() -> None:
    assert reasons(plan([ACME], [make_record("acme", age=30)])) == {"acme": Reason.DUE}


def test_a_token_that_is_gone_or_overwritten_is_lost() -> None:
    planned = plan([ACME], [make_record("acme")], lost=["acme"])

    assert reasons(planned) == {"acme": Reason.LOST}


def lose(record: Record, at: datetime = NOW) -> Record:
    assert record.issued is not None
    return replace(record, issued=replace(record.issued, lost_at=at))


def test_a_token_that_was_found_lost_is_until_there_is_another() -> None:
    assert reasons(plan([ACME], [lose(make_record("acme"))])) == {"acme": Reason.LOST}


def test_a_forced_attempt_that_failed_is_not_repeated() -> None:
    record = fail(make_record("acme"), error=EndpointUnavailable("503"), reason=Reason.FORCED)

    assert plan([ACME], [record]).fresh.keys() == {"acme"}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(ACME, scope="write"), id="scope"),
        pytest.param(replace(ACME, tenant_id="7"), id="tenant_id"),
        pytest.param(replace(ACME, client="sales"), id="client"),
    ],
)
def test_another_document_is_a_change(other: Tenant) -> None:
    assert reasons(plan([other], [make_record("acme")])) == {"acme": Reason.CHANGED}


@pytest.mark.parametrize(
    "setting", ["token_endpoint", "token_key_arn", "tokens_path"], ids=lambda one: one
)
def test_another_setting_is_a_change(setting: str) -> None:
    record = make_record("acme")
    assert record.issued is not None
    other: dict[str, Any] = {setting: "/another"}
    settings = replace(SETTINGS, **other)
    facts = Facts(
        memory=Memory(records={"acme": record}, documents={}, checked=""),
        configuration=Configuration(
            path="", parameters=frozenset(), tenants={"acme": ACME}, invalid={}, good_texts={}
        ),
        tenants=[ACME],
        whole=True,
        failures={},
        compared=frozenset({"acme"}),
        lost=frozenset(),
        checked="",
        stages={},
        secret_versions={},
    )

    planned = plan_run(facts, force=False, now=NOW, settings=settings)

    assert reasons(planned) == {"acme": Reason.CHANGED}


@pytest.mark.parametrize(
    ("tenant", "purpose"),
    [
        pytest.param(
            replace(ACME, tenant_id="af1140c1", scope="å:read b", client="sales"),
            '{"tenant_id": "af1140c1", "scope": "å:read b", "client": "sales",',
            id="a tenant",
        ),
        pytest.param(
            replace(ACME, scope=""),
            '{"tenant_id": null, "scope": "", "client": "default",',
            id="nothing that may be left out",
        ),
    ],
)
def test_what_a_token_was_issued_for_is_this_text(tenant: Tenant, purpose: str) -> None:
    """Another text, were it but a space, would renew each token at the next deployment."""
    assert purpose_of(tenant, SETTINGS) == (
        f'{purpose} "token_endpoint": "https://connect.visma.com/connect/token", "key":'
        ' "arn:aws:kms:eu-north-1:123456789012:key/0d4e3b1c-1111-2222-3333-444455556666"}'
    )


@pytest.mark.parametrize(
    ("scope", "kept"),
    [
        pytest.param(["b:read", "a", "c"], "a b:read c", id="several, in order"),
        pytest.param(["a"], "a", id="one"),
        pytest.param([], "", id="none"),
        pytest.param(None, None, id="not said"),
    ],
)
def test_granted_scopes_are_kept_with_one_space_between_them(
    scope: list[str] | None, kept: str | None
) -> None:
    [renewal] = plan([ACME]).renewals
    granted = None if scope is None else frozenset(map(Quoted, scope))
    token = AccessToken(value="t", issued_at=NOW, expires_at=NOW + minutes(60), scope=granted)

    record = renewal.succeeded(token, version=1, client_secret_version="v1", attempted_at=NOW)

    assert record.issued is not None
    assert record.issued.scope == kept


def test_a_moved_document_is_no_change() -> None:
    moved = replace(ACME, document="/visma/tenants/packed-1")

    assert plan([moved], [make_record("acme")]).fresh.keys() == {"acme"}


def test_force_renews_whatever_there_is() -> None:
    waiting = fail(None, "globex")

    planned = plan([ACME, make_tenant("globex")], [make_record("acme"), waiting], force=True)

    assert reasons(planned) == {"acme": Reason.FORCED, "globex": Reason.FORCED}


def test_a_record_from_the_future_is_due() -> None:
    assert reasons(plan([ACME], [make_record("acme", age=-1)])) == {"acme": Reason.DUE}


# When


def issued_of(name: str, life: float) -> timedelta:
    issued = make_record(name, life=life).issued
    assert issued is not None
    return renew_at(name, issued, SETTINGS) - issued.issued_at


def test_tenants_that_were_added_together_part() -> None:
    times = [issued_of(f"tenant-{number}", 60) for number in range(1000)]

    assert minutes(24) < min(times) < minutes(24.1)
    assert minutes(29.9) < max(times) <= minutes(30)
    assert len(set(times)) == 1000
    tenths = [int((time - minutes(24)) / minutes(0.6)) for time in times]
    assert all(70 < tenths.count(tenth) < 130 for tenth in range(10))


def test_the_spread_is_stable() -> None:
    assert issued_of("acme", 60) == timedelta(seconds=1616, microseconds=950185)


@pytest.mark.parametrize("period", [1, 5, 10, 15])
def test_the_floor_is_two_periods_and_an_outage_before_the_end(period: int) -> None:
    issued = make_record("acme").issued

    assert issued is not None
    settings = make_settings(period_minutes=period)
    assert floor_of(issued, settings) == issued.expires_at - minutes(2 * period + 12)


def test_a_token_is_due_at_its_floor_at_the_latest() -> None:
    assert issued_of("acme", 30) == minutes(30) - minutes(22)


@pytest.mark.parametrize("life", [1, 10, 22])
def test_a_lifetime_too_short_for_the_floor_is_due_at_once(life: float) -> None:
    record = make_record("acme", life=life)

    assert record.issued is not None
    assert is_too_short(record.issued, SETTINGS)
    assert reasons(plan([ACME], [record])) == {"acme": Reason.DUE}


def test_a_lifetime_of_a_minute_more_is_not_too_short() -> None:
    issued = make_record("acme", life=23).issued

    assert issued is not None
    assert not is_too_short(issued, SETTINGS)


def test_a_lifetime_of_a_day_is_renewed_after_ten_to_twelve_hours() -> None:
    assert timedelta(hours=9.6) < issued_of("acme", 24 * 60) <= timedelta(hours=12)


# Order


def test_the_order_is_live_ones_below_the_floor_then_those_without_then_the_rest() -> None:
    records = [
        make_record("due", age=31),
        make_record("due-more", age=35),
        make_record("below", age=40),
        make_record("below-more", age=55),
        make_record("lost", age=10),
        make_record("lost-below", age=50),
        make_record("expired", age=61),
        replace(make_record("changed", age=20), client="default"),
    ]
    tenants = [make_tenant(one.tenant) for one in records if one.tenant != "changed"]
    tenants += [make_tenant("new"), make_tenant("changed", scope="write")]

    planned = plan(tenants, records, lost=["lost", "lost-below"])

    assert [one.tenant.name for one in planned.renewals] == [
        "below-more",
        "below",
        "expired",
        "new",
        "lost-below",
        "changed",
        "lost",
        "due-more",
        "due",
    ]


def test_whoever_has_no_token_comes_before_the_rest_when_all_are_forced() -> None:
    records = [make_record("live", age=1), make_record("expired", age=61)]
    tenants = [make_tenant("live"), make_tenant("expired"), make_tenant("new")]

    planned = plan(tenants, records, force=True)

    assert [one.tenant.name for one in planned.renewals] == ["expired", "new", "live"]


def test_broken_ones_come_last_when_their_client_served_others_beside_them() -> None:
    served = [make_record(f"served-{age}", age=age, run=5) for age in range(31, 37)]
    broken = fail(make_record("broken", age=55), "broken", at=NOW - minutes(5))
    names = [one.tenant for one in [*served, broken]]

    planned = plan(map(make_tenant, names), [*served, broken])

    assert len(planned.renewals) == 7
    assert planned.renewals[-1].tenant.name == "broken"


def test_what_another_client_serves_makes_nobody_broken_nor_a_scout() -> None:
    others = [replace(make_record(f"o{age}", age=age, run=5), client="b") for age in range(31, 37)]
    failed = fail(make_record("failed", age=55), "failed", at=NOW - minutes(5))
    tenants = [make_tenant(one.tenant, client="b") for one in others]

    planned = plan([*tenants, make_tenant("failed")], [*others, failed])

    assert planned.renewals[0].tenant.name == "failed"


def test_a_broken_one_has_its_place_again_after_two_periods_and_a_half() -> None:
    served = [make_record(f"served-{age}", age=age, run=5) for age in range(31, 37)]
    broken = fail(make_record("broken", age=50), "broken", at=NOW - minutes(5))
    tenants = [make_tenant(one.tenant) for one in [*served, broken]]

    def place(later: float) -> int:
        planned = plan(tenants, [*served, broken], now=NOW + minutes(later))
        return [one.tenant.name for one in planned.renewals].index("broken")

    assert place(7.4) == 6
    assert place(7.5) == 1  # behind a scout


def test_one_that_has_not_failed_comes_before_each_four_that_have() -> None:
    failed = [
        fail(make_record(f"failed-{age}", age=age), f"failed-{age}", at=NOW - minutes(5))
        for age in range(59, 48, -1)
    ]
    others = [make_record(f"other-{age}", age=age, run=10) for age in range(31, 37)]
    tenants = [make_tenant(one.tenant) for one in [*failed, *others]]

    order = [one.tenant.name for one in plan(tenants, [*failed, *others]).renewals]

    rest = ["failed"] * 4
    kinds = [name.partition("-")[0] for name in order]
    assert kinds == ["other", *rest, "other", *rest, "other", *rest[:3], *["other"] * 3]
    assert [name for name in order if name in {one.tenant for one in failed}] == [
        one.tenant for one in failed
    ]
    assert len(set(order)) == 17


def test_each_client_has_scouts_of_its_own() -> None:
    failed = [
        fail(make_record(f"failed-{age}", age=age), f"failed-{age}", at=NOW - minutes(5))
        for age in (59, 58, 56, 55, 54)
    ]
    other = replace(make_record("other", age=57, run=10), client="b")
    scouts = [make_record(f"scout-{age}", age=age, run=10) for age in (31, 32)]
    tenants = [make_tenant(one.tenant, client=one.client) for one in [*failed, other, *scouts]]

    planned = plan(tenants, [*failed, other, *scouts])

    order = [one.tenant.name.replace("scout-31", "scout-32") for one in planned.renewals]
    four = ["failed-59", "failed-58", "other", "failed-56", "failed-55"]
    assert order == ["scout-32", *four, "scout-32", "failed-54"]


def test_a_scout_has_its_place_before_four_and_one_in_its_own_place_counts() -> None:
    failed = [
        fail(make_record(f"f{age}", age=age), f"f{age}", at=NOW - minutes(5))
        for age in (59, 57, 56, 55, 54, 53)
    ]
    ages = {"early": 58, "late": 40, "last": 39}
    others = [make_record(name, age=age, run=10) for name, age in ages.items()]
    tenants = [make_tenant(one.tenant) for one in [*failed, *others]]

    orders = {
        " ".join(one.tenant.name for one in plan(tenants, [*failed, *others], now=now).renewals)
        for now in (NOW + timedelta(seconds=second) for second in range(30))
    }

    assert orders == {  # by which of them is drawn
        "early f59 f57 f56 f55 late f54 f53 last",
        "early f59 f57 f56 f55 last f54 f53 late",
        "late f59 early f57 f56 f55 f54 last f53",
        "last f59 early f57 f56 f55 f54 late f53",
    }


def test_who_goes_first_to_tell_an_outage_is_drawn_anew_in_each_run() -> None:
    """Whatever its own place is: the most urgent one would be the same in each run."""
    failed = fail(make_record("failed", age=55), "failed", at=NOW - minutes(5))
    others = [make_record(f"other-{number}", age=31 + number, run=10) for number in range(20)]
    tenants = [make_tenant(one.tenant) for one in [failed, *others]]

    first = {
        plan(tenants, [failed, *others], now=NOW + minutes(run / 60)).renewals[0].tenant.name
        for run in range(9)
    }

    assert len(first) > 3


# Waiting


@pytest.mark.parametrize("period", [1, 5, 15])
def test_a_refusal_is_waited_for_1_2_4_8_12_periods_less_half_a_one(period: int) -> None:
    record = None
    waited = []
    for _ in range(7):
        record = fail(record, period=period)
        assert record.failure is not None
        assert record.failure.next_attempt_at is not None
        waited.append((record.failure.next_attempt_at - NOW) / minutes(period))

    assert waited == [0.5, 1.5, 3.5, 7.5, 11.5, 11.5, 11.5]
    assert record is not None
    assert record.failure is not None
    assert record.failure.count == 7


def waiting() -> Record:
    return fail(fail(None))


def test_a_tenant_that_waits_says_until_when_and_why() -> None:
    [failure] = plan([ACME], [waiting()]).waiting.values()

    assert failure.reason == "TokenRefused"
    assert failure.detail == "invalid_tenant; backing off until 2026-11-24T12:07:30Z"
    assert failure.remedy == TokenRefused.remedies["invalid_tenant"]


def test_a_failure_that_this_version_does_not_know_is_a_refusal() -> None:
    record = waiting()
    assert record.failure is not None
    unknown = replace(record, failure=replace(record.failure, reason="FromTheFuture"))

    [failure] = plan([ACME], [unknown]).waiting.values()

    assert isinstance(failure, TenantRefused)


@pytest.mark.parametrize(
    ("at", "waits"), [(minutes(7.4), True), (minutes(7.5), False)], ids=["before", "at its end"]
)
def test_a_wait_has_an_end(at: timedelta, *, waits: bool) -> None:
    planned = plan([ACME], [waiting()], now=NOW + at)

    assert bool(planned.waiting) is waits
    assert bool(planned.renewals) is not waits


def test_a_changed_document_ends_the_wait_and_its_count() -> None:
    changed = replace(ACME, scope="write")

    [renewal] = plan([changed], [waiting()]).renewals
    again = renewal.failed(
        TokenRefused("no"),
        told=False,
        client_secret_version="v1",
        now=NOW,
        attempted_at=NOW,
        settings=SETTINGS,
    )

    assert again.failure is not None
    assert again.failure.waits == 1


def test_of_those_without_a_token_who_has_not_failed_comes_first() -> None:
    hanging = EndpointUnavailable("no answer", is_timeout=True)
    failed = [fail(None, f"a{number}", hanging) for number in range(5)]
    others = [f"b{number}" for number in range(5)]
    tenants = [make_tenant(name) for name in (*(one.tenant for one in failed), *others)]

    for minutes in range(1, 6):  # whatever the lot
        renewals = plan(tenants, failed, now=NOW + timedelta(minutes=minutes)).renewals
        assert {one.tenant.name for one in renewals[:5]} == set(others)


@pytest.mark.parametrize(
    ("error", "hours", "is_due"),
    [
        pytest.param(TokenRefused("no"), 0, False, id="just told"),
        pytest.param(TokenRefused("no"), 23.9, False, id="within a day"),
        pytest.param(TokenRefused("no"), 24, True, id="a day later"),
        pytest.param(TokenRefused("no"), -0.1, True, id="told in the future: a clock set back"),
        pytest.param(EndpointUnavailable("503"), 24, False, id="in passing"),
    ],
)
def test_a_lasting_failure_is_told_once_a_day(
    error: IssuerError, hours: float, *, is_due: bool
) -> None:
    told = fail(None, told=True)
    again = fail(told, at=NOW + timedelta(hours=1))  # which keeps when it was told
    [renewal] = plan([ACME], [again], force=True).renewals

    assert renewal.is_to_be_told(error, NOW + timedelta(hours=hours)) is is_due


def test_a_new_secret_version_ends_the_wait() -> None:
    assert reasons(plan([ACME], [waiting()], version_of_secret="v2")) == {"acme": Reason.MISSING}


def test_while_the_token_lives_a_refused_tenant_is_tried_every_run() -> None:
    record = fail(make_record("acme", age=40))

    assert record.failure is not None
    assert (record.failure.waits, record.failure.next_attempt_at) == (0, None)
    assert reasons(plan([ACME], [record])) == {"acme": Reason.DUE}


def test_a_refusal_is_not_waited_for_once_there_is_a_live_token() -> None:
    """As when a run for named tenants has brought one."""
    waits = waiting()
    record = replace(waits, issued=make_record("acme", age=59).issued)

    assert not plan([ACME], [record]).waiting
    assert plan([ACME], [waits]).waiting


def test_a_refusal_is_waited_for_where_the_live_token_is_lost() -> None:
    record = fail(make_record("acme", age=10), reason=Reason.LOST)
    assert record.issued is not None
    lost = replace(record, issued=replace(record.issued, lost_at=NOW))

    assert plan([ACME], [lost]).waiting


def test_a_refusal_from_the_future_is_not_waited_for() -> None:
    """The clock was set back."""
    assert not plan([ACME], [waiting()], now=NOW - minutes(1)).waiting


def test_who_was_refused_without_a_live_token_is_known() -> None:
    passing = fail(waiting(), error=EndpointUnavailable("HTTP 503"))
    live = fail(make_record("globex", age=10), "globex")

    assert plan([ACME], [passing, live]).refused == {"acme"}


def test_a_passing_failure_is_not_waited_for_and_leaves_the_count_of_waits() -> None:
    record = fail(fail(fail(None)), error=EndpointUnavailable("503"))
    assert record.failure is not None
    assert (record.failure.waits, record.failure.next_attempt_at) == (2, None)

    assert reasons(plan([ACME], [record])) == {"acme": Reason.MISSING}


# Removal


def test_a_disabled_tenant_is_removed_now() -> None:
    planned = plan([make_tenant("acme", enabled=False)], [make_record("acme")])

    [removal] = planned.removals
    assert (removal.parameter, removal.because) == ("/visma/tokens/acme", "disabled")
    assert planned.expiries == {}


def test_a_vanished_tenant_is_removed_once_its_token_has_expired() -> None:
    record = make_record("acme", age=10)

    before, after = plan([], [record]), plan([], [record], now=NOW + minutes(50))

    assert before.removals == []
    assert before.leaving == {"acme": NOW + minutes(50)}
    assert [one.because for one in after.removals] == ["vanished"]
    assert after.leaving == {}


def test_a_vanished_tenant_with_an_unknown_token_stays_for_another_life() -> None:
    record = make_record("acme", age=10)
    marked = lose(record, at=NOW + minutes(20))

    found, later = plan([], [record], lost=["acme"]), plan([], [marked], now=NOW + minutes(79))

    assert found.leaving == {"acme": NOW + minutes(60)}
    assert later.leaving == {"acme": NOW + minutes(80)}
    assert (found.removals, later.removals) == ([], [])
    assert len(plan([], [marked], now=NOW + minutes(80)).removals) == 1


def test_a_vanished_tenant_is_not_removed_before_its_token_was_looked_at() -> None:
    record = make_record("gone", age=61)

    planned = plan([], [record], is_compared=False)

    assert planned.removals == []
    assert planned.leaving.keys() == {"gone"}


def test_a_vanished_tenant_stays_while_an_earlier_token_may_be_stored() -> None:
    record = make_record("gone", age=61)
    assert record.issued is not None
    earlier = replace(record.issued, may_live_until=NOW + minutes(1))

    assert plan([], [replace(record, issued=earlier)]).removals == []
    assert len(plan([], [replace(record, issued=earlier)], now=NOW + minutes(1)).removals) == 1


def test_a_run_for_some_removes_nobody() -> None:
    planned = plan([], [make_record("acme", age=60), make_record("globex")], whole=False)

    assert (planned.removals, planned.leaving) == ([], {})


def test_a_vanished_tenant_that_never_had_a_token_is_forgotten() -> None:
    [removal] = plan([], [fail(None)]).removals

    assert removal.parameter is None


def test_a_parameter_below_another_path_is_left() -> None:
    record = make_record("acme", age=60)
    assert record.issued is not None
    elsewhere = replace(record, issued=replace(record.issued, parameter="/old/acme"))

    [removal] = plan([], [elsewhere]).removals

    assert removal.parameter is None


# A dry run


def test_a_plan_says_what_becomes_of_whom() -> None:
    planned = plan(
        [make_tenant(name) for name in ("new", "fresh", "waits")]
        + [make_tenant("off", enabled=False)],
        [
            make_record("fresh"),
            fail(fail(None, "waits"), "waits"),
            make_record("off"),
            make_record("leaves"),
        ],
    )

    assert planned.rows([("bad", DocumentInvalid("it is not JSON"))]) == [
        ("off", "remove", "disabled"),
        ("leaves", "wait", "vanished, its token expires at 2026-11-24T13:00:00Z"),
        ("new", "issue", "missing"),
        ("bad", "fail", "it is not JSON"),
        ("waits", "wait", "invalid_tenant; backing off until 2026-11-24T12:07:30Z"),
        ("fresh", "fresh", "due at 2026-11-24T12:25:06Z"),
    ]


# The check


def names_to_check(count: int, after: str = "", period: int = 5) -> list[str]:
    records = {f"{number:05}": make_record(f"{number:05}") for number in range(count)}
    return [
        one.tenant
        for one in to_check(records, after, make_settings(period_minutes=period)).values()
    ]


def test_300_are_checked_after_the_last_one_and_round_again() -> None:
    assert names_to_check(400)[::299] == ["00000", "00299"]
    assert names_to_check(400, "00299")[::299] == ["00300", "00199"]
    assert len(names_to_check(400)) == 300


@pytest.mark.parametrize(("period", "count"), [(5, 1000), (15, 3000), (1, 300)])
def test_each_is_checked_once_an_hour(period: int, count: int) -> None:
    assert len(names_to_check(12_000, period=period)) == count


def test_few_are_checked_in_each_run() -> None:
    assert names_to_check(3, "00001") == ["00002", "00000", "00001"]


def test_who_has_no_token_or_one_elsewhere_is_not_checked() -> None:
    record = make_record("acme")
    assert record.issued is not None
    elsewhere = replace(record, issued=replace(record.issued, parameter="/old/acme"))

    assert to_check({"acme": elsewhere, "globex": fail(None, "globex")}, "", SETTINGS) == {}


def test_failures_count_on_while_the_document_stays() -> None:
    record = fail(fail(None))

    assert isinstance(record.failure, Failure)
    assert (record.failure.count, record.failure.waits) == (2, 2)
