from dataclasses import replace
from datetime import timedelta

import pytest

from tests.helpers.account import make_settings
from tests.helpers.facts import (
    NOW,
    SETTINGS,
    fail,
    make_record,
    make_renewal,
    make_tenant,
    minutes,
)
from token_issuer.errors import EndpointUnavailable, IssuerError, TokenRefused
from token_issuer.ledger.records import Failure, Record
from token_issuer.redaction import Quoted
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.renewal import (
    MOST_COUNTED,
    Reason,
    floor_of,
    is_too_short,
    purpose_of,
    renew_at,
)

ACME = make_tenant("acme")
NO_ANSWER = EndpointUnavailable("HTTP 503")


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
    granted = None if scope is None else frozenset(map(Quoted, scope))
    token = AccessToken(value="t", issued_at=NOW, expires_at=NOW + minutes(60), scope=granted)

    record = make_renewal("acme").succeeded(
        token, version=1, client_secret_version="v1", attempted_at=NOW
    )

    assert record.issued is not None
    assert record.issued.scope == kept


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


@pytest.mark.parametrize(("life", "too_short"), [(1, True), (10, True), (22, True), (23, False)])
def test_a_lifetime_too_short_for_the_floor_is_due_at_once(life: float, *, too_short: bool) -> None:
    issued = make_record("acme", life=life).issued

    assert issued is not None
    assert is_too_short(issued, SETTINGS) is too_short
    assert (renew_at("acme", issued, SETTINGS) <= NOW) is too_short


def test_a_lifetime_of_a_day_is_renewed_after_ten_to_twelve_hours() -> None:
    assert timedelta(hours=9.6) < issued_of("acme", 24 * 60) <= timedelta(hours=12)


# What the ledger is to know of a failure


def failure_of(record: Record) -> Failure:
    assert record.failure
    return record.failure


def test_a_refusal_is_waited_for_ever_longer() -> None:
    record, waited = None, []
    for _ in range(7):
        record = fail(record)
        next_attempt_at = failure_of(record).next_attempt_at
        assert next_attempt_at
        waited.append((next_attempt_at - NOW) / SETTINGS.period)

    assert waited == [0.5, 1.5, 3.5, 7.5, 11.5, 11.5, 11.5]
    assert failure_of(fail(record)).refusals == 8


@pytest.mark.parametrize(
    ("record", "error", "reason", "waits", "is_waited_for"),
    [
        pytest.param(fail(fail(None)), NO_ANSWER, Reason.MISSING, 2, False, id="in passing"),
        pytest.param(make_record("acme", age=40), None, Reason.DUE, 0, False, id="a live token"),
        pytest.param(
            make_record("acme", age=10), None, Reason.LOST, 1, True, id="one that is lost"
        ),
        pytest.param(
            make_record("acme", age=60), None, Reason.MISSING, 1, True, id="an expired one"
        ),
        pytest.param(None, None, Reason.MISSING, 1, True, id="none"),
    ],
)
def test_a_refusal_without_a_live_token_alone_is_waited_for(
    record: Record | None,
    error: IssuerError | None,
    reason: Reason,
    waits: int,
    *,
    is_waited_for: bool,
) -> None:
    failure = failure_of(fail(record, error=error, reason=reason))

    assert (failure.refusals, failure.next_attempt_at is not None) == (waits, is_waited_for)


def test_waits_are_counted_anew_for_another_document_and_have_an_end() -> None:
    last = fail(fail(None))
    other = replace(make_renewal("acme", last), purpose="another")
    most = replace(last, failure=replace(failure_of(last), refusals=MOST_COUNTED))

    again = other.failed(
        TokenRefused("no"),
        client_secret_version="v1",
        now=NOW,
        attempted_at=NOW,
        settings=SETTINGS,
    )

    assert failure_of(again).refusals == 1
    assert failure_of(fail(most)).refusals == MOST_COUNTED


def test_when_it_was_told_is_kept_with_the_next_failure() -> None:
    last = fail(None)
    told = replace(last, failure=replace(failure_of(last), told_at=NOW))

    assert failure_of(fail(told, at=NOW + minutes(60))).told_at == NOW
    assert failure_of(fail(last)).told_at is None
