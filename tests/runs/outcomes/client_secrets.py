"""Client secrets that can't be read or used, or look as if they couldn't."""

import json

from tests.helpers.account import tenant_id
from tests.helpers.scene import Arrange, Case, Scene, hitting

CLIENT_ID, CLIENT_SECRET = "default-id", "the-very-secret-of-this-case"
NAME = "visma/clients/default"
HIT = frozenset({"acme", "globex"})  # the client's tenants; hooli has another client


def secret(words: str, value: str | bytes | dict[str, object], detail: str) -> Case:
    content = json.dumps(value) if isinstance(value, dict) else value

    def arrange(scene: Scene) -> None:
        scene.replace_secret(content)
        scene.secrets.append(CLIENT_SECRET)

    return hitting(HIT, words, arrange, "ClientSecretInvalid", detail)


def unread(words: str, detail: str, arrange: Arrange) -> Case:
    return hitting(HIT, words, arrange, "ClientSecretUnreadable", detail)


def unreadable(words: str, code: str) -> Case:
    def arrange(scene: Scene) -> None:
        scene.aws.fail("GetSecretValue", code, SecretId=NAME)

    return unread(words, f"Reading secret {NAME} failed: {code}", arrange)


def drop_value(scene: Scene) -> None:
    scene.drop_secret()
    scene.account.secretsmanager.create_secret(Name=NAME)


def beyond_latin_1(method: str) -> Case:
    odd = "blåbær€-пароль-秘密"

    def arrange(scene: Scene) -> None:
        members = {"client_id": CLIENT_ID, "client_secret": odd, "auth_method": method}
        scene.replace_secret(json.dumps(members))
        scene.secrets.append(odd)
        client = scene.visma_connect.add_client(CLIENT_ID, odd)
        client.tenants.update(tenant_id(name) for name in HIT)

    return Case(words=f"a secret beyond latin-1, sent by {method}", arrange=arrange)


BOTH: dict[str, object] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}

CLIENT_SECRETS = [
    unread("missing", f"{NAME} failed: ResourceNotFoundException", Scene.drop_secret),
    unreadable("denied", "AccessDeniedException"),
    unreadable("its key is denied", "DecryptionFailure"),
    unreadable("in a state that nobody knows", "InvalidRequestException"),
    unread(
        "scheduled for deletion",
        f"Secret {NAME} is scheduled for deletion",
        lambda scene: scene.account.secretsmanager.delete_secret(SecretId=NAME),
    ),
    unread("without a value yet", f"Secret {NAME} has no value yet", drop_value),
    unreadable("throttled for good", "ThrottlingException"),
    secret("binary", json.dumps(BOTH).encode(), "is binary"),
    secret("not JSON but the bare secret", CLIENT_SECRET, "is not JSON"),
    secret("deep nesting", "[" * 60_000, "is not JSON"),
    secret("client_id as a number", BOTH | {"client_id": 7}, "client_id is missing"),
    secret("a list", json.dumps([CLIENT_ID, CLIENT_SECRET]), "is not a JSON object"),
    secret("a bare text", json.dumps(CLIENT_SECRET), "is not a JSON object"),
    secret("client_id is missing", {"client_secret": CLIENT_SECRET}, "client_id is missing"),
    secret("client_secret is missing", {"client_id": CLIENT_ID}, "client_secret is missing"),
    secret("client_id is empty", BOTH | {"client_id": ""}, "client_id is missing"),
    secret("client_secret is empty", BOTH | {"client_secret": ""}, "client_secret is missing"),
    secret("client_secret is a list", BOTH | {"client_secret": [CLIENT_SECRET]}, "or not a text"),
    secret(
        "half a character", BOTH | {"client_secret": "\ud83d" + CLIENT_SECRET}, "incomplete Unicode"
    ),
    secret("an unknown auth_method", BOTH | {"auth_method": "private_key_jwt"}, "auth_method must"),
    secret("auth_method as null", BOTH | {"auth_method": None}, "auth_method must"),
    secret("the secret as a member's name", {CLIENT_SECRET: ""}, "other members than it may have"),
    beyond_latin_1("client_secret_post"),
    beyond_latin_1("client_secret_basic"),
]
