"""The saved queries and the dashboard's, against lines that real runs have logged."""

from typing import Any

import pytest

from local.authorization_server import VismaConnect
from tests.helpers.account import Account, Log, Run, tenant_id
from tests.helpers.dashboard import read_widgets
from tests.helpers.insights import parse_query
from tests.helpers.template import RESOURCES

STAMP = "@timestamp"  # CloudWatch's own
QUERIES = {
    name: str(one["Properties"]["QueryString"])
    for name, one in RESOURCES.items()
    if one["Type"] == "AWS::Logs::QueryDefinition"
} | {
    widget["properties"]["title"]: widget["properties"]["query"]
    for widget in read_widgets()
    if widget["type"] == "log"
}


@pytest.fixture
def lines(
    account: Account, run: Run, log: Log, visma_connect: VismaConnect
) -> list[dict[str, Any]]:
    """Return what two runs say, in the second of which acme is refused."""
    account.configure("acme", "globex")
    run()
    visma_connect.clients["default-id"].tenants.discard(tenant_id("acme"))
    run({"force": True})
    return [line | {STAMP: number} for number, line in enumerate(log())]


@pytest.mark.parametrize("name", QUERIES)
def test_every_field_that_a_query_names_is_in_the_lines_that_it_takes(
    name: str, lines: list[dict[str, Any]]
) -> None:
    query = parse_query(QUERIES[name])

    taken = [line for line in lines if query.takes(line)]

    assert query.where
    assert taken
    assert query.named - {field for line in taken for field in line} == set()


def test_the_queries_are_those_that_the_page_promises() -> None:
    assert list(QUERIES) == [
        "TenantHistoryQuery",
        "FailuresQuery",
        "SlowestRunsQuery",
        "The latest failures",
    ]


def test_the_history_of_a_tenant_tells_what_became_of_it(lines: list[dict[str, Any]]) -> None:
    history = parse_query(QUERIES["TenantHistoryQuery"])

    rows = [dict(zip(history.shown, row, strict=True)) for row in history.rows(lines)]

    assert [(row["message"], row["reason"] or row["because"]) for row in rows] == [
        ("Token failed", "TokenRefused"),
        ("Token issued", "missing"),
    ]


@pytest.mark.parametrize(
    "query",
    ["parse @message 'x'", "stats avg(seconds) by reason", "filter seconds > 1", "sort seconds"],
)
def test_a_command_that_is_not_understood_is_an_error(query: str) -> None:
    with pytest.raises(ValueError, match="Unknown in"):
        parse_query(query)
