"""The versions of one client's secret in a run: where one is refused, another serves."""

from contextlib import suppress

import pytest

from tests.helpers.account import NO_VERSION, REFUSED, credentials
from tests.helpers.staged_secrets import StagedSecrets, Version
from token_issuer.clients.versions import ClientSecret, SecretsInUse
from token_issuer.errors import (
    ClientRefused,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    EndpointBreakerOpen,
    IssuerError,
    PendingClientDiffers,
)
from token_issuer.redaction import Quoted

NEW = "new-7zR2pXw9Lm4Tb8YcH6vKq"


def way(secret: ClientSecret) -> list[str]:
    """Refuse each version, and return them."""
    versions = []
    with suppress(ClientRefused, ClientSecretInvalid):
        while True:
            in_use = secret.choose()
            versions.append(in_use.version)
            secret.refuse(in_use, REFUSED)
    return versions


MALFORMED, THROTTLED = ClientSecretInvalid("not JSON"), ClientSecretUnreadable("throttled")


@pytest.mark.parametrize(
    ("current", "pending", "previous", "versions"),
    [
        pytest.param("v2", "v3", "v1", ["v2", "v3", "v1"], id="current, pending, previous"),
        pytest.param(["v2", "v4"], "v3", "v1", ["v2", "v4", "v3"], id="a newer one, three in all"),
        pytest.param("v2", MALFORMED, THROTTLED, ["v2"], id="not what can't be used"),
        pytest.param(["v2", THROTTLED], NO_VERSION, "v1", ["v2", "v1"], id="not to be read again"),
    ],
)
def test_the_way_back_is(
    current: Version | list[Version], pending: Version, previous: Version, versions: list[str]
) -> None:
    secrets = StagedSecrets(AWSCURRENT=current, AWSPENDING=pending, AWSPREVIOUS=previous)

    assert way(ClientSecret("default", secrets)) == versions


def test_a_current_version_that_cannot_be_read_is_no_refusal() -> None:
    secrets = StagedSecrets(AWSCURRENT=ClientSecretUnreadable("denied"), AWSPREVIOUS="v1")

    with pytest.raises(ClientSecretUnreadable, match="denied"):
        ClientSecret("default", secrets).choose()


def test_the_first_failure_of_the_current_version_is_the_one_that_is_told() -> None:
    secret = ClientSecret("default", StagedSecrets(AWSCURRENT=["v1", "v2"]))
    secret.refuse(secret.choose(), REFUSED)
    secret.refuse(secret.choose(), ClientRefused("Client default: unauthorized"))

    assert secret.failure is REFUSED


def test_what_could_not_be_tried_is_told() -> None:
    secrets = StagedSecrets(
        AWSCURRENT="v2",
        AWSPENDING=ClientSecretInvalid("The pending one is not JSON"),
        AWSPREVIOUS=ClientSecretUnreadable("The previous one: DecryptionFailure"),
    )
    secret = ClientSecret("default", secrets)
    secret.refuse(secret.choose(), REFUSED)

    with pytest.raises(ClientRefused) as raised:
        secret.choose()

    assert raised.value.detail == (
        "Client default: invalid_client; The pending one is not JSON;"
        " The previous one: DecryptionFailure"
    )


def test_the_previous_version_says_whose_it_is_and_only_the_current_one_is_read_twice() -> None:
    secrets = StagedSecrets(
        AWSCURRENT=ClientSecretInvalid("not JSON"),
        AWSPENDING=credentials("v3", "other"),
        AWSPREVIOUS="v1",
    )

    secret = ClientSecret("default", secrets)
    assert way(secret) == ["v1"]
    with pytest.raises(PendingClientDiffers):
        secret.read_pending()

    assert sorted(secrets.reads) == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_whose_a_pending_version_is_must_be_known() -> None:
    secrets = StagedSecrets(
        AWSCURRENT=ClientSecretInvalid("not JSON"),
        AWSPENDING=credentials("v3", "other"),
        AWSPREVIOUS=ClientSecretUnreadable("throttled", code=Quoted("ThrottlingException")),
    )

    with pytest.raises(ClientSecretUnreadable, match="throttled"):
        ClientSecret("default", secrets).read_pending()
    assert way(ClientSecret("default", secrets)) == []


def test_where_no_version_says_whose_it_is_a_pending_one_does() -> None:
    secrets = StagedSecrets(AWSCURRENT=ClientSecretInvalid("not JSON"), AWSPENDING="v3")

    assert ClientSecret("default", secrets).read_pending().version == "v3"
    assert way(ClientSecret("default", secrets)) == ["v3"]


def test_a_malformed_current_version_without_another_is_the_failure() -> None:
    secret = ClientSecret("default", StagedSecrets(AWSCURRENT=ClientSecretInvalid("not JSON")))

    with pytest.raises(ClientSecretInvalid, match="not JSON"):
        secret.choose()


def test_a_malformed_current_version_and_a_refused_one_say_that_no_other_works() -> None:
    secrets = StagedSecrets(AWSCURRENT=ClientSecretInvalid("not JSON"), AWSPREVIOUS="v1")
    secret = ClientSecret("default", secrets)
    assert way(secret) == ["v1"]

    with pytest.raises(ClientSecretInvalid, match="not JSON; no other version"):
        secret.choose()


def test_a_refused_current_version_without_another_says_no_more() -> None:
    secret = ClientSecret("default", StagedSecrets(AWSCURRENT="v1"))
    way(secret)

    with pytest.raises(ClientRefused) as raised:
        secret.choose()

    assert raised.value.detail == "Client default: invalid_client"


def test_a_defect_in_reading_shows_nothing() -> None:
    secrets = StagedSecrets(AWSCURRENT=TypeError(NEW))

    with pytest.raises(ClientSecretUnreadable, match="failed: TypeError in") as raised:
        ClientSecret("default", secrets).choose()

    assert NEW not in str(raised.value)


def test_in_a_run_each_client_has_one_secret() -> None:
    in_use = SecretsInUse(StagedSecrets(AWSCURRENT="v1"))

    assert in_use.of("default") is in_use.of("default")
    assert in_use.of("sales") is not in_use.of("default")
    assert in_use.of("sales").client == "sales"


# What a run learns of a version


@pytest.fixture
def secret() -> ClientSecret:
    secret = ClientSecret("default", StagedSecrets(AWSCURRENT="v2", AWSPREVIOUS="v1"))
    secret.refuse(secret.choose(), REFUSED)
    secret.choose()
    return secret


def test_a_version_that_had_a_token_is_proved_for_the_tenant_that_had_one_last(
    secret: ClientSecret,
) -> None:
    secret.worked(None)  # a tenant was refused
    assert secret.proved_for("v1") is None

    for tenant in ("acme", "globex", None):
        secret.worked(tenant)

    assert secret.proved_for("v1") == "globex"
    assert secret.proved_for("v2") is None
    assert secret.refusal_of("v2") is REFUSED
    assert secret.refusal_of("v1") is None


@pytest.mark.parametrize(
    ("why", "proved_for"),
    [
        pytest.param(REFUSED, None, id="refused after all"),
        pytest.param(EndpointBreakerOpen("HTTP 503"), "acme", id="no answer"),
    ],
)
def test_where_no_more_is_asked_for_a_version_is_proved_unless_it_is_refused(
    why: IssuerError, proved_for: str | None, secret: ClientSecret
) -> None:
    secret.worked("acme")

    secret.close(why)

    assert secret.closed is why
    assert secret.proved_for("v1") == proved_for
