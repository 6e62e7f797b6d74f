"""What a run decides upon, made up: tenants, what the ledger knows of them, and attempts."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.helpers.account import make_settings
from tests.helpers.virtual_clock import NOON
from token_issuer.errors import IssuerError, TokenRefused
from token_issuer.facts import Facts
from token_issuer.ledger.records import ClientRecord, Memory, Record
from token_issuer.redaction import Quoted
from token_issuer.settings import Settings
from token_issuer.tenants.configuration import Configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import Decision, decide
from token_issuer.tokens.renewal import Reason, Renewal, purpose_of

NOW, SETTINGS = NOON, make_settings()


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def make_tenant(name: str, **members: Any) -> Tenant:  # noqa: ANN401  of Tenant
    """Return an enabled tenant of the default client, but for these members."""
    usual: dict[str, Any] = {
        "tenant_id": None,
        "scope": "read",
        "client": "default",
        "enabled": True,
        "document": f"/visma/tenants/{name}",
    }
    return Tenant(name=name, **usual | members)


def make_renewal(
    name: str, record: Record | None = None, *, reason: Reason = Reason.MISSING
) -> Renewal:
    tenant = make_tenant(name)
    return Renewal(
        tenant=tenant,
        reason=reason,
        parameter=f"/visma/tokens/{name}",
        purpose=purpose_of(tenant, SETTINGS),
        record=record,
    )


def make_record(name: str, *, age: float = 0, life: float = 60, run: float = 0) -> Record:
    """Return the record of a token of that age and lifetime, in minutes."""
    issued_at = NOW - minutes(age)
    token = AccessToken(
        value="t",
        issued_at=issued_at,
        expires_at=issued_at + minutes(life),
        scope=frozenset({Quoted("b")}),
    )
    return make_renewal(name).succeeded(
        token, version=3, client_secret_version="v1", attempted_at=NOW - minutes(run)
    )


def fail(
    record: Record | None,
    name: str = "acme",
    error: IssuerError | None = None,
    at: datetime = NOW,
    *,
    reason: Reason = Reason.MISSING,
) -> Record:
    """Return the record after one more failed attempt."""
    return make_renewal(name, record, reason=reason).failed(
        error or TokenRefused("invalid_tenant", code=Quoted("invalid_tenant")),
        client_secret_version="v1",
        now=at,
        attempted_at=at,
        settings=SETTINGS,
    )


def lose(record: Record, at: datetime = NOW) -> Record:
    assert record.issued is not None
    return replace(record, issued=replace(record.issued, lost_at=at))


def make_facts(
    tenants: Iterable[Tenant] = (),
    records: Iterable[Record] = (),
    clients: Iterable[ClientRecord] = (),
    **members: Any,  # noqa: ANN401  of Facts
) -> Facts:
    """Return the facts of a full run that has looked at each token, unless they say otherwise."""
    configured = {one.name: one for one in tenants}
    known = {one.tenant: one for one in records}
    facts = Facts(
        at=NOW,
        invocation=Invocation(),
        memory=Memory(records=known, clients={one.client: one for one in clients}),
        configuration=Configuration(
            path="/visma/tenants", parameters=len(configured), tenants=configured, invalid={}
        ),
        tenants=[one for one in configured.values() if one.enabled],
        whole=True,
        failures={},
        compared=frozenset(known),
        lost=frozenset(),
        stages={},
    )
    return replace(facts, **members)


def plan(
    tenants: Iterable[Tenant],
    records: Iterable[Record] = (),
    *,
    now: datetime = NOW,
    settings: Settings = SETTINGS,
    **members: Any,  # noqa: ANN401  of Facts
) -> list[Decision]:
    return decide(make_facts(tenants, records, **members), now=now, settings=settings)


def renewals_in(decisions: Iterable[Decision]) -> list[Renewal]:
    return [one for one in decisions if isinstance(one, Renewal)]
