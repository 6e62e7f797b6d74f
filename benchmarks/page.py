"""Print the tables on the terminal, and write them into pages of docs/ between two marks."""

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.prices import Counted, bill, quantities

BEGIN, END = "<!-- what `make bench` measured -->", "<!-- until here -->"


def show(console: Console, figures: Sequence[Figure], counted: Sequence[Counted]) -> None:
    """Print the table of figures and the bill."""
    table = Table("", "Measured", "Must reach", "Beside it", show_lines=True)
    for one in figures:
        style = None if one.holds else "red"
        table.add_row(one.name, one.shown, one.must, one.beside, style=style)
    console.print(table)
    if counted:
        head, *rows = _bill(counted)
        costs = Table(*head, title="Dollars a month", show_lines=True)
        for row in rows:
            costs.add_row(*row)
        console.print(costs)


def write(path: Path, figures: Sequence[Figure]) -> None:
    """Replace the figures in a page."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    rows = [
        f"Measured on {date.today().isoformat()}: {machine}.",  # noqa: DTZ011  a person's date
        "",
        "| figure | measured | must reach | beside it |",
        "| --- | --- | --- | --- |",
        *(f"| {one.name} | {one.shown} | {one.must} | {one.beside} |" for one in figures),
    ]
    _replace(path, rows)


def write_bill(path: Path, counted: Sequence[Counted]) -> None:
    """Replace the bill in a page."""
    head, *rows, total = _bill(counted)
    bold = [cell and f"**{cell}**" for cell in total]
    table = (head, ["---"] * len(head), *rows, bold)
    _replace(path, [f"| {' | '.join(row)} |".replace("|  |", "| |") for row in table])


def _bill(counted: Sequence[Counted]) -> list[list[str]]:
    """Return the rows of the bill: numbers of tenants, quantities, lines and the sum."""
    lines = list(bill(counted))
    totals = [sum(some) for some in zip(*(line.dollars for line in lines), strict=True)]
    return [
        ["tenants", "", *(f"{one.tenants:,}" for one in counted)],
        *(["", name, *values] for name, values in quantities(counted)),
        *([line.what, line.arithmetic, *map("${:.2f}".format, line.dollars)] for line in lines),
        ["a month", "", *map("${:.2f}".format, totals)],
    ]


def _replace(path: Path, rows: Sequence[str]) -> None:
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    text = "\n".join([BEGIN, "", *rows, "", END])
    path.write_text(f"{before}{text}{after}", encoding="utf-8")
