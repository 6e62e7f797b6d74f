"""One tenant: configured, taken out, turned on and off; and what the issuer makes of it."""

import time
from collections.abc import Mapping
from typing import Any

from token_issuer.errors import DocumentInvalid
from token_issuer.pacing import Clock
from token_issuer.tenants import check_document
from visma_tokens_cli.asking import confirm
from visma_tokens_cli.documents import (
    Documents,
    Parameter,
    drop_document,
    edit_document,
    is_spare,
    open_store,
    to_json,
)
from visma_tokens_cli.failures import CommandFailed, telling
from visma_tokens_cli.function import exit_code, print_report, run_now
from visma_tokens_cli.options import NOT_WELL, UNCHANGED, WELL
from visma_tokens_cli.screen import out, print_json, say
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.status import read_versions

CLOCK = Clock(now=time.monotonic, sleep=time.sleep)
PATIENCE = 20.0  # seconds until the function reads what was written, at most
PAUSE = 4.0  # seconds
STALE = {"UnknownTenant", "TenantDisabled"}  # reasons, where it reads what was before


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
    if found := documents.home(name):
        raise CommandFailed(
            f"Tenant {name} is configured already, in {found.name}",
            "To change it, use `visma-tokens apply`, or remove it first.",
            code=UNCHANGED,
        )
    store.create(documents.own_place(name), text)
    say(f"{name} is configured, in {home}.")
    with telling(lambda: f"{name} is configured; its token was not issued"):
        return _issue(stack, name, home, as_json=as_json, clock=clock)


def remove_tenant(stack: Stack, name: str, *, yes: bool, as_json: bool) -> int:
    """Take a tenant out of the configuration, once that is confirmed."""
    store = open_store(stack)
    home = _home(store.read(), name)
    confirm(f"Remove tenant {name} from {home.name}?", yes=yes)
    text = drop_document(home.text, name)
    if text is None or is_spare(home.name, text):
        store.delete(home)
    else:
        store.overwrite(home, text)
    if as_json:
        print_json({"tenant": name, "parameter": home.name, "report": None})
    else:
        out().print(f"{name} is removed; its token goes once it has expired.", markup=False)
    return WELL


def enable_tenant(stack: Stack, name: str, *, as_json: bool, clock: Clock = CLOCK) -> int:
    """Turn a tenant on, and have its token issued."""
    home = _switch(stack, name, enabled=True)
    with telling(lambda: f"{name} is enabled; its token was not issued"):
        return _issue(stack, name, home, as_json=as_json, clock=clock)


def disable_tenant(stack: Stack, name: str, *, as_json: bool) -> int:
    """Turn a tenant off, have the issuer take its token away, and look whether it is gone."""
    home = _switch(stack, name, enabled=False)
    with telling(lambda: f"{name} is disabled; whether its token is gone is not known"):
        report = run_now(stack, {})
        is_there = name in read_versions(stack, [name])
    if as_json:
        print_json({"tenant": name, "parameter": home, "report": report})
    elif not is_there:
        out().print(f"{name} has no token any more.", markup=False)
    else:
        print_report(report, as_json=False)
        say(f"The token of {name} is still there; the next run takes it away.")
    return NOT_WELL if is_there else WELL


def _switch(stack: Stack, name: str, *, enabled: bool) -> str:
    """Write whether a tenant is enabled, where that isn't so yet; return its parameter's name."""
    store = open_store(stack)
    documents = store.read()
    home = _home(documents, name)
    if error := documents.configuration.invalid.get(name):
        raise CommandFailed(error.detail, error.remedy, code=UNCHANGED)
    word = "enabled" if enabled else "disabled"
    if documents.configuration.tenants[name].enabled == enabled:
        say(f"{name} is {word} already, in {home.name}.")
    else:
        store.overwrite(home, edit_document(home.text, name, {"enabled": enabled}))
        say(f"{name} is {word}, in {home.name}.")
    return home.name


def _issue(stack: Stack, name: str, home: str, *, as_json: bool, clock: Clock) -> int:
    """Have the token issued: again, while the function reads what was before.

    Parameter Store is eventually consistent. A call without answer is not made again.
    """
    until = clock.now() + PATIENCE
    event = {"tenants": [name]}
    while _is_to_come(report := run_now(stack, event), name) and clock.now() < until:
        say(f"There is no token of {name} yet; asking again …")
        clock.sleep(PAUSE)
    if as_json:
        print_json({"tenant": name, "parameter": home, "report": report})
    else:
        print_report(report, as_json=False)
    return NOT_WELL if _is_to_come(report, name) else exit_code(report)


def _is_to_come(report: dict[str, Any], name: str) -> bool:
    """Tell whether another run may issue the token, since this one has not met the tenant."""
    reasons = {one["reason"] for one in report["failures"] if one["tenant"] == name}
    is_met = report["issued"] or report["fresh"] or report["failed"]
    return bool(reasons & STALE or report["deferred"] or not is_met)


def _home(documents: Documents, name: str) -> Parameter:
    home = documents.home(name)
    if home is None:
        raise CommandFailed(
            f"Tenant {name} is not configured",
            "See `visma-tokens status` for who is.",
            code=UNCHANGED,
        )
    return home
