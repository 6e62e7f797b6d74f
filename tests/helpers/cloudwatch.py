"""CloudWatch's metrics and alarms, as its user guide has them.

Documented, in https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/:

- `alarm-evaluation.html`: M of the N latest data points must breach.
- `alarm-evaluation-window.html`: an alarm is evaluated each minute, over periods that slide along.
- `alarms-and-missing-data.html`: more data points are looked at than N, and what is missing counts
  only where fewer than N of those are there, and then as few as make up N.
- `using-metric-math.html`: FILL puts a value where a series has none, IF chooses point by point.
- `Lambda/latest/dg/monitoring-metrics-types.html`: the time of a metric of Lambda's is that of the
  invocation, though it is sent when that has ended; so a value has a time and is seen later.

Assumed:

- N + 2 data points are looked at. AWS says that it depends; its tables have five for N = 3.
- A series without any value in that range has none to FILL either.
- What is computed of a missing value is missing, and so is a division by zero.
- A value is seen at once, or after a `delay` that is the same for all.
"""

import ast
import operator
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.helpers.emf import read_samples

MINUTE = 60  # seconds
LOOKED_AT_BEYOND = 2  # data points, see above

type Point = float | None  # None: missing
type Series = list[Point]

STATISTICS: dict[str, Callable[[list[float]], float]] = {
    "Maximum": max,
    "Minimum": min,
    "SampleCount": len,
    "Sum": sum,
}
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
}
TREATMENTS = ("breaching", "notBreaching")
OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
}


@dataclass(frozen=True)
class Metric:
    """One of a namespace; dimensions are pairs of name and value."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


@dataclass
class Metrics:
    """All values, each with its time and the time from which it is seen."""

    delay: timedelta = timedelta(0)
    _values: dict[Metric, list[tuple[float, float, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def put(
        self, metric: Metric, value: float, at: datetime, *, seen_at: datetime | None = None
    ) -> None:
        seen = (seen_at or at) + self.delay
        insort(self._values[metric], (at.timestamp(), seen.timestamp(), value))

    def put_emf(self, lines: Iterable[str]) -> None:
        """Take lines of the embedded metric format."""
        for one in read_samples(lines):
            self.put(Metric(one.namespace, one.name, one.dimensions), one.value, one.at)

    def read(self, metric: Metric, begin: float, end: float, *, now: float) -> list[float]:
        """Return the values of [begin, end) that are seen by now."""
        values = self._values[metric]
        first, last = bisect_left(values, (begin,)), bisect_left(values, (end,))
        return [value for _, seen, value in values[first:last] if seen <= now]


@dataclass(frozen=True, kw_only=True)
class Query:
    metric: Metric
    statistic: str


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One of a template, by its logical name; `expression` is over the names of queries."""

    name: str
    queries: dict[str, Query]
    expression: str
    period: int  # seconds
    evaluated: int  # N
    to_alarm: int  # M
    comparison: str
    threshold: float
    missing: str

    def is_breached(self, points: Sequence[Point]) -> bool:
        """Tell whether these data points, the newest last, are those of an ALARM."""
        there = [point for point in points if point is not None][-self.evaluated :]
        breaching = sum(COMPARISONS[self.comparison](point, self.threshold) for point in there)
        if self.missing == "breaching":
            breaching += self.evaluated - len(there)
        return breaching >= self.to_alarm

    def points(self, metrics: Metrics, now: float) -> Series:
        """Return the data points that are looked at, the newest last."""
        count = self.evaluated + LOOKED_AT_BEYOND
        ends = [now - self.period * number for number in reversed(range(count))]
        series: dict[str, Series] = {}
        for name, query in self.queries.items():
            windows = (metrics.read(query.metric, end - self.period, end, now=now) for end in ends)
            statistic = STATISTICS[query.statistic]
            series[name] = [statistic(values) if values else None for values in windows]
        return compute(self.expression, series)


@dataclass(frozen=True)
class Fired:
    """An alarm from when it fires until it recovers, if it does."""

    alarm: str
    at: datetime
    recovered_at: datetime | None = None


def watch(
    alarms: Iterable[Alarm], metrics: Metrics, begin: datetime, end: datetime
) -> Iterator[Fired]:
    """Evaluate alarms each minute from begin, which is a whole one, to end."""
    minutes = range(int(begin.timestamp()), int(end.timestamp()) + 1, MINUTE)
    for alarm in alarms:
        fired_at = None
        for now in minutes:
            is_breached = alarm.is_breached(alarm.points(metrics, now))
            at = datetime.fromtimestamp(now, begin.tzinfo)
            if is_breached and not fired_at:
                fired_at = at
            elif fired_at and not is_breached:
                yield Fired(alarm.name, fired_at, at)
                fired_at = None
        if fired_at:
            yield Fired(alarm.name, fired_at)


# Metric math


def compute(expression: str, series: dict[str, Series]) -> Series:
    """Return the series of an expression; raises ValueError where it has what isn't known here."""
    [length] = {len(one) for one in series.values()}
    return _compute(ast.parse(expression, mode="eval").body, series, length)


