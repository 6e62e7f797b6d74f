"""The tenants as a file has them: read it, plan (pure), write."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from token_issuer.tenants.configuration import parse_configuration
from visma_tokens_cli.asking import confirm
from visma_tokens_cli.documents import (
    OURS,
    Documents,
    Parameter,
    Store,
    check_size,
    document_in,
    drop_document,
    edit_document,
    is_spare,
    open_store,
    packed_at,
    put_document,
    to_json,
)
from visma_tokens_cli.exit_codes import UNCHANGED, WELL
from visma_tokens_cli.failures import CommandFailed, telling
from visma_tokens_cli.files import read_bytes
from visma_tokens_cli.function import exit_code, print_report, run_now
from visma_tokens_cli.screen import Text, err, out, print_json, say
from visma_tokens_cli.stack import Stack

type Tenants = Mapping[str, Mapping[str, object]]  # documents by name, found good

ALONE = 500  # tenants at most, each with a parameter of its own
PACKED_BYTES = 4000  # of a parameter with many; a standard one, which is free, holds 4,096
EMPTY = '{"tenants": {\n}}'
DEFAULTS: dict[str, object] = {"client": "default", "enabled": True}
MOST_BYTES = 10_000_000  # of a file: a Region's 14,000 tenants, of 700 bytes each
LONG_KEY = re.compile(  # one of twenty parts: the time that tomllib takes grows with their square
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){20}"""
)
MOST_ERRORS = 20  # that are told at once
MOST_ADDED = 40  # that are shown by name; whoever changes or goes is shown in any case


# Read


def read_file(file: Path) -> Tenants:
    """Read a TOML or JSON file of tenants, and check it as the function does.

    Raises CommandFailed, which names each member that is wrong and where it is.
    """
    text, name = _read_json(file), file.name
    checked = parse_configuration([{"Name": f"/{name}", "Type": "String", "Value": text}], "", {})
    complaints = [
        f"{name}: tenant {tenant} is in it twice"
        if error.code == "twice"
        else error.detail.removeprefix("/")
        for tenant, error in checked.invalid.items()
    ]
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if isinstance(content, dict) and "tenants" not in content:
            complaints = [f"{name}: tenants is missing"]
    if complaints:
        raise _invalid(complaints)
    tenants: Tenants = content["tenants"]
    if not tenants:
        raise _invalid([f"{name}: there are no tenants in it, so all would be removed"])
    return tenants


