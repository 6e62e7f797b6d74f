"""Interrupted at any line of ours, as by a signal's handler: nobody waits for a read in vain."""

import asyncio
import linecache
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, SimpleNamespace
from typing import Any

import boto3
import pytest

from tests.conftest import rarely
from tests.helpers.frames import Interruption, frames_of
from tests.helpers.parameter_store import NOW, PATH, Clock, jwt
from visma_tokens import ReadFailed, TokenReader

NAMES = ["acme", "globex"]
SECONDS = 5  # of the sixty after which nobody waits any more


class Clients(boto3.Session):
    """Makes clients that answer at once."""

    def client(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        def parameter(name: str) -> dict[str, str]:
            return {"Name": name, "Value": jwt(name.removeprefix(f"{PATH}/"))}

        return SimpleNamespace(
            get_parameter=lambda **asked: {"Parameter": parameter(asked["Name"])},
            get_parameters=lambda **asked: {"Parameters": [*map(parameter, asked["Names"])]},
            exceptions=SimpleNamespace(ParameterNotFound=KeyError),
            meta=SimpleNamespace(region_name="eu-north-1", endpoint_url="https://ssm.invalid"),
        )


def interrupt_at(line: int, call: Callable[[], object]) -> Interruption | None:
    """Call it, and return what was raised at the line of ours that is executed as number `line`."""
    left = line

    def trace(frame: FrameType, event: str, _: object) -> Any:  # noqa: ANN401
        nonlocal left
        if not frame.f_globals.get("__name__", "").startswith("visma_tokens"):
            return None
        source = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        # where it traces these, outside of what they guard, Python itself raises nothing
        if event == "line" and not source.lstrip().startswith(("with ", "try:")):
            left -= 1
            if left == 0:
                raise Interruption
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except Interruption as interruption:
        return interruption
    finally:
        sys.settrace(before)
    return None


def secrets_of(name: str) -> list[str]:
    """Return the parts of a tenant's token that nobody can guess."""
    return jwt(name).split(".")[1:]


CALLS: dict[str, Callable[[TokenReader], object]] = {
    "a look-up": lambda tokens: tokens["acme"],
    "a task": lambda tokens: asyncio.run(tokens.aread("acme")),
    "prefetch": lambda tokens: tokens.prefetch(NAMES),
    "after a 401": lambda tokens: tokens.reread("acme", jwt()),
}


@pytest.mark.parametrize("what", ["a look-up", "a task", *rarely("prefetch", "after a 401")])
@pytest.mark.parametrize("before", ["nothing cached", *rarely("cached")])
def test_at_any_line(what: str, before: str) -> None:
    lines = 0
    with ThreadPoolExecutor(1) as other:
        while True:
            clock = Clock()
            tokens = TokenReader(session=Clients(region_name="eu-north-1"), now=clock)
            if before == "cached":
                tokens.prefetch(NAMES)
                clock.now = NOW + 301
            interruption = interrupt_at(lines + 1, lambda: CALLS[what](tokens))  # noqa: B023  at once
            if interruption is None:
                break
            lines += 1
            if what != "after a 401":  # whose caller has the token, and gives it
                shown = "".join(frames_of(interruption))
                assert not [part for name in NAMES for part in secrets_of(name) if part in shown]
            clock.now += 11  # a failure may be remembered
            for name in NAMES:
                looked_up = other.submit(tokens.__getitem__, name)
                assert looked_up.result(SECONDS) == jwt(name), lines

    assert lines > 40


class Stuck(Clients):
    """The first answer comes when it is let go; each has another token."""

    def __init__(self) -> None:
        super().__init__(region_name="eu-north-1")
        self.is_let_go = threading.Event()
        self.asked = 0

    def client(self, *names: object, **options: object) -> Any:  # noqa: ANN401
        def get_parameter(**_: object) -> dict[str, dict[str, str]]:
            self.asked += 1
            token = jwt(number=self.asked)
            if self.asked == 1:
                assert self.is_let_go.wait(100)
            return {"Parameter": {"Name": f"{PATH}/acme", "Value": token}}

        made = super().client(*names, **options)
        made.get_parameter = get_parameter
        return made


@pytest.mark.long
def test_nobody_waits_for_more_than_a_minute_and_what_comes_later_changes_nothing() -> None:
    session = Stuck()
    tokens = TokenReader(session=session, now=Clock())
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(tokens.__getitem__, "acme") for _ in range(2))
        with pytest.raises(ReadFailed, match="the read took more than 60 s"):
            second.result(70)
        assert tokens["acme"] == jwt(number=2)

        session.is_let_go.set()
        with pytest.raises(ReadFailed, match="the read took more than 60 s"):
            first.result(SECONDS)

    assert tokens["acme"] == jwt(number=2)
