"""What all tests share: the events that people send, and the local authorization server."""

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from _pytest.mark.structures import ParameterSet
from botocore.loaders import create_loader
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from local.authorization_server import VismaConnect, make_app, serving_wsgi
from local.environment import settle

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PROJECT = Path(__file__).parent.parent

SHOWN = "shown"

settle()  # before anything is imported that looks at the environment

# moto has each test open a session of its own, and each would read the large models of AWS's APIs
botocore.session.create_loader = cache(create_loader)

# the clock of a busy machine tells nothing about a case
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("any machine")

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
    """Put those of the stack first: they are in one process, and it takes the longest.

    Of these, those that need no run come before those that wait for the schedule.
    """
    before = ("tests/deployed/test_command_refused", "tests/deployed/")
    items.sort(key=lambda item: [not item.nodeid.startswith(one) for one in before])


@cache
def _give_way() -> None:
    """Let the tests of the stack go first on a busy machine: no other process takes as long."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.nice(5)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if not item.nodeid.startswith("tests/deployed/"):
        _give_way()


def pytest_collection_finish() -> None:
    gc.freeze()  # so that no collection looks through all tests again


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling:
    return Scheduling(config, log)


def rarely(*values: object) -> list[ParameterSet]:
    """Return values of a parameter that are tried by `make test-long` alone."""
    return [pytest.param(value, marks=pytest.mark.long) for value in values]


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


class Served:
    """A WSGI application on loopback, which each test replaces."""

    def __init__(self) -> None:
        self.application: WSGIApplication | None = None
        self.url = ""

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        assert self.application
        return self.application(environ, start_response)


@pytest.fixture(scope="session")
def served() -> Iterator[Served]:
    served = Served()
    with serving_wsgi(served) as served.url:
        yield served


@pytest.fixture
def visma_connect(served: Served) -> VismaConnect:
    """Return an authorization server without clients."""
    visma_connect = VismaConnect()
    visma_connect.url, served.application = served.url, make_app(visma_connect)
    return visma_connect


@pytest.fixture(scope="session")
def event() -> Event:
    """Return a reader of events/: the very files that people send."""

    def read(name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((PROJECT / f"events/{name}.json").read_text())
        return content

    return read
