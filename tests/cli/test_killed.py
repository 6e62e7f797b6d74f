"""`apply` killed or interrupted at any call: all have their documents, and the next finishes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.authorization_server import serving_wsgi
from tests.cli.conftest import PATH, Shelf
from tests.conftest import PROJECT, Show
from tests.helpers.account import CREDENTIALS, fast_pacer
from tests.helpers.scripted_aws import ScriptedAws
from tests.helpers.wire import Wire
from visma_tokens_cli.apply import apply_plan
from visma_tokens_cli.plan import plan
from visma_tokens_cli.store import Store

pytestmark = pytest.mark.long

A, B = {"scope": "a"}, {"scope": "b"}
BEFORE = {
    "own-kept": A,
    "own-changed": A,
    "own-removed": A,
    "many": {"tenants": {"kept": A, "changed": A, "removed": A}},
    "packed-001": {"tenants": {"packed": A}},
}
STAY = {"own-kept", "own-changed", "kept", "changed", "packed"}
WANTED = dict.fromkeys(STAY, A) | {"own-changed": B, "changed": B}
WANTED |= {f"new-{number}": A for number in range(500)}


class Interrupted(subprocess.Popen[bytes]):
    """A process that is ended as Ctrl-C does."""

    def kill(self) -> None:
        self.send_signal(signal.SIGINT)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The server, what is in it, and the file of those who are wanted."""

    wire: Wire
    aws: ScriptedAws
    file: Path

    def arrange(self) -> Shelf:
        self.aws.reset()
        shelf = Shelf()
        for name, content in BEFORE.items():
            shelf.put(name, json.dumps(content))
        return shelf

    def start(
        self, process: type[subprocess.Popen[bytes]] = subprocess.Popen
    ) -> subprocess.Popen[bytes]:
        return process(
            [sys.executable, "-m", "tests.helpers.applying", self.file],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": "src:cli"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps({"tenants": WANTED}))
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        wire, aws = Wire({}), ScriptedAws()
        aws.url = stack.enter_context(serving_wsgi(wire.around(aws)))
        variables = {"AWS_ENDPOINT_URL": aws.url, "AWS_DEFAULT_REGION": "eu-north-1"}
        for name, value in (CREDENTIALS | variables).items():
            environment.setenv(name, value)
        yield Place(wire=wire, aws=aws, file=file)


def documented(shelf: Shelf) -> dict[str, Any]:
    documents: dict[str, Any] = {}
    for name, text in shelf.texts().items():
        content = json.loads(text)
        found = content.get("tenants", {name: content})
        assert not documents.keys() & found.keys()  # nobody is configured twice
        documents |= found
    return documents


def assert_another_finishes(shelf: Shelf) -> None:
    assert documented(shelf).keys() >= STAY
    store = Store(shelf.ssm, PATH, reads=fast_pacer(), writes=fast_pacer())
    apply_plan(store, plan(store.read(), WANTED))
    assert documented(shelf) == WANTED
    assert shelf.texts().keys() >= {"own-kept", "own-changed", "many", "packed-001"}


def kill(place: Place, number: int, *, after: bool) -> str | None:
    """Kill it at the call of this number, see what is left, and return the call."""
    shelf = place.arrange()
    with place.start() as process:
        place.wire.watch(process, number, after=after)
        assert process.wait(60) in {0, -signal.SIGKILL}
        place.wire.victim = None
    assert_another_finishes(shelf)
    return place.wire.calls[number - 1] if process.returncode < 0 else None


def test_it_is_killed_on_either_side_of_each_call(place: Place, show: Show) -> None:
    calls: list[str] = []
    while call := kill(place, len(calls) + 1, after=False):
        assert kill(place, len(calls) + 1, after=True) == call
        calls.append(call)

    show("\n".join(["killed before and after:", *calls]))
    made = [call for call in calls if not call.startswith("Get")]
    assert made == [
        *(f"PutParameter {PATH}/packed-{number:03}" for number in range(2, 5)),
        *(f"PutParameter {PATH}/{name}" for name in ("many", "own-changed", "packed-001")),
        f"DeleteParameter {PATH}/own-removed",
    ]


@pytest.mark.parametrize("after", [False, True], ids=["before a call", "after it"])
def test_it_is_interrupted_and_says_how_far_it_is(place: Place, *, after: bool) -> None:
    shelf = place.arrange()
    with place.start(Interrupted) as process:
        place.wire.watch(process, 6, after=after)
        _, told = process.communicate(timeout=60)
        place.wire.victim = None

    assert process.returncode == -signal.SIGINT
    assert told.startswith(b"3 of 7 parameters are written; run it again to finish.\n")
    assert_another_finishes(shelf)
