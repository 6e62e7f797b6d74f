"""Event → Invocation, and the tenants that it is about."""

from dataclasses import dataclass
from typing import Any

from token_issuer import errors
from token_issuer.names import NAME_CHARACTERS
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant

MOST_NAMES = 10_000  # whoever means more means all
MEMBERS = {"tenants", "force", "dry_run", "probe"}
ENVELOPE = {"version", "id", "source", "account", "time", "region", "resources", "detail"}


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """What one run is asked to do; `tenants` None means all that are enabled."""

    tenants: tuple[str, ...] | None = None
    force: bool = False
    dry_run: bool = False
    probe: bool = False

    @property
    def is_full(self) -> bool:
        """Tell whether the run is about all tenants, and does something."""
        return self.tenants is None and not self.dry_run


def parse_invocation(event: object) -> Invocation:
    """Return what the event asks for; raises EventInvalid that names what is wrong.

    A scheduled event comes from EventBridge Scheduler
    (https://docs.aws.amazon.com/lambda/latest/dg/with-eventbridge-scheduler.html).
    """
    if not isinstance(event, dict):
        raise errors.EventInvalid("The event is not a JSON object")
    if event.keys() == {*ENVELOPE, "detail-type"} and event["detail-type"] == "Scheduled Event":
        return Invocation()
    if unknown := sorted(map(str, event.keys() - MEMBERS)):
        raise errors.EventInvalid(f"The event has unknown members: {', '.join(unknown)[:200]}")
    if "probe" not in event:
        return Invocation(
            tenants=_tenants(event), force=_flag(event, "force"), dry_run=_flag(event, "dry_run")
        )
    if event.keys() != {"probe"}:
        raise errors.EventInvalid('"probe" can\'t be combined with other members')
    if not _is_name(event["probe"]):
        raise errors.EventInvalid('"probe" is not the name of a tenant')
    return Invocation(tenants=(event["probe"],), probe=True)


def _tenants(event: dict[str, Any]) -> tuple[str, ...] | None:
    if "tenants" not in event:
        return None
    names = event["tenants"]
    if not isinstance(names, list) or not names or not all(map(_is_name, names)):
        raise errors.EventInvalid('"tenants" is not a list of one or more names')
    if len(names) > MOST_NAMES:
        raise errors.EventInvalid(f'"tenants" has more than {MOST_NAMES} names')
    return tuple(dict.fromkeys(names))


def _flag(event: dict[str, Any], member: str) -> bool:
    flag = event.get(member, False)
    if not isinstance(flag, bool):
        raise errors.EventInvalid(f'"{member}" is not true or false')
    return flag


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARACTERS and value.isprintable()


def select_tenants(
    configuration: Configuration, invocation: Invocation
) -> tuple[list[Tenant], dict[str, errors.IssuerError]]:
    """Return the tenants to serve, and why others that were asked for can't be."""
    if invocation.tenants is None:
        enabled = [tenant for tenant in configuration.tenants.values() if tenant.enabled]
        return enabled, dict(configuration.invalid)
    tenants: list[Tenant] = []
    failures: dict[str, errors.IssuerError] = {}
    for name in invocation.tenants:
        tenant, invalid = configuration.tenants.get(name), configuration.invalid
        if tenant is None:
            failures[name] = _why_unknown(name, configuration)
            continue
        # a tenant with an error here goes on with what its last token was issued for
        path = configuration.path
        subjects = (name, tenant.document, f"{path}/{name}", path)
        failures |= {one: invalid[one] for one in subjects if one in invalid}
        if tenant.enabled or invocation.probe:
            tenants.append(tenant)
        else:
            failures[name] = errors.TenantDisabled(f"Tenant {name} is disabled in its document")
    return tenants, failures


def _why_unknown(name: str, configuration: Configuration) -> errors.IssuerError:
    path, invalid = configuration.path, configuration.invalid
    for subject in (path, name, f"{path}/{name}"):
        if subject in invalid:
            return invalid[subject]
    unread = f"; it may be in one of {len(invalid)} that can't be used" if invalid else ""
    return errors.UnknownTenant(f"No tenant document configures {name}{unread}")
