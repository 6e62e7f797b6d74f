"""What is cached and for how long, who reads anew, and what is served when nothing can be read."""

import itertools
import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import CredentialRetrievalError

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import (
    DENIED,
    DOWN,
    NEW,
    NOW,
    OLD,
    THROTTLED,
    Clock,
    ParameterStore,
    asked,
    claims,
    jwt,
    wait_until,
)
from tests.reader.conftest import all_held, cache, held, served_in_an_outage, session, wait_for
from visma_tokens import (
    NoSuchToken,
    ReadDenied,
    ReadFailed,
    TokenExpired,
    TokenReader,
    TokenUnusable,
)

OPAQUE = "b3BhcXVl"


class TestCache:
    def test_a_token_is_read_once_in_four_and_a_half_minutes(
        self, rotated: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        clock.now = NOW + 269

        assert rotated["acme"] == OLD
        assert store.asked == [["acme"]]

    def test_it_is_read_anew_before_it_is_five_minutes_old(
        self, rotated: TokenReader, clock: Clock
    ) -> None:
        clock.now = NOW + 270

        assert rotated["acme"] == NEW

    def test_while_one_reads_anew_the_others_are_served(
        self, rotated: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
    ) -> None:
        clock.now = NOW + 270

        with held(store, "acme"):
            renewing = pool.submit(rotated.__getitem__, "acme")
            wait_until(asked(store, 2))
            assert rotated["acme"] == OLD

        assert renewing.result() == NEW
        assert rotated["acme"] == NEW

    def test_nobody_is_served_what_is_five_minutes_old(
        self, rotated: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
    ) -> None:
        clock.now = NOW + 300

        with held(store, "acme"):
            waiting = [pool.submit(rotated.__getitem__, "acme") for _ in range(10)]
            wait_for(9)

        assert {one.result() for one in waiting} == {NEW}
        assert len(store.asked) == 2

    def test_a_token_is_not_served_past_its_own_expiry(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        store.tokens["acme"] = jwt(expires_at=NOW + 100)
        assert tokens["acme"]
        store.tokens["acme"] = NEW

        clock.now = NOW + 100

        assert tokens["acme"] == NEW

    def test_what_is_no_jwt_is_cached_for_five_minutes(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        store.tokens["acme"] = OPAQUE
        assert tokens["acme"] == OPAQUE

        clock.now = NOW + 269
        assert tokens["acme"] == OPAQUE
        clock.now = NOW + 300
        assert tokens["acme"] == OPAQUE
        assert len(store.asked) == 2

    def test_it_can_be_cached_for_less(
        self, served_url: str, store: ParameterStore, clock: Clock
    ) -> None:
        tokens = TokenReader(cache_seconds=5, session=session(), endpoint_url=served_url, now=clock)
        store.tokens["acme"] = jwt()
        assert tokens["acme"]

        for seconds in (4, 5, 9, 11):
            clock.now = NOW + seconds
            assert tokens["acme"]

        assert len(store.asked) == 3

    def test_its_age_counts_from_the_question(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
    ) -> None:
        store.tokens["acme"] = jwt()
        with held(store, "acme"):
            reading = pool.submit(tokens.__getitem__, "acme")
            wait_until(asked(store, 1))
            clock.now = NOW + 20
        assert reading.result()

        clock.now = NOW + 270

        assert tokens["acme"]
        assert len(store.asked) == 2

    def test_a_clock_that_is_set_back_makes_no_token_younger(
        self, cached: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        for seconds in (-3600, -3540):
            clock.now = NOW + seconds
            assert cached["acme"]
            assert len(store.asked) == 2


class TestFlights:
    def test_a_hundred_threads_make_one_call(
        self, tokens: TokenReader, store: ParameterStore, token: str, pool: ThreadPoolExecutor
    ) -> None:
        with held(store, "acme"):
            waiting = [pool.submit(tokens.__getitem__, "acme") for _ in range(100)]
            wait_for(99)

        assert {one.result() for one in waiting} == {token}
        assert store.asked == [["acme"]]

    def test_a_slow_tenant_never_blocks_another(
        self, tokens: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
    ) -> None:
        store.tokens |= {name: jwt(name) for name in ("acme", "globex")}

        with held(store, "acme"):
            waiting = pool.submit(tokens.__getitem__, "acme")
            wait_until(asked(store, 1))
            assert tokens["globex"] == store.tokens["globex"]
            assert not waiting.done()

        assert waiting.result() == store.tokens["acme"]

    def test_all_who_wait_get_the_failure_each_their_own(
        self, tokens: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
    ) -> None:
        with held(store, "acme"):
            waiting = [pool.submit(tokens.__getitem__, "acme") for _ in range(5)]
            wait_for(4)

        errors = [one.exception() for one in waiting]
        assert [type(error) for error in errors] == [NoSuchToken] * 5
        assert len({id(error) for error in errors}) == 5
        assert len(store.asked) == 1

    def test_a_failure_is_not_tried_again_for_a_second(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        for seconds in (0, 0.5, 0.99):
            clock.now = NOW + seconds
            with pytest.raises(NoSuchToken):
                tokens["acme"]
        assert len(store.asked) == 1

        store.tokens["acme"] = jwt()
        clock.now = NOW + 1

        assert tokens["acme"] == store.tokens["acme"]

    def test_failures_in_a_row_are_tried_again_ever_later_up_to_ten_seconds(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        at: list[float] = []
        while clock.now < NOW + 50:
            before = len(store.asked)
            with pytest.raises(NoSuchToken):
                tokens["acme"]
            at += [clock.now - NOW] * (len(store.asked) - before)
            clock.now += 0.5

        assert at == [0, 1, 3, 7, 15, 25, 35, 45]

    def test_failures_of_yesterday_do_not_count(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        for _ in range(5):
            clock.now += 86_400
            with pytest.raises(NoSuchToken):
                tokens["acme"]

        store.tokens["acme"] = jwt(expires_at=clock.now + 3600)
        clock.now += 1

        assert tokens["acme"] == store.tokens["acme"]

    def test_names_that_are_made_up_fill_no_memory(self, tokens: TokenReader) -> None:
        tokens.prefetch(f"t{number}" for number in range(3000))

        assert len(tokens._failed) <= 1000  # noqa: SLF001  memory is what this is about

    def test_two_who_ask_at_once_make_one_call_however_slow_the_first_is(
        self, served_url: str, store: ParameterStore, token: str, pool: ThreadPoolExecutor
    ) -> None:
        """Held up between looking at the clock and whatever comes next."""
        looked, go_on = threading.Event(), threading.Event()

        def now() -> float:
            at = next(times)
            if at == NOW:
                looked.set()
                go_on.wait(0.3)
            return at

        times = itertools.count(NOW)
        tokens = TokenReader(session=session(), endpoint_url=served_url, now=now)

        first = pool.submit(tokens.__getitem__, "acme")
        assert looked.wait(20)
        second = pool.submit(tokens.__getitem__, "acme")

        assert first.result() == second.result() == token
        assert len(store.asked) == 1


OUTAGES = {  # what is stored then, and how AWS fails
    "denies": (OLD, DENIED, ReadDenied),
    "throttles": (OLD, THROTTLED, ReadFailed),
    "is down": (OLD, DOWN, ReadFailed),
    "holds no token": ("not a token", None, TokenUnusable),
    "holds an old token": (jwt(expires_at=NOW - 10), None, TokenExpired),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_where_parameter_store(
    name: str,
    cached: TokenReader,
    store: ParameterStore,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The cached token is served while it is valid and no longer, and the log says so once."""
    store.tokens["acme"], store.failure, error = OUTAGES[name]

    for seconds in (301, 3599):
        clock.now = NOW + seconds
        assert cached["acme"] == OLD

    [line] = caplog.messages
    assert line.startswith("Serving the cached token of acme, which lives for another 3299 s: ")
    clock.now = NOW + 3600
    with pytest.raises(error):
        cached["acme"]


def test_parameter_store_out_of_reach_is_an_outage_too(clock: Clock) -> None:
    store = ParameterStore({"acme": jwt()})
    with serving_wsgi(store) as url:
        tokens = TokenReader(session=session(), endpoint_url=url, now=clock)
        first = tokens["acme"]

    clock.now = NOW + 301
    assert tokens["acme"] == first
    clock.now = NOW + 3600
    with pytest.raises(ReadFailed, match=r"can't be asked: Could not connect to the endpoint URL"):
        tokens["acme"]


def test_while_it_is_down_all_tenants_together_try_ever_later_up_to_a_minute(
    tokens: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["acme", "globex", "umbrella"]
    cache(names, tokens, store)
    store.failure = DOWN
    store.asked.clear()

    at: list[float] = []
    for seconds in range(301, 501):
        clock.now = NOW + seconds
        before = len(store.asked)
        assert {name: tokens[name] for name in names} == store.tokens
        at += [seconds] * (len(store.asked) > before)

    assert at == [301, 311, 331, 371, 431, 491]
    assert len(store.asked) == 2 * (3 + 5)  # by all at first, then by one; repeated once, not twice
    assert len(caplog.messages) == 3

    store.failure = None
    clock.now = NOW + 561
    store.tokens = {name: jwt(name, number=2) for name in names}
    assert {name: tokens[name] for name in names} == store.tokens


def test_one_tenant_that_fails_takes_nothing_from_the_others(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    """Though it is always the first to ask."""
    names = ["bad", *(f"t{number}" for number in range(9))]
    cache(names, tokens, store)
    store.bad = {"bad"}

    for seconds in range(200, 1200, 5):
        clock.now = NOW + seconds
        if seconds % 100 == 0:
            store.tokens = {name: jwt(name, number=seconds) for name in names}
        for name in names:
            served = claims(tokens[name]).get("number", 0)
            assert name == "bad" or seconds - served <= 300 + 100

    assert tokens.reread("t0", jwt("t0", number=1)) is not None


def test_after_an_outage_it_is_not_the_one_who_fails_alone_that_keeps_it_up(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    names = ["bad", "acme", "globex"]
    assert served_in_an_outage(names, tokens, store, clock) == store.tokens

    store.failure, store.bad = None, {"bad"}
    store.tokens = {name: jwt(name, number=2) for name in names}
    for _ in range(60):
        clock.now += 1
        read = {name: tokens[name] for name in names}

    assert [claims(read[name])["number"] for name in names] == [0, 2, 2]


def test_thirty_who_ask_when_the_pause_is_over_make_one_attempt(
    tokens: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    names = [f"t{number}" for number in range(30)]
    assert served_in_an_outage(names, tokens, store, clock) == store.tokens
    store.asked.clear()
    clock.now = NOW + 331

    with all_held(store, names):
        asking = [pool.submit(tokens.__getitem__, name) for name in names]
        wait_until(lambda: sum(one.done() for one in asking) == len(names) - 1)

    assert {one.result() for one in asking} == set(store.tokens.values())
    assert len(store.asked) == 2  # the one who tries it, twice


def test_many_are_not_prefetched_on_when_parameter_store_is_down(
    tokens: TokenReader, store: ParameterStore
) -> None:
    store.failure = DOWN

    tokens.prefetch(f"t{number}" for number in range(100))

    assert len(store.asked) == 3


def test_who_has_nothing_to_serve_tries_harder(tokens: TokenReader, store: ParameterStore) -> None:
    store.failure = DOWN

    with pytest.raises(ReadFailed):
        tokens["acme"]

    assert len(store.asked) == 3


def test_in_an_outage_a_clock_that_is_set_back_costs_no_token(
    cached: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.failure = DENIED
    clock.now = NOW - 3600

    for _ in range(5):
        assert cached["acme"]
        clock.now += 1

    assert len(store.asked) == 2


def test_one_that_is_denied_is_tried_ever_later(
    cached: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.failure = DENIED

    for seconds in range(301, 341):
        clock.now = NOW + seconds
        assert cached["acme"]

    assert len(store.asked) == 1 + 3  # after 10 s, and after another 20


def test_in_an_outage_nobody_waits_for_the_one_who_tries(
    cached: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    store.failure = DENIED
    clock.now = NOW + 301
    assert cached["acme"] == OLD
    clock.now = NOW + 320

    with held(store, "acme"):
        trying: Future[str] = pool.submit(cached.__getitem__, "acme")
        wait_until(asked(store, 3))
        assert cached["acme"] == OLD

    assert trying.result() == OLD


def test_after_an_outage_it_reads_again_and_tells_the_next_one(
    rotated: TokenReader, store: ParameterStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store.failure = DENIED
    clock.now = NOW + 301
    assert rotated["acme"] == OLD

    store.failure = None
    clock.now = NOW + 312
    assert rotated["acme"] == NEW
    assert len(caplog.messages) == 1

    store.failure = DENIED
    clock.now = NOW + 700
    assert rotated["acme"] == NEW
    assert len(caplog.messages) == 2


def test_a_token_that_is_taken_away_is_not_served_any_more(
    cached: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    del store.tokens["acme"]

    clock.now = NOW + 270

    with pytest.raises(NoSuchToken):
        cached["acme"]
    store.failure = DENIED
    clock.now = NOW + 272
    with pytest.raises(ReadDenied):
        cached["acme"]


def test_what_is_no_jwt_is_not_returned_when_it_was_asked_for_long_ago(
    tokens: TokenReader, store: ParameterStore, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    """As after Lambda's freeze in the middle of a read."""
    store.tokens["acme"] = OPAQUE
    with held(store, "acme"):
        reading = pool.submit(tokens.__getitem__, "acme")
        wait_until(asked(store, 1))
        clock.now = NOW + 7200

    with pytest.raises(ReadFailed, match="the answer is older than five minutes"):
        reading.result()


class Clients(boto3.Session):
    """Makes clients slowly, or not at all, as where credentials are out of reach."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__("testing", "testing", region_name="eu-north-1")
        self.fails = fails
        self.made = 0

    def client(self, *names: Any, **options: Any) -> Any:  # noqa: ANN401
        self.made += 1
        time.sleep(0.3)
        if self.fails:
            raise CredentialRetrievalError(provider="container", error_msg="out of reach")
        return super().client(*names, **options)


def test_many_who_begin_at_once_share_a_client(
    store: ParameterStore, served_url: str, pool: ThreadPoolExecutor
) -> None:
    names = [f"t{number}" for number in range(20)]
    store.tokens = {name: jwt(name) for name in names}
    clients = Clients(fails=False)
    tokens = TokenReader(session=clients, endpoint_url=served_url, now=Clock())

    assert dict(zip(names, pool.map(tokens.__getitem__, names), strict=True)) == store.tokens
    assert clients.made == 2  # the first tells where it is, and on loopback no proxy is asked


def test_many_who_have_no_credentials_are_told_together(
    store: ParameterStore, served_url: str, clock: Clock, pool: ThreadPoolExecutor
) -> None:
    clients = Clients(fails=True)
    tokens = TokenReader(session=clients, endpoint_url=served_url, now=clock)

    failed = [pool.submit(tokens.__getitem__, f"t{number}") for number in range(20)]

    for one in failed:
        with pytest.raises(ReadFailed, match="Give this process AWS credentials that are valid"):
            one.result()
    assert clients.made == 1
    store.tokens["t0"] = jwt()
    clients.fails = False
    clock.now = NOW + 1
    assert tokens["t0"] == store.tokens["t0"]


class TestPrefetch:
    def test_it_reads_ten_in_a_request(self, tokens: TokenReader, store: ParameterStore) -> None:
        names = [f"t{number}" for number in range(25)]
        store.tokens = {name: jwt(name) for name in names}
        assert tokens["t3"]

        tokens.prefetch([*names, "t0"])

        assert [len(one) for one in store.asked] == [1, 10, 10, 4]
        assert {name: tokens[name] for name in names} == store.tokens
        assert len(store.asked) == 4

    def test_who_has_no_token_hits_nobody_else_and_is_told_at_the_look_up(
        self, tokens: TokenReader, store: ParameterStore
    ) -> None:
        store.tokens = {"acme": jwt(), "initech": "not a token"}

        tokens.prefetch(["acme", "globex", "initech", "not/a/name"])

        assert tokens["acme"] == store.tokens["acme"]
        with pytest.raises(NoSuchToken):
            tokens["globex"]
        with pytest.raises(TokenUnusable):
            tokens["initech"]
        assert store.asked == [["acme", "globex", "initech"]]

    def test_where_ten_together_are_denied_they_are_read_one_by_one(
        self, tokens: TokenReader, store: ParameterStore
    ) -> None:
        store.tokens = {"acme": jwt("acme"), "globex": jwt("globex")}
        store.denied_together = True

        tokens.prefetch(["acme", "globex"])

        assert store.asked == [["acme", "globex"], ["acme"], ["globex"]]
        assert {name: tokens[name] for name in store.tokens} == store.tokens
        assert len(store.asked) == 3

    def test_one_that_is_slow_then_keeps_no_token_from_the_others(
        self, tokens: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
    ) -> None:
        store.tokens = {"acme": jwt("acme"), "globex": jwt("globex")}
        store.denied_together = True

        with held(store, "globex", together=False):
            fetching = pool.submit(tokens.prefetch, store.tokens)
            wait_until(asked(store, 3))
            assert tokens["acme"] == store.tokens["acme"]
            assert not fetching.done()

        fetching.result()

    def test_a_name_that_is_none_keeps_no_token_from_the_others(
        self, tokens: TokenReader, store: ParameterStore
    ) -> None:
        store.tokens["acme"] = jwt()
        names: list[Any] = ["acme", None, 7]

        tokens.prefetch(names)

        assert tokens["acme"] == store.tokens["acme"]
        with pytest.raises(NoSuchToken, match="No token for None: no tenant is called so"):
            tokens[names[1]]

    def test_a_single_name_is_refused(self, tokens: TokenReader) -> None:
        with pytest.raises(TypeError, match=r"prefetch takes several names, such as \['acme'\]"):
            tokens.prefetch("acme")

    def test_whoever_asks_meanwhile_waits_for_it(
        self, tokens: TokenReader, store: ParameterStore, pool: ThreadPoolExecutor
    ) -> None:
        store.tokens = {"acme": jwt("acme"), "globex": jwt("globex")}

        with held(store, "acme"):
            fetching = pool.submit(tokens.prefetch, store.tokens)
            wait_until(asked(store, 1))
            waiting = pool.submit(tokens.__getitem__, "globex")
            again = pool.submit(tokens.prefetch, store.tokens)
            wait_for(2)

        assert waiting.result() == store.tokens["globex"]
        fetching.result()
        again.result()
        assert len(store.asked) == 1

    def test_in_an_outage_it_keeps_what_is_cached(
        self, tokens: TokenReader, store: ParameterStore, clock: Clock
    ) -> None:
        store.tokens = {"acme": jwt("acme"), "globex": jwt("globex")}
        tokens.prefetch(store.tokens)
        store.failure = DENIED
        clock.now = NOW + 301

        tokens.prefetch(store.tokens)

        assert {name: tokens[name] for name in store.tokens} == store.tokens


@pytest.mark.parametrize("name", ["", "a/b", "acme:1", "../acme", "x" * 65, "æ"])
def test_what_is_no_name_is_refused_without_a_request(
    name: str, tokens: TokenReader, store: ParameterStore
) -> None:
    with pytest.raises(NoSuchToken, match="no tenant is called so"):
        tokens[name]

    assert store.asked == []


@pytest.mark.parametrize("path", ["", "visma/tokens", "/visma/tokens/", "/visma//tokens", "/"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(
        ValueError, match="is no path such as /visma/tokens, which ends without a slash"
    ):
        TokenReader(path)


@pytest.mark.parametrize("seconds", [0, -1, 301, float("nan")])
def test_more_than_the_promise_allows_is_not_cached(seconds: float) -> None:
    with pytest.raises(ValueError, match=r"and not in \(0, 300\]"):
        TokenReader(cache_seconds=seconds)


def test_it_is_looked_up_as_a_dictionary_is(cached: TokenReader) -> None:
    assert "acme" in cached
    assert "globex" not in cached
    assert cached.get("acme") == OLD
    assert cached.get("globex") is None
    assert cached.get("globex", "another") == "another"
    with pytest.raises(KeyError):
        cached["globex"]


def test_a_log_that_fails_keeps_no_token_from_the_others(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    class Full(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            raise OSError

    store.tokens = {name: jwt(name) for name in ("acme", "globex")}
    tokens.prefetch(store.tokens)
    store.tokens = dict.fromkeys(store.tokens, "not a token")
    clock.now = NOW + 301
    log, full = logging.getLogger("visma_tokens"), Full()
    log.addHandler(full)
    try:
        with pytest.raises(OSError, match=r"^$"):
            tokens.prefetch(store.tokens)
    finally:
        log.removeHandler(full)

    assert claims(tokens["globex"])["tenant"] == "globex"


def test_it_can_t_be_walked_through(tokens: TokenReader, store: ParameterStore) -> None:
    walks: list[Any] = [iter, dict, list, len]
    for walk in walks:
        with pytest.raises(TypeError):
            walk(tokens)

    assert store.asked == []
