"""Read the state of each tenant from ledger, configuration and parameters."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import batched

from token_issuer.tenants.configuration import Configuration
from token_issuer.tokens.store import NAMES_AT_ONCE
from visma_tokens_cli.assessment import Status, TenantStatus, assess, compare, in_order
from visma_tokens_cli.stack import Stack, reads

FEW = 500  # up to so many tenants, all parameters are compared, which takes six seconds


def read_status(stack: Stack, *, failing: bool = False, most: int | None = None) -> Status:
    """Read ledger and configuration, and compare the tenants of `choose` with their parameters."""
    memory = stack.read_ledger()
    configuration = stack.read_tenants(memory)
    status = assess(memory, configuration, datetime.now(UTC), stack.settings)
    chosen = choose(status, failing=failing, most=most)
    compared = read_compared(stack, configuration, chosen)
    tenants = in_order(compared.get(one.tenant, one) for one in status.tenants)
    return replace(status, tenants=tenants, compared=len(compared))


def choose(status: Status, *, failing: bool, most: int | None) -> list[TenantStatus]:
    """Return the tenants whose parameters are compared: all, or if many, those shown; pure."""
    if most is None or len(status.tenants) <= FEW:
        return status.tenants
    return status.only(failing=failing).tenants[:most]


def read_compared(
    stack: Stack, configuration: Configuration, tenants: Iterable[TenantStatus]
) -> dict[str, TenantStatus]:
    """Compare the tenants that have a token by the ledger with their parameters; keys are names.

    Where they disagree, the ledger is read again: a run may have stored a token, and recorded it
    only now.
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
    """Read the versions of token parameters by tenant, without decrypting; no key if one is gone.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
    """
    ssm, pacer, path = stack.aws.client("ssm"), reads(), f"{stack.settings.tokens_path}/"
    versions: dict[str, int] = {}
    for some in batched(names, NAMES_AT_ONCE, strict=False):
        page = pacer.send(partial(ssm.get_parameters, Names=[f"{path}{name}" for name in some]))
        versions |= {one["Name"].removeprefix(path): one["Version"] for one in page["Parameters"]}
    return versions
