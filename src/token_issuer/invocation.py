"""Event → Invocation."""

from dataclasses import dataclass
from typing import Any

from token_issuer.errors import EventInvalid

MEMBERS = {"tenants", "dry_run", "probe"}
ENVELOPE = {
    *("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
}


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What one run is asked to do; `tenants` None means all that are enabled."""

    tenants: tuple[str, ...] | None = None
    dry_run: bool = False
    probe: bool = False


def parse_invocation(event: object) -> Invocation:
    """Return what the event asks for; raises EventInvalid that names what is wrong.

    A scheduled event comes from EventBridge Scheduler
    (https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html).
    """
    if not isinstance(event, dict):
        raise EventInvalid("The event is not a JSON object")
    if event.get("detail-type") == "Scheduled Event" and event.keys() == ENVELOPE:
        return Invocation()
    if unknown := sorted(map(str, event.keys() - MEMBERS)):
        raise EventInvalid(f"The event has unknown members: {', '.join(unknown)[:200]}")
    if "probe" not in event:
        return Invocation(tenants=_tenants(event), dry_run=_dry_run(event))
    if event.keys() != {"probe"}:
        raise EventInvalid('"probe" can\'t be combined with other members')
    if not _is_name(event["probe"]):
        raise EventInvalid('"probe" is not the name of a tenant')
    return Invocation(tenants=(event["probe"],), probe=True)


def _tenants(event: dict[str, Any]) -> tuple[str, ...] | None:
    if "tenants" not in event:
        return None
    names = event["tenants"]
    if not isinstance(names, list) or not names or not all(map(_is_name, names)):
        raise EventInvalid('"tenants" is not a list of one or more names')
    return tuple(dict.fromkeys(names))


def _dry_run(event: dict[str, Any]) -> bool:
    dry_run = event.get("dry_run", False)
    if not isinstance(dry_run, bool):
        raise EventInvalid('"dry_run" is not true or false')
    return dry_run


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isprintable()
