"""A ledger that can't be read, or doesn't take what was done."""

from typing import Any

from tests.helpers.scene import Case, Scene, raising

RECORD: dict[str, Any] = {"Key": {"key": {"S": "tenant#acme"}}}
LEASE: dict[str, Any] = {"Key": {"key": {"S": "lease"}}}


def unreadable(words: str, operation: str, code: str, **members: Any) -> Case:  # noqa: ANN401  as AWS takes them
    return raising(
        words,
        lambda scene: scene.aws.fail(operation, code, **members),
        "LedgerUnreadable",
        f"failed: {code}",
    )


def written_by_a_person(scene: Scene) -> None:
    """Put items of other types, and times that nobody can reckon with."""
    members: dict[str, Any] = {
        "schema": {"N": "1"},
        "client": {"S": "default"},
        "attempted_at": {"S": "0001-01-01T00:00:00.000+14:00"},
        "version": {"N": "99999999999999999999"},
        "failure": {"NS": ["7"]},
    }
    items: list[dict[str, Any]] = [
        {"key": {"S": "tenant#acme"}} | members,
        {"key": {"S": "tenant#hooli"}} | members | {"attempted_at": {"NULL": True}},
        {"key": {"S": "client#default"}, "schema": {"N": "1"}, "told_at": {"SS": ["a"]}},
        {"key": {"S": "lease"}, "held_until": {"N": "7"}, "checked": {"B": b"7"}},
        {"key": {"S": "document#/visma/tenants/acme"}, "text": {"L": []}},
    ]
    for item in items:
        scene.account.dynamodb.put_item(TableName="ledger", Item=item)


def left_over(scene: Scene) -> None:
    """Have an item of an earlier version stay."""
    written_by_a_person(scene)
    scene.aws.fail("DeleteItem", "InternalServerError")


LEDGER = [
    Case(words="items that a person has written", arrange=written_by_a_person),
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
    # The next run tries it again.
    Case(words="what an earlier version has left can't be deleted", arrange=left_over),
]
