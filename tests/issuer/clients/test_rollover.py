"""What is decided about a pending client secret, and what is told of one."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.helpers.account import REFUSED
from tests.helpers.facts import NOW, SETTINGS, make_facts, make_record, make_tenant, minutes
from tests.helpers.staged_secrets import StagedSecrets
from token_issuer.clients.rollover import (
    Keep,
    Prove,
    Withdraw,
    decide,
    fallback_of,
    lasting_reasons,
    notice_of,
    still_pending,
    why_kept,
)
from token_issuer.clients.versions import ClientSecret
from token_issuer.errors import (
    ClientRefused,
    ClientSecretFallback,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    EndpointUnavailable,
    IssuerError,
    PendingClientDiffers,
    PendingSecretKept,
    PendingSecretRefused,
    PendingSecretUndecided,
    TokenRefused,
)
from token_issuer.ledger.records import ClientRecord, Fallback, Pending, Record
from token_issuer.redaction import Quoted
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation

STAGES = {"AWSCURRENT": "v1", "AWSPENDING": "v2"}
WAITS = Pending(
    version="v2",
    reason="PendingSecretRefused",
    detail=Quoted("Client default: invalid_client"),
    tried_at=NOW - minutes(1),
    refusals=1,
    next_attempt_at=NOW + minutes(1.5),
)
UNDECIDED = PendingSecretUndecided("EndpointUnavailable for acme: HTTP 503")


def asked(*versions: str, tenant: str | None = "acme") -> ClientSecret:
    """Return the secret of a run in which each version was refused but the last."""
    stages = {"AWSCURRENT": "v1", "AWSPENDING": "v2", "AWSPREVIOUS": "v0"}
    secret = ClientSecret("default", StagedSecrets(**stages))
    for version in versions:
        chosen = secret.choose()
        assert chosen.version == version
        if version != versions[-1]:
            secret.refuse(chosen, REFUSED)
    if versions:
        secret.worked(tenant)
    return secret


# What to do


@pytest.mark.parametrize(
    "stages",
    [
        pytest.param({}, id="unknown stages"),
        pytest.param({"AWSCURRENT": "v1", "AWSPREVIOUS": "v0"}, id="nothing pending"),
        pytest.param({"AWSPENDING": "v2"}, id="nothing current"),
    ],
)
def test_without_a_pending_version_beside_a_current_one_nothing_is_done(
    stages: dict[str, str],
) -> None:
    facts = make_facts([make_tenant("acme")], stages={"default": stages})
    record = ClientRecord(client="default", pending=WAITS)

    assert decide(record, asked(), facts, NOW) == Keep()


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        pytest.param("AWSCURRENT", None, id="current: of a run that was ended"),
        pytest.param(
            "AWSPREVIOUS", "v0 of client default's secret has been current before", id="previous"
        ),
    ],
)
def test_a_label_on_what_has_been_current_is_taken_off(stage: str, told: str | None) -> None:
    stages = {"AWSCURRENT": "v3", "AWSPREVIOUS": "v0"}
    facts = make_facts(
        [make_tenant("acme")], stages={"default": stages | {"AWSPENDING": stages[stage]}}
    )

    decision = decide(ClientRecord(client="default"), asked(), facts, NOW)

    assert isinstance(decision, Withdraw)
    assert decision.version == stages[stage]
    assert (decision.notice and decision.notice.detail) == told


def decide_on(
    last: Pending | None, secret: ClientSecret, *, at: float = 0, force: bool = False
) -> Keep | Withdraw | Prove:
    facts = make_facts(
        [make_tenant("acme")], stages={"default": STAGES}, invocation=Invocation(force=force)
    )
    return decide(ClientRecord(client="default", pending=last), secret, facts, NOW + minutes(at))


@pytest.mark.parametrize("at", [-1, 0, 1.4])
def test_until_its_time_a_refused_one_is_told_and_not_tried(at: float) -> None:
    decision = decide_on(WAITS, asked(), at=at)

    assert isinstance(decision, Keep)
    assert decision.pending is WAITS
    assert isinstance(decision.notice, PendingSecretRefused)
    until = "tried again at 2026-11-24T12:01:30Z"
    assert decision.notice.detail == f"Client default: invalid_client; {until}"


OTHER = replace(WAITS, version="v00")
TRIED: dict[str, dict[str, Any]] = {
    "it has not been tried": {"last": None},
    "its time has come": {"at": 1.5},
    "its refusal is from the future": {"at": -1.1},
    "a run is forced": {"force": True},
    "another version was refused": {"last": OTHER},
    "whether it is good could not be told": {
        "last": still_pending("v2", UNDECIDED, last=None, tried="acme", now=NOW, settings=SETTINGS)
    },
    "it is refused in this run": {"secret": asked("v1", "v2", "v0")},
    "it was good for a token in this run": {"secret": asked("v1", "v2")},
}


@pytest.mark.parametrize("case", TRIED.values(), ids=TRIED)
def test_a_pending_version_is_tried_where(case: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"last": WAITS, "secret": asked()}

    decision = decide_on(**usual | case)

    last = case.get("last", WAITS)
    assert decision == Prove(
        version="v2",
        current="v1",
        tenant=make_tenant("acme"),
        last=None if last is OTHER else last,
    )


# Who proves


def ages(**of: float) -> list[Record]:
    """Return the records of those that had a token so many minutes ago."""
    return [make_record(name, age=age) for name, age in of.items()]


def prover(
    tenants: list[Tenant], records: list[Record], secret: ClientSecret, tried: str | None
) -> str:
    last = still_pending("v2", UNDECIDED, last=None, tried=tried, now=NOW, settings=SETTINGS)
    facts = make_facts(tenants, records, stages={"default": STAGES})
    decision = decide(ClientRecord(client="default", pending=last), secret, facts, NOW)
    assert isinstance(decision, Prove)
    return decision.tenant.name


@pytest.mark.parametrize(
    ("issued", "token_for", "tried", "expected"),
    [
        pytest.param({"a": 20, "b": 10, "c": 30}, None, None, "b", id="who succeeded last"),
        pytest.param({"a": 20, "b": 30}, "c", None, "c", id="who had a token in this run"),
        pytest.param({}, None, None, "a", id="anybody where nobody has succeeded"),
        pytest.param({}, None, "a", "b", id="the next of all"),
        pytest.param({}, None, "d", "a", id="the first of all after the last"),
        pytest.param({"a": 30, "c": 10, "d": 20}, None, "a", "c", id="the next that succeeded"),
        pytest.param({"a": 30, "c": 10, "d": 20}, None, "d", "a", id="the first that succeeded"),
        pytest.param({"a": 30, "c": 10}, None, "b", "c", id="the next of one that is gone"),
        pytest.param({}, "a", "a", "b", id="the next, whoever had a token in this run"),
    ],
)
def test_a_pending_version_is_proved_for(
    issued: dict[str, float], token_for: str | None, tried: str | None, expected: str
) -> None:
    secret = asked("v1", tenant=token_for)

    assert prover([make_tenant(name) for name in "dcba"], ages(**issued), secret, tried) == expected


def test_a_tenant_of_another_client_or_that_is_disabled_proves_nothing() -> None:
    tenants = [
        make_tenant("a", client="sales"),
        make_tenant("b", enabled=False),
        *(make_tenant(name) for name in "cde"),
    ]
    records = ages(a=1, b=1, d=10)
    records.append(replace(make_record("c", age=1), client="sales"))  # whose it was then

    assert prover(tenants, records, asked(), None) == "d"
    assert prover([*tenants[:2], tenants[3]], records, asked(), "d") == "d"


# What stays known


def known(version: str, refusals: int) -> Pending:
    return replace(WAITS, version=version, refusals=refusals)


@pytest.mark.parametrize(
    ("last", "is_refused", "refusals", "periods"),
    [
        pytest.param(None, True, 1, 0.5, id="a first refusal"),
        pytest.param(known("v2", 1), True, 2, 1.5, id="a second"),
        pytest.param(known("v2", 5), True, 6, 11.5, id="a sixth"),
        pytest.param(known("v0", 5), True, 1, 0.5, id="a first one of a newer version"),
        pytest.param(known("v2", -10), True, 1, 0.5, id="a record that says nonsense"),
        pytest.param(None, False, 0, None, id="no answer"),
        pytest.param(known("v2", 2), False, 2, None, id="no answer after refusals"),
    ],
)
def test_refusals_alone_are_counted_and_waited_for(
    last: Pending | None, refusals: int, periods: float | None, *, is_refused: bool
) -> None:
    why = PendingSecretRefused("invalid_client") if is_refused else UNDECIDED

    pending = still_pending("v2", why, last=last, tried="acme", now=NOW, settings=SETTINGS)

    assert pending == Pending(
        version="v2",
        reason=why.reason,
        detail=why.detail,
        tried_at=NOW,
        refusals=refusals,
        tried=None if is_refused else "acme",  # after a refusal who succeeded last proves again
        next_attempt_at=None if periods is None else NOW + periods * SETTINGS.period,
    )


FALLBACK = Fallback(
    version="v0",
    stage="AWSPREVIOUS",
    current="v1",
    detail=Quoted("Client default: invalid_client"),
    since=NOW - timedelta(days=1),
)


def mended() -> ClientSecret:
    """Return a secret whose current version was replaced after its refusal."""
    secret = ClientSecret("default", StagedSecrets(AWSCURRENT=["v1", "v3"]))
    secret.refuse(secret.choose(), REFUSED)
    secret.choose()
    secret.worked("acme")
    return secret


@pytest.mark.parametrize(
    ("last", "secret", "expected"),
    [
        pytest.param(None, asked(), None, id="nobody has asked"),
        pytest.param(FALLBACK, asked(), FALLBACK, id="as before, since nobody has asked"),
        pytest.param(
            replace(FALLBACK, version="v1"), asked(), None, id="what served is current by now"
        ),
        pytest.param(FALLBACK, asked("v1"), None, id="the current one works again"),
        pytest.param(FALLBACK, mended(), None, id="a newer current one works"),
        pytest.param(
            None, asked("v1", "v2", "v0"), replace(FALLBACK, since=NOW), id="the previous one"
        ),
        pytest.param(FALLBACK, asked("v1", "v2", "v0"), FALLBACK, id="the same as before"),
        pytest.param(
            FALLBACK,
            asked("v1", "v2"),
            replace(FALLBACK, version="v2", stage="AWSPENDING", since=NOW),
            id="another than before",
        ),
    ],
)
def test_in_place_of_the_current_version_serves(
    last: Fallback | None, secret: ClientSecret, expected: Fallback | None
) -> None:
    assert fallback_of(last, secret, STAGES, NOW) == expected


def test_a_fallback_is_told_with_the_refusal_and_since_when() -> None:
    assert notice_of(FALLBACK).detail == (
        "Client default: invalid_client; since 2026-11-23T12:00:00Z"
        " AWSPREVIOUS is used in place of AWSCURRENT"
    )


ALL = {"ClientRefused", "ClientSecretInvalid"}


@pytest.mark.parametrize(
    ("secret", "refusals", "pending", "promoted", "expected"),
    [
        pytest.param(asked("v1"), [], None, False, set(), id="nothing"),
        pytest.param(asked(), [], None, False, ALL, id="nobody has asked"),
        pytest.param(asked(), [], None, True, set(), id="nobody has asked, and one is promoted"),
        pytest.param(asked("v1"), [], WAITS, False, {WAITS.reason}, id="a refused one waits"),
        pytest.param(
            asked("v1"),
            [ClientSecretFallback("")],
            None,
            False,
            {"ClientSecretFallback"},
            id="another serves",
        ),
    ],
)
def test_when_it_was_told_stays_known_while_it_lasts(
    secret: ClientSecret,
    refusals: list[IssuerError],
    pending: Pending | None,
    expected: set[str],
    *,
    promoted: bool,
) -> None:
    assert lasting_reasons(secret, refusals, pending, promoted=promoted) == expected


# Why


DIFFERS = PendingClientDiffers("another client_id")
DENIED = ClientSecretUnreadable("DecryptionFailure", code=Quoted("DecryptionFailure"))


@pytest.mark.parametrize(
    ("error", "asked_for", "told", "remedy"),
    [
        (DIFFERS, None, "PendingClientDiffers: another client_id", DIFFERS.remedy),
        (
            ClientRefused("invalid_client"),
            "acme",
            "PendingSecretRefused: invalid_client",
            PendingSecretRefused.remedy,
        ),
        (
            ClientSecretInvalid("not JSON"),
            None,
            "PendingSecretInvalid: not JSON",
            "Stage it again. " + ClientSecretInvalid.remedy,
        ),
        (
            DENIED,
            None,
            "PendingSecretUndecided: ClientSecretUnreadable: DecryptionFailure",
            ClientSecretUnreadable.remedies["DecryptionFailure"],
        ),
        (
            EndpointUnavailable("HTTP 503"),
            "acme",
            "PendingSecretUndecided: EndpointUnavailable for acme: HTTP 503",
            EndpointUnavailable.remedy,
        ),
        (
            TokenRefused("no", code=Quoted("invalid_tenant")),
            "acme",
            "PendingSecretUndecided: TokenRefused for acme: no",
            TokenRefused.remedies["invalid_tenant"],
        ),
    ],
    ids=lambda one: one.reason if isinstance(one, IssuerError) else "",
)
def test_a_failure_is_told_of_the_pending_version_with_its_own_remedy(
    error: IssuerError, asked_for: str | None, told: str, remedy: str
) -> None:
    kept = why_kept(error, make_tenant(asked_for) if asked_for else None)

    assert isinstance(kept, PendingSecretKept)
    assert f"{kept.reason}: {kept.detail}" == told
    assert kept.remedy == remedy
