"""The report is short, whatever comes in, and what matters most comes first."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.helpers.facts import NOW, make_tenant
from token_issuer.errors import DocumentInvalid, IssuerError, TokenRefused, UnknownTenant
from token_issuer.redaction import Quoted
from token_issuer.reporting.report import Report
from token_issuer.tenants.configuration import parse_configuration
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.plan import Decision, Waiting

MEGABYTE = 1_000_000
BAD = "/visma/tenants/bad"
WIDE = "😀"  # twelve bytes as JSON writes it in ASCII


def report(
    unserved: Mapping[str, IssuerError],
    failures: Mapping[str, IssuerError] | None = None,
    decisions: Sequence[Decision] = (),
) -> Report:
    """Return a dry run's."""
    return Report(
        started_at=NOW,
        finished_at=NOW,
        invocation=Invocation(dry_run=True),
        unserved=dict(unserved),
        failures=dict(failures or {}),
        decisions=decisions,
    )


def waiting(count: int, name: str, detail: str) -> list[Decision]:
    failure = TokenRefused(detail)
    return [
        Waiting(tenant=make_tenant(f"{name}{number}"), failure=failure) for number in range(count)
    ]


def in_one_parameter(count: int) -> dict[str, IssuerError]:
    names = [f"a b {number:03}" for number in range(count)]
    text = json.dumps({"tenants": dict.fromkeys(names)})
    parameter = {"Name": BAD, "Type": "String", "Value": text}
    return parse_configuration([parameter], "/visma/tenants", {}).invalid  # type: ignore[list-item]


def test_bad_names_do_not_hide_a_refused_tenant() -> None:
    refused = {"acme": TokenRefused("invalid_tenant", code=Quoted("invalid_tenant"))}

    answer = report(in_one_parameter(900), refused).as_dict()

    assert answer["failed"] == 901
    assert [one["tenant"] for one in answer["failures"]] == [
        "acme",
        "a b 000",
        "a b 001",
        "a b 002",
        BAD,
    ]
    assert answer["failures"][-1]["detail"] == f"{BAD}: 897 more tenants in it have errors"
    assert answer["failures"][-1]["remedy"] == DocumentInvalid.remedy


def test_refused_tenants_of_one_parameter_do_not_hide_anothers() -> None:
    crowd = [f"t{number:03}" for number in range(150)]
    refused = {name: TokenRefused("odd", code=Quoted("odd")) for name in [*crowd, "honest"]}
    tenants = {name: make_tenant(name, document="/visma/tenants/packed") for name in crowd}
    tenants["honest"] = make_tenant("honest")

    answer = replace(
        report({}, refused), tenants=tenants | {"honest": make_tenant("honest")}
    ).as_dict()

    told = [one["tenant"] for one in answer["failures"]]
    assert told == [*crowd[:3], "honest", *crowd[3:99]]
    assert answer["failed"] == 151


@pytest.mark.parametrize(("count", "rows"), [(3, 3), (4, 4), (5, 4)])
def test_a_few_failures_of_a_parameter_are_told(count: int, rows: int) -> None:
    assert len(report(in_one_parameter(count)).as_dict()["failures"]) == rows


def test_a_report_shows_a_hundred_failures_and_counts_all() -> None:
    unknown = {f"t{number}": UnknownTenant("nowhere") for number in range(101)}

    answer = report(unknown).as_dict()

    assert (answer["failed"], len(answer["failures"])) == (101, 100)


@pytest.mark.parametrize(("count", "more"), [(1000, None), (1001, 1), (57_000, 56_000)])
def test_a_dry_run_shows_a_thousand_tenants_and_counts_the_others(
    count: int, more: int | None
) -> None:
    answer = report({}, decisions=waiting(count, "t", "x" * 500)).as_dict()

    assert len(answer["planned"]) == 1000
    assert answer["planned"][999] == {"tenant": "t999", "action": "wait", "because": "x" * 500}
    assert answer.get("planned_more") == more


@settings(max_examples=20)  # each makes thousands of failures
@example(count=2000, subject=WIDE * 500, detail=WIDE * 500)
@given(
    count=st.sampled_from([1, 100, 2000]),
    subject=st.text(min_size=1).map(lambda text: text * 500),
    detail=st.text(min_size=1).map(lambda text: text * 500),
)
def test_a_report_has_less_than_a_megabyte_whatever_it_tells(
    count: int, subject: str, detail: str
) -> None:
    errors = {f"{subject}{number}": UnknownTenant(detail) for number in range(count)}

    answer = report(errors, decisions=waiting(count, subject, detail)).as_dict()

    assert len(json.dumps(answer)) < MEGABYTE
    assert len(json.dumps(answer, ensure_ascii=False).encode()) < MEGABYTE  # as Lambda does
    assert answer["failed"] == 2 * count
    assert len(answer["planned"]) + answer.get("planned_more", 0) == 2 * count
    assert answer["failures"]
    assert answer["planned"]
