"""The same on asyncio's loop, which no read blocks."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.parameter_store import NEW, OLD, ParameterStore, asked, jwt, wait_until
from tests.reader.conftest import held, until_asked, wait_for
from visma_tokens import NoSuchToken, TokenReader


def test_a_hundred_tasks_make_one_call(
    tokens: TokenReader, store: ParameterStore, token: str
) -> None:
    async def ask() -> list[str]:
        with held(store, "acme"):
            tasks = [asyncio.create_task(tokens.aread("acme")) for _ in range(100)]
            await until_asked(store, 1)
        return await asyncio.gather(*tasks)

    assert set(asyncio.run(ask())) == {token}
    assert store.asked == [["acme"]]


def test_forty_slow_tenants_never_block_another(tokens: TokenReader, store: ParameterStore) -> None:
    """More than the loop's executor has threads, and fewer than the server has."""
    slow = [f"slow{number}" for number in range(36)]
    store.tokens = {name: jwt(name) for name in [*slow, "acme"]}
    gates = [store.hold(name) for name in slow]

    async def ask() -> str:
        tasks = [asyncio.create_task(tokens.aread(name)) for name in slow]
        await until_asked(store, len(slow))
        token = await tokens.aread("acme")
        assert not any(task.done() for task in tasks)
        for gate in gates:
            gate.set()
        await asyncio.gather(*tasks)
        return token

    assert asyncio.run(ask()) == store.tokens["acme"]


def test_a_task_that_is_cancelled_takes_no_token_from_the_others(
    tokens: TokenReader, store: ParameterStore, token: str
) -> None:
    async def ask() -> str:
        with held(store, "acme"):
            cancelled, other = (asyncio.create_task(tokens.aread("acme")) for _ in range(2))
            await until_asked(store, 1)
            cancelled.cancel()
            await asyncio.wait([cancelled])
            assert cancelled.cancelled()
        return await other

    assert asyncio.run(ask()) == token
    assert len(store.asked) == 1


def test_a_loop_that_ends_meanwhile_leaves_the_token_to_the_next(
    tokens: TokenReader, store: ParameterStore, token: str
) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(tokens.aread("acme"), 0.2)

    with held(store, "acme"):
        asyncio.run(give_up())

    assert asyncio.run(tokens.aread("acme")) == token
    assert len(store.asked) == 1


def test_threads_and_tasks_share_a_call(
    tokens: TokenReader, store: ParameterStore, token: str, pool: ThreadPoolExecutor
) -> None:
    with held(store, "acme"):
        of_thread = pool.submit(tokens.__getitem__, "acme")
        wait_until(asked(store, 1))
        of_task = pool.submit(lambda: asyncio.run(tokens.aread("acme")))
        of_other_thread = pool.submit(tokens.__getitem__, "acme")
        wait_for(1)

    assert of_other_thread.result() == of_thread.result()
    assert of_thread.result() == of_task.result() == token
    assert len(store.asked) == 1


def test_a_failure_is_raised_in_the_task(tokens: TokenReader) -> None:
    with pytest.raises(NoSuchToken):
        asyncio.run(tokens.aread("acme"))


def test_after_a_401_it_is_read_past_the_cache(rotated: TokenReader, store: ParameterStore) -> None:
    async def reread() -> list[str | None]:
        return [await rotated.areread("acme", refused) for refused in (OLD, NEW, NEW)]

    assert asyncio.run(reread()) == [NEW, None, None]
    assert len(store.asked) == 2


def test_many_are_prefetched(tokens: TokenReader, store: ParameterStore) -> None:
    store.tokens = {f"t{number}": jwt(f"t{number}") for number in range(12)}

    async def fetch() -> dict[str, str]:
        await tokens.aprefetch(store.tokens)
        return {name: await tokens.aread(name) for name in store.tokens}

    assert asyncio.run(fetch()) == store.tokens
    assert [len(one) for one in store.asked] == [10, 2]