def _compute(node: ast.expr, series: dict[str, Series], length: int) -> Series:
    def of(argument: ast.expr) -> Series:
        return _compute(argument, series, length)

    match node:
        case ast.Name(id=name) if name in series:
            return series[name]
        case ast.Constant(value=int() | float() as value):
            return [float(value)] * length
        case (
            ast.BinOp(left=left, op=op, right=right)
            | ast.Compare(left=left, ops=[op], comparators=[right])
        ) if type(op) in OPERATORS:
            pairs = zip(of(left), of(right), strict=True)
            return [_apply(OPERATORS[type(op)], *pair) for pair in pairs]
        case ast.Call(func=ast.Name(id="FILL"), args=[filled, by]):
            points = of(filled)
            if all(point is None for point in points):
                return points
            pairs = zip(points, of(by), strict=True)
            return [value if point is None else point for point, value in pairs]
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            choices = zip(of(condition), of(then), of(otherwise), strict=True)
            return [None if one is None else (yes if one else no) for one, yes, no in choices]
    raise ValueError(f"not known of metric math: {ast.unparse(node)}")


def _apply(operation: Callable[[float, float], float], left: Point, right: Point) -> Point:
    if left is None or right is None:
        return None
    try:
        return float(operation(left, right))
    except ZeroDivisionError:
        return None


# The template

OF_A_METRIC = {"Namespace", "MetricName", "Dimensions", "Statistic", "Period"}
EVALUATED = {
    "EvaluationPeriods",
    "DatapointsToAlarm",
    "ComparisonOperator",
    "Threshold",
    "TreatMissingData",
}
UNWATCHED = {"AlarmName", "AlarmDescription", "AlarmActions", "OKActions"}


def parse_alarms(template: dict[str, Any], references: dict[str, str]) -> list[Alarm]:
    """Return a template's alarms, `references` being what `Ref` and `GetAtt` come to.

    Raises ValueError where an alarm says what isn't known here.
    """
    return [
        _parse_alarm(name, one["Properties"], template, references)
        for name, one in template["Resources"].items()
        if one["Type"] == "AWS::CloudWatch::Alarm"
    ]


def _parse_alarm(
    name: str, properties: dict[str, Any], template: dict[str, Any], references: dict[str, str]
) -> Alarm:
    resolved = {
        key: _resolve(value, template, references)
        for key, value in properties.items()
        if key not in UNWATCHED
    }
    queries, expression, period = _parse_watched(name, resolved)
    _check(name, resolved["ComparisonOperator"], COMPARISONS)
    _check(name, resolved["TreatMissingData"], TREATMENTS)
    return Alarm(
        name=name,
        queries=queries,
        expression=expression,
        period=period,
        evaluated=int(resolved["EvaluationPeriods"]),
        to_alarm=int(resolved["DatapointsToAlarm"]),
        comparison=resolved["ComparisonOperator"],
        threshold=float(resolved["Threshold"]),
        missing=resolved["TreatMissingData"],
    )


def _parse_watched(name: str, resolved: dict[str, Any]) -> tuple[dict[str, Query], str, int]:
    """Return what an alarm is over: queries, an expression, seconds."""
    if "Metrics" not in resolved:
        _check_members(name, resolved, OF_A_METRIC | EVALUATED)
        query = _parse_query(name, resolved, resolved["Statistic"])
        return {"watched": query}, "watched", int(resolved["Period"])
    _check_members(name, resolved, {"Metrics"} | EVALUATED)
    of_metrics = [one for one in resolved["Metrics"] if "MetricStat" in one]
    for one in of_metrics:
        _check_members(name, one, {"Id", "ReturnData", "MetricStat"})
        _check_members(name, one["MetricStat"], {"Metric", "Period", "Stat"})
    [watched] = [one for one in resolved["Metrics"] if one.get("ReturnData", True)]
    [period] = {int(one["MetricStat"]["Period"]) for one in of_metrics}
    queries = {
        one["Id"]: _parse_query(name, one["MetricStat"]["Metric"], one["MetricStat"]["Stat"])
        for one in of_metrics
    }
    return queries, watched["Expression"], period


def _parse_query(name: str, properties: dict[str, Any], statistic: str) -> Query:
    _check(name, statistic, STATISTICS)
    dimensions = frozenset((one["Name"], one["Value"]) for one in properties["Dimensions"])
    metric = Metric(properties["Namespace"], properties["MetricName"], dimensions)
    return Query(metric=metric, statistic=statistic)


def _check(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name}: {value} is not known here")


def _check_members(name: str, properties: dict[str, Any], known: set[str]) -> None:
    if unknown := properties.keys() - known:
        raise ValueError(f"{name}: {', '.join(sorted(unknown))} is not known here")


def _resolve(value: Any, template: dict[str, Any], references: dict[str, str]) -> Any:  # noqa: ANN401  as YAML is
    """Return a value without its intrinsic functions."""

    def of(argument: Any) -> Any:  # noqa: ANN401
        return _resolve(argument, template, references)

    match value:
        case {"Ref": name}:
            return references[name]
        case {"Fn::GetAtt": [name, attribute]}:
            return references[f"{name}.{attribute}"]
        case {"Fn::FindInMap": [mapping, first, second]}:
            return template["Mappings"][mapping][of(first)][of(second)]
        case dict():
            if unknown := [key for key in value if key.startswith("Fn::")]:
                raise ValueError(f"{unknown[0]} is not known here")
            return {key: of(one) for key, one in value.items()}
        case list():
            return [of(one) for one in value]
    return value
