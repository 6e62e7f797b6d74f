"""Show the state of tenants to people: a summary, a table, and what to do."""

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table

from visma_tokens_cli.assessment import State, Status, TenantStatus
from visma_tokens_cli.failures import FAILURES, SIGN_IN, explain
from visma_tokens_cli.screen import Text, counted, listed, out, shown_span

BAR = 8  # columns
NAMED = 5  # tenants with the same failure, of which the others are counted
WATCH_SECONDS = 5.0
BESIDE_ROWS = 12  # lines of the screen for everything but rows
STYLES = {
    State.WITHOUT: "red",
    State.LOST: "red",
    State.FAILING: "yellow",
    State.NEW: "yellow",
    State.DISABLED: "dim",
    State.LEAVING: "dim",
}


def watch_status(
    read: Callable[[int], Status], *, failing: bool, sleep: Callable[[float], None] = time.sleep
) -> NoReturn:
    """Show what fits the screen, anew every five seconds, until Ctrl-C or SIGTERM.

    A failed read is shown above the last table. It is raised if there is no table yet, or if the
    operator has to sign in again.
    """
    console, seen = out(), None
    with Live(Text("Reading …"), console=console, auto_refresh=False, screen=True) as live:
        while True:
            rows, parts = max(1, console.height - BESIDE_ROWS), []
            try:
                seen = read(rows)
            except FAILURES as error:
                failed = explain(error)
                if seen is None or failed.remedy == SIGN_IN:
                    raise
                at = datetime.now(UTC)
                parts = [Text(f"could not be read at {at:%H:%M:%S}Z: {failed.detail}", "red")]
            picture = Group(*parts, render(seen, failing=failing, most=rows))
            live.update(picture, refresh=True)
            sleep(WATCH_SECONDS)


def render(status: Status, *, failing: bool, most: int | None) -> RenderableType:
    """Return the summary, the table, and what is wrong, each with its remedy."""
    shown = status.only(failing=failing).tenants
    rows = shown[:most]
    parts: list[RenderableType] = [_summary(status)]
    if rows:
        parts.append(_Rows(rows, status.at))
    if len(shown) > len(rows):
        parts.append(Text(f"… and {len(shown) - len(rows):,} more: --all", style="dim"))
    causes: dict[tuple[str, str], list[str]] = {}
    for one in rows:
        if one.detail and one.remedy:
            causes.setdefault((one.detail, one.remedy), []).append(one.tenant)
    told = [
        (f"{listed(names, NAMED)}: {detail}", remedy) for (detail, remedy), names in causes.items()
    ]
    # the text of these errors says which document it is
    told += [(error.detail, error.remedy) for error in status.documents.values()]
    for words, remedy in told:
        parts.append(Text(f"\n{words}\n{remedy}"))
    return Group(*parts)


def _summary(status: Status) -> Text:
    counts = Counter(one.state for one in status.tenants)
    text = Text(counted(len(status.tenants), "tenant"))
    for number, state in enumerate(one for one in State if counts[one]):
        text.append(", " if number else ": ")
        text.append(f"{counts[state]:,} {state}", style=STYLES.get(state, ""))
    if status.documents:
        count = counted(len(status.documents), "document")
        text.append(f"; {count} can't be used", style="red")
    if status.compared < sum(bool(one.version) for one in status.tenants):
        text.append(f"; parameters of {status.compared:,} compared")
    return text


@dataclass(frozen=True)
class _Rows:
    """The table; if it is too wide, it drops columns first, and cuts names only then."""

    rows: list[TenantStatus]
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = ["Version", "bar", "Last failure"]  # in the order in which they are dropped
        unbound = options.update(width=sys.maxsize)
        table = self._table(columns)
        while columns and console.measure(table, options=unbound).maximum > options.max_width:
            columns = columns[1:]
            table = self._table(columns)
        yield table

    def _table(self, columns: list[str]) -> Table:
        table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("Tenant", overflow="ellipsis")
        table.add_column("State", no_wrap=True)
        table.add_column("Expires in", no_wrap=True)
        table.add_column("Renews in", no_wrap=True, justify="right")
        if "Version" in columns:
            table.add_column("Version", no_wrap=True, justify="right")
        if "Last failure" in columns:
            table.add_column("Last failure", no_wrap=True)
        for one in self.rows:
            table.add_row(
                one.tenant,
                Text(str(one.state), style=STYLES.get(one.state, "green")),
                _expiry(one, self.now, BAR if "bar" in columns else 0),
                _renewal(one, self.now),
                *([str(one.version or "")] if "Version" in columns else []),
                *([one.reason or ""] if "Last failure" in columns else []),
            )
        return table


def _expiry(one: TenantStatus, now: datetime, columns: int) -> RenderableType:
    if one.expires_at is None or one.issued_at is None or one.expires_at <= now:
        return Text("expired" if one.expires_at else "", style="red")
    left = one.expires_at - now
    whole = max(one.expires_at - one.issued_at, timedelta(seconds=1))
    filled = min(columns, -(-columns * left // whole))
    bar = f"{'━' * filled}{'╌' * (columns - filled)}{' ' if columns else ''}"
    return Text.assemble((bar, "red" if left < timedelta(minutes=5) else "green"), shown_span(left))


def _renewal(one: TenantStatus, now: datetime) -> str:
    if one.renews_at is None or one.state in {State.DISABLED, State.LEAVING}:
        return ""
    return shown_span(one.renews_at - now) if one.renews_at > now else "next run"
