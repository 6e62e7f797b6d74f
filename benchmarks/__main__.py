"""`python -m benchmarks` measures, and writes docs/; exit code 1: a figure is out of bounds."""

import argparse
import sys
import time
from dataclasses import replace
from functools import partial

from rich.console import Console
from rich.status import Status

from benchmarks import page
from benchmarks.chart import draw, measure_points
from benchmarks.figures import Effort, Figure, cold_start, paced, reading, ten_thousand, unpaced
from benchmarks.measuring import PROJECT
from benchmarks.prices import Counted
from local.processes import raise_on_signals

GROUPS = {
    "paced": paced,
    "unpaced": unpaced,
    "ten-thousand": ten_thousand,
    "cold-start": cold_start,
    "reading": reading,
}
CHART = "chart"
INTERRUPTED = 130


def main() -> int:
    """Parse the command line, measure, and return the exit code."""
    raise_on_signals()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the issuer beside how others do it. Without a group: all of them,"
        " which takes some 20 minutes, and docs/benchmarks.md and .svg and the costs in"
        " docs/operations.md are written anew.",
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}, chart")
    parser.add_argument("--rounds", type=int, default=3, help="of which the median is shown (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="of the tenants, to try it (1)")
    arguments = parser.parse_args()
    if unknown := set(arguments.groups) - {*GROUPS, CHART}:
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    try:
        return bench(arguments.groups, Effort(rounds=arguments.rounds, scale=arguments.scale))
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.")  # noqa: T201  its purpose
        return INTERRUPTED


def bench(groups: list[str], effort: Effort) -> int:
    """Measure and show the groups; write the docs if all groups are measured in full."""
    console, started = Console(), time.monotonic()
    found: list[Figure | Counted] = []
    for name in groups or [*GROUPS, CHART]:
        with console.status(f"Measuring {name} …") as status:
            told = replace(effort, tell=partial(_tell, status, name))
            if name == CHART:
                points = measure_points(told)
            else:
                found += GROUPS[name](told)
        console.print(f"{time.monotonic() - started:6.0f} s  {name}", highlight=False)
    figures = [one for one in found if isinstance(one, Figure)]
    counted = [one for one in found if isinstance(one, Counted)]
    page.show(console, figures, counted)
    if not groups and effort == Effort():
        page.write(PROJECT / "docs/benchmarks.md", figures)
        page.write_bill(PROJECT / "docs/operations.md", counted)
        draw(points, PROJECT / "docs/benchmarks.svg")
        console.print("Kept in docs/benchmarks.md and .svg, the costs in docs/operations.md")
    return 0 if all(one.holds for one in figures) else 1


def _tell(status: Status, name: str, what: str) -> None:
    status.update(f"Measuring {name}, {what} …")


if __name__ == "__main__":
    sys.exit(main())
