"""After a 401: read past the cache, once in ten seconds, and only a token that changed is used."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.parameter_store import (
    DENIED,
    NOW,
    Clock,
    ParameterStore,
    asked,
    jwt,
    wait_until,
)
from tests.reader.conftest import held, served_in_an_outage, wait_for
from visma_tokens import NoSuchToken, TokenReader


def test_a_newer_token_is_read_past_the_cache(tokens: TokenReader, store: ParameterStore) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    assert tokens["acme"] == first
    second = store.tokens["acme"] = jwt(number=2)

    assert tokens.reread("acme", first) == second
    assert tokens["acme"] == second
    assert len(store.asked) == 2


def test_the_same_token_is_not_sent_again_and_the_log_says_what_may_be_wrong(
    tokens: TokenReader, store: ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    first = store.tokens["acme"] = jwt()
    assert tokens["acme"] == first

    assert tokens.reread("acme", first) is None
    [line] = caplog.messages
    assert line == (
        "An API refuses the token of acme, and none is newer: has the tenant's document the scope"
        " that the API wants, and the company's tenant_id rather than the customer's?"
    )


def test_it_is_read_once_in_ten_seconds_for_each_tenant(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens |= {name: jwt(name) for name in ("acme", "globex")}
    tokens.prefetch(store.tokens)

    for seconds in range(40):
        clock.now = NOW + seconds / 2
        for name in store.tokens:
            assert tokens.reread(name, store.tokens[name]) is None
            assert tokens[name] == store.tokens[name]

    assert store.asked == [["acme", "globex"], ["acme"], ["globex"], ["acme"], ["globex"]]


def test_a_clock_that_is_set_back_does_not_forbid_it(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    assert tokens["acme"] == first
    assert tokens.reread("acme", first) is None
    clock.now = NOW - 3600

    second = store.tokens["acme"] = jwt(number=2)

    assert tokens.reread("acme", first) == second


def test_what_another_has_read_meanwhile_costs_nothing(
    tokens: TokenReader, store: ParameterStore
) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    assert tokens["acme"] == first
    second = store.tokens["acme"] = jwt(number=2)

    assert [tokens.reread("acme", first) for _ in range(5)] == [second] * 5
    assert len(store.asked) == 2


def test_fifty_that_are_refused_at_once_make_one_call(
    tokens: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    assert tokens["acme"] == first
    second = store.tokens["acme"] = jwt(number=2)

    with held(store, "acme"):
        waiting = [pool.submit(tokens.reread, "acme", first) for _ in range(50)]
        wait_until(asked(store, 2))
        late = pool.submit(tokens.__getitem__, "acme")
        wait_for(50)

    assert {one.result() for one in waiting} == {second}
    assert late.result() == second  # dropped: nobody is served what an API refuses
    assert len(store.asked) == 2


def test_a_read_under_way_is_waited_for_and_is_no_reread(
    tokens: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    assert tokens["acme"] == first
    clock.now = NOW + 270

    with held(store, "acme"):
        renewing = pool.submit(tokens.__getitem__, "acme")
        wait_until(asked(store, 2))
        refused = pool.submit(tokens.reread, "acme", first)
        wait_for(1)

    assert renewing.result() == first
    assert refused.result() is None
    second = store.tokens["acme"] = jwt(number=2)
    assert tokens.reread("acme", first) == second


def test_where_it_can_t_be_read_again_the_token_is_served_while_it_is_valid(
    tokens: TokenReader, store: ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    first = store.tokens["acme"] = jwt()
    assert tokens["acme"] == first
    store.failure = DENIED

    assert tokens.reread("acme", first) is None
    assert tokens["acme"] == first
    [line] = caplog.messages
    assert line.startswith("Serving the cached token of acme")


def test_where_it_is_gone_the_next_look_up_says_so(
    tokens: TokenReader, store: ParameterStore
) -> None:
    first = store.tokens["acme"] = jwt()
    assert tokens["acme"] == first
    del store.tokens["acme"]

    assert tokens.reread("acme", first) is None
    with pytest.raises(NoSuchToken):
        tokens["acme"]


def test_an_expired_one_in_the_cache_is_no_newer_one(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = jwt(expires_at=NOW + 10)
    assert tokens["acme"]
    clock.now = NOW + 11
    third = store.tokens["acme"] = jwt(number=3)

    assert tokens.reread("acme", "an-older-one") == third


def test_an_expired_one_is_none_either_where_it_is_too_early_to_read_again(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = jwt(expires_at=NOW + 5)
    assert tokens["acme"]
    assert tokens.reread("acme", tokens["acme"]) is None
    clock.now = NOW + 6

    assert tokens.reread("acme", "an-older-one") is None


def test_in_an_outage_it_is_read_past_the_cache_all_the_same(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    names = ["acme", "globex", "umbrella"]
    refused = served_in_an_outage(names, tokens, store, clock)
    store.failure = None
    store.tokens = {name: jwt(name, number=2) for name in names}

    assert {name: tokens.reread(name, refused[name]) for name in names} == store.tokens


def test_a_log_line_about_a_refused_token_is_written_once(
    tokens: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    first = store.tokens["acme"] = jwt(number=1)
    for seconds in (0, 20, 40):
        clock.now = NOW + seconds
        assert tokens.reread("acme", tokens["acme"]) is None
    assert len(caplog.messages) == 1

    second = store.tokens["acme"] = jwt(number=2)
    clock.now = NOW + 60
    assert tokens.reread("acme", first) == second
    clock.now = NOW + 80
    assert tokens.reread("acme", second) is None
    assert len(caplog.messages) == 2
