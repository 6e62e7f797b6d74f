"""How each tenant is: ledger, configuration and parameters, the worst first."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import batched
from typing import Any, NoReturn

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.table import Table

from token_issuer.errors import IssuerError
from token_issuer.ledger.records import Memory, Record
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.plan import waited_for
from token_issuer.tokens.renewal import purpose_of, renew_at
from visma_tokens_cli.failures import FAILURES, SIGN_IN, explain
from visma_tokens_cli.screen import Text, listed, out, plain, shown_span
from visma_tokens_cli.stack import Stack, reads

TEN = 10  # names that GetParameters takes
FEW = 500  # tenants whose parameters are all compared: in six seconds
BAR = 8  # columns
NAMED = 5  # tenants that fail alike
WATCH_SECONDS = 5.0
BESIDE_ROWS = 12  # lines of a screen that are none of the table's rows


class State(StrEnum):
    """How a tenant is, the worst first."""

    WITHOUT = "no token"
    LOST = "lost"  # the parameter holds another token than the ledger knows, or none
    FAILING = "failing"  # its token lives, the last attempt to renew it failed
    NEW = "new"  # configured, and not asked for yet
    DUE = "due"
    LEAVING = "leaving"  # vanished from the configuration; goes when its token has expired
    FRESH = "fresh"
    DISABLED = "disabled"


ORDER = {state: number for number, state in enumerate(State)}
WORRYING = frozenset({State.WITHOUT, State.LOST, State.FAILING, State.NEW})
STYLES = {
    State.WITHOUT: "red",
    State.LOST: "red",
    State.FAILING: "yellow",
    State.NEW: "yellow",
    State.DISABLED: "dim",
    State.LEAVING: "dim",
}


@dataclass(frozen=True, kw_only=True)
class TenantStatus:
    """One tenant; times are None where there is no token, `reason` where nothing failed."""

    tenant: str
    client: str
    state: State
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    renews_at: datetime | None = None
    version: int | None = None
    stored_version: int | None = None
    reason: str | None = None
    detail: str | None = None
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return plain(self)


@dataclass(frozen=True, kw_only=True)
class Status:
    """All tenants, the worst first, and what is wrong with documents by parameter or name.

    `compared` counts those whose parameter has been compared with the ledger.
    """

    at: datetime
    tenants: list[TenantStatus]
    documents: dict[str, IssuerError]
    compared: int = 0

    def of_failing(self) -> "Status":
        """Return it with those only that need attention."""
        return replace(self, tenants=[one for one in self.tenants if one.state in WORRYING])

    @property
    def is_well(self) -> bool:
        """Tell whether each tenant that is to have a token has one, and can be renewed."""
        return not self.documents and not any(one.state in WORRYING for one in self.tenants)

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return {
            "at": self.at.isoformat(timespec="seconds"),
            "counts": Counter(str(one.state) for one in self.tenants),
            "compared": self.compared,
            "tenants": [one.as_dict() for one in self.tenants],
            "documents": {
                name: {"detail": error.detail, "remedy": error.remedy}
                for name, error in self.documents.items()
            },
        }


def read_status(stack: Stack, *, failing: bool = False, most: int | None = None) -> Status:
    """Read ledger and configuration, and compare with the parameters those that `choose` says."""
    memory = stack.read_ledger()
    configuration = stack.read_tenants(memory)
    status = assess(memory, configuration, datetime.now(UTC), stack.settings)
    chosen = choose(status, failing=failing, most=most)
    compared = read_compared(stack, configuration, chosen)
    tenants = [compared.get(one.tenant, one) for one in status.tenants]
    return replace(status, tenants=sorted(tenants, key=_place), compared=len(compared))


def choose(status: Status, *, failing: bool, most: int | None) -> list[TenantStatus]:
    """Return whose parameters are compared: all, or of many those that are shown; pure."""
    if most is None or len(status.tenants) <= FEW:
        return status.tenants
    return _shown(status, failing=failing)[:most]


def _shown(status: Status, *, failing: bool) -> list[TenantStatus]:
    return (status.of_failing() if failing else status).tenants


def assess(
    memory: Memory, configuration: Configuration, now: datetime, settings: Settings
) -> Status:
    """Decide how each tenant is by what the ledger knows; pure."""
    names = configuration.tenants.keys() | memory.records.keys()
    tenants = [
        _assess(name, configuration.tenants.get(name), memory.records.get(name), now, settings)
        for name in names
    ]
    return Status(
        at=now, tenants=sorted(tenants, key=_place), documents=dict(configuration.invalid)
    )


def _assess(
    name: str, tenant: Tenant | None, record: Record | None, now: datetime, settings: Settings
) -> TenantStatus:
    issued = record.issued if record else None
    failure = record.failure if record else None
    renews_at = renew_at(name, issued, settings) if issued else None
    if tenant and issued and issued.purpose != purpose_of(tenant, settings):
        renews_at = now
    if tenant and not tenant.enabled:
        state = State.DISABLED
    elif not tenant:
        state = State.LEAVING
    elif record is None:
        state, renews_at = State.NEW, now
    elif issued is None or issued.expires_at <= now:
        state = State.WITHOUT
    elif issued.lost_at:
        state = State.LOST
    elif failure:
        state = State.FAILING
    elif renews_at and renews_at <= now:
        state = State.DUE
    else:
        state = State.FRESH
    status = TenantStatus(
        tenant=name,
        client=tenant.client if tenant else record.client if record else "",
        state=state,
        issued_at=issued.issued_at if issued else None,
        expires_at=issued.expires_at if issued else None,
        renews_at=renews_at,
        version=issued.version if issued else None,
    )
    if failure is None or tenant is None:
        return status
    waiting = record and waited_for(record, now)
    recalled = IssuerError.recall(failure.reason, failure.detail, failure.code)
    return replace(
        status,
        reason=failure.reason,
        detail=recalled.detail,
        remedy=recalled.remedy,
        renews_at=failure.next_attempt_at if waiting else renews_at,
    )


def read_compared(
    stack: Stack, configuration: Configuration, tenants: Iterable[TenantStatus]
) -> dict[str, TenantStatus]:
    """Return those that have a token by the ledger, compared with their parameters, by tenant.

    Where they disagree, the ledger is read once more: a run stores a token, then records it.
    """
    known = {one.tenant: one for one in tenants if one.version}
    stored = read_versions(stack, known)
    disagreeing = {name for name, one in known.items() if one.version != stored.get(name)}
    if disagreeing:
        later = assess(stack.read_ledger(), configuration, datetime.now(UTC), stack.settings)
        known = {name: one for name, one in known.items() if name not in disagreeing}
        known |= {one.tenant: one for one in later.tenants if one.tenant in disagreeing}
    return {name: compare(one, stored) for name, one in known.items()}


def read_versions(stack: Stack, names: Iterable[str]) -> dict[str, int]:
    """Return the versions of token parameters by tenant, read undecrypted; none where it is gone.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
    """
    ssm, pacer, path = stack.aws.client("ssm"), reads(), f"{stack.settings.tokens_path}/"
    versions: dict[str, int] = {}
    for some in batched(names, TEN, strict=False):
        page = pacer.send(partial(ssm.get_parameters, Names=[f"{path}{name}" for name in some]))
        versions |= {one["Name"].removeprefix(path): one["Version"] for one in page["Parameters"]}
    return versions


def compare(status: TenantStatus, stored: Mapping[str, int]) -> TenantStatus:
    """Say where the parameter holds another token than the ledger's, or none."""
    if status.version is None:
        return status
    version = stored.get(status.tenant)
    if version == status.version:
        return replace(status, stored_version=version)
    detail = (
        "The parameter holds another version than the ledger"
        if version
        else "The parameter is gone"
    )
    is_to_have = status.state in {State.FRESH, State.DUE, State.FAILING, State.LOST}
    return replace(
        status,
        state=State.LOST if is_to_have else status.state,
        stored_version=version,
        reason=status.reason or "TokenLost",
        detail=status.detail or detail,
        remedy=status.remedy or "Nothing: a run within the hour finds out and issues a new one.",
    )


