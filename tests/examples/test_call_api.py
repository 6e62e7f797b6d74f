"""The programs of examples/, each against a Parameter Store and an API that do as a test has it."""

import json
import re
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.api import OTHERS, REVOKED, TAKEN, Api, make_app
from local.authorization_server import VismaConnect, serving_wsgi
from local.demo import TENANTS
from tests.conftest import PROJECT, rarely
from tests.helpers.example_programs import (
    COMMANDS,
    NO_ANSWER,
    PROGRAMS,
    Program,
    command_of,
    program,
    variables,
)
from tests.helpers.parameter_store import DENIED, ParameterStore, wait_until
from tests.helpers.programs import finished
from tests.helpers.reader_processes import environment
from tests.reader.conftest import held

type StartResponse = Callable[..., object]
type Application = Callable[..., Iterable[bytes]]

KINDS = [*COMMANDS]
OFTEN = ["shell", "Node.js", *rarely("Python", "Lambda")]  # these use a library that is tested
ORDERS = f"/companies/{TENANTS['acme']}/orders"
CACHE = 1  # second
FAILURE_SECONDS = 2  # for which a failed read stands
LAST_OF_SUMMER = 1_792_889_880  # 2026-10-25T00:58Z: in Oslo 02:58, and 03:03 is an hour away