def _read_json(file: Path) -> str:
    content = read_bytes(file, MOST_BYTES)
    try:
        text = content.decode("utf-8-sig")  # as editors on Windows write it
        if file.suffix.lower() == ".toml":
            if LONG_KEY.search(text):
                raise _invalid([f"{file.name}: it is nested too deeply"])
            # JSON has no dates; null is a good value of no member
            return json.dumps(tomllib.loads(text), default=lambda _: None)
        with suppress(json.JSONDecodeError):  # which is told with the rest
            json.loads(text)
    except UnicodeDecodeError as error:
        raise _invalid([f"{file.name}: it is not UTF-8: byte {error.start}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid([f"{file.name}: it is not TOML: {error}"]) from error
    except ValueError as error:
        raise _invalid([f"{file.name}: a number in it has too many digits"]) from error
    except RecursionError as error:
        raise _invalid([f"{file.name}: it is nested too deeply"]) from error
    return text


def _invalid(complaints: list[str]) -> CommandFailed:
    told = complaints[:MOST_ERRORS]
    if len(complaints) > len(told):
        told.append(f"and {len(complaints) - len(told)} more")
    return CommandFailed(told, "Correct the file; nothing was changed.", code=UNCHANGED)


# Plan


class Action(StrEnum):
    """What becomes of a tenant, as a diff marks it."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A tenant, and which members become what; `broken` says why its document can't be used."""

    tenant: str
    action: Action
    members: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    broken: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        members = {name: {"from": old, "to": new} for name, (old, new) in self.members.items()}
        return {"tenant": self.tenant, "action": str(self.action), "members": members}


@dataclass(frozen=True, kw_only=True)
class Write:
    """A parameter's new text, None where it goes; `before` is None where there is none yet."""

    name: str
    before: Parameter | None
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What changes, in the order of the file, and the writes that make it so, in their order."""

    changes: list[Change]
    unchanged: int
    writes: list[Write]

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return {
            "changes": [one.as_dict() for one in self.changes],
            "unchanged": self.unchanged,
            "parameters": [one.name for one in self.writes],
        }


def plan(documents: Documents, wanted: Tenants) -> Plan:
    """Decide what to write; raises CommandFailed where that can't be told, or would be too long.

    Whoever is configured stays in its parameter, and one write holds all that changes in it: so
    whoever has a document before and after has one in between. What is deleted comes last.
    """
    documents.refuse_unreadable()
    texts: dict[str, str | None] = {name: one.text for name, one in documents.parameters.items()}
    changes, new, unchanged = [], {}, 0
    for tenant, document in wanted.items():
        home = documents.home(tenant)
        if home is None:
            new[tenant] = document
            members = {member: (None, value) for member, value in document.items()}
            changes.append(Change(tenant=tenant, action=Action.ADD, members=members))
            continue
        change = _compare(documents, home, tenant, document)
        if change is None:
            unchanged += 1
            continue
        changes.append(change)
        text = str(texts[home.name])
        texts[home.name] = (
            put_document(text, tenant, document)
            if change.broken
            else edit_document(text, tenant, {name: document.get(name) for name in change.members})
        )
    gone = sorted(documents.homes.keys() - wanted.keys())
    for tenant in gone:
        home = documents.home(tenant)
        assert home  # noqa: S101  it is one of those that have one
        texts[home.name] = drop_document(str(texts[home.name]), tenant)
    changes += [Change(tenant=tenant, action=Action.REMOVE) for tenant in gone]
    placed = _pack(new, texts, documents.path) if len(wanted) > ALONE else _own(new, documents)
    writes = [
        Write(
            name=name,
            before=documents.parameters.get(name),
            text=None if text and is_spare(name, text) else text,
        )
        for name, text in (texts | placed).items()
    ]
    writes = [one for one in writes if one.before is None or one.text != one.before.text]
    for one in writes:
        check_size(one.name, one.text or "")
    writes.sort(key=lambda one: (one.text is None, one.before is not None, one.name))
    return Plan(changes=changes, unchanged=unchanged, writes=writes)


def _compare(
    documents: Documents, home: Parameter, tenant: str, document: Mapping[str, object]
) -> Change | None:
    if error := documents.configuration.invalid.get(tenant):
        return Change(
            tenant=tenant,
            action=Action.CHANGE,
            members={member: (None, value) for member, value in document.items()},
            broken=error.detail,
        )
    old, new = DEFAULTS | document_in(home.text, tenant), DEFAULTS | dict(document)
    members = {
        member: (old.get(member), new.get(member))
        for member in old | new
        if old.get(member) != new.get(member)
    }
    return Change(tenant=tenant, action=Action.CHANGE, members=members) if members else None


def _own(new: Tenants, documents: Documents) -> dict[str, str]:
    """Give each a parameter of its own."""
    return {documents.own_place(tenant): to_json(document) for tenant, document in new.items()}


def _pack(new: Tenants, texts: Mapping[str, str | None], path: str) -> dict[str, str]:
    """Put them into packed parameters: first into those of ours that have room, then into more."""
    placed: dict[str, str] = {}
    rooms = _rooms(texts, path)
    name, text = next(rooms)
    for tenant, document in new.items():
        while len((fuller := put_document(text, tenant, document)).encode()) > PACKED_BYTES:
            if text == EMPTY:  # a long note: it doesn't fit with any other
                break
            name, text = next(rooms)
        text = placed[name] = fuller
    return placed


def _rooms(texts: Mapping[str, str | None], path: str) -> Iterator[tuple[str, str]]:
    names = (f"{path}/packed-{number:03}" for number in count(1))
    for name, text in sorted(texts.items()):
        if OURS.fullmatch(name) and text and packed_at(text) is not None:
            yield name, text
    yield from ((name, EMPTY) for name in names if name not in texts)


# Write


def apply_tenants(  # noqa: PLR0913  the command's options
    stack: Stack, wanted: Tenants, *, dry_run: bool, yes: bool, renew: bool, as_json: bool
) -> int:
    """Show the plan, ask, write, and have the tokens issued; return the exit code."""
    store = open_store(stack)
    planned = plan(store.read(), wanted)
    is_applied, report = bool(planned.writes) and not dry_run, None
    if not as_json:
        out().print(render(planned))
    elif is_applied and not yes:
        err().print(render(planned))  # what is asked about
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
    """Make the writes, one after the other; the bar is for a terminal only.

    Where it ends early, what is written stands and is told, and another plan finds what is left.
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
        auto_refresh=False,  # else it would hide what AWS's library asks meanwhile
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


# For people

MARKS = {Action.ADD: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.REMOVE: ("-", "red")}


def render(planned: Plan) -> RenderableType:
    """Return the plan as a diff, and how much it is."""
    counts = Counter(one.action for one in planned.changes)
    added = [one for one in planned.changes if one.action is Action.ADD]
    hidden = {one.tenant for one in added[MOST_ADDED:]}
    parts = [_line(one) for one in planned.changes if one.tenant not in hidden]
    if hidden:
        more = Text(f"+ … and {len(hidden):,} more", style="green")
        parts.insert(len(parts) - counts[Action.REMOVE], more)  # these come last
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
            f"{member} {_shown(new)}" if is_new else f"{member} {_shown(old)} → {_shown(new)}"
        )
    return text


def _shown(value: object) -> str:
    return "none" if value is None else to_json(value)
