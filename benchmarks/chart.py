"""Draw `docs/benchmarks.svg`: renewals per half hour by number of tenants, beside the quota."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.endpoints import Settings
from benchmarks.figures import AWS_SECONDS, TOKEN_SECONDS, Effort
from benchmarks.measuring import TIMEOUT_SECONDS, measure

RUNS = 6  # in half an hour, which is how long a token is kept
QUOTA = 3  # writes a second, the default
TENANTS = (600, 1800, 3000, 4200, 5400)
WAYS = {
    "issuer": "this issuer, WritesPerSecond 2.4",
    "serial": "serial loop",
    "adaptive": "8 threads, adaptive SDK retries",
    "standard": "8 threads, SDK retries",
}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of the chart: the tokens that one way renewed in half an hour."""

    way: str
    tenants: int
    renewed: int


def measure_points(effort: Effort) -> list[Point]:
    """Measure one run of 290 s for each way and number of tenants, of whom a sixth is due.

    All runs go side by side: each uses a few per cent of a core, because it waits for the quota.
    """
    seconds = TIMEOUT_SECONDS if effort.scale == 1 else 40.0
    effort.tell(f"one run of at most {seconds:.0f} s for each point, all at once")

    def point(way: str, tenants: int) -> Point:
        due = effort.tenants(tenants // RUNS)
        endpoints = Settings(
            tenants=due, token_seconds=TOKEN_SECONDS, aws_seconds=AWS_SECONDS, quota=QUOTA
        )
        [run] = measure(way, endpoints, seconds=seconds)
        return Point(way=way, tenants=tenants, renewed=len(run.stored) * RUNS)

    with ThreadPoolExecutor(len(WAYS) * len(TENANTS)) as pool:
        return list(pool.map(lambda one: point(*one), product(WAYS, TENANTS)))


def draw(points: list[Point], path: Path) -> None:
    """Draw the points as lines, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415  it takes a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.add_subplot()
        quota = QUOTA * 30 * 60
        axes.axhline(quota, color="black", linewidth=1, linestyle="--")
        axes.text(0, quota * 1.02, f"quota: {QUOTA} writes a second = {quota:,}")
        axes.plot([0, quota], [0, quota], color="lightgray", linewidth=1)
        for way, label in WAYS.items():
            line = [(one.tenants, one.renewed) for one in points if one.way == way]
            axes.plot(*zip(*line, strict=True), marker="o", markersize=4, label=label)
        axes.set_xlabel("tenants")
        axes.set_ylabel("tokens renewed in half an hour")
        axes.set_xlim(0)
        axes.set_ylim(0, quota * 1.12)
        axes.legend(loc="upper left", bbox_to_anchor=(0, 0.9), frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
