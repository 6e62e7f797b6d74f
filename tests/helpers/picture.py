"""`make picture` draws the dashboard of a simulated day."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.conftest import PROJECT
from tests.helpers.dashboard import (
    Chart,
    Line,
    Place,
    Table,
    fingerprint,
    parse_widget,
    read_widgets,
)
from tests.helpers.day import DAY, MIDNIGHT, simulate
from tests.helpers.emf import Sample, by_period

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = PROJECT / "docs/operations.svg"
COLUMNS = 24
INCHES = 9.0 / COLUMNS  # of one; a row is as high
PAD, TITLE, AXIS, LEGEND = 0.18, 0.2, 0.62, 0.55  # inches around what a widget shows
HOUR = timedelta(hours=1)
CHARACTERS = 144  # in a line of a table
ROWS = 9  # of a table, its head apart


def draw(
    widgets: list[dict[str, Any]],
    samples: list[Sample],
    log: Iterable[dict[str, Any]],
    path: Path,
) -> None:
    """Draw the widgets as SVG, with what the day has measured and logged."""
    import matplotlib as mpl  # noqa: PLC0415  it takes a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    parsed = [parse_widget(one) for one in widgets]
    lines = list(log)
    height = max(one.place.y + one.place.height for one in parsed)
    style: Any = {
        "svg.hashsalt": "operations",
        "svg.fonttype": "none",
        "font.size": 7.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(COLUMNS * INCHES, height * INCHES))
        for one in parsed:
            left, top = one.place.x * INCHES, (height - one.place.y) * INCHES
            figure.text(
                (left + PAD) / figure.get_figwidth(),
                (top - TITLE) / figure.get_figheight(),
                one.title,
                fontsize=8.5,
                weight="bold",
            )
            axes = figure.add_axes(inner(one.place, height))
            if isinstance(one, Chart):
                draw_chart(axes, one, samples)
            else:
                draw_table(axes, one, lines)
        about = {"Description": fingerprint(widgets), "Date": None, "Creator": None}
        figure.savefig(path, format="svg", metadata=about)


def draw_chart(axes: "Axes", chart: Chart, samples: list[Sample]) -> None:
    """Draw lines, or areas one upon the other, and the marks."""
    found = [pair for line in chart.lines for pair in values_of(line, samples)]
    period = chart.lines[0].period
    begins = [MIDNIGHT + number * period for number in range(DAY // period)]
    hours = [(begin - MIDNIGHT) / HOUR for begin in begins]
    if chart.stacked:
        rows = [[values.get(begin, 0.0) for begin in begins] for _, values in found]
        axes.stackplot(hours, rows, labels=[label for label, _ in found], step="post")
    else:
        for label, values in found:
            row = [values.get(begin, float("nan")) for begin in begins]
            axes.plot(hours, row, linewidth=0.8, label=label)
    for (label, value), style in zip(chart.marks, cycle(("--", ":")), strict=False):
        axes.axhline(value, color="tab:red", linewidth=1, linestyle=style, label=label)
    axes.set_xlim(0, 24)
    is_wide = chart.place.width > COLUMNS / 4
    ticks = range(0, 25, 3 if is_wide else 6)
    axes.set_xticks(ticks, [f"{hour:02}:00" for hour in ticks])
    axes.set_ylim(chart.least, axes.get_ylim()[1] * 1.05)
    axes.set_ylabel(chart.unit)
    axes.legend(
        loc="upper left", bbox_to_anchor=(-0.02, -0.09), ncols=3 if is_wide else 1, labelspacing=0.2
    )


def inner(place: Place, height: int) -> tuple[float, float, float, float]:
    """Return where a widget's axes lie, as parts of the picture: left, bottom, width, height."""
    whole_width, whole_height = COLUMNS * INCHES, height * INCHES
    bottom = (height - place.y - place.height) * INCHES + LEGEND
    return (
        (place.x * INCHES + AXIS) / whole_width,
        bottom / whole_height,
        (place.width * INCHES - AXIS - PAD) / whole_width,
        (place.height * INCHES - LEGEND - TITLE - PAD) / whole_height,
    )


def values_of(line: Line, samples: list[Sample]) -> list[tuple[str, dict[datetime, float]]]:
    """Return the label and the values of each metric that is the line's."""
    beyond = {"reason"} if line.label is None else set()
    ours = defaultdict(list)
    for one in samples:
        more = dict(one.dimensions - line.dimensions)
        if (one.namespace, one.name) == (line.namespace, line.name) and more.keys() == beyond:
            ours[line.label or more["reason"]].append(one)
    return [
        (label, by_period(some, line.stat, line.period)) for label, some in sorted(ours.items())
    ]


def draw_table(axes: "Axes", table: Table, lines: list[dict[str, Any]]) -> None:
    """Write the first rows, the last column cut to what is left."""
    axes.set_axis_off()
    rows = [table.query.shown, *table.query.rows(lines)[:ROWS]]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    widths[-1] = CHARACTERS - sum(widths[:-1])
    for number, row in enumerate(rows):
        text = "".join(
            cut(cell, width).ljust(width) for cell, width in zip(row, widths, strict=True)
        )
        axes.text(
            (PAD - AXIS) / (table.place.width * INCHES - AXIS - PAD),
            1 - (number + 0.5) / (ROWS - 1),
            text.rstrip(),
            family="monospace",
            fontsize=7,
            weight="bold" if number == 0 else "normal",
            transform=axes.transAxes,
        )


def cut(text: str, width: int) -> str:
    """Return the text, shorter than the width."""
    return text if len(text) < width else f"{text[: width - 2]}…"


if __name__ == "__main__":
    random.seed("operations")  # repeats have jitter
    day = simulate()
    draw(read_widgets(), day.samples(), day.log, PICTURE)
