import threading
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    AnswerInvalid,
    ClientRefused,
    ClientSecretUnreadable,
    EndpointUnavailable,
    IssuerError,
    StoreDenied,
    TokenRefused,
)
from token_issuer.issuance import issue_tokens
from token_issuer.tenants import Tenant

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def tenant(name: str, client: str = "default") -> Tenant:
    return Tenant(name=name, tenant_id=name, scope="", client=client, enabled=True)


class World:
    """An authorization server and a store that note who came when."""

    def __init__(self, answers: dict[str, list[Exception]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []
        self.together: list[set[str]] = []
        self.stored: dict[str, AccessToken] = {}
        self.credentials_read: Counter[str] = Counter()
        self._now: set[str] = set()
        self._lock = threading.Lock()

    def read_credentials(self, client: str) -> ClientCredentials:
        self.credentials_read[client] += 1
        for error in self.answers.get(f"secret of {client}", []):
            raise error
        return ClientCredentials(client_id=client, client_secret="s", auth_method="")

    def fetch_token(self, tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        assert credentials.client_id == tenant.client
        with self._lock:
            self.asked.append(tenant.name)
            self._now.add(tenant.name)
        threading.Event().wait(0.1)  # long enough for those that may run beside it to come
        with self._lock:
            self.together.append(set(self._now))
            self._now.discard(tenant.name)
        for error in self.answers.get(tenant.name, []):
            raise error
        return AccessToken(value=f"t-{tenant.name}", issued_at=NOW, expires_at=NOW, scope=None)

    def store_token(self, name: str, token: AccessToken) -> None:
        for error in self.answers.get(f"store of {name}", []):
            raise error
        self.stored[name] = token

    def issue(
        self, tenants: Iterable[Tenant], concurrency: int = 8
    ) -> dict[str, AccessToken | IssuerError]:
        outcomes = list(
            issue_tokens(
                tenants,
                read_credentials=self.read_credentials,
                fetch_token=self.fetch_token,
                store_token=self.store_token,
                concurrency=concurrency,
            )
        )
        assert len({one.name for one, _ in outcomes}) == len(outcomes)
        return {one.name: outcome for one, outcome in outcomes}


def test_each_tenant_gets_its_own_token() -> None:
    world = World()

    outcomes = world.issue([tenant("acme"), tenant("globex")])

    assert outcomes == world.stored
    assert world.stored["acme"].value == "t-acme"
    assert world.stored["globex"].value == "t-globex"


def test_nobody_to_serve_is_no_trouble() -> None:
    assert World().issue([]) == {}


def test_tenants_run_side_by_side_and_no_more_than_may() -> None:
    world = World()

    world.issue([tenant(f"t{number}") for number in range(12)], concurrency=3)

    assert max(map(len, world.together)) == 3


def test_the_order_is_kept() -> None:
    world = World()

    world.issue([tenant("b"), tenant("a", "other"), tenant("c")], concurrency=1)

    assert world.asked == ["b", "a", "c"]


def test_the_first_of_each_client_goes_alone() -> None:
    world = World()
    tenants = [tenant(f"{client}{number}", client) for number in range(3) for client in "ab"]

    world.issue(tenants)

    assert {"a0", "b0"} in world.together
    for running in world.together:
        assert not running & {"a1", "a2"} or "a0" not in running
        assert not running & {"b1", "b2"} or "b0" not in running


def test_the_secret_of_a_client_is_read_once() -> None:
    world = World()

    world.issue([tenant(f"t{number}") for number in range(9)])

    assert world.credentials_read == {"default": 1}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ClientRefused("invalid_client"), id="refused"),
        pytest.param(ClientSecretUnreadable("AccessDenied"), id="secret unreadable"),
    ],
)
def test_a_dead_client_costs_one_attempt_and_no_other_client(error: IssuerError) -> None:
    source = "t0" if isinstance(error, ClientRefused) else "secret of default"
    world = World({source: [error]})
    tenants = [*(tenant(f"t{number}") for number in range(20)), tenant("other", "other")]

    outcomes = world.issue(tenants)

    assert len(outcomes) == 21
    assert all(outcomes[f"t{number}"] is error for number in range(20))
    assert sum(name.startswith("t") for name in world.asked) <= 1
    assert world.credentials_read["default"] == 1
    assert world.stored.keys() == {"other"}


def test_a_refusal_that_comes_later_stops_the_rest() -> None:
    world = World({"t1": [ClientRefused("invalid_client")]})

    outcomes = world.issue([tenant(f"t{number}") for number in range(30)], concurrency=2)

    refused = [name for name, outcome in outcomes.items() if isinstance(outcome, ClientRefused)]
    assert len(outcomes) == 30
    assert "t0" in world.stored
    assert len(world.asked) <= 4
    assert len(refused) >= 26


@pytest.mark.parametrize("error", [EndpointUnavailable("HTTP 503"), AnswerInvalid("HTML")])
def test_without_an_oauth_answer_the_next_goes_alone_too_and_then_all(error: IssuerError) -> None:
    world = World({"t0": [error], "t1": [error]})

    world.issue([tenant(f"t{number}") for number in range(6)])

    assert world.together[:2] == [{"t0"}, {"t1"}]
    assert max(map(len, world.together)) == 4
    assert world.stored.keys() == {"t2", "t3", "t4", "t5"}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param("t0", TokenRefused("invalid_tenant"), id="an OAuth error"),
        pytest.param("store of t0", StoreDenied("AccessDenied"), id="a token that isn't stored"),
    ],
)
def test_any_oauth_answer_lets_the_rest_follow(source: str, error: IssuerError) -> None:
    world = World({source: [error]})

    outcomes = world.issue([tenant(f"t{number}") for number in range(5)])

    assert outcomes["t0"] is error
    assert max(map(len, world.together)) == 4
    assert len(world.stored) == 4


def test_a_defect_costs_its_tenant_alone_and_is_not_quoted() -> None:
    world = World({"store of t0": [TypeError("the token is t-t0")]})

    outcomes = world.issue([tenant("t0"), tenant("t1")])

    failure = outcomes["t0"]
    assert isinstance(failure, IssuerError)
    assert failure.reason == "Unexpected"
    assert failure.detail.startswith("TypeError in issuance.py, line ")
    assert world.stored.keys() == {"t1"}


def test_a_defect_in_reading_a_secret_is_met_once() -> None:
    world = World({"secret of default": [TypeError("the secret is s")]})

    outcomes = world.issue([tenant(f"t{number}") for number in range(9)])

    assert world.credentials_read == {"default": 1}
    assert {
        outcome.reason for outcome in outcomes.values() if isinstance(outcome, IssuerError)
    } == {"ClientSecretUnreadable"}
    assert "the secret is" not in str(outcomes["t8"])


def test_without_a_store_tokens_are_only_checked() -> None:
    world = World()

    [(_, outcome)] = issue_tokens(
        [tenant("acme")],
        read_credentials=world.read_credentials,
        fetch_token=world.fetch_token,
        store_token=None,
        concurrency=1,
    )

    assert isinstance(outcome, AccessToken)
    assert world.asked == ["acme"]
    assert world.stored == {}
