"""Measure the figures, each with its bound and beside what it is compared with."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.endpoints import Settings
from benchmarks.measuring import (
    PROJECT,
    UNPACED,
    Run,
    calls_of,
    function_environment,
    measure,
    serving,
)
from benchmarks.prices import Counted
from local.aws import Account, build
from token_issuer.tokens.endpoint import EARLY_SECONDS

TOKEN_SECONDS, AWS_SECONDS = 0.060, 0.015  # latency: of a Region nearby, of the same Region
CALLS_PER_TOKEN = 2  # to AWS, one after the other: store the token, record it
SLOW_SECONDS = 0.3
SERIAL_MEASURED = 100  # tenants that the serial loop is timed with; the figure is scaled up
COLD_STARTS = 15
LOOK_UPS = 100_000


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row of the table; `value` must be at most `most`, and at least `least`."""

    name: str
    shown: str
    beside: str = ""
    value: float = 0.0
    most: float | None = None
    least: float | None = None

    @property
    def must(self) -> str:
        """Return the bound in words."""
        if self.most is not None:
            return f"≤ {self.most:g}"
        return f"≥ {self.least:g}" if self.least is not None else ""

    @property
    def holds(self) -> bool:
        """Tell whether the value is within its bounds."""
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much to measure; with less than the default, the figures mean nothing."""

    rounds: int = 3  # the median of them is shown
    scale: float = 1.0  # multiplies the numbers of tenants
    tell: Callable[[str], None] = field(default=lambda _: None, compare=False)

    def each_round(self) -> Iterator[int]:
        """Yield the number of each round, and report it as progress."""
        for number in range(self.rounds):
            self.tell(f"round {number + 1} of {self.rounds}")
            yield number

    def tenants(self, count: int) -> int:
        """Return a number of tenants, scaled, and at least two."""
        return max(2, round(count * self.scale))


def paced(effort: Effort) -> Iterator[Figure]:
    """Measure runs at the quota: with the pacer, with the SDK's retries, with a slow endpoint."""
    tenants, quota = effort.tenants(600), 10
    usual = Settings(
        tenants=tenants, token_seconds=TOKEN_SECONDS, aws_seconds=AWS_SECONDS, quota=quota
    )
    slow = replace(usual, token_seconds=SLOW_SECONDS, hanging_every=50)
    healthy = tenants - len(slow.hanging)
    most = 1.5 * tenants / quota  # seconds; the serial loop is stopped after them
    measured = min(SERIAL_MEASURED, tenants)
    ours, retries, adaptive, ours_slow, serial_slow, serial_patient = (
        [run for [run] in runs]
        for runs in zip(
            *(
                _side_by_side(
                    lambda: measure("issuer", usual, WRITES_PER_SECOND=quota),
                    lambda: measure("standard", usual),
                    lambda: measure("adaptive", usual),
                    lambda: measure("issuer", slow, WRITES_PER_SECOND=quota),
                    lambda: measure("serial", slow, seconds=most),
                    lambda: measure("serial-with-time-out", slow, first=measured),
                )
                for _ in effort.each_round()
            ),
            strict=True,
        )
    )
    for run in ours:
        done(run, issued=tenants, deferred=0)
    for run in ours_slow:
        done(run, issued=healthy, deferred=0)
    ratio = median(run.seconds_to_last_token for run in ours) / (tenants / quota)
    throttled = max(run.throttled for run in ours)
    yield Figure(
        name=f"{tenants} tenants at {quota} writes a second: time over tenants ÷ quota",
        shown=f"{ratio:.3f}",
        beside=f"SDK retries alone: {_alone(retries, tenants, quota)};"
        f" adaptive ones: {_alone(adaptive, tenants, quota)}",
        value=ratio,
        most=1.03,
    )
    yield Figure(
        name="… throttled calls", shown=str(throttled), value=throttled, most=0,
        beside=f"SDK retries alone: {median(run.throttled for run in retries):.0f};"
        f" adaptive ones: {median(run.throttled for run in adaptive):.0f}",
    )  # fmt: skip
    ratio = median(run.seconds_to_last_token for run in ours_slow) / (healthy / quota)
    serial = serial_slow[-1]
    patient = [run.seconds_to_last_token / len(run.stored) * quota for run in serial_patient]
    yield Figure(
        name=f"… endpoint with {SLOW_SECONDS * 1000:.0f} ms, {len(slow.hanging)} hang: time to the"
        f" last of {healthy} healthy tokens",
        shown=f"{ratio:.3f}",
        beside=f"serial loop: {len(serial.stored)} tokens, then it hangs with the first who does;"
        f" with a time-out of 10 s {median(patient):.2f} (of {measured} tenants)",
        value=ratio,
        most=1.15,
    )