@dataclass
class Gate:
    """Middleware of the API: lets so many calls pass, and has the others wait."""

    passes: float = inf
    waiting: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def before(self, application: Application) -> Application:
        def gated(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
            with self._changed:
                self.waiting += 1
                assert self._changed.wait_for(lambda: self.passes > 0, 60)
                self.waiting -= 1
                self.passes -= 1
            return application(environ, start_response)

        return gated

    def let(self, passes: float) -> None:
        with self._changed:
            self.passes = passes
            self._changed.notify_all()


@dataclass(kw_only=True, repr=False)
class Place:
    """Where a program runs."""

    store: ParameterStore
    url: str
    visma_connect: VismaConnect
    api: Api
    gate: Gate
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def issue(self) -> None:
        """Give acme another token."""
        now = int(time.time())
        claims = {"iss": self.visma_connect.url, "nbf": now, "exp": now + 3600}
        token = self.visma_connect.sign(
            claims | {"tenant_id": TENANTS["acme"], "jti": str(uuid4())}
        )
        self.store.tokens["acme"] = token

    def revoke(self) -> None:
        """Have the API refuse acme's token."""
        token = self.store.tokens["acme"]
        self.api.revoked.add(self.visma_connect.claims(token)["jti"])

    @property
    def verdicts(self) -> list[str]:
        return [call.verdict for call in self.api.calls]

    @contextmanager
    def running(self, kind: str, *more: str) -> Iterator[Program]:
        """Run a program until the block ends; `more` is for how long it caches, if not 300 s."""
        told = ("acme", f"{self.api.url}/{kind}", *more)
        with program(kind, *told, environment=self.environment, folder=self.folder) as one:
            yield one

    def run(self, kind: str, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a program to its end with that on its standard input."""
        command = [*command_of(kind), *(arguments or ("acme", f"{self.api.url}/{kind}"))]
        return finished(command, env=self.environment, cwd=PROJECT, said=text)


@pytest.fixture
def place(visma_connect: VismaConnect, tmp_path: Path) -> Iterator[Place]:
    store, api, gate = ParameterStore(), Api(visma_connect.url), Gate()
    with serving_wsgi(store) as url, serving_wsgi(gate.before(make_app(api))) as api.url:
        place = Place(
            store=store, url=url, visma_connect=visma_connect, api=api, gate=gate, folder=tmp_path
        )
        aws = environment(url, AWS_REGION="eu-north-1", HOME=str(tmp_path))
        place.environment = aws | variables(aws)
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


@pytest.mark.parametrize("kind", OFTEN)
def test_it_is_read_anew_once_the_cache_is_old(kind: str, place: Place) -> None:
    with place.running(kind, str(CACHE)) as running:
        running.call(ORDERS)
        place.revoke()  # so that the old one would be seen
        place.issue()
        time.sleep(CACHE + 0.1)
        told = running.call(ORDERS)

    assert told == "200"
    assert place.verdicts == [TAKEN, TAKEN]
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", ["shell", "Node.js"])  # the others leave it to their libraries
def test_it_is_cached_for_five_minutes_also_while_summer_time_ends(kind: str, place: Place) -> None:
    clock, programs = place.folder / "clock", place.folder / "bin"
    programs.mkdir()
    (programs / "date").write_text(f"#!/bin/sh\nexec cat {shlex.quote(str(clock))}\n")
    (programs / "date").chmod(0o755)
    place.environment |= {
        "CLOCK": str(clock),
        "NODE_OPTIONS": f"--import={PROJECT / 'tests/helpers/clock.mjs'}",
        "PATH": f"{programs}:{place.environment['PATH']}",
        "TZ": "Europe/Oslo",
    }

    asked = []
    clock.write_text(str(LAST_OF_SUMMER))
    with place.running(kind) as running:
        for seconds in (0, 299, 301, 599, -1000):
            clock.write_text(str(LAST_OF_SUMMER + seconds))
            assert running.call(ORDERS) == "200"
            asked.append(len(place.store.asked))

    # Powertools believes a clock that was set back
    assert asked == [1, 1, 2, 2, 3 if kind == "shell" else 2]


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_401_it_is_read_past_the_cache_and_the_call_is_repeated(
    kind: str, place: Place
) -> None:
    with place.running(kind) as running:
        running.call(ORDERS)
        place.revoke()
        place.issue()
        told = [running.call(ORDERS) for _ in range(3)]

    assert told == ["200"] * 3
    assert place.verdicts == [TAKEN, REVOKED, TAKEN, TAKEN, TAKEN]
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", OFTEN)
def test_an_api_that_refuses_everything_costs_one_more_read(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        place.revoke()
        told = [running.call(ORDERS) for _ in range(4)]

    assert told == ["401"] * 4
    assert place.verdicts == [REVOKED] * 4
    assert len(place.store.asked) == 2
    assert running.process.returncode == 1


@pytest.mark.parametrize("kind", OFTEN)
def test_a_401_stays_one_when_nothing_can_be_read_any_more(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        running.call(ORDERS)
        place.revoke()
        place.store.failure = DENIED
        told = running.call(ORDERS)
        errors = running.errors.read_text()

    assert told == "401"
    assert "denie" in errors.lower()  # denied, AccessDeniedException, denies


@pytest.mark.parametrize("kind", OFTEN)
def test_a_403_is_no_reason_to_read_again(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        told = running.call("/companies/of-somebody-else/orders")

    assert told == "403"
    assert place.verdicts == [OTHERS]
    assert len(place.store.asked) == 1
    assert running.process.returncode == 1


@pytest.mark.parametrize("kind", OFTEN)
def test_reads_that_are_throttled_are_repeated(kind: str, place: Place) -> None:
    place.store.throttles = 2

    with place.running(kind) as running:
        told = running.call(ORDERS)

    assert told == "200"
    assert len(place.store.asked) == 3


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_parameter_store_that_never_answers_is_given_up(kind: str, place: Place) -> None:
    with held(place.store, "acme"):
        done = place.run(kind, f"{ORDERS}\n")

    assert done.stdout == f"{NO_ANSWER} {ORDERS}\n"
    assert "time" in done.stderr.lower()  # Read timeout, TimeoutError, timed out


@pytest.mark.parametrize("kind", OFTEN)
def test_without_a_token_nothing_is_called_and_it_goes_on(kind: str, place: Place) -> None:
    token = place.store.tokens.pop("acme")

    with place.running(kind) as running:
        first = running.call(ORDERS)
        errors = running.errors.read_text()
        place.store.tokens["acme"] = token
        time.sleep(FAILURE_SECONDS + 0.1)
        second = running.call(ORDERS)

    assert (first, second) == (NO_ANSWER, "200")
    assert "ParameterNotFound" in errors or "there is no parameter" in errors
    assert place.verdicts == [TAKEN]
    assert running.process.returncode == 1


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_failed_read_stands_for_some_time(kind: str, place: Place) -> None:
    place.store.tokens.clear()

    done = place.run(kind, f"{ORDERS}\n" * 60)

    assert done.stdout == f"{NO_ANSWER} {ORDERS}\n" * 60
    assert len(place.store.asked) <= 3


@pytest.mark.parametrize("kind", OFTEN)
@pytest.mark.parametrize("value", ["TOKEN\nX-More: TOKEN", *rarely("a TOKEN", "TOKEN\n", "")])
def test_what_is_no_token_goes_nowhere(kind: str, value: str, place: Place) -> None:
    place.store.tokens["acme"] = value.replace("TOKEN", "by-hand-by-somebody")

    with place.running(kind) as running:
        told = running.call(ORDERS)
        errors = running.errors.read_text()

    if kind == "shell" and value == "TOKEN\n":  # which $(…) takes away
        assert told == "401"
    else:
        assert told == NO_ANSWER
        assert place.api.calls == []
        assert "no access token" in errors
    assert "by-hand-by-somebody" not in errors


@pytest.mark.parametrize("kind", OFTEN)
def test_an_api_that_is_down_is_told(kind: str, place: Place) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    done = place.run(kind, f"{ORDERS}\n", "acme", url)

    assert done.stdout == f"{NO_ANSWER} {ORDERS}\n"
    assert "refused" in done.stderr or "connect to" in done.stderr or "REFUSED" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.store.tokens["acme"] not in done.stderr
    assert done.returncode == 1


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_an_api_that_never_answers_is_given_up(kind: str, place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        done = place.run(kind, f"{ORDERS}\n", "acme", url)

    assert done.stdout == f"{NO_ANSWER} {ORDERS}\n"
    assert "time" in done.stderr.lower()  # timed out, TimeoutError
    assert ": 23: " not in done.stderr  # the code of a TimeoutError in Node.js


def set_proxies(place: Place) -> None:
    """Have all that goes through a proxy fail."""
    nowhere = "http://127.0.0.1:9"
    del place.environment["NO_PROXY"]
    place.environment |= {"all_proxy": nowhere, "http_proxy": nowhere, "NODE_USE_ENV_PROXY": "1"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ["127.0.0.1", *rarely("localhost")])
def test_loopback_is_asked_and_called_without_a_proxy(kind: str, host: str, place: Place) -> None:
    set_proxies(place)
    place.environment["AWS_ENDPOINT_URL"] = place.url.replace("127.0.0.1", host)

    done = place.run(kind, f"{ORDERS}\n")

    assert done.stdout == f"200 {ORDERS}\n"


@pytest.mark.parametrize("kind", ["shell", *rarely("Node.js", "Python", "Lambda")])
def test_loopback_is_asked_without_a_proxy_for_any_api(kind: str, place: Place) -> None:
    set_proxies(place)

    done = place.run(kind, f"{ORDERS}\n", "acme", "https://127.0.0.1:9")

    assert done.stdout == f"{NO_ANSWER} {ORDERS}\n"
    assert place.store.asked == [["acme"]]


@pytest.mark.parametrize("kind", ["shell", *rarely("Node.js", "Python", "Lambda")])
def test_loopback_is_called_without_a_proxy_from_any_store(kind: str, place: Place) -> None:
    set_proxies(place)
    config = place.folder / "config"
    config.write_text(f"[default]\nendpoint_url = {place.environment.pop('AWS_ENDPOINT_URL')}\n")
    place.environment["AWS_CONFIG_FILE"] = str(config)

    done = place.run(kind, f"{ORDERS}\n")

    assert done.stdout == f"200 {ORDERS}\n"


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_path_that_is_no_ascii_is_not_called_and_not_printed(kind: str, place: Place) -> None:
    done = place.run(kind, f"/\x1b[31mred\x07\n/\u202efdp\x9b\n/\udcff\n{ORDERS}\n")

    told = {re.sub(r"\?+", "?", line) for line in done.stdout.splitlines()}
    none = {f"{NO_ANSWER} /?", f"{NO_ANSWER} /?[31mred?", f"{NO_ANSWER} /?fdp?"}
    assert told == none | {f"200 {ORDERS}"}
    assert done.stderr.count("a path is ASCII") == 3
    assert done.stderr.isascii()
    assert place.verdicts == [TAKEN]


def test_a_netrc_file_takes_no_token_s_place(place: Place) -> None:
    (place.folder / ".netrc").write_text("default login me password mine\n")

    with place.running("Lambda") as running:
        told = running.call(ORDERS)

    assert (told, place.verdicts) == ("200", [TAKEN])


ELSEWHERE = [  # 127.0.0.2 is this machine too, and none of the names that it has everywhere
    "127.0.0.1:x@127.0.0.2:PORT",
    *rarely(
        "127.0.0.2:PORT",
        "127.0.0.2:PORT\\@127.0.0.1",
        "127.0.0.1:80@127.0.0.2:PORT",
        "127.0.0.1.example:PORT",
        "localhost.example:PORT",
    ),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("host", ELSEWHERE)
@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", *rarely("AWS_ENDPOINT_URL_SSM")])
def test_no_token_is_read_in_clear_text(kind: str, host: str, variable: str, place: Place) -> None:
    port = place.url.rpartition(":")[2]
    place.environment[variable] = f"http://{host.replace('PORT', port)}"

    done = place.run(kind, ORDERS)

    assert "https" in done.stderr
    assert done.returncode != 0
    assert place.store.asked == []


@pytest.mark.parametrize("kind", OFTEN)
def test_it_follows_nowhere(kind: str, place: Place) -> None:
    with place.running(kind) as running:
        told = running.call(f"/{ORDERS}")  # which the API redirects to one with one slash

    assert told == "308"
    assert place.api.calls == []


@pytest.mark.parametrize("kind", OFTEN)
def test_a_path_is_one_call_to_that_host(kind: str, place: Place) -> None:
    odd = f"{ORDERS}?which=[1-3]&{{a,b}}"

    done = place.run(kind, f"@example.com/orders\n{odd}\r\n{ORDERS}")

    assert sorted(done.stdout.splitlines()) == [
        "--- @example.com/orders",
        f"200 {ORDERS}",
        f"200 {odd}",
    ]
    assert "a path starts with /: @example.com/orders" in done.stderr
    assert place.verdicts == [TAKEN, TAKEN]


def processes() -> str:
    """Return the arguments and the environment of all that run."""
    shown = finished(["ps", "axeww", "-o", "args"]).stdout
    assert "AWS_SECRET_ACCESS_KEY=testing" in shown  # so environments are shown
    return shown


SCRIPT = (PROJECT / COMMANDS["shell"][0]).read_text()
ALL_VARIABLES = dict.fromkeys(re.findall(r"\b([a-z_]+)=", SCRIPT), "of the caller's")
CALLERS: dict[str, tuple[str, dict[str, str]]] = {kind: (kind, {}) for kind in KINDS} | {
    "variables": ("shell", ALL_VARIABLES),
    "set -a -k -v -x": ("bash", {"SHELLOPTS": "allexport:keyword:verbose:xtrace"}),
}
FURTHER: dict[str, tuple[str, dict[str, str]]] = {
    "NODE_DEBUG": ("Node.js", {"NODE_DEBUG": "*"}),
    "variables in bash": ("bash", ALL_VARIABLES),
    "set -a -x before it": ("bash", {"BASH_ENV": "TRACING"}),
    "function": ("bash", {"BASH_FUNC_curl%%": '() { command curl --verbose "$@"; }'}),
    "IFS and more": (
        "shell",
        {"IFS": "0", "CDPATH": "/", "POSIXLY_CORRECT": "1", "ENV": "TRACING"},
    ),
}


@pytest.mark.parametrize("caller", [*CALLERS, *rarely(*FURTHER)])
def test_the_token_is_in_no_output_no_argument_no_environment_and_no_file(
    caller: str, place: Place
) -> None:
    kind, variables = (CALLERS | FURTHER)[caller]
    write_files_of_a_person(place)
    tracing = place.folder / "tracing.sh"
    tracing.write_text("set -ax\nshopt -s expand_aliases\nalias curl='curl --verbose'\n")
    place.environment |= {
        name: text.replace("TRACING", str(tracing)) for name, text in variables.items()
    }
    tokens = [place.store.tokens["acme"]]

    with ThreadPoolExecutor(1) as pool, place.running(kind) as running:
        place.gate.let(0)
        calling = pool.submit(running.call, ORDERS)
        wait_until(lambda: place.gate.waiting == 1)
        shown = processes()
        place.revoke()
        place.issue()
        tokens.append(place.store.tokens["acme"])
        with held(place.store, "acme"):
            place.gate.let(1)
            wait_until(lambda: len(place.store.asked) == 2)
            shown += processes()
        wait_until(lambda: place.gate.waiting == 1)
        shown += processes()
        place.gate.let(inf)
        told = calling.result(30)
        printed = running.errors.read_text()

    assert told == "200"
    assert place.verdicts == [REVOKED, TAKEN]
    files = [one for one in place.folder.rglob("*") if one.is_file()]
    written = b"".join(one.read_bytes() for one in files).decode(errors="replace")
    for token in tokens:
        assert not any(token in text for text in (shown, printed, written))


def write_files_of_a_person(place: Place) -> None:
    """Have settings at home that would show a token, or keep one."""
    (place.folder / ".curlrc").write_text("verbose\n")
    config = place.folder / "aws-config"
    config.write_text("[default]\ncli_history = enabled\noutput = json\ncli_pager = cat\n")
    place.environment["AWS_CONFIG_FILE"] = str(config)


def test_a_shell_whose_printf_is_a_program_is_refused(place: Place) -> None:
    disabling = place.folder / "disabling.sh"
    disabling.write_text("enable -n printf\n")
    place.environment["BASH_ENV"] = str(disabling)

    done = place.run("bash", ORDERS)

    assert done.returncode == 2
    assert "printf" in done.stderr
    assert place.store.asked == []


def test_what_finds_credentials_for_the_shell_takes_no_path_away(place: Place) -> None:
    keys = {"Version": 1, "AccessKeyId": "testing", "SecretAccessKey": "testing"}
    finder = place.folder / "finder"
    finder.write_text(f"#!/bin/sh\ncat >/dev/null\necho {shlex.quote(json.dumps(keys))}\n")
    finder.chmod(0o755)
    (place.folder / "config").write_text(f"[default]\ncredential_process = {finder}\n")
    del place.environment["AWS_ACCESS_KEY_ID"], place.environment["AWS_SECRET_ACCESS_KEY"]
    place.environment["AWS_CONFIG_FILE"] = str(place.folder / "config")

    done = place.run("shell", f"{ORDERS}\n" * 3)

    assert done.stdout == f"200 {ORDERS}\n" * 3


def test_node_calls_ten_at_a_time_and_reads_once_for_all(place: Place) -> None:
    place.gate.let(0)

    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(place.run, "Node.js", f"{ORDERS}\n" * 30)
        wait_until(lambda: place.gate.waiting == 10)
        time.sleep(0.2)  # in which an eleventh would come
        at_once = place.gate.waiting
        place.gate.let(inf)
        done = calling.result(60)

    assert at_once == 10
    assert done.stdout == f"200 {ORDERS}\n" * 30
    assert len(place.store.asked) == 1


def test_calls_of_node_that_are_refused_together_read_once_more(place: Place) -> None:
    with place.running("Node.js") as running:
        running.call(ORDERS)
        place.revoke()
        place.issue()
        assert running.process.stdin
        print(f"{ORDERS}\n" * 9 + ORDERS, file=running.process.stdin, flush=True)
        wait_until(lambda: place.verdicts.count(TAKEN) == 11)

    assert place.verdicts.count(REVOKED) == 10
    assert len(place.store.asked) == 2


def test_a_call_of_node_that_is_refused_late_takes_what_another_has_read(place: Place) -> None:
    with place.running("Node.js") as running:
        running.call(ORDERS)
        place.gate.let(0)
        assert running.process.stdin
        print(f"{ORDERS}\n{ORDERS}", file=running.process.stdin, flush=True)
        wait_until(lambda: place.gate.waiting == 2)
        place.revoke()
        place.issue()
        place.gate.let(1)  # the one is refused, reads, and calls again
        wait_until(lambda: place.verdicts[1:] == [REVOKED] and place.gate.waiting == 2)
        place.gate.let(inf)
        wait_until(lambda: place.verdicts.count(TAKEN) == 3)

    assert place.verdicts.count(REVOKED) == 2
    assert len(place.store.asked) == 2


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize(
    "arguments",
    [
        "acme",
        "acme https://api.example 301",
        "acme http://api.example",
        *rarely(
            "acme https://api.example 0",
            "acme https://api.example -5",
            "acme https://api.example soon",
            "acme https://api.example 300 more",
            "acme api.example",
            "acme http://127.0.0.1:80@api.example",
            "acme http://127.0.0.1:",
        ),
    ],
)
def test_it_says_how_it_is_used(kind: str, arguments: str, place: Place) -> None:
    done = place.run(kind, ORDERS, *arguments.split())

    assert done.returncode == 2
    assert "usage: " in done.stderr.lower()
    assert len(done.stderr.splitlines()) <= 3
    assert place.store.asked == []


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("tenant", ["../tenants/acme", "acme:1", ""])
def test_what_is_no_name_of_a_tenant_is_not_read(kind: str, tenant: str, place: Place) -> None:
    done = place.run(kind, ORDERS, tenant, f"{place.api.url}/{kind}")

    assert done.returncode != 0
    assert place.store.asked == []
    assert place.api.calls == []


def test_the_shell_says_what_is_not_installed(place: Place) -> None:
    place.environment["PATH"] = str(place.folder)

    done = place.run("shell", ORDERS)

    assert done.returncode == 2
    assert "aws is not installed" in done.stderr
