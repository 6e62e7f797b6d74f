"""What a run decides upon: documents, ledger, stored versions, the stages of client secrets."""

from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from token_issuer.clients.secrets_manager import CURRENT, MISSING
from token_issuer.errors import IssuerError, TenantsGone, TenantsUnreadable
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import ClientRecord, Memory, Record
from token_issuer.outside import Outside
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation, select_tenants
from token_issuer.tenants.recall import last_tenants


def gather(invocation: Invocation, outside: Outside) -> Facts:
    """Read documents and ledger, and compare them with what is stored."""
    at, settings = outside.deadline.now(), outside.settings
    memory = outside.ledger.read()
    configuration = _read_tenants(memory, outside, at)
    tenants, failures = select_tenants(configuration, invocation)
    records = {one.name: memory.records[one.name] for one in tenants if one.name in memory.records}
    known, after = (records, "") if invocation.tenants else (memory.records, memory.checked)
    whole = invocation.tenants is None and configuration.is_complete
    in_turn = to_check(known, after, settings)
    leaving = expired(memory.records, configuration.tenants, at) if whole else {}
    compared, lost, unchecked = _compare(in_turn | to_check(leaving, "", settings), outside)
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
        checked=[*in_turn.values()][-1].tenant if compared and in_turn else memory.checked,
        stages=stages,
        unread=unread,
        secret_versions={
            client: version
            for client, by_stage in stages.items()
            if (version := _asked_with(by_stage.get(CURRENT), memory.clients.get(client)))
        },
    )


def _read_tenants(memory: Memory, outside: Outside, now: datetime) -> Configuration:
    """Return what is configured, or who is known where that can't be listed."""
    known, path = last_tenants(memory), outside.settings.tenants_path
    try:
        parameters = outside.tenants.read()
    except TenantsUnreadable as error:
        recalled = _recall_tenants(memory, known, path, error)
        if not recalled.tenants:
            raise
        return recalled
    found = parse_configuration(parameters, path, memory.documents, known)
    live = [one for one in memory.records.values() if one.issued and now < one.issued.expires_at]
    if live and not found.parameters:
        raise TenantsGone(f"Nothing is below {found.path}, while {len(live)} tokens live")
    return found


def _recall_tenants(
    memory: Memory, known: Mapping[str, Tenant], path: str, why: TenantsUnreadable
) -> Configuration:
    """Return who is known from tokens and last good texts, but for those taken out since."""
    texts = memory.documents.items()
    last = parse_configuration(
        [{"Name": name, "Type": "String", "Value": text} for name, text in texts], path, {}, known
    ).tenants
    tenants = {
        name: replace(known.get(name, tenant), enabled=tenant.enabled)
        for name, tenant in (last if texts else known).items()
    }
    return Configuration(
        path=path,
        parameters=frozenset(memory.documents),
        tenants=dict(sorted(tenants.items())),
        invalid={path: why},
        good_texts={},
    )


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


def _asked_with(current: str | None, record: ClientRecord | None) -> str | None:
    """Return the version that tokens are asked for with: another one where that is refused."""
    if record and record.fallback and record.fallback.current == current:
        return record.fallback.version
    return current


CHECKED = 300  # token parameters a run that are compared with the ledger


def expired(
    records: Mapping[str, Record], configured: Collection[str], now: datetime
) -> dict[str, Record]:
    """Return those of vanished tenants that are to be looked at before they are removed."""
    return {
        name: one
        for name, one in records.items()
        if name not in configured and one.issued and one.issued.expires_at <= now
    }


def to_check(records: Mapping[str, Record], checked: str, settings: Settings) -> dict[str, Record]:
    """Return the records, by parameter, to compare with what is stored, round robin.

    Those after the tenant `checked`: 300, or as many more as it takes to see each once an hour.
    """
    ours = sorted(
        name
        for name, record in records.items()
        if record.issued and record.issued.parameter == settings.token_parameter(name)
    )
    start = bisect_right(ours, checked)
    count = max(CHECKED, ceil(len(ours) * (settings.period / timedelta(hours=1))))
    names = [*ours[start:], *ours[:start]][:count]
    return {settings.token_parameter(name): records[name] for name in names}