def _place(status: TenantStatus) -> tuple[int, datetime, str]:
    late = datetime.max.replace(tzinfo=UTC)
    return ORDER[status.state], status.expires_at or late, status.tenant


# For people


def watch_status(
    read: Callable[[int], Status], *, failing: bool, sleep: Callable[[float], None] = time.sleep
) -> NoReturn:
    """Show what fits the screen, and again every five seconds, until Ctrl-C or SIGTERM.

    A failure is shown above the last picture, unless there is none or one has to sign in again.
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
    shown = _shown(status, failing=failing)
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
    # these name themselves
    told += [(error.detail, error.remedy) for error in status.documents.values()]
    for words, remedy in told:
        parts.append(Text(f"\n{words}\n{remedy}"))
    return Group(*parts)


def _summary(status: Status) -> Text:
    counts = Counter(one.state for one in status.tenants)
    count = len(status.tenants)
    text = Text(f"{count:,} tenant{'' if count == 1 else 's'}")
    for number, state in enumerate(one for one in State if counts[one]):
        text.append(", " if number else ": ")
        text.append(f"{counts[state]:,} {state}", style=STYLES.get(state, ""))
    if status.documents:
        count = len(status.documents)
        text.append(f"; {count} document{'s' if count > 1 else ''} can't be used", style="red")
    if status.compared < sum(bool(one.version) for one in status.tenants):
        text.append(f"; parameters of {status.compared:,} compared")
    return text


@dataclass(frozen=True)
class _Rows:
    """The table; where it is too wide it has fewer columns, and half a name only then."""

    rows: list[TenantStatus]
    now: datetime

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = ["Version", "bar", "Last failure"]  # the least missed first
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
