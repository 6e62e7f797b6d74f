"""`visma-tokens apply`: show the plan for a file of tenants, ask, and write it."""

from collections import Counter

from rich.console import Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visma_tokens_cli.asking import confirm
from visma_tokens_cli.contents import to_json
from visma_tokens_cli.exit_codes import WELL
from visma_tokens_cli.failures import telling
from visma_tokens_cli.function import exit_code, print_report, run_now
from visma_tokens_cli.plan import Action, Change, Plan, plan
from visma_tokens_cli.screen import Text, err, out, print_json, say
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.store import Store, open_store
from visma_tokens_cli.tenants_file import Tenants

MOST_ADDED = 40  # shown by name; tenants that change or go are always shown
MARKS = {Action.ADD: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.REMOVE: ("-", "red")}


def apply_tenants(  # noqa: PLR0913  the command's options
    stack: Stack, wanted: Tenants, *, dry_run: bool, yes: bool, renew: bool, as_json: bool
) -> int:
    """Show the plan, ask, write, invoke the function for tokens, and return the exit code."""
    store = open_store(stack)
    planned = plan(store.read(), wanted)
    is_applied, report = bool(planned.writes) and not dry_run, None
    if not as_json:
        out().print(render(planned))
    elif is_applied and not yes:
        err().print(render(planned))  # the question below is about it
    if is_applied:
        confirm("Write that?", yes=yes)
        apply_plan(store, planned)
        say("Written.")
        with telling(lambda: "All is written; tokens were not issued"):
            report = run_now(stack, {}) if renew else None
    if as_json:
        print_json(planned.as_dict() | {"applied": is_applied, "report": report})
    elif report:
        print_report(report, as_json=False)
    return exit_code(report) if report else WELL


def apply_plan(store: Store, planned: Plan) -> None:
    """Make the writes, one after the other, with a progress bar on a terminal.

    If one fails, the writes before it stay, and the failure says how many they are. Run the
    command again for the rest.
    """

    def done() -> str:
        words = f"{written:,} of {len(planned.writes):,} parameters are written"
        return f"{words}; run it again to finish" if written else ""

    written = 0
    console = err()
    columns = (TextColumn("Writing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(
        *columns,
        console=console,
        disable=not console.is_terminal,
        auto_refresh=False,  # a refresh would hide a question of the AWS SDK, as for a code
    )
    with telling(done), progress:
        for write in progress.track(planned.writes):
            if write.before is None:
                store.create(write.name, str(write.text))
            elif write.text is None:
                store.delete(write.before)
            else:
                store.overwrite(write.before, write.text)
            written += 1


def render(planned: Plan) -> RenderableType:
    """Return the plan as a diff, with the counts below it."""
    counts = Counter(one.action for one in planned.changes)
    added = [one for one in planned.changes if one.action is Action.ADD]
    hidden = {one.tenant for one in added[MOST_ADDED:]}
    parts = [_line(one) for one in planned.changes if one.tenant not in hidden]
    if hidden:
        more = Text(f"+ … and {len(hidden):,} more", style="green")
        parts.insert(len(parts) - counts[Action.REMOVE], more)  # removals come last
    words = [f"{counts[action]:,} to {action}" for action in Action]
    parts.append(
        Text(
            f"{', '.join(words)}, {planned.unchanged:,} unchanged;"
            f" parameters to write: {len(planned.writes):,}"
        )
    )
    return Group(*parts)


def _line(change: Change) -> Text:
    mark, style = MARKS[change.action]
    text = Text(f"{mark} {change.tenant}", style=style)
    if change.broken:
        text.append(f"  (can't be used now: {change.broken})")
    is_new = change.action is Action.ADD or change.broken
    for number, (member, (old, new)) in enumerate(change.members.items()):
        text.append(", " if number else "  ")
        text.append(
            f"{member} {_spelt(new)}" if is_new else f"{member} {_spelt(old)} → {_spelt(new)}"
        )
    return text


def _spelt(value: object) -> str:
    return "none" if value is None else to_json(value)