def _alone(runs: list[Run], tenants: int, quota: float) -> str:
    ratio = median(run.seconds_to_last_token for run in runs) / (tenants / quota)
    lost = median(tenants - len(run.stored) for run in runs)
    return f"{lost:.0f} tokens lost, the last one stored at {ratio:.3f}"


def _side_by_side(*measurements: Callable[[], list[Run]]) -> list[list[Run]]:
    """Measure several at once: at ten writes a second, each has processor time enough."""
    with ThreadPoolExecutor(len(measurements)) as pool:
        return [one.result() for one in [pool.submit(each) for each in measurements]]


def done(run: Run, **expected: int) -> Run:
    """Return the run if its report has the expected counts; raises SystemExit otherwise."""
    report = run.report or {}
    found = {name: report.get(name) for name in expected} | {"stored": len(run.stored)}
    if found != expected | {"stored": expected.get("issued", 0)}:
        raise SystemExit(f"A measured run was to have {expected}, and it has {found}")
    return run


def unpaced(effort: Effort) -> Iterator[Figure]:
    """Measure runs without a quota: how near to the latency, how much faster than a serial loop."""
    tenants = effort.tenants(1000)
    measured = min(SERIAL_MEASURED, tenants)
    settings = Settings(tenants=tenants, token_seconds=TOKEN_SECONDS, aws_seconds=AWS_SECONDS)
    # seconds for one tenant
    alone = EARLY_SECONDS + TOKEN_SECONDS + CALLS_PER_TOKEN * AWS_SECONDS
    seconds: dict[object, list[float]] = {8: [], 32: [], "serial": []}
    for _ in effort.each_round():
        for concurrency in (8, 32):
            [run] = measure("issuer", settings, WRITES_PER_SECOND=UNPACED, CONCURRENCY=concurrency)
            seconds[concurrency].append(done(run, issued=tenants).seconds_to_last_token)
        [run] = measure("serial", settings, first=measured)
        seconds["serial"].append(run.seconds_to_last_token * tenants / measured)
    eight, many = (median(seconds[concurrency]) for concurrency in (8, 32))
    ratio, ratio_of_many = eight / (alone * tenants / 8), many / (alone * tenants / 32)
    faster = _median_ratio(seconds["serial"], seconds[8])
    yield Figure(
        name=f"{tenants} tenants unpaced, 8 at a time: time over latency × tenants ÷ 8",
        shown=f"{ratio:.2f}",
        beside=f"32 at a time: {ratio_of_many:.2f} (over ÷ 32)",
        value=ratio,
        most=1.15,
    )
    yield Figure(
        name="… how many times faster than the serial loop",
        shown=f"{faster:.1f}",
        beside=f"32 at a time: {_median_ratio(seconds['serial'], seconds[32]):.1f}",
        value=faster,
        least=6,
    )


def _median_ratio(these: list[float], those: list[float]) -> float:
    """Return the median of the ratios within each round: a busy machine slows both down."""
    return median(one / other for one, other in zip(these, those, strict=True))


FORCE = {"force": True}
GROWTH = (100, 1000, 10_000)  # tenants
FEW = 10


