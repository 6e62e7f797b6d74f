"""Tenant documents that can't be used, or look as if they couldn't."""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from local.authorization_server import SCOPES
from tests.helpers.account import tenant_id
from tests.helpers.scene import ALL, Arrange, Case, Scene, hitting, raising

if TYPE_CHECKING:
    from mypy_boto3_ssm.literals import ParameterTypeType

ACME = {"tenant_id": tenant_id("acme"), "scope": SCOPES[0]}
PARAMETER, TENANT = "/visma/tenants/acme", "acme"
NESTED, EMPTY = f"{PARAMETER}/eu", '{"tenants": {}}'


def document(words: str, text: str | dict[str, object], detail: str, named: str = TENANT) -> Case:
    """Put a text, or members that acme's document has besides."""
    content = text if isinstance(text, str) else json.dumps(ACME | text)
    return arranged(words, lambda scene: scene.account.put_document("acme", content), detail, named)


def beside(words: str, name: str, text: str, detail: str, named: str) -> Case:
    """Put a parameter beside those of the tenants, which all stay well."""

    def arrange(scene: Scene) -> None:
        scene.account.put_document(name, text)

    return hitting((), words, arrange, "DocumentInvalid", detail, named=[named])


def arranged(words: str, arrange: Arrange, detail: str, *named: str) -> Case:
    return hitting(["acme"], words, arrange, "DocumentInvalid", detail, named=named)


def of_type(kind: "ParameterTypeType") -> Case:
    def arrange(scene: Scene) -> None:
        scene.drop_document("acme")  # since no overwriting changes a type
        scene.account.put_document("acme", json.dumps(ACME), kind)

    return arranged(f"a {kind}", arrange, f"its type is {kind}, not String", PARAMETER)


def well(words: str, arrange: Arrange, kept: Iterable[str] = ()) -> Case:
    return Case(words=words, arrange=arrange, kept=frozenset(kept))


def listing(words: str, code: str) -> Case:
    """Fail the second page."""

    def arrange(scene: Scene) -> None:
        more_tenants(8)(scene)
        scene.aws.script = lambda operation, request: (
            (code, f"got {request}")
            if operation == "GetParametersByPath" and "NextToken" in request
            else None
        )

    detail = f"Listing /visma/tenants failed: {code}"
    return raising(words, arrange, "TenantsUnreadable", detail)  # since the ledger knows nobody


def overlapping(words: str, tokens_path: str) -> Case:
    def arrange(scene: Scene) -> None:
        scene.environment.setenv("TOKENS_PATH", tokens_path)

    return raising(words, arrange, "SettingsInvalid", "lie in one another")


def more_tenants(count: int) -> Callable[[Scene], None]:
    def arrange(scene: Scene) -> None:
        for number in range(count):
            scene.account.configure(f"more-{number}")
            scene.more.add(f"more-{number}")

    return arrange


def packed_twice(scene: Scene) -> None:
    scene.drop_document("acme")
    document = json.dumps(ACME)
    text = f'{{"tenants": {{"acme": {document}, "acme": {document}}}}}'
    scene.account.put_document("packed-1", text)


def packed_in_two(scene: Scene) -> None:
    scene.drop_document("acme")
    for name in ("packed-1", "packed-2"):
        scene.account.put_document(name, json.dumps({"tenants": {"acme": ACME}}))


def single_and_packed(scene: Scene) -> None:
    """Pack what stands alone as well."""
    scene.account.put_document("packed-1", json.dumps({"tenants": {"acme": ACME}}))


def unreadable_and_packed(scene: Scene) -> None:
    scene.account.put_document("acme", "{")
    single_and_packed(scene)


def no_documents(scene: Scene) -> None:
    for tenant in ALL:
        scene.drop_document(tenant)


