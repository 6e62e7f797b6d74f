"""Everything that a call says and sends, at the most talkative log level."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.account import log_to


@dataclass(frozen=True, kw_only=True)
class Observed:
    report: dict[str, Any] | None
    error: BaseException | None
    lines: list[dict[str, Any]]  # of the issuer's log
    said: str = field(repr=False)
    seconds: float


def observe(
    function: Callable[[], dict[str, Any]], sent: Callable[[], list[str]] = list
) -> Observed:
    """Call the function and keep all that leaves it: logs, metrics, answer, exceptions, requests.

    `sent` returns the requests.
    """
    report, error = None, None
    log, everything = io.StringIO(), io.StringIO()
    issuer = Logger(service="token-issuer")
    log_to(log)
    issuer.setLevel(logging.DEBUG)
    root, handler = logging.getLogger(), logging.StreamHandler(everything)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    started = time.monotonic()
    try:
        with redirect_stdout(everything), redirect_stderr(everything):
            report = function()
    except Exception as raised:  # noqa: BLE001  whatever it is, it is what was observed
        error = raised
    finally:
        seconds = time.monotonic() - started
        root.removeHandler(handler)
        root.setLevel(level)
        issuer.setLevel(logging.INFO)
    said = [log.getvalue(), everything.getvalue(), json.dumps(report, ensure_ascii=False), *sent()]
    "".join(said).encode()  # as Lambda does, which fails for half a character
    said += [text for line in "\n".join(said).splitlines() for text in texts(line)]
    said += [f"{one!r} {one} {getattr(one, '__notes__', '')}" for one in chain(error)]
    return Observed(
        report=report,
        error=error,
        lines=[json.loads(line) for line in log.getvalue().splitlines()],
        said="\n".join(said),
        seconds=seconds,
    )


def texts(line: str) -> Iterator[str]:
    """Yield the texts in a line of JSON as they are without its escapes."""
    try:
        yield from strings(json.loads(line))
    except ValueError:
        return


def strings(value: object) -> Iterator[str]:
    """Yield each text in a value as JSON has it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)
    elif isinstance(value, dict):
        yield from strings([*value.keys(), *value.values()])


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and all behind it, suppressed or not."""
    if error is not None:
        yield error
        yield from chain(error.__cause__)
        if error.__context__ is not error.__cause__:
            yield from chain(error.__context__)