def ten_thousand(effort: Effort) -> Iterator[Figure | Counted]:
    """Measure calls, processor time and memory of three runs: all due, none due, all forced."""
    few, *sizes = (effort.tenants(count) for count in (FEW, *GROWTH))
    runs: dict[int, list[list[Run]]] = {count: [] for count in (few, *sizes)}
    for _ in effort.each_round():
        for count, rounds in runs.items():
            rounds.append(
                measure(
                    "issuer",
                    Settings(tenants=count),
                    events=({}, {}, FORCE),
                    WRITES_PER_SECOND=UNPACED,
                )
            )
    for count, measured in runs.items():
        for first, tick, again in measured:
            done(first, issued=count)
            done(tick, issued=0, fresh=count)
            done(again, issued=count)
    hundred, thousand, most = sizes
    ticks = [tick for _, tick, _ in runs[most]]
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(ticks[0].counts.items()))
    calls = max(tick.counts.total() for tick in ticks)
    yield Figure(
        name=f"a tick with {most:,} tenants of whom none is due: API calls",
        shown=str(calls),
        beside=kinds,
        value=calls,
        most=120,
    )
    seconds = median(tick.cpu_seconds for tick in ticks)
    yield Figure(
        name="… processor time, in seconds", shown=f"{seconds:.2f}", value=seconds, most=1.5
    )
    fastest = max(_most_in_a_second(tick, "GetParameter") for tick in ticks)
    yield Figure(
        name="… reads of Parameter Store in any second", shown=str(fastest), value=fastest, most=9,
        beside="of 40 that the account has",
    )  # fmt: skip
    peak = max(again.peak_bytes for _, _, again in runs[most]) / 1e6
    yield Figure(
        name=f"peak memory in MB, issuing for {most:,} tenants that the ledger knows",
        shown=f"{peak:.0f}",
        value=peak,
        most=160,
    )
    each = {
        count: median(again.cpu_seconds for _, _, again in runs[count]) / count for count in sizes
    }
    growth = each[most] / each[hundred]
    further = (
        f"each further tenant up to {larger:,}:"
        f" {(each[larger] * larger - each[less] * less) / (larger - less) * 1000:.1f} ms"
        for less, larger in pairwise(sizes)
    )
    yield Figure(
        name=f"growth: processor time per tenant, {most:,} tenants over {hundred}",
        shown=f"{growth:.2f}",
        beside="; ".join(further),
        value=growth,
        most=1.0,
    )
    yield Figure(
        name="processor time per token, in milliseconds",
        shown=f"{each[thousand] * 1000:.1f}",
        beside=f"{each[most] * 1000:.1f} with {most:,} tenants",
    )
    yield from (_counted(runs[count][0], count) for count in (few, thousand, most))


def _most_in_a_second(run: Run, prefix: str) -> int:
    times = [call.at for call in run.calls if call.operation.startswith(prefix)]
    return max(sum(at <= other < at + 1 for other in times) for at in times)


def _counted(runs: list[Run], tenants: int) -> Counted:
    """Return the counts for the bill; those per token are of the forced run without a tick's."""
    _, tick, again = runs
    ledger_writes = again.counts["UpdateItem"] - tick.counts["UpdateItem"]
    return Counted(
        tenants=tenants,
        writes_per_token=again.counts["PutParameter"] / tenants,
        ledger_writes_per_token=ledger_writes / tenants,
        log_bytes_per_token=(again.log_bytes - tick.log_bytes) / tenants,
        tick_seconds=tick.ended_at - tick.begun_at,
        ledger_writes_per_tick=tick.counts["UpdateItem"],
        ledger_bytes_per_tenant=sum(
            call.answer_bytes for call in tick.calls if call.operation == "Scan"
        ) / tenants,
        parameter_reads_per_tick=sum(
            count for kind, count in tick.counts.items() if kind.startswith("GetParameter")
        ),
        secret_reads_per_run=sum(
            count for kind, count in again.counts.items() if "Secret" in kind
        ),
        log_bytes_per_tick=tick.log_bytes,
    )  # fmt: skip


