"""A ledger that can't be read, or doesn't take what was done."""

from typing import Any

from tests.issuer.outcomes.scene import ALL, Case

RECORD: dict[str, Any] = {"Key": {"key": {"S": "tenant#acme"}}}
LEASE: dict[str, Any] = {"Key": {"key": {"S": "lease"}}}
CURSOR: dict[str, Any] = {"UpdateExpression": "SET #checked = :checked"}


def unreadable(words: str, operation: str, code: str, **members: Any) -> Case:  # noqa: ANN401  as AWS takes them
    return Case(
        words=words,
        arrange=lambda scene: scene.aws.fail(operation, code, **members),
        reason="LedgerUnreadable",
        detail=f"failed: {code}",
        raises=True,
        kept=ALL,
    )


LEDGER = [
    Case(
        words="throttled once",
        arrange=lambda scene: scene.aws.fail(
            "Scan", "ProvisionedThroughputExceededException", times=1
        ),
    ),
    unreadable("throttled for good", "Scan", "ThrottlingException"),
    unreadable("reading it is denied", "Scan", "AccessDeniedException"),
    unreadable("the table is gone", "UpdateItem", "ResourceNotFoundException", **LEASE),
    unreadable("the lease is refused", "UpdateItem", "InternalServerError", **LEASE),
    Case(
        words="a token can't be recorded",
        arrange=lambda scene: scene.aws.fail("UpdateItem", "AccessDeniedException", **RECORD),
        reason="LedgerUnwritable",
        detail="Writing tenant#acme to ledger failed: AccessDeniedException",
        failures=frozenset({"acme"}),
        unrecorded=frozenset({"acme"}),
    ),
    Case(
        words="what was checked can't be noted",
        arrange=lambda scene: scene.aws.fail("UpdateItem", "InternalServerError", **CURSOR),
        reason="LedgerUnwritable",
        detail="Writing lease to ledger failed: InternalServerError",
        failures=frozenset({"/visma/tenants"}),
    ),
]
