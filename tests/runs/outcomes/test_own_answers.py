"""A token that is stored was issued for exactly the request that asked for it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle
from random import Random

import pytest

from tests.helpers.account import credentials, tenant_id
from tests.helpers.facts import make_tenant
from tests.helpers.scene import call, opened_scene
from tests.helpers.unruly_server import (
    WAYS,
    Answers,
    unruly_server,
    well,
    well_after_a_hint_and_another,
    well_after_another_unasked,
)
from token_issuer.errors import EndpointFailed, EndpointUnavailable
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.endpoint import EARLY_SECONDS, TokenEndpoint
from token_issuer.tokens.oauth import fetch_token

REPETITIONS = 30
NAMES = [f"tenant-{number}" for number in range(6)]


def tenant(name: str) -> Tenant:
    return make_tenant(name, tenant_id=tenant_id(name))


@pytest.mark.parametrize(
    "ways",
    [*([way] for way in WAYS), [way for way in WAYS for _ in range(2)]],
    ids=[*(way.__name__.replace("_", " ") for way in WAYS), "any of them"],
)
def test_an_answer_counts_only_for_its_own_request(ways: list[Answers]) -> None:
    """Six tenants ask side by side, again and again."""
    order = Random(len(ways))  # noqa: S311  no secret
    with unruly_server(iter(lambda: order.choice(ways), None)) as server:
        endpoint = TokenEndpoint(server.token_endpoint)

        def ask(name: str) -> tuple[str, str] | None:
            try:
                token = fetch_token(
                    tenant(name),
                    credentials("v1"),
                    post=endpoint.post,
                    now=lambda: datetime.now(UTC),
                )
            except EndpointFailed:
                return None
            return token.value, tenant_id(name)

        with ThreadPoolExecutor(len(NAMES)) as pool:
            asked = list(pool.map(ask, NAMES * REPETITIONS))

    tokens = dict(filter(None, asked))
    assert [server.issued[token] for token in tokens] == list(tokens.values())
    assert len(tokens) == len([one for one in asked if one])  # none of them was had twice
    never = {"late_after_an_error", "late_after_a_refusal", "none_at_all"}
    if not never & {way.__name__ for way in ways}:
        assert len(tokens) == len(asked)


@pytest.mark.parametrize("way", [well_after_another_unasked, well_after_a_hint_and_another])
def test_an_answer_that_comes_before_the_question_is_nobodys(way: Answers) -> None:
    """What a busy machine sends later than that looks like an answer: it is asked again."""
    with unruly_server(iter(lambda: way, None)) as server:
        post, told = TokenEndpoint(server.token_endpoint).post, list[str]()
        while len(told) < len(NAMES):
            asking, asked_at = tenant(NAMES[len(told)]), time.monotonic()
            try:
                fetch_token(asking, credentials("v1"), post=post, now=lambda: datetime.now(UTC))
            except EndpointUnavailable as error:
                told.append(error.detail)
            else:
                assert server.unasked_at - asked_at > EARLY_SECONDS

    assert set(told) == {"The token endpoint answered before it was asked"}


def test_a_run_stores_for_each_tenant_what_was_issued_for_it() -> None:
    ways = cycle([*WAYS, well])  # a whole run of bad ones would open the breaker
    with opened_scene() as scene, unruly_server(ways) as server:
        scene.reset()
        scene.environment.setenv("TOKEN_ENDPOINT", server.token_endpoint)
        scene.account.configure(*NAMES)

        stored = 0
        for _ in range(4):
            report = call({"force": True})
            stored += report["issued"]

            for name, token in scene.account.tokens().items():
                assert server.issued.get(token, tenant_id(name)) == tenant_id(name)
            reasons = {one["reason"] for one in report["failures"]}
            assert reasons <= {"EndpointUnavailable", "EndpointBreakerOpen"}

    assert stored > len(NAMES)
