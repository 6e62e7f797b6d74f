"""What is told to whoever acts upon it → the account's default EventBridge bus."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import EventUndelivered, IssuerError, TenantReassigned
from token_issuer.foreign_errors import aws_code, known_code, name_and_place
from token_issuer.redaction import Quoted, outgoing, quote, shown
from token_issuer.tenants.documents import Tenant

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

SOURCE = "token-issuer"
EVENTS_AT_ONCE = 10  # events in one request: the most that EventBridge takes


@dataclass(frozen=True)
class Event:
    """An event: its `kind` is EventBridge's `detail-type`."""

    kind: str
    detail: dict[str, object]


def failing(tenant: Tenant, error: IssuerError, token_expires_at: datetime | None) -> Event:
    """Tell of a lasting failure, and until when there is a token."""
    end = token_expires_at and shown(token_expires_at)
    more = {"code": error.code, "token_expires_at": end}
    return Event("Token Issuance Failing", _of(tenant) | error.fields | more)


def recovered(tenant: Tenant, token_expires_at: datetime) -> Event:
    """Tell that a tenant whose failing was told of has a new token."""
    end = shown(token_expires_at)
    return Event("Token Issuance Recovered", _of(tenant) | {"token_expires_at": end})


def reassigned(tenant: Tenant, error: TenantReassigned) -> Event:
    """Tell that a tenant's token is another owner's from now on."""
    detail = {"detail": error.detail, "remedy": error.remedy}
    return Event("Tenant Reassigned", _of(tenant) | detail)


def removed(tenant: str, because: str) -> Event:
    """Tell that a tenant has no token any more."""
    return Event("Token Removed", {"tenant": tenant, "because": because})


def secret_promoted(client: str, version: str, tenant: str) -> Event:
    """Tell that a pending client secret is current now."""
    detail = {"client": client, "secret_version": version, "tenant": tenant}
    return Event("Client Secret Promoted", {**detail})


def secret_refused(client: str, error: IssuerError) -> Event:
    """Tell that a version of a client's secret, or all of them, is refused."""
    return Event("Client Secret Refused", {"client": client} | error.fields)


def _of(tenant: Tenant) -> dict[str, object]:
    return {"tenant": tenant.name, "client": tenant.client}


class Events:
    """Puts events."""

    def __init__(self, make_client: "Callable[[], EventBridgeClient]", stack: str) -> None:
        self._make_client = cache(make_client)
        self._stack = stack

    def put(self, events: Sequence[Event]) -> list[EventUndelivered | None]:
        """Put up to ten events in one request; return for each why it was not delivered.

        A refused entry is no error of the call:
        https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        """
        try:
            entries: list[PutEventsRequestEntryTypeDef] = [
                {
                    "Source": SOURCE,
                    "DetailType": one.kind,
                    "Detail": json.dumps(outgoing({"stack": self._stack, **one.detail})),
                }
                for one in events
            ]
            answers = self._make_client().put_events(Entries=entries)["Entries"]
            codes = [one.get("ErrorCode") for one in answers]
            return [
                _undelivered(event, known_code(code)) if code else None
                for event, code in zip(events, codes, strict=True)
            ]
        except (ClientError, BotoCoreError) as error:
            code = aws_code(error)
        except Exception as error:  # noqa: BLE001  a defect here must not end a run
            code = quote(name_and_place(error))
        return [_undelivered(event, code) for event in events]


def _undelivered(event: Event, code: Quoted) -> EventUndelivered:
    return EventUndelivered(f"Putting {event.kind} failed: {code}", code=code)
