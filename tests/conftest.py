"""What all tests share: the events that people send, and the local authorization server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from local.authorization_server import VismaConnect, serving

PROJECT = Path(__file__).parent.parent

SHOWN = "shown"

type Event = Callable[[str], dict[str, Any]]
type Show = Callable[[str], None]


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
    """By module, but for the stack, which is deployed once; by case or by test what takes long."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        if scope.startswith("tests/deployed/"):
            return "tests/deployed"
        if scope.endswith(("outcomes/test_outcomes.py", "examples/test_call_api.py")):
            return nodeid.partition("[")[2]
        return nodeid if scope.endswith("killed/test_killed.py") else scope


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those of the stack first: they are in one process, and it takes the longest."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/deployed/"))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


def counts(report: dict[str, Any]) -> dict[str, int]:
    """Return what a report counts, without what it found none of."""
    names = ("issued", "fresh", "failed", "deferred", "removed")
    return {name: report[name] for name in names if report[name]}


@pytest.fixture
def show(record_property: Callable[[str, object], None]) -> Show:
    """Have the summary of the session tell what a test has measured, also where it passes."""
    return lambda text: record_property(SHOWN, text)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, text in report.user_properties:
                if name == SHOWN:
                    terminalreporter.write_line(f"\n{report.nodeid}\n{text}")


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
