"""The versions of one client's secret in a run: where one is refused, another serves."""

from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.helpers.account import NO_VERSION, REFUSED, credentials
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.versions import ClientSecret
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    PendingClientDiffers,
)
from token_issuer.redaction import Quoted

NEW = "new-7zR2pXw9Lm4Tb8YcH6vKq"

type Version = ClientCredentials | ClientSecretInvalid | ClientSecretUnreadable


def reader(**stages: list[Version]) -> Callable[[str, str], ClientCredentials]:
    """Return a reader of versions by stage; one that is read again may be another one."""

    def read(client: str, stage: str) -> ClientCredentials:
        assert client == "default"
        versions = stages.get(stage, [NO_VERSION])
        found = versions.pop(0) if len(versions) > 1 else versions[0]
        if isinstance(found, ClientCredentials):
            return found
        raise found

    return read


def way(secret: ClientSecret) -> list[str]:
    """Refuse each version, and return them."""
    versions = []
    with suppress(ClientRefused, ClientSecretInvalid):
        while True:
            in_use = secret.choose()
            versions.append(in_use.version)
            secret.refuse(in_use, REFUSED)
    return versions


def test_the_way_back_is_current_again_pending_previous() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[credentials("v3")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v2", "v3", "v1"]


def test_a_current_version_that_has_changed_meanwhile_is_asked_with() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2"), credentials("v4")],
        AWSPENDING=[credentials("v3")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v2", "v4", "v3"]  # three in all


def test_versions_that_cannot_be_used_are_passed_over() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[ClientSecretInvalid("not JSON")],
        AWSPREVIOUS=[ClientSecretUnreadable("throttled")],
    )

    assert way(ClientSecret("default", read)) == ["v2"]


def test_a_current_version_that_cannot_be_read_is_no_refusal() -> None:
    read = reader(AWSCURRENT=[ClientSecretUnreadable("denied")], AWSPREVIOUS=[credentials("v1")])

    with pytest.raises(ClientSecretUnreadable, match="denied"):
        ClientSecret("default", read).choose()


def test_where_the_current_version_is_malformed_the_previous_one_says_whose_it_is() -> None:
    read = reader(
        AWSCURRENT=[ClientSecretInvalid("not JSON")],
        AWSPENDING=[credentials("v3", "other")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v1"]


def test_the_first_failure_of_the_current_version_is_the_one_that_is_told() -> None:
    secret = ClientSecret("default", reader(AWSCURRENT=[credentials("v1"), credentials("v2")]))
    secret.refuse(secret.choose(), REFUSED)
    secret.refuse(secret.choose(), ClientRefused("Client default: unauthorized"))

    assert secret.failure is REFUSED


def test_where_the_current_version_cannot_be_read_again_the_next_one_serves() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2"), ClientSecretUnreadable("throttled")],
        AWSPREVIOUS=[credentials("v1")],
    )

    assert way(ClientSecret("default", read)) == ["v2", "v1"]


def test_what_could_not_be_tried_is_told() -> None:
    read = reader(
        AWSCURRENT=[credentials("v2")],
        AWSPENDING=[ClientSecretInvalid("The pending one is not JSON")],
        AWSPREVIOUS=[ClientSecretUnreadable("The previous one: DecryptionFailure")],
    )
    secret = ClientSecret("default", read)
    secret.refuse(secret.choose(), REFUSED)

    with pytest.raises(ClientRefused) as raised:
        secret.choose()

    assert raised.value.detail == (
        "Client default: invalid_client; The pending one is not JSON;"
        " The previous one: DecryptionFailure"
    )


def test_no_version_is_read_twice_but_the_current_one() -> None:
    reads = []
    read = reader(
        AWSCURRENT=[ClientSecretInvalid("not JSON")],
        AWSPENDING=[credentials("v3", "other")],
        AWSPREVIOUS=[credentials("v1")],
    )

    def counting(client: str, stage: str) -> ClientCredentials:
        reads.append(stage)
        return read(client, stage)

    secret = ClientSecret("default", counting)
    assert way(secret) == ["v1"]
    with pytest.raises(PendingClientDiffers):
        secret.read_pending()

    assert sorted(reads) == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_whose_a_pending_version_is_must_be_known() -> None:
    read = reader(
        AWSCURRENT=[ClientSecretInvalid("not JSON")],
        AWSPENDING=[credentials("v3", "other")],
        AWSPREVIOUS=[ClientSecretUnreadable("throttled", code=Quoted("ThrottlingException"))],
    )

    with pytest.raises(ClientSecretUnreadable, match="throttled"):
        ClientSecret("default", read).read_pending()
    assert way(ClientSecret("default", read)) == []


def test_where_no_version_says_whose_it_is_a_pending_one_does() -> None:
    read = reader(AWSCURRENT=[ClientSecretInvalid("not JSON")], AWSPENDING=[credentials("v3")])

    assert ClientSecret("default", read).read_pending().version == "v3"
    assert way(ClientSecret("default", read)) == ["v3"]


def test_a_malformed_current_version_without_another_is_the_failure() -> None:
    secret = ClientSecret("default", reader(AWSCURRENT=[ClientSecretInvalid("not JSON")]))

    with pytest.raises(ClientSecretInvalid, match="not JSON"):
        secret.choose()


def test_a_malformed_current_version_and_a_refused_one_say_that_no_other_works() -> None:
    read = reader(AWSCURRENT=[ClientSecretInvalid("not JSON")], AWSPREVIOUS=[credentials("v1")])
    secret = ClientSecret("default", read)
    assert way(secret) == ["v1"]

    with pytest.raises(ClientSecretInvalid, match="not JSON; no other version"):
        secret.choose()


def test_a_refused_current_version_without_another_says_no_more() -> None:
    secret = ClientSecret("default", reader(AWSCURRENT=[credentials("v1")]))
    way(secret)

    with pytest.raises(ClientRefused) as raised:
        secret.choose()

    assert raised.value.detail == "Client default: invalid_client"


def test_a_defect_in_reading_shows_nothing() -> None:
    def read(_client: str, _stage: str) -> ClientCredentials:
        raise TypeError(NEW)

    with pytest.raises(ClientSecretUnreadable, match="failed: TypeError in") as raised:
        ClientSecret("default", read).choose()

    assert NEW not in str(raised.value)
