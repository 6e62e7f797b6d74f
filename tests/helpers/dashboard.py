"""The dashboard as template.yaml defines it; what can't be drawn is an error."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from tests.helpers.insights import Query, parse_query
from tests.helpers.template import RESOURCES, TEMPLATE
from tests.helpers.world import STACK

PSEUDO = {"AWS::StackName": STACK, "AWS::Region": "eu-north-1", "LogGroup": "the function's"}
SEARCH = re.compile(
    r"SEARCH\('\{(?P<schema>[\w,]+)\} MetricName=\"(?P<name>\w+)\" service=\"(?P<service>[^\"]+)\"'"
    r", '(?P<stat>\w+)', (?P<period>\d+)\)"
)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a widget lies, on a grid of 24 columns."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A metric of a widget; without a label, one for each value of the dimension `reason`."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    label: str | None
    stat: str
    period: timedelta


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A widget with lines."""

    place: Place
    title: str
    lines: tuple[Line, ...]
    stacked: bool
    unit: str
    least: float
    marks: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A widget with what a log query finds."""

    place: Place
    title: str
    query: Query


def read_widgets() -> list[dict[str, Any]]:
    """Return the widgets of template.yaml, its parameters having their defaults."""
    defaults = {name: str(one["Default"]) for name, one in TEMPLATE["Parameters"].items()}
    text, variables = RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    values = defaults | PSEUDO
    for name, value in variables.items():
        mapping, reference, key = value["Fn::FindInMap"]
        values[name] = str(TEMPLATE["Mappings"][mapping][defaults[reference["Ref"]]][key])
    body = json.loads(re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], text))
    return list(_taken(body, "widgets")["widgets"])


def fingerprint(widgets: list[dict[str, Any]]) -> str:
    """Return what changes when a widget does."""
    return hashlib.sha256(json.dumps(widgets, sort_keys=True).encode()).hexdigest()


def parse_widget(widget: dict[str, Any]) -> Chart | Table:
    """Return the widget; raises ValueError, naming what is not known here."""
    _taken(widget, "type", "properties", *Place.__annotations__)
    place = Place(**{name: widget[name] for name in Place.__annotations__})
    properties = widget["properties"]
    match widget["type"], properties.get("view"):
        case "metric", "timeSeries":
            return _chart(place, properties)
        case "log", "table":
            _taken(properties, "title", "region", "view", "query")
            query = parse_query(properties["query"])
            return Table(place=place, title=properties["title"], query=query)
    raise ValueError(f"Unknown type and view: {widget['type']}, {properties.get('view')}")


def _taken(members: dict[str, Any], *known: str) -> dict[str, Any]:
    if unknown := members.keys() - set(known):
        raise ValueError(f"Unknown in a widget: {', '.join(sorted(unknown))}")
    return members


def _chart(place: Place, properties: dict[str, Any]) -> Chart:
    _taken(
        properties,
        *("title", "region", "view", "stat", "period", "metrics", "stacked"),
        *("yAxis", "annotations"),
    )
    left = _taken(_taken(properties["yAxis"], "left")["left"], "min", "label", "showUnits")
    marks = _taken(properties.get("annotations", {}), "horizontal").get("horizontal", [])
    return Chart(
        place=place,
        title=properties["title"],
        lines=tuple(_lines(properties)),
        stacked=properties.get("stacked", False),
        unit=left["label"],
        least=left["min"],
        marks=tuple((_taken(one, "label", "value")["label"], one["value"]) for one in marks),
    )


def _lines(properties: dict[str, Any]) -> Iterator[Line]:
    above: list[str] = []
    for row in properties["metrics"]:
        *names, options = row
        if not names:
            yield _search(_taken(options, "expression")["expression"])
            continue
        above = [over if name == "." else name for name, over in zip(names, above or names)]  # noqa: B905  the first row has none above
        namespace, name, *dimensions = above
        yield Line(
            namespace=namespace,
            name=name,
            dimensions=frozenset(zip(dimensions[::2], dimensions[1::2], strict=True)),
            label=_taken(options, "label")["label"],
            stat=properties["stat"],
            period=timedelta(seconds=properties["period"]),
        )


def _search(expression: str) -> Line:
    found = SEARCH.fullmatch(expression)
    if not found:
        raise ValueError(f"Unknown expression: {expression}")
    namespace, *dimensions = found["schema"].split(",")
    if dimensions != ["reason", "service"]:
        raise ValueError(f"Unknown dimensions: {found['schema']}")
    return Line(
        namespace=namespace,
        name=found["name"],
        dimensions=frozenset({("service", found["service"])}),
        label=None,
        stat=found["stat"],
        period=timedelta(seconds=int(found["period"])),
    )
