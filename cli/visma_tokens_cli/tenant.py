"""Add, remove, enable and disable one tenant, and have the issuer act on it."""

from collections.abc import Mapping
from typing import Any

from token_issuer.errors import DocumentInvalid
from token_issuer.limits.deadline import Clock
from token_issuer.tenants.documents import check_document
from visma_tokens_cli.asking import confirm
from visma_tokens_cli.contents import to_json
from visma_tokens_cli.documents import Documents, Parameter
from visma_tokens_cli.exit_codes import NOT_WELL, UNCHANGED, WELL
from visma_tokens_cli.failures import CommandFailed, telling, unchanged
from visma_tokens_cli.function import exit_code, print_report, run_now
from visma_tokens_cli.screen import listed, out, print_json, say
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.status import read_versions
from visma_tokens_cli.store import Store, open_store

CLOCK = Clock()
PATIENCE = 20.0  # seconds to wait until the function can read a write of ours
PAUSE = 4.0  # seconds between invocations
MOST_PLACES = 3  # parameters that one message names
type Writes = list[tuple[Parameter, str | None]]  # the new text, None to delete
STALE = {"UnknownTenant", "TenantDisabled"}  # reasons if the function read the old document


def add_tenant(
    stack: Stack, name: str, document: Mapping[str, object], *, as_json: bool, clock: Clock = CLOCK
) -> int:
    """Configure a tenant in a parameter of its own, and have its token issued."""
    store = open_store(stack)
    home, text = f"{stack.settings.tenants_path}/{name}", to_json(document)
    try:
        check_document(name, text, home)
    except DocumentInvalid as error:
        raise CommandFailed(
            f"Tenant {ascii(name)[1:-1]}: {error.detail}",
            "Correct what you gave; nothing was changed.",
            code=UNCHANGED,
        ) from error
    documents = store.read()
    if found := documents.homes.get(name):
        homes = listed(sorted({one.name for one in found}), MOST_PLACES)
        raise CommandFailed(
            f"Tenant {name} is configured already, in {homes}",
            "To change it, use `visma-tokens apply`, or remove it first.",
            code=UNCHANGED,
        )
    documents.refuse_unreadable()
    store.create(documents.own_place(name), text)
    say(f"{name} is configured, in {home}.")
    with telling(lambda: f"{name} is configured; its token was not issued"):
        return _issue(stack, name, home, as_json=as_json, clock=clock)


def remove_tenant(stack: Stack, name: str, *, yes: bool, as_json: bool) -> int:
    """Ask for confirmation, then remove a tenant from each parameter that has it."""
    store = open_store(stack)
    documents = store.read()
    planned = plan_removal(documents, name)
    homes = [one.name for one, _ in planned]
    confirm(f"Remove tenant {name} from {listed(homes, MOST_PLACES)}?", yes=yes)
    _write(store, planned, f"{name} is removed from")
    if as_json:
        print_json({"tenant": name, "parameter": homes[-1], "report": None})
    else:
        out().print(f"{name} is removed; its token goes once it has expired.")
    unread = {home: one for home, one in documents.unreadable.items() if home not in homes}
    for error in unread.values():
        say(f"The command can't tell whether {name} is in this parameter too. {error.detail}.")
    return NOT_WELL if unread else WELL


def plan_removal(documents: Documents, name: str) -> Writes:
    """Decide what to write; the tenant's own parameter, which counts, is last."""
    planned: Writes = []
    for place in reversed(documents.places(name)):
        error = documents.unreadable.get(place.name)
        if error and '"tenants"' in place.text:  # other tenants may be in it
            raise unchanged(error)
        content = None if error else documents.contents[place.name].drop(name)
        planned.append((place, documents.text_of(content) if content else None))
    return planned


def enable_tenant(stack: Stack, name: str, *, as_json: bool, clock: Clock = CLOCK) -> int:
    """Enable a tenant, and have its token issued."""
    home = _switch(stack, name, enabled=True)
    with telling(lambda: f"{name} is enabled; its token was not issued"):
        return _issue(stack, name, home, as_json=as_json, clock=clock)


def disable_tenant(stack: Stack, name: str, *, as_json: bool) -> int:
    """Disable a tenant, have its token removed, and check that it is gone."""
    home = _switch(stack, name, enabled=False)
    with telling(lambda: f"{name} is disabled; whether its token is gone is not known"):
        report = run_now(stack, {})
        is_there = name in read_versions(stack, [name])
    if as_json:
        print_json({"tenant": name, "parameter": home, "report": report})
    elif not is_there:
        out().print(f"{name} has no token any more.")
    else:
        print_report(report, as_json=False)
        say(f"The token of {name} is still there; the next run takes it away.")
    return NOT_WELL if is_there else WELL


def _switch(stack: Stack, name: str, *, enabled: bool) -> str:
    """Set `enabled` where it isn't set yet; return the name of the parameter that counts."""
    store = open_store(stack)
    documents = store.read()
    planned = plan_switch(documents, name, enabled=enabled)
    word = "enabled" if enabled else "disabled"
    for place, text in planned:
        if text == place.text:
            say(f"{name} is {word} already, in {place.name}.")
    for home in _write(store, planned, f"{name} is {word}, in"):
        say(f"{name} is {word}, in {home}.")
    return planned[0][0].name


def plan_switch(documents: Documents, name: str, *, enabled: bool) -> Writes:
    """Decide what to write; raises CommandFailed if that is unclear.

    The tenant's own parameter counts. Disabling also writes the others, because they count once
    that one is deleted.
    """
    places = documents.places(name)
    if error := documents.unreadable.get(places[0].name):
        raise unchanged(error)
    if enabled and places[0].name == f"{documents.path}/{name}":
        places = places[:1]
    error = documents.configuration.invalid.get(name)
    if error and enabled and len(places) == 1 and name not in documents.configuration.tenants:
        raise unchanged(error)
    contents = [documents.contents[one.name].switch(name, enabled=enabled) for one in places]
    return [
        (one, documents.text_of(content)) for one, content in zip(places, contents, strict=True)
    ]


def _write(store: Store, planned: Writes, words: str) -> list[str]:
    """Make the writes that are needed, and return their names; a failure names them too."""
    done: list[str] = []
    with telling(lambda: f"{words} {listed(done, MOST_PLACES)}" if done else ""):
        for place, text in planned:
            if text == place.text:
                continue
            if text is None:
                store.delete(place)
            else:
                store.overwrite(place, text)
            done.append(place.name)
    return done


def _issue(stack: Stack, name: str, home: str, *, as_json: bool, clock: Clock) -> int:
    """Invoke the function for the token, again while it reads the old document.

    Parameter Store is eventually consistent. A call without an answer is not repeated.
    """
    until = clock.seconds() + PATIENCE
    event = {"tenants": [name]}
    while _is_to_come(report := run_now(stack, event), name) and clock.seconds() < until:
        say(f"There is no token of {name} yet; asking again …")
        clock.sleep(PAUSE)
    if as_json:
        print_json({"tenant": name, "parameter": home, "report": report})
    else:
        print_report(report, as_json=False)
    return NOT_WELL if _is_to_come(report, name) else exit_code(report)


def _is_to_come(report: dict[str, Any], name: str) -> bool:
    """Tell whether another run may issue the token, because this one did not get to the tenant."""
    reasons = {one["reason"] for one in report["failures"] if one["tenant"] == name}
    is_met = report["issued"] or report["fresh"] or report["failed"]
    return bool(reasons & STALE or report["deferred"] or not is_met)
