"""The programs of examples/, each against a Parameter Store and an API that do as a test has it."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.api import FOREIGN, OTHERS, REVOKED, TAKEN, Api, make_app
from local.authorization_server import VismaConnect, serving_wsgi
from local.demo import TENANTS
from tests.conftest import PROJECT
from tests.examples.programs import COMMANDS, NO_ANSWER, Program, program, variables
from tests.reader.parameter_store import THROTTLED, ParameterStore, wait_until
from tests.reader.test_processes import environment

type StartResponse = Callable[..., object]
type Application = Callable[..., Iterable[bytes]]

KINDS = [*COMMANDS]
ORDERS = f"/companies/{TENANTS['acme']}/orders"
CACHE = 1  # seconds


@dataclass
class Gate:
    """Middleware of the API: who calls has to wait while it is closed."""

    open: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0

    def before(self, application: Application) -> Application:
        def gated(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            self.waiting += 1
            assert self.open.wait(30)
            self.waiting -= 1
            return application(environ, start_response)

        return gated


@dataclass(kw_only=True, repr=False)
class Place:
    """Where a program runs."""

    store: ParameterStore
    url: str
    visma_connect: VismaConnect
    api: Api
    gate: Gate
    folder: Path

    def issue(self, tenant: str = "acme", *, tenant_id: str = TENANTS["acme"]) -> str:
        """Give a tenant another token, and return it."""
        now = int(time.time())
        claims = {"iss": self.visma_connect.url, "nbf": now, "exp": now + 3600}
        token = self.visma_connect.sign(claims | {"tenant_id": tenant_id, "jti": str(uuid4())})
        self.store.tokens[tenant] = token
        return token

    def revoke(self, token: str) -> None:
        self.api.revoked.add(self.visma_connect.claims(token)["jti"])

    @property
    def verdicts(self) -> list[str]:
        return [call.verdict for call in self.api.calls]

    @property
    def environment(self) -> dict[str, str]:
        told = environment(self.url, AWS_REGION="eu-north-1")
        return told | variables(told)

    @contextmanager
    def running(self, kind: str, *, cache_seconds: int = 300) -> Iterator[Program]:
        told = ("acme", f"{self.api.url}/{kind}", str(cache_seconds))
        with program(kind, *told, environment=self.environment, folder=self.folder) as one:
            yield one

    def run(self, kind: str, paths: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, all paths in its input from the beginning."""
        return subprocess.run(
            [*COMMANDS[kind], *(arguments or ("acme", f"{self.api.url}/{kind}", "300"))],
            cwd=PROJECT,
            env=self.environment,
            input="".join(f"{path}\n" for path in paths),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def place(visma_connect: VismaConnect, tmp_path: Path) -> Iterator[Place]:
    store, api, gate = ParameterStore(), Api(visma_connect.url), Gate()
    gate.open.set()
    with serving_wsgi(store) as url, serving_wsgi(gate.before(make_app(api))) as api.url:
        place = Place(
            store=store, url=url, visma_connect=visma_connect, api=api, gate=gate, folder=tmp_path
        )
        place.issue()
        yield place


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_is_read_once_and_cached(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        told = [running.call(ORDERS) for _ in range(3)]

    assert told == ["200"] * 3
    assert place.verdicts == [TAKEN] * 3
    assert place.store.asked == [["acme"]]
    assert running.process.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_anew_once_the_cache_is_old(kind: str, place: Place) -> None:
    with place.running(kind, cache_seconds=CACHE) as running:
        running.call(ORDERS)
        place.revoke(place.store.tokens["acme"])  # so that the old one would be seen
        place.issue()
        time.sleep(CACHE + 0.1)
        told = running.call(ORDERS)

    assert told == "200"
    assert place.verdicts == [TAKEN, TAKEN]
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_401_it_is_read_past_the_cache_and_the_call_is_repeated(
    kind: str, place: Place
) -> None:
    with place.running(kind) as running:
        running.call(ORDERS)
        place.revoke(place.store.tokens["acme"])
        place.issue()
        told = [running.call(ORDERS) for _ in range(3)]

    assert told == ["200"] * 3
    assert place.verdicts == [TAKEN, REVOKED, TAKEN, TAKEN, TAKEN]
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_api_that_refuses_everything_costs_one_more_read(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        place.revoke(place.store.tokens["acme"])
        told = [running.call(ORDERS) for _ in range(4)]

    assert told == ["401"] * 4
    assert place.verdicts == [REVOKED] * 4
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_403_is_no_reason_to_read_again(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        told = running.call("/companies/of-somebody-else/orders")

    assert told == "403"
    assert place.verdicts == [OTHERS]
    assert len(place.store.asked) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_reads_that_are_throttled_are_repeated(kind: str, place: Place) -> None:
    place.store.failure = THROTTLED

    with ThreadPoolExecutor(1) as pool, place.running(kind) as running:
        calling = pool.submit(running.call, ORDERS)
        wait_until(lambda: len(place.store.asked) == 2)
        place.store.failure = None
        told = calling.result(30)

    assert told == "200"


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_token_nothing_is_called_and_it_goes_on(kind: str, place: Place) -> None:
    token = place.store.tokens.pop("acme")

    with place.running(kind) as running:
        first = running.call(ORDERS)
        errors = running.errors.read_text()
        place.store.tokens["acme"] = token
        time.sleep(1.1)  # for which the reader remembers a failure
        second = running.call(ORDERS)

    assert (first, second) == (NO_ANSWER, "200")
    assert "ParameterNotFound" in errors or "there is no parameter" in errors
    assert running.process.returncode == 1 or kind == "Lambda"


@pytest.mark.parametrize("kind", KINDS)
def test_an_api_that_is_down_is_told(kind: str, place: Place) -> None:
    done = place.run(kind, [ORDERS], "acme", "http://127.0.0.1:9", "300")

    assert done.stdout == f"--- {ORDERS}\n"
    assert done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_a_path_can_not_lead_to_another_host(kind: str, place: Place) -> None:
    done = place.run(kind, ["@example.com/orders", ORDERS])

    assert set(done.stdout.splitlines()) == {"--- @example.com/orders", f"200 {ORDERS}"}
    assert "a path starts with /: @example.com/orders" in done.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_token_is_in_no_output_no_argument_and_no_environment(kind: str, place: Place) -> None:
    place.gate.open.clear()

    with ThreadPoolExecutor(1) as pool, place.running(kind) as running:
        calling = pool.submit(running.call, ORDERS)
        wait_until(lambda: place.gate.waiting == 1)
        processes = subprocess.run(
            ["ps", "axeww", "-o", "args"], capture_output=True, text=True, check=True
        ).stdout
        place.gate.open.set()
        told = calling.result(30)

    assert told == "200"
    assert place.api.url in processes  # that of the program, at least
    assert place.store.tokens["acme"] not in processes
    assert place.store.tokens["acme"] not in running.errors.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_in_the_parameter_is_not_taken_for_ours(kind: str, place: Place) -> None:
    place.store.tokens["acme"] = "by-hand"

    with place.running(kind) as running:
        told = running.call(ORDERS)

    assert told == "401"
    assert place.verdicts == [FOREIGN]


def test_node_reads_once_however_many_calls_wait(place: Place) -> None:
    done = place.run("Node.js", [ORDERS] * 20)

    assert done.stdout.splitlines() == [f"200 {ORDERS}"] * 20
    assert len(place.store.asked) == 1


@pytest.mark.parametrize("kind", ["shell", "Node.js", "Python"])
@pytest.mark.parametrize(
    "arguments", [("acme",), ("acme", "API", "301"), ("acme", "API", "soon")], ids=" ".join
)
def test_it_says_how_it_is_used(kind: str, arguments: tuple[str, ...], place: Place) -> None:
    done = place.run(kind, [ORDERS], *arguments)

    assert done.returncode == 2
    assert "usage: " in done.stderr.lower()
    assert place.store.asked == []
