"""What a run decides upon: documents, ledger, stored versions, the stages of client secrets."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from itertools import islice
from math import ceil

from token_issuer.clients.secrets_manager import MISSING
from token_issuer.errors import IssuerError, TenantsGone, TenantsUnreadable
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import Memory, Record
from token_issuer.outside import Outside
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.invocation import Invocation, select_tenants
from token_issuer.tenants.recall import last_tenants
from token_issuer.tokens.renewal import fraction

CHECKED = 300  # token parameters, in a run


def gather(invocation: Invocation, outside: Outside) -> Facts:
    """Read documents and ledger, and compare them with what is stored."""
    at, settings = outside.deadline.now(), outside.settings
    memory = outside.ledger.read()
    configuration = _read_tenants(memory, outside, at)
    tenants, failures = select_tenants(configuration, invocation)
    records = {one.name: memory.records[one.name] for one in tenants if one.name in memory.records}
    whole = invocation.tenants is None and configuration.is_complete
    stored = _stored(records if invocation.tenants else memory.records, settings)
    checked = in_turn(stored, at, settings)
    leaving = _expired(stored, configuration.tenants, at) if whole else {}
    compared, lost, unchecked = _compare(checked | leaving, outside)
    stages, unread = _read_stages(sorted({one.client for one in tenants}), outside)
    return Facts(
        at=at,
        invocation=invocation,
        memory=memory,
        configuration=configuration,
        tenants=tenants,
        whole=whole,
        failures=failures,
        compared=compared,
        lost=lost,
        unchecked=unchecked,
        stages=stages,
        unread=unread,
    )


def _read_tenants(memory: Memory, outside: Outside, now: datetime) -> Configuration:
    """Return what is configured, or who is known where that can't be listed."""
    known, path = last_tenants(memory), outside.settings.tenants_path
    try:
        parameters = outside.tenants.read()
    except TenantsUnreadable as error:
        if not known:
            raise
        return Configuration(
            path=path, parameters=0, tenants=dict(sorted(known.items())), invalid={path: error}
        )
    found = parse_configuration(parameters, path, known)
    live = [one for one in memory.records.values() if one.issued and now < one.issued.expires_at]
    if live and not found.parameters:
        raise TenantsGone(f"Nothing is below {found.path}, while {len(live)} tokens live")
    return found


def _compare(
    records: Mapping[str, Record], outside: Outside
) -> tuple[frozenset[str], frozenset[str], IssuerError | None]:
    """Return whose parameters were looked at, and where another token is stored or none."""
    try:
        versions = outside.tokens.versions(records.keys())
    except Exception as error:  # noqa: BLE001  a run that doesn't know it issues all the same
        return frozenset(), frozenset(), failure_of(error)
    lost = (
        one.tenant
        for parameter, one in records.items()
        if one.issued and versions.get(parameter) != one.issued.version
    )
    return frozenset(one.tenant for one in records.values()), frozenset(lost), None


def _read_stages(
    clients: Collection[str], outside: Outside
) -> tuple[dict[str, dict[str, str]], dict[str, IssuerError]]:
    """Return the stages by client, and why some can't be read, which alone hits nobody."""
    stages: dict[str, dict[str, str]] = {}
    unread: dict[str, IssuerError] = {}
    for client in clients:
        if not outside.deadline.is_in_first_half:
            break  # the next run does
        try:
            stages[client] = outside.secrets.stages(client)
        except Exception as error:  # noqa: BLE001  likewise
            failure = failure_of(error)
            if failure.code != MISSING:  # whoever is due says so
                unread[client] = failure
    return stages, unread


def _stored(records: Mapping[str, Record], settings: Settings) -> dict[str, Record]:
    """Return by parameter the records of tokens that are where tokens are stored now."""
    return {
        one.issued.parameter: one
        for name, one in records.items()
        if one.issued and one.issued.parameter == settings.token_parameter(name)
    }


def _expired(
    stored: Mapping[str, Record], configured: Collection[str], now: datetime
) -> dict[str, Record]:
    """Return those of vanished tenants that are to be looked at before they are removed."""
    expired = (
        (parameter, one)
        for parameter, one in stored.items()
        if one.tenant not in configured and one.issued and one.issued.expires_at <= now
    )
    return dict(islice(expired, CHECKED))


def in_turn(stored: Mapping[str, Record], at: datetime, settings: Settings) -> dict[str, Record]:
    """Return those that a run at this time compares with what is stored.

    All of them up to 300; of more a slice by hash, so that each has its turn about once an hour.
    """
    slices = min(timedelta(hours=1) // settings.period, ceil(len(stored) / CHECKED)) or 1
    number = int(at.timestamp() / settings.period.total_seconds()) % slices
    return {
        parameter: one
        for parameter, one in stored.items()
        if int(fraction(one.tenant) * slices) == number
    }