def reading(effort: Effort) -> Iterator[Figure]:
    """Measure consumers' reads: from the cache, and of a hundred threads with an empty cache."""
    seconds: dict[str, list[float]] = {"dictionary": [], "reader": [], "others": []}
    calls: dict[str, list[int]] = {"reader": [], "others": []}
    look_ups = effort.tenants(LOOK_UPS)
    with TemporaryDirectory(prefix="bench-") as temporary:
        settings = Settings(tenants=1, aws_seconds=AWS_SECONDS)
        with serving("aws", settings, Path(temporary)) as aws:
            environment = function_environment(PYTHONPATH="reader", AWS_ENDPOINT_URL=aws)
            for _ in effort.each_round():
                for way, taken in _read("cached", look_ups, environment).items():
                    seconds[way].append(taken)
                for way, counted in calls.items():
                    before = len(calls_of(aws))
                    _read(way, look_ups, environment)
                    counted.append(len(calls_of(aws)) - before)
    over, over_of_others = (
        median(a - b for a, b in zip(seconds[way], seconds["dictionary"], strict=True)) * 1e6
        for way in ("reader", "others")
    )
    yield Figure(
        name="a cached read by the Python reader over a dictionary's look-up, in microseconds",
        shown=f"{over:.2f}",
        beside=f"Powertools' `get_parameter`: {over_of_others:.2f}",
        value=over,
        most=2,
    )
    yield Figure(
        name="… calls when a hundred threads ask at once for what nobody has cached",
        shown=str(max(calls["reader"])),
        beside=f"Powertools: {median(calls['others']):.0f}",
        value=max(calls["reader"]),
        most=1,
    )


def _read(what: str, look_ups: int, environment: dict[str, str]) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603  the command is ours
        [sys.executable, str(PROJECT / "benchmarks/reading.py"), what, str(look_ups)],
        cwd=PROJECT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def cold_start(effort: Effort) -> Iterator[Figure]:
    """Measure the time from start to first call, beside a process without our code.

    It is measured as deployed, without compiled files as `sam build` leaves it, and with them.
    """
    with TemporaryDirectory(prefix="bench-") as temporary:
        folder = Path(temporary)
        build(Account("http://127.0.0.1:9"), folder)  # `build` calls no AWS API
        package, compiled = folder / "build/Function", folder / "compiled"
        with serving("aws", Settings(tenants=2), folder) as aws:
            environment = function_environment(
                PYTHONPATH=package,
                PYTHONPYCACHEPREFIX=compiled,
                PYTHONDONTWRITEBYTECODE="",
                TOKEN_ENDPOINT=f"{aws}/connect/token",
                AWS_ENDPOINT_URL=aws,
            )
            starts = COLD_STARTS if effort.scale == 1 else 1
            _cold_starts(1, aws, environment)  # to compile the files
            effort.tell("compiled")
            best = _cold_starts(starts, aws, environment)
            shutil.rmtree(compiled / package.relative_to("/"))
            effort.tell("as deployed")
            deployed = _cold_starts(starts, aws, environment | {"PYTHONDONTWRITEBYTECODE": "1"})
    yield _cold(
        "cold start: process to first call, over importing and making what a run needs", deployed
    )
    yield _cold("… with all of it compiled, which Lambda does not keep", best)


def _cold(name: str, seconds: tuple[float, float]) -> Figure:
    ours, bare = seconds
    return Figure(
        name=name,
        shown=f"{ours / bare:.2f}",
        beside=f"{ours * 1000:.0f} and {bare * 1000:.0f} ms",
        value=ours / bare,
        most=1.1,
    )


def _cold_starts(count: int, aws: str, environment: dict[str, str]) -> tuple[float, float]:
    """Return the median seconds of the issuer and of the bare process, measured by turns."""
    starts = [
        (_first_call("issuer", aws, environment), _first_call("bare", aws, environment))
        for _ in range(count)
    ]
    ours, bare = zip(*starts, strict=True)
    return median(ours), median(bare)


def _first_call(way: str, aws: str, environment: dict[str, str]) -> float:
    """Return the seconds from the start of a process until its first call came in."""
    before = len(calls_of(aws))
    begun_at = time.monotonic()
    subprocess.run(  # noqa: S603  the command is ours
        [sys.executable, str(PROJECT / "benchmarks/cold_start.py"), way],
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return calls_of(aws)[before].at - begun_at