DOCUMENTS = [
    document("malformed JSON", '{"scope": ', "it is not JSON", PARAMETER),
    document("no text but spaces", "  ", "it is not JSON", PARAMETER),
    document("a list", "[]", "it is not a JSON object", PARAMETER),
    document("a number", "7", "it is not a JSON object", PARAMETER),
    document("deep nesting", "[" * 4000, "it is not JSON", PARAMETER),
    document("half a character as a member", '{"scope": "a", "\\ud83d": 1}', "members: \\ud83d"),
    document("an unknown member", {"scopes": "a b"}, "unknown members: scopes"),
    document("scope is missing", '{"tenant_id": "a"}', "scope is missing"),
    document("scope as a list", {"scope": ["a"]}, "scope must be a text"),
    document("scope with two spaces", {"scope": "a  b"}, "scope must be a text"),
    document("scope with a space before", {"scope": " a"}, "scope must be a text"),
    document("scope with a quote", {"scope": 'a"b'}, "scope must be a text"),
    document("scope beyond ASCII", {"scope": "å"}, "scope must be a text"),
    document("tenant_id empty", {"tenant_id": ""}, "tenant_id must be a text"),
    document("tenant_id with a space", {"tenant_id": "a b"}, "tenant_id must be a text"),
    document("client empty", {"client": ""}, "client must be 1 to 64"),
    document("tenant_id as a number", {"tenant_id": 7}, "tenant_id must be a text"),
    document("tenant_id as null", {"tenant_id": None}, "tenant_id must be a text"),
    document("client as a number", {"client": 7}, "client must be 1 to 64"),
    document("client outside the grammar", {"client": "../other"}, "client must be 1 to 64"),
    document("enabled as a word", {"enabled": "no"}, "enabled must be true or false"),
    document("note as a number", {"note": 4711}, "note must be a text"),
    document("a member twice", '{"scope": "a", "scope": "b"}', "duplicate members: scope"),
    document("packed ones beside others", '{"tenants": {}, "x": 1}', "unknown members", PARAMETER),
    document("packed ones twice", '{"tenants": {}, "tenants": {}}', "one object", PARAMETER),
    document("packed ones as a list", '{"tenants": []}', "tenants must be one object", PARAMETER),
    beside("a name of 65 characters", "a" * 65, json.dumps(ACME), "the name must be", "a" * 65),
    beside(
        "a packed name outside the grammar",
        "packed-1",
        json.dumps({"tenants": {"a b": ACME}}),
        "the name must be",
        "a b",
    ),
    beside(
        "half a character as a packed name",
        "packed-1",
        '{"tenants": {"\\ud83d": {}}}',
        "the name must be",
        "'\\ud83d'",
    ),
    beside(
        "a packed name without a character",
        "packed-1",
        json.dumps({"tenants": {"": ACME}}),
        "the name must be",
        "",
    ),
    beside(
        "a packed tenant that is not an object",
        "packed-1",
        '{"tenants": {"initech": null}}',
        "packed-1, tenant initech: it is not a JSON object",
        "initech",
    ),
    beside("a nested parameter", "acme/eu", json.dumps(ACME), "it is not directly under", NESTED),
    arranged("one name twice in one document", packed_twice, "in /visma/tenants/packed-1", TENANT),
    arranged("one name in two documents", packed_in_two, "packed-1 and in /visma/tenants", TENANT),
    hitting(
        (),
        "one name single and packed",
        single_and_packed,
        "DocumentInvalid",
        "Tenant acme follows its own parameter; it is in /visma/tenants/acme and in /visma",
        named=[TENANT],
    ),
    arranged(
        "one name packed, and alone where it can't be read",
        unreadable_and_packed,
        "/visma/tenants/acme",
        PARAMETER,
        TENANT,
    ),
    of_type("SecureString"),
    of_type("StringList"),
    well("an empty set", lambda scene: scene.account.put_document("acme", EMPTY), ["acme"]),
    well("no document at all", no_documents, ALL),
    well("exactly ten parameters", more_tenants(7)),
    well("eleven parameters", more_tenants(8)),
    overlapping("tokens below the tenants", "/visma/tenants/tokens"),
    overlapping("tokens above the tenants", "/visma"),
    overlapping("tokens where the tenants are", "/visma/tenants"),
    listing("a listing that is throttled half way", "ThrottlingException"),
    listing("a listing that is denied half way", "AccessDeniedException"),
    listing("a listing that breaks half way", "InternalServerError"),
]
