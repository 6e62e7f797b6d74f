"""After a 401: read past the cache, once in ten seconds, and only a token that changed is used."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.parameter_store import (
    DENIED,
    NEW,
    NOW,
    OLD,
    Clock,
    ParameterStore,
    asked,
    jwt,
    wait_until,
)
from tests.reader.conftest import held, served_in_an_outage, wait_for
from visma_tokens import NoSuchToken, TokenReader


def test_a_newer_token_is_read_past_the_cache(rotated: TokenReader, store: ParameterStore) -> None:
    assert rotated.reread("acme", OLD) == NEW
    assert rotated["acme"] == NEW
    assert len(store.asked) == 2


def test_the_same_token_is_not_sent_again_and_the_log_says_what_may_be_wrong(
    cached: TokenReader, caplog: pytest.LogCaptureFixture
) -> None:
    assert cached.reread("acme", OLD) is None
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
    cached: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    assert cached.reread("acme", OLD) is None
    clock.now = NOW - 3600

    store.tokens["acme"] = NEW

    assert cached.reread("acme", OLD) == NEW


def test_what_another_has_read_meanwhile_costs_nothing(
    rotated: TokenReader, store: ParameterStore
) -> None:
    assert [rotated.reread("acme", OLD) for _ in range(5)] == [NEW] * 5
    assert len(store.asked) == 2


def test_fifty_that_are_refused_at_once_make_one_call(
    rotated: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
) -> None:
    with held(store, "acme"):
        waiting = [pool.submit(rotated.reread, "acme", OLD) for _ in range(50)]
        wait_until(asked(store, 2))
        late = pool.submit(rotated.__getitem__, "acme")
        wait_for(50)

    assert {one.result() for one in waiting} == {NEW}
    assert late.result() == NEW  # dropped: nobody is served what an API refuses
    assert len(store.asked) == 2


def test_a_read_under_way_is_waited_for_and_is_no_reread(
    cached: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    clock.now = NOW + 270

    with held(store, "acme"):
        renewing = pool.submit(cached.__getitem__, "acme")
        wait_until(asked(store, 2))
        refused = pool.submit(cached.reread, "acme", OLD)
        wait_for(1)

    assert renewing.result() == OLD
    assert refused.result() is None
    store.tokens["acme"] = NEW
    assert cached.reread("acme", OLD) == NEW


def test_where_it_can_t_be_read_again_the_token_is_served_while_it_is_valid(
    cached: TokenReader, store: ParameterStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.failure = DENIED

    assert cached.reread("acme", OLD) is None
    assert cached["acme"] == OLD
    [line] = caplog.messages
    assert line.startswith("Serving the cached token of acme")


def test_where_it_is_gone_the_next_look_up_says_so(
    cached: TokenReader, store: ParameterStore
) -> None:
    del store.tokens["acme"]

    assert cached.reread("acme", OLD) is None
    with pytest.raises(NoSuchToken):
        cached["acme"]


def test_an_expired_one_in_the_cache_is_no_newer_one(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = jwt(expires_at=NOW + 10)
    assert tokens["acme"]
    clock.now = NOW + 11
    store.tokens["acme"] = NEW

    assert tokens.reread("acme", "an-older-one") == NEW


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
    cached: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in (0, 20, 40):
        clock.now = NOW + seconds
        assert cached.reread("acme", OLD) is None
    assert len(caplog.messages) == 1

    store.tokens["acme"] = NEW
    clock.now = NOW + 60
    assert cached.reread("acme", OLD) == NEW
    clock.now = NOW + 80
    assert cached.reread("acme", NEW) is None
    assert len(caplog.messages) == 2
