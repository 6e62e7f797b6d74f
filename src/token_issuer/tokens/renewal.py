"""Pure: when and why a token is renewed, and what the ledger is to know of an attempt."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from token_issuer.errors import IssuerError, TenantReassigned, TenantRefused
from token_issuer.ledger.records import Failure, Issued, Owner, Record
from token_issuer.limits.waiting import back_off
from token_issuer.redaction import quote
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken

SPREAD = 0.1  # of the lifetime, by which tenants that were added together part
# with the defaults, from one token to the tenant's next: when it is due, and half a period
TURN_SECONDS = 3600 * (0.5 - SPREAD / 2) + 300 / 2  # 1,770 on average
OUTAGE_MINUTES = 12  # of the token endpoint, that the promise survives
MOST_COUNTED = 999_999_999  # a longer number counts as malformed in the ledger


class Reason(StrEnum):
    """Why a tenant gets a new token."""

    FORCED = "forced"  # the event says so
    MISSING = "missing"  # it has no live token
    LOST = "lost"  # its parameter is gone, or holds another version than the ledger's
    CHANGED = "changed"  # what the token was issued for differs
    DUE = "due"  # its time has come


@dataclass(frozen=True, kw_only=True)
class OfTenant:
    """What is decided of a configured tenant."""

    tenant: Tenant

    @property
    def name(self) -> str:
        """Return the tenant's name."""
        return self.tenant.name


@dataclass(frozen=True, kw_only=True)
class Renewal(OfTenant):
    """A tenant to ask a token for, why, for what, and what the ledger knew of it.

    `reassigned` says that its last token was another owner's, until that is told. `owner` is to be
    remembered: not before that, and not where no document says whose token it is to be.
    """

    reason: Reason
    parameter: str
    purpose: str
    record: Record | None
    reassigned: TenantReassigned | None = None
    owner: Owner | None = None
    action = "issue"

    @property
    def issued(self) -> Issued | None:
        """Return what is known of the tenant's last token."""
        return self.record.issued if self.record else None

    @property
    def failure(self) -> Failure | None:
        """Return the last attempt, if it failed."""
        return self.record.failure if self.record else None

    @property
    def because(self) -> str:
        """Return why, for people."""
        if self.reassigned is None:
            return str(self.reason)
        return f"{self.reason}. {self.reassigned.reason}: {self.reassigned.detail}"

    def succeeded(
        self,
        token: AccessToken,
        *,
        version: int,
        client_secret_version: str,
        attempted_at: datetime,
    ) -> Record:
        """Return what the ledger is to know once a token is stored."""
        return Record(
            tenant=self.tenant.name,
            client=self.tenant.client,
            attempted_at=attempted_at,
            owner=self.owner,
            issued=Issued(
                issued_at=token.issued_at,
                expires_at=token.expires_at,
                fingerprint=token.fingerprint,
                scope=None if token.scope is None else quote(" ".join(sorted(token.scope))),
                parameter=self.parameter,
                version=version,
                client_secret_version=client_secret_version,
                purpose=self.purpose,
                document=self.tenant.document,
            ),
        )

    def live_until(self, now: datetime) -> datetime | None:
        """Return until when consumers have a token, None where they have none."""
        issued = self.issued
        is_there = issued and issued.lives(now) and self.reason != Reason.LOST
        return issued.expires_at if issued and is_there else None

    def failed(
        self,
        error: IssuerError,
        *,
        client_secret_version: str,
        now: datetime,
        attempted_at: datetime,
        settings: Settings,
    ) -> Record:
        """Return what the ledger is to know once an attempt has failed.

        A lasting refusal is waited for, once there is no live token.
        """
        last = self.failure
        before = last.refusals if last and last.purpose == self.purpose else 0
        lasting = isinstance(error, TenantRefused) and not self.live_until(now)
        return Record(
            tenant=self.tenant.name,
            client=self.tenant.client,
            attempted_at=attempted_at,
            owner=self.owner,
            issued=self.issued,
            failure=Failure(
                reason=error.reason,
                code=error.code,
                detail=error.detail,
                failed_at=now,
                refusals=min(before + lasting, MOST_COUNTED),
                next_attempt_at=now + back_off(before, settings) if lasting else None,
                purpose=self.purpose,
                client_secret_version=client_secret_version,
                told_at=last.told_at if last else None,
            ),
        )


def purpose_of(tenant: Tenant, settings: Settings) -> str:
    """Return what a token is issued for, so that another one is a change."""
    return json.dumps(
        {
            "tenant_id": tenant.tenant_id,
            "scope": tenant.scope,
            "client": tenant.client,
            "token_endpoint": settings.token_endpoint,
            "key": settings.token_key_arn,
        },
        ensure_ascii=False,
    )


def renew_at(tenant: str, issued: Issued, settings: Settings) -> datetime:
    """Return when a token is due: spread, and never later than its floor."""
    lifetime = issued.expires_at - issued.issued_at
    spread = SPREAD * fraction(tenant)
    due = issued.issued_at + lifetime * (settings.renew_at_fraction - spread)
    return min(due, floor_of(issued, settings))


def floor_of(issued: Issued | AccessToken, settings: Settings) -> datetime:
    """Return the last moment at which the promise survives a late tick, a slow run, an outage."""
    return issued.expires_at - (2 * settings.period + timedelta(minutes=OUTAGE_MINUTES))


def is_too_short(issued: Issued | AccessToken, settings: Settings) -> bool:
    """Tell whether a token was below the floor from its first moment."""
    return floor_of(issued, settings) <= issued.issued_at


def fraction(text: str) -> float:
    """Return a number from 0 to 1 that is always the same for a text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
