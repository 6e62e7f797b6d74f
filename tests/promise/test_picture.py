from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.dashboard import (
    Chart,
    Table,
    fingerprint,
    parse_widget,
    read_widgets,
)
from tests.helpers.day import MIDNIGHT, WARM_UP, WatchedWorld, simulate
from tests.helpers.emf import by_period
from tests.helpers.picture import PICTURE, draw, values_of
from tests.helpers.world import STACK

HOUR = timedelta(hours=1)
WIDGETS = read_widgets()


@pytest.fixture(scope="module")
def morning() -> WatchedWorld:
    """Return a world whose last tenant is refused from four o'clock on."""
    return simulate(tenants=12, until=MIDNIGHT + 6 * HOUR)


def test_the_picture_in_the_page_is_of_the_dashboard_in_the_template() -> None:
    assert fingerprint(WIDGETS) in PICTURE.read_text(), "make picture"


def test_the_dashboard_shows_what_it_must() -> None:
    parsed = [parse_widget(one) for one in WIDGETS]

    charts = {one.title: one for one in parsed if isinstance(one, Chart)}
    assert {title: [line.name for line in one.lines] for title, one in charts.items()} == {
        "Seconds until the first token expires": ["SoonestExpirySeconds"],
        "Tokens per run": ["TokensIssued", "TokensFailed", "TokensDeferred"],
        "Failures by reason": ["TokensFailed"],
        "Seconds of a run": ["RunSeconds"],
        "Writes a second": ["WritesPerSecond"],
    }
    assert {title: one.marks for title, one in charts.items() if one.marks} == {
        "Seconds until the first token expires": (("promise to consumers", 300), ("alarm", 600)),
        "Seconds of a run": (("time-out", 290),),
        "Writes a second": (("WritesPerSecond", 2.4),),
    }
    [table] = [one for one in parsed if isinstance(one, Table)]
    assert table.query.where == {"message": "Token failed"}


def test_each_line_has_the_numbers_that_runs_have_measured(morning: WatchedWorld) -> None:
    samples = morning.samples()
    lines = [
        line
        for one in WIDGETS
        if isinstance(chart := parse_widget(one), Chart)
        for line in chart.lines
    ]

    found = {label: values for line in lines for label, values in values_of(line, samples)}

    every = {MIDNIGHT - WARM_UP + number * timedelta(minutes=5) for number in range(9 * 12)}
    assert found.keys() == {
        "soonest expiry", "issued", "failed", "deferred", "TokenRefused", "run", "writes",
    }  # fmt: skip
    assert found["soonest expiry"].keys() == found["run"].keys() == found["issued"].keys() == every
    assert sum(found["issued"].values()) == len(morning.tokens)
    refused = {at: count for at, count in found["failed"].items() if count}
    assert found["TokenRefused"] == refused
    assert MIDNIGHT + 4 * HOUR <= min(refused) < max(refused) == max(every)


def test_a_picture_has_every_title_label_and_failure(morning: WatchedWorld, tmp_path: Path) -> None:
    paths = tmp_path / "one.svg", tmp_path / "other.svg"

    for path in paths:
        draw(WIDGETS, morning.samples(), morning.log, path)

    one, other = (path.read_text() for path in paths)
    assert one == other
    properties = [widget["properties"] for widget in WIDGETS]
    assert all(f">{some['title']}<" in one for some in properties)
    for words in ("soonest expiry", "promise to consumers", "deferred", "TokenRefused", "time-out"):
        assert f">{words}<" in one
    assert "2026-11-24 05:55  t011    TokenRefused  invalid_tenant" in one


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "alarm"}, "alarm, timeSeries"),
        ({"rotation": 90}, "rotation"),
        ({"properties": {"view": "pie"}}, "metric, pie"),
        ({"properties": {"liveData": True}}, "liveData"),
        ({"properties": {"metrics": [[{"expression": "FILL(m1, 0)"}]]}}, "FILL"),
        ({"properties": {"metrics": [["A", "B", {"yAxis": "right"}]]}}, "yAxis"),
        ({"properties": {"yAxis": {"right": {}}}}, "right"),
    ],
)
def test_what_cannot_be_drawn_is_an_error(change: dict[str, Any], named: str) -> None:
    widget = deepcopy(WIDGETS[0])
    widget["properties"] |= change.get("properties", {})

    with pytest.raises(ValueError, match=named):
        parse_widget(widget | {name: one for name, one in change.items() if name != "properties"})


@pytest.mark.long
def test_a_period_has_the_statistic_of_its_samples(morning: WatchedWorld) -> None:
    samples = [one for one in morning.samples() if one.name == "TenantsConfigured"]

    hours = {stat: by_period(samples, stat, HOUR) for stat in ("Sum", "Minimum", "Maximum")}

    first = MIDNIGHT - WARM_UP
    assert len(hours["Sum"]) == 9
    assert hours["Minimum"][first] == 2
    assert hours["Maximum"][first] == 12
    assert hours["Sum"][first] == 2 + 4 + 6 + 8 + 10 + 7 * 12
    assert samples[0].dimensions == {("service", STACK)}
