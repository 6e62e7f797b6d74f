"""The evaluator against what AWS documents of alarms."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.helpers.cloudwatch import (
    Alarm,
    Fired,
    Metric,
    Metrics,
    Point,
    Query,
    compute,
    parse_alarms,
    watch,
)
from tests.helpers.facts import minutes

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
METRIC = Metric("Shop", "Orders", frozenset({("service", "till")}))
POINTS: dict[str, Point] = {"0": 0.0, "X": 1.0, "-": None}
ALARM = Alarm(
    name="Orders",
    queries={"watched": Query(metric=METRIC, statistic="Sum")},
    expression="watched",
    period=300,
    evaluated=1,
    to_alarm=1,
    comparison="GreaterThanThreshold",
    threshold=0,
    missing="notBreaching",
)
PROPERTIES: dict[str, Any] = {
    "Namespace": "Shop",
    "MetricName": "Orders",
    "Dimensions": [{"Name": "service", "Value": {"Ref": "Till"}}],
    "Statistic": "Sum",
    "Period": {"Fn::FindInMap": ["Periods", {"Ref": "Pace"}, "Seconds"]},
    "EvaluationPeriods": 3,
    "DatapointsToAlarm": 2,
    "ComparisonOperator": "GreaterThanThreshold",
    "Threshold": 0,
    "TreatMissingData": "notBreaching",
}
EMF = (
    '{"_aws": {"Timestamp": 1795435200000, "CloudWatchMetrics": [{"Namespace": "Shop",'
    ' "Dimensions": [["service"]], "Metrics": [{"Name": "Orders", "Unit": "Count"}]}]},'
    ' "service": "till", "Orders": [2.0, 3.0]}'
)


def points(text: str) -> list[Point]:
    return [POINTS[one] for one in text.split()]


# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
@pytest.mark.parametrize(
    ("shown", "to_alarm", "breaching", "not_breaching"),
    [
        ("0 - X - X", 3, False, False),
        ("0 - - - -", 3, False, False),
        ("- - - - -", 3, True, False),
        ("0 X X - X", 3, True, True),
        ("- - X - -", 3, True, False),
        ("0 - X - X", 2, True, True),
        ("0 0 X 0 X", 2, True, True),
        ("0 - X - -", 2, True, False),
        ("- - - - 0", 2, True, False),
        ("- - - X -", 2, True, False),
    ],
)
def test_the_tables_of_missing_data(
    shown: str, to_alarm: int, *, breaching: bool, not_breaching: bool
) -> None:
    alarm = replace(ALARM, evaluated=3, to_alarm=to_alarm)

    assert replace(alarm, missing="breaching").is_breached(points(shown)) is breaching
    assert replace(alarm, missing="notBreaching").is_breached(points(shown)) is not_breaching


@pytest.mark.parametrize(
    ("comparison", "threshold", "is_breached"),
    [
        ("GreaterThanThreshold", 0.5, True),
        ("GreaterThanThreshold", 1, False),
        ("LessThanThreshold", 1.5, True),
        ("LessThanThreshold", 1, False),
    ],
)
def test_comparisons_are_strict(comparison: str, threshold: float, *, is_breached: bool) -> None:
    alarm = replace(ALARM, comparison=comparison, threshold=threshold)

    assert alarm.is_breached(points("X")) is is_breached


@pytest.mark.parametrize(
    ("statistic", "point"), [("Sum", 9), ("Minimum", 2), ("Maximum", 4), ("SampleCount", 3)]
)
def test_a_period_has_its_beginning_and_not_its_end(statistic: str, point: float) -> None:
    metrics = Metrics()
    for at, value in ((-5.01, 50), (-5, 2), (-3, 4), (-1, 3), (0, 100)):
        metrics.put(METRIC, value, NOON + minutes(at))
    alarm = replace(ALARM, queries={"watched": Query(metric=METRIC, statistic=statistic)})

    assert alarm.points(metrics, NOON.timestamp()) == [
        None,
        1 if statistic == "SampleCount" else 50,
        point,
    ]


def test_a_value_is_seen_once_it_has_been_sent_and_the_delay_has_passed() -> None:
    metrics = Metrics(delay=minutes(2))
    metrics.put(METRIC, 1, NOON, seen_at=NOON + minutes(1))

    alarms = [replace(ALARM, evaluated=1)]
    [fired] = watch(alarms, metrics, NOON, NOON + minutes(30))

    assert fired.at == NOON + minutes(3)


def test_periods_slide_by_a_minute_and_old_data_stand_in_for_missing() -> None:
    metrics = Metrics()
    metrics.put(METRIC, 1, NOON + minutes(2.5))

    fired = list(watch([ALARM], metrics, NOON, NOON + minutes(30)))

    # a period from the first minute after, then two more in which nothing newer is there
    assert fired == [Fired("Orders", NOON + minutes(3), NOON + minutes(18))]


def test_an_alarm_that_has_not_recovered_says_so() -> None:
    metrics = Metrics()
    metrics.put(METRIC, 1, NOON)

    fired = list(watch([ALARM], metrics, NOON, NOON + minutes(2)))

    assert fired == [Fired("Orders", NOON + minutes(1))]


def test_values_are_read_from_the_embedded_metric_format() -> None:
    metrics = Metrics()

    metrics.put_emf([EMF])

    begin = 1795435200
    assert metrics.read(METRIC, begin, begin + 1, now=begin) == [2.0, 3.0]


@pytest.mark.parametrize(
    ("expression", "a", "b", "result"),
    [
        ("a - b", "X X -", "0 X X", "X 0 -"),
        ("a / b", "X X 0", "X 0 X", "X - 0"),
        ("a > 0", "X 0 -", "0 0 0", "X 0 -"),
        ("FILL(a, 0)", "X - 0", "0 0 0", "X 0 0"),
        ("FILL(a, 0)", "- - -", "0 0 0", "- - -"),
        ("FILL(a, b)", "X - -", "0 X -", "X X -"),
        ("IF(a > 0, b, 0)", "X 0 X", "X X -", "X 0 -"),
        ("IF(a, IF(b, 0, 1), 0)", "X X -", "X 0 X", "0 X -"),
    ],
)
def test_metric_math(expression: str, a: str, b: str, result: str) -> None:
    assert compute(expression, {"a": points(a), "b": points(b)}) == points(result)


@pytest.mark.parametrize(
    "expression", ["a ** 2", "RATE(a)", "c", "a < a < a", "FILL(a)", "IF(a, 'b', a)"]
)
def test_other_metric_math_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="not known of metric math"):
        compute(expression, {"a": points("X")})


def parse(properties: dict[str, Any]) -> list[Alarm]:
    template = {
        "Mappings": {"Periods": {"slow": {"Seconds": 900}}},
        "Resources": {
            "Orders": {"Type": "AWS::CloudWatch::Alarm", "Properties": properties},
            "Topic": {"Type": "AWS::SNS::Topic"},
        },
    }
    return parse_alarms(template, {"Till": "till", "Pace": "slow"})


def test_alarms_are_read_from_a_template() -> None:
    [alarm] = parse(PROPERTIES)

    assert alarm == replace(ALARM, period=900, evaluated=3, to_alarm=2)


def test_an_alarm_over_metric_math_is_read_from_a_template() -> None:
    metric = {name: PROPERTIES[name] for name in ("Namespace", "MetricName", "Dimensions")}
    evaluated = ("EvaluationPeriods", "DatapointsToAlarm", "ComparisonOperator", "Threshold")
    properties = {name: PROPERTIES[name] for name in (*evaluated, "TreatMissingData")}
    stat = {"Metric": metric, "Period": 60, "Stat": "Maximum"}

    [alarm] = parse(
        properties
        | {
            "Metrics": [
                {"Id": "orders", "ReturnData": False, "MetricStat": stat},
                {"Id": "watched", "Expression": "FILL(orders, 0)"},
            ]
        }
    )

    assert alarm.queries == {"orders": Query(metric=METRIC, statistic="Maximum")}
    assert (alarm.expression, alarm.period) == ("FILL(orders, 0)", 60)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TreatMissingData", "ignore"),
        ("TreatMissingData", "missing"),
        ("ComparisonOperator", "GreaterThanOrEqualToThreshold"),
        ("Statistic", "Average"),
        ("EvaluationWindow", {}),
        ("Threshold", {"Fn::If": ["IsLarge", 1, 2]}),
    ],
)
def test_what_is_not_known_of_alarms_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="not known here"):
        parse(PROPERTIES | {name: value})


def test_an_alarm_that_does_not_say_how_it_treats_missing_data_is_refused() -> None:
    with pytest.raises(KeyError, match="TreatMissingData"):
        parse({name: value for name, value in PROPERTIES.items() if name != "TreatMissingData"})
