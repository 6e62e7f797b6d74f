"""What all tests share: the events that people send, and the local authorization server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from local.authorization_server import VismaConnect, serving

PROJECT = Path(__file__).parent.parent

type Event = Callable[[str], dict[str, Any]]
type Show = Callable[[str], None]


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """By module, but for the stack, which is deployed once, and for outcomes: by case."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        if scope.startswith("tests/deployed/"):
            return "tests/deployed"
        return nodeid.partition("[")[2] if scope.endswith("test_outcomes.py") else scope


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


def counts(report: dict[str, Any]) -> dict[str, int]:
    """Return what a report counts, without what it found none of."""
    names = ("issued", "fresh", "failed", "deferred", "removed")
    return {name: report[name] for name in names if report[name]}


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Show:
    """Print what a test has measured, also where it passes."""

    def show(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")  # noqa: T201  its purpose

    return show


@pytest.fixture
def visma_connect() -> Iterator[VismaConnect]:
    with serving(VismaConnect()) as server:
        yield server


@pytest.fixture(scope="session")
def event() -> Event:
    """Return a reader of events/: the very files that people send."""

    def read(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((PROJECT / f"events/{name}.json").read_text())
        return content

    return read
