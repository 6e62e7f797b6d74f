"""The table: on the terminal, and in docs/benchmarks.md between two marks."""

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from benchmarks.prices import Line

BEGIN, END = "<!-- what `make bench` measured -->", "<!-- until here -->"


def show(console: Console, figures: Sequence[Figure], lines: Sequence[Line]) -> None:
    """Print figures and bill."""
    table = Table("", "Measured", "Must reach", "Beside it", show_lines=True)
    for one in figures:
        style = None if one.holds else "red"
        table.add_row(one.name, one.shown, one.must, one.beside, style=style)
    console.print(table)
    if lines:
        console.print(f"1,000 tenants cost ${_total(lines):.2f} a month:")
    for line in lines:
        console.print(f"  {line.what}: {line.arithmetic} = ${line.dollars:.2f}", highlight=False)


def write(path: Path, figures: Sequence[Figure], lines: Sequence[Line]) -> None:
    """Put the tables into the page, in place of the last ones."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    rows = [
        f"Measured on {date.today().isoformat()}: {machine}.",  # noqa: DTZ011  a person's date
        "",
        "| figure | measured | must reach | beside it |",
        "| --- | --- | --- | --- |",
        *(f"| {one.name} | {one.shown} | {one.must} | {one.beside} |" for one in figures),
        "",
        f"1,000 tenants cost ${_total(lines):.2f} a month:",
        "",
        "| | arithmetic | $ |",
        "| --- | --- | --- |",
        *(f"| {one.what} | {one.arithmetic} | {one.dollars:.2f} |" for one in lines),
    ]
    text = "\n".join([BEGIN, "", *rows, "", END])
    path.write_text(f"{before}{text}{after}", encoding="utf-8")


def _total(lines: Sequence[Line]) -> float:
    return sum(line.dollars for line in lines)
