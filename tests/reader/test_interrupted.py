"""Interrupted at any line of ours, as by a signal's handler: nobody waits for a read in vain."""

import linecache
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import FrameType, SimpleNamespace
from typing import Any

import boto3
import pytest

from tests.reader.parameter_store import NOW, PATH, Clock, jwt
from visma_tokens import TokenReader

NAMES = ["acme", "globex"]
SECONDS = 5  # of the sixty after which nobody waits any more


class Interruption(BaseException):
    """As of Celery's time limit, or of Ctrl-C."""


class Clients(boto3.Session):
    """Makes clients that answer at once."""

    def client(self, *_: object, **__: object) -> Any:  # noqa: ANN401
        def parameter(name: str) -> dict[str, str]:
            return {"Name": name, "Value": jwt(name.removeprefix(f"{PATH}/"))}

        return SimpleNamespace(
            get_parameter=lambda **asked: {"Parameter": parameter(asked["Name"])},
            get_parameters=lambda **asked: {"Parameters": [*map(parameter, asked["Names"])]},
            exceptions=SimpleNamespace(ParameterNotFound=KeyError),
            meta=SimpleNamespace(region_name="eu-north-1"),
        )


def interrupt_at(line: int, call: Callable[[], object]) -> bool:
    """Call it, raise at the line of ours that is executed as number so much; was there one?"""
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
    except Interruption:
        return True
    finally:
        sys.settrace(before)
    return False


CALLS: dict[str, Callable[[TokenReader], object]] = {
    "a look-up": lambda tokens: tokens["acme"],
    "prefetch": lambda tokens: tokens.prefetch(NAMES),
    "after a 401": lambda tokens: tokens.reread("acme", jwt()),
}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("is_kept", [False, True], ids=["nothing cached", "cached"])
def test_at_any_line(what: str, *, is_kept: bool) -> None:
    lines = 0
    with ThreadPoolExecutor(1) as other:
        while True:
            clock = Clock()
            tokens = TokenReader(session=Clients(region_name="eu-north-1"), now=clock)
            if is_kept:
                tokens.prefetch(NAMES)
                clock.now = NOW + 301
            if not interrupt_at(lines + 1, lambda: CALLS[what](tokens)):  # noqa: B023  at once
                break
            lines += 1
            clock.now += 11  # a failure may be remembered
            for name in NAMES:
                looked_up = other.submit(tokens.__getitem__, name)
                assert looked_up.result(SECONDS) == jwt(name), lines

    assert lines > 40
