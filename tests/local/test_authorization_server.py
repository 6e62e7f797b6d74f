"""The local authorization server answers as Visma documents, and fails as told."""

import time
from typing import Any

import pytest
import requests

from local.authorization_server import SCOPES, VismaConnect

FORM = {
    "grant_type": "client_credentials",
    "scope": SCOPES[0],
    "client_id": "demoapp",
    "client_secret": "secret-of-the-test",
    "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a",
}


@pytest.fixture
def server(visma_connect: VismaConnect) -> VismaConnect:
    visma_connect.add_client("demoapp", "secret-of-the-test", SCOPES[:2])
    return visma_connect


def ask(server: VismaConnect, **form: str) -> tuple[int, Any]:
    answer = requests.post(server.token_endpoint, data=FORM | form, timeout=10)
    return answer.status_code, answer.json()


def switch(server: VismaConnect, method: str, path: str, **form: str) -> None:
    requests.request(method, f"{server.url}/local/{path}", data=form, timeout=10).raise_for_status()


@pytest.fixture
def granted(server: VismaConnect) -> VismaConnect:
    switch(server, "POST", f"grants/{FORM['tenant_id']}")
    return server


def test_a_token_carries_the_documented_claims(granted: VismaConnect) -> None:
    granted.lifetime = 1200

    status, answer = ask(granted)

    claims = granted.claims(answer.pop("access_token"))
    assert status == 200
    assert answer == {"token_type": "Bearer", "expires_in": 1200, "scope": SCOPES[0]}
    assert claims["client_id"] == "demoapp"
    assert claims["tenant_id"] == FORM["tenant_id"]
    assert claims["scope"] == [SCOPES[0]]
    assert claims["exp"] - claims["nbf"] == 1200
    assert claims["iss"] == granted.url
    assert "aud" in claims
    assert "sub" not in claims


@pytest.mark.parametrize(
    ("form", "error"),
    [
        pytest.param({}, "invalid_tenant", id="not granted"),
        pytest.param({"client_secret": "wrong"}, "invalid_client", id="wrong secret"),
        pytest.param({"client_id": "nobody"}, "invalid_client", id="unknown client"),
        pytest.param({"scope": "no.such:scope"}, "invalid_scope", id="unknown scope"),
        pytest.param({"grant_type": "password"}, "unsupported_grant_type", id="another grant"),
    ],
)
def test_a_refusal_is_an_oauth_error(
    form: dict[str, str], error: str, server: VismaConnect
) -> None:
    status, answer = ask(server, **form)

    assert status in {400, 401}
    assert answer["error"] == error


def test_a_grant_can_be_withdrawn(granted: VismaConnect) -> None:
    switch(granted, "DELETE", f"grants/{FORM['tenant_id']}")

    assert ask(granted)[1]["error"] == "invalid_tenant"


def test_it_fails_as_told_until_it_is_mended(granted: VismaConnect) -> None:
    switch(granted, "POST", "fault", status="503", body='{"down": true}')

    failing = ask(granted)
    switch(granted, "DELETE", "fault")

    assert failing == (503, {"down": True})
    assert ask(granted)[0] == 200


def test_it_is_as_slow_as_told(granted: VismaConnect) -> None:
    switch(granted, "POST", "fault", seconds="0.3")
    started = time.monotonic()

    status, _ = ask(granted)

    assert status == 200
    assert time.monotonic() - started >= 0.3
