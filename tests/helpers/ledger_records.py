"""Records as the ledger keeps them, and what a person may have put in their place."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from tests.helpers.virtual_clock import NOON
from token_issuer.ledger.records import Failure, Fallback, Issued, Owner, Pending, Record
from token_issuer.redaction import Quoted

NOW = NOON
ISSUED = Issued(
    issued_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    fingerprint="0123456789abcdef",
    scope=Quoted("a b"),
    parameter="/visma/tokens/acme",
    version=5,
    client_secret_version="v1",
    purpose="{}",
    document="/visma/tenants/acme",
)
FAILURE = Failure(
    reason="TokenRefused",
    code=Quoted("invalid_tenant"),
    detail=Quoted("invalid_tenant: no"),
    failed_at=NOW,
    refusals=2,
    next_attempt_at=NOW + timedelta(minutes=7, seconds=30),
    purpose="{}",
    client_secret_version="v1",
)
PENDING = Pending(
    version="v2",
    reason="PendingSecretUndecided",
    detail=Quoted("HTTP 503"),
    tried_at=NOW,
    refusals=2,
    tried="acme",
)
FALLBACK = Fallback(
    version="v1", stage="AWSPREVIOUS", current="v2", detail=Quoted("invalid_client"), since=NOW
)
RECORD = Record(tenant="acme", client="default", attempted_at=NOW, issued=ISSUED)
FAILED = Record(tenant="acme", client="default", attempted_at=NOW, failure=FAILURE)
FULL = replace(
    RECORD,
    issued=replace(ISSUED, lost_at=NOW),
    failure=replace(FAILURE, told_at=NOW),
)
OWNER = Owner(tenant_id="7", client="sales")

ODD: dict[str, Any] = {  # nothing that a member of ours may be
    "a set of texts": {"SS": ["2026-11-24T12:00:00.000Z"]},
    "a set of numbers": {"NS": ["1"]},
    "a list": {"L": [{"S": "a"}]},
    "a map": {"M": {"version": {"N": "1"}}},
    "maps in maps": {"M": {"M": {"M": {"M": {"S": "a"}}}}},
    "binary": {"B": b"2026-11-24T12:00:00.000Z"},
    "true": {"BOOL": True},
    "null": {"NULL": True},
    "half a number": {"N": "1.5"},
    "less than nothing": {"N": "-1"},
    "more than any": {"N": "99999999999999999999999999999999999999"},
    "a huge number": {"N": "1E+125"},
}
NOT_TIMES = {
    "a word": "yesterday",
    "no text at all": "",
    "the first year": "0001-01-01T00:00:00.000Z",
    "the last year": "9999-12-31T23:59:59.999Z",
    "the year 10000": "10000-01-01T00:00:00.000Z",
    "no time zone": "2026-11-24T12:00:00.000",
    "another time zone": "2026-11-24T12:00:00.000+02:00",
    "a time zone that leads before the first year": "0001-01-01T00:00:00.000+14:00",
    "no day": "2026-02-30T12:00:00.000Z",
    "no milliseconds, so that texts don't compare": "2026-11-24T12:00:00Z",
    "the digits of another script": "2026-11-24T12:00:00.00\u0660Z",
    "seconds since 1970": "1795521600",
}
