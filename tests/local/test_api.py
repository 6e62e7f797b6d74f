"""The toy API takes a company's own tokens while they live, and counts."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from local.api import Api
from local.authorization_server import VismaConnect
from local.demo import TENANTS, serving_api

ACME, GLOBEX = TENANTS["acme"], TENANTS["globex"]


@pytest.fixture
def api(visma_connect: VismaConnect) -> Iterator[Api]:
    with serving_api(visma_connect) as served:
        yield served


def claims(visma_connect: VismaConnect, **others: object) -> dict[str, Any]:
    now = int(time.time())
    documented = {"iss": visma_connect.url, "nbf": now - 10, "exp": now + 60, "tenant_id": ACME}
    return documented | {"jti": "one"} | others


def call(api: Api, token: str | None, *, caller: str = "me") -> tuple[int, Any]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    url = f"{api.url}/{caller}/companies/{ACME}/orders"
    answer = requests.get(url, headers=headers, timeout=10)
    challenged = "WWW-Authenticate" in answer.headers
    assert challenged == (answer.status_code == 401)  # RFC 6750 §3
    return answer.status_code, answer.json()


def test_a_companys_own_token_is_taken(api: Api, visma_connect: VismaConnect) -> None:
    told = call(api, visma_connect.sign(claims(visma_connect)))

    [judged] = api.calls
    assert told == (200, {"orders": []})
    assert (judged.caller, judged.tenant_id, judged.jti) == ("me", ACME, "one")
    assert 9 < judged.age < 15
    assert 55 < judged.left < 61


@pytest.mark.parametrize(
    ("others", "status", "verdict"),
    [
        pytest.param({"exp": 1_700_000_000}, 401, "expired", id="expired"),
        pytest.param({"tenant_id": GLOBEX}, 403, "of another tenant", id="another's"),
        pytest.param({"jti": "gone"}, 401, "revoked", id="revoked"),
        pytest.param(
            {"iss": "https://other.example"},
            401,
            "not by this authorization server",
            id="of another issuer",
        ),
    ],
)
def test_any_other_is_refused(
    others: dict[str, Any], status: int, verdict: str, api: Api, visma_connect: VismaConnect
) -> None:
    api.revoked.add("gone")

    told = call(api, visma_connect.sign(claims(visma_connect, **others)))

    assert told == (status, {"error": verdict})
    assert [one.verdict for one in api.calls] == [verdict]


def test_a_token_is_expired_in_the_very_second_of_its_exp(
    api: Api, visma_connect: VismaConnect
) -> None:
    content = claims(visma_connect)
    token, exp = visma_connect.sign(content), float(content["exp"])

    told = []
    for api.now in (lambda: exp - 0.001, lambda: exp):
        told.append(call(api, token)[0])

    assert told == [200, 401]
    assert [one.left for one in api.calls] == [pytest.approx(0.001, abs=1e-6), 0]


def test_only_a_bearer_token_is_one(api: Api, visma_connect: VismaConnect) -> None:
    headers = {"Authorization": f"Basic {visma_connect.sign(claims(visma_connect))}"}

    answer = requests.get(f"{api.url}/me/companies/{ACME}/orders", headers=headers, timeout=10)

    assert answer.status_code == 401


def test_a_signature_by_somebody_else_is_refused(api: Api, visma_connect: VismaConnect) -> None:
    foreign = jwt.encode({"alg": "RS256"}, claims(visma_connect), RSAKey.generate_key(2048))
    secret = OctKey.import_key("a-key-that-anybody-may-know-of-this-size")
    symmetric = jwt.encode({"alg": "HS256"}, claims(visma_connect), secret)
    own = visma_connect.sign(claims(visma_connect))
    altered = ".".join([*own.split(".")[:2], foreign.split(".")[2]])

    told = [call(api, token)[0] for token in (foreign, symmetric, altered, "by-hand", None)]

    assert told == [401] * 5
    assert {one.verdict for one in api.calls} == {"not by this authorization server"}


def test_it_counts_by_caller_and_verdict(api: Api, visma_connect: VismaConnect) -> None:
    token = visma_connect.sign(claims(visma_connect))
    for _ in range(2):
        call(api, token, caller="shell")
    call(api, "by-hand", caller="node")

    counted = requests.get(f"{api.url}/counts", timeout=10).json()

    assert counted == {"shell": {"taken": 2}, "node": {"not by this authorization server": 1}}


def test_only_public_halves_of_keys_are_shown(visma_connect: VismaConnect) -> None:
    url = f"{visma_connect.url}/.well-known/openid-configuration/jwks"

    [key] = requests.get(url, timeout=10).json()["keys"]

    assert key.keys() >= {"kty", "n", "e"}
    assert key.keys().isdisjoint({"d", "p", "q", "dp", "dq", "qi"})
