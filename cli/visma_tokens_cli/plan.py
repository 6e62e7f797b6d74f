"""Plan the changes that bring the tenants in line with a file; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any

from visma_tokens_cli.contents import OURS, Content
from visma_tokens_cli.documents import Documents, Parameter, check_size
from visma_tokens_cli.tenants_file import Document, Tenants

ALONE = 500  # with more tenants, new ones share packed parameters
PACKED_BYTES = 4000  # in a packed parameter; a standard parameter, which is free, holds 4,096
DEFAULTS: dict[str, object] = {"client": "default", "enabled": True}


class Action(StrEnum):
    """What the plan does to a tenant."""

    ADD = "add"
    CHANGE = "change"
    REMOVE = "remove"


@dataclass(frozen=True, kw_only=True)
class Change:
    """A tenant's change; `members` are (old, new) by name, `broken` says why the old is invalid."""

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
    """A parameter's new text, None to delete it; `before` is None to create it."""

    name: str
    before: Parameter | None
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The changes of tenants in the order of the file, and the writes in the order to make them."""

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
    """Decide what to write; raises CommandFailed if a parameter is invalid, or would be too long.

    A configured tenant stays in its parameter, and each parameter is written once. So a tenant
    that is in the old and the new configuration is never missing in between. Deletions come last.
    """
    documents.refuse_unreadable()
    contents, changes, new = dict(documents.contents), [], {}
    for tenant, document in wanted.items():
        home = documents.home(tenant)
        if home is None:
            new[tenant] = document
            members = _differences({}, document)
            changes.append(Change(tenant=tenant, action=Action.ADD, members=members))
            continue
        content = contents[home.name]
        change = _compare(documents, content, tenant, document)
        if change is None:
            continue
        changes.append(change)
        contents[home.name] = (
            content.put(tenant, document)
            if change.broken
            else content.set_members(
                tenant, {member: document.get(member) for member in change.members}
            )
        )
    unchanged = len(wanted) - len(changes)
    gone = sorted(documents.homes.keys() - wanted.keys())
    for tenant in gone:
        home = documents.home(tenant)
        assert home  # noqa: S101  it is one of those that have one
        contents[home.name] = contents[home.name].drop(tenant)
    changes += [Change(tenant=tenant, action=Action.REMOVE) for tenant in gone]
    placed = _pack(new, contents, documents.path) if len(wanted) > ALONE else _own(new, documents)
    writes = [
        Write(name=name, before=documents.parameters.get(name), text=documents.text_of(content))
        for name, content in (contents | placed).items()
    ]
    writes = [one for one in writes if one.before is None or one.text != one.before.text]
    for one in writes:
        check_size(one.name, one.text or "")
    writes.sort(key=lambda one: (one.text is None, one.before is not None, one.name))
    return Plan(changes=changes, unchanged=unchanged, writes=writes)


def _compare(
    documents: Documents, content: Content, tenant: str, wanted: Document
) -> Change | None:
    if error := documents.configuration.invalid.get(tenant):
        members = _differences({}, wanted)
        return Change(tenant=tenant, action=Action.CHANGE, members=members, broken=error.detail)
    members = _differences(DEFAULTS | content.document(tenant), {**DEFAULTS, **wanted})
    return Change(tenant=tenant, action=Action.CHANGE, members=members) if members else None


def _differences(old: Document, new: Document) -> dict[str, tuple[object, object]]:
    return {
        member: (old.get(member), new.get(member))
        for member in {**old, **new}
        if old.get(member) != new.get(member)
    }


def _own(new: Tenants, documents: Documents) -> dict[str, Content]:
    """Put each new tenant into a parameter of its own."""
    return {
        (name := documents.own_place(tenant)): Content(name=name, documents=((tenant, document),))
        for tenant, document in new.items()
    }


def _pack(new: Tenants, contents: Mapping[str, Content], path: str) -> dict[str, Content]:
    """Put new tenants into the packed parameters that have room, then into new ones."""
    placed: dict[str, Content] = {}
    rooms = _rooms(contents, path)
    room = next(rooms)
    for tenant, document in new.items():
        while len((fuller := room.put(tenant, document)).text().encode()) > PACKED_BYTES:
            if not room.documents:  # a long note: the document needs a parameter for itself
                break
            room = next(rooms)
        room = placed[room.name] = fuller
    return placed


def _rooms(contents: Mapping[str, Content], path: str) -> Iterator[Content]:
    for name, content in sorted(contents.items()):
        if OURS.fullmatch(name) and content.is_packed:
            yield content
    for number in count(1):
        name = f"{path}/packed-{number:03}"
        if name not in contents:
            yield Content(name=name, documents=(), is_packed=True, has_lines=True)
