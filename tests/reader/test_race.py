"""Many threads read while tokens change underneath."""

import itertools
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.conftest import Show, rarely
from tests.helpers.parameter_store import ParameterStore, claims, jwt
from tests.reader.conftest import session
from visma_tokens import TokenExpired, TokenReader

TENANTS = [f"t{number}" for number in range(5)]
THREADS = 20
LIFETIME, CACHED, CHANGED, WORK = 0.5, 0.02, 0.02, 0.005  # seconds


@contextmanager
def changing(store: ParameterStore) -> Iterator[threading.Event]:
    """Renew all tokens again and again, as the issuer does, until the event is set."""
    stop = threading.Event()

    def change() -> None:
        for number in itertools.count(1):
            for name in TENANTS:
                store.tokens[name] = jwt(name, expires_at=time.time() + LIFETIME, number=number)
            if stop.wait(CHANGED):
                return

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(change)
        try:
            yield stop
        finally:
            stop.set()
        renewing.result()


def test_no_token_that_has_expired_is_served(store: ParameterStore, served_url: str) -> None:
    """Tokens live no longer than they would be cached, and the last one of all is not renewed."""
    tokens = TokenReader(session=session(), endpoint_url=served_url)
    ends_at = time.monotonic() + 3 * LIFETIME
    expired = False
    with changing(store) as stop:
        while not (expired and stop.is_set()):
            if time.monotonic() > ends_at:
                stop.set()
            asked_at = time.time()
            try:
                token = tokens["t0"]
            except TokenExpired:
                expired = True
            else:
                assert claims(token)["exp"] > asked_at


@pytest.mark.parametrize("reads", [1000, *rarely(4000)])
@pytest.mark.parametrize("refused_every", [0, 100], ids=["cached", "refused now and then"])
def test_no_tenant_is_mixed_up_and_no_token_is_too_old(
    refused_every: int, reads: int, store: ParameterStore, served_url: str, show: Show
) -> None:
    tokens = TokenReader(cache_seconds=CACHED, session=session(), endpoint_url=served_url)
    barrier = threading.Barrier(THREADS)

    def read(thread: int) -> int:
        """Return the number of different tokens."""
        seen: set[str] = set()
        barrier.wait()
        for number in range(reads):
            name, asked_at = TENANTS[(thread + number) % len(TENANTS)], time.time()
            token = tokens[name]
            if refused_every and number % refused_every == 0:
                token = tokens.reread(name, token) or token
            content = claims(token)
            assert content["tenant"] == name
            assert content["exp"] > asked_at
            seen.add(token)
            if number % 10 == 0:
                time.sleep(WORK)
        return len(seen)

    begun_at = time.monotonic()
    with changing(store), ThreadPoolExecutor(THREADS) as pool:
        different = list(pool.map(read, range(THREADS)))
    seconds = time.monotonic() - begun_at

    calls, renewals = len(store.asked), seconds / (0.9 * CACHED)
    show(
        f"{THREADS * reads:,} reads in {seconds:.1f} s by {THREADS} threads: {calls} calls,"
        f" {min(different)} to {max(different)} different tokens in each thread"
    )
    assert min(different) > 5 * len(TENANTS)  # they did change
    rereads = len(TENANTS) if refused_every else 0  # one in ten seconds
    assert calls <= len(TENANTS) * (renewals + 1) + rereads * (1 + seconds / 10)
    assert store.most_at_once == dict.fromkeys(TENANTS, 1)
