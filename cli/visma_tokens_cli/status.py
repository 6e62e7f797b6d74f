"""How each tenant is: read from ledger, configuration and parameters, the worst first."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import batched

from token_issuer.tenants.configuration import Configuration
from token_issuer.tokens.store import NAMES_AT_ONCE
from visma_tokens_cli.assessment import Status, TenantStatus, assess, compare, in_order
from visma_tokens_cli.stack import Stack, reads

FEW = 500  # tenants whose parameters are all compared: in six seconds


def read_status(stack: Stack, *, failing: bool = False, most: int | None = None) -> Status:
    """Read ledger and configuration, and compare with the parameters those that `choose` says."""
    memory = stack.read_ledger()
    configuration = stack.read_tenants(memory)
    status = assess(memory, configuration, datetime.now(UTC), stack.settings)
    chosen = choose(status, failing=failing, most=most)
    compared = read_compared(stack, configuration, chosen)
    tenants = in_order(compared.get(one.tenant, one) for one in status.tenants)
    return replace(status, tenants=tenants, compared=len(compared))


def choose(status: Status, *, failing: bool, most: int | None) -> list[TenantStatus]:
    """Return whose parameters are compared: all, or of many those that are shown; pure."""
    if most is None or len(status.tenants) <= FEW:
        return status.tenants
    return status.only(failing=failing).tenants[:most]


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
    for some in batched(names, NAMES_AT_ONCE, strict=False):
        page = pacer.send(partial(ssm.get_parameters, Names=[f"{path}{name}" for name in some]))
        versions |= {one["Name"].removeprefix(path): one["Version"] for one in page["Parameters"]}
    return versions
