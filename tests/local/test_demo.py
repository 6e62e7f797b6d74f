"""The demo and the Makefile, as a newcomer meets them: in a fresh clone."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.demo import NOT_GRANTED, TENANTS
from tests.conftest import PROJECT
from tests.helpers.programs import finished
from tests.helpers.shell import ALL as ODD_SHELL
from tests.helpers.shell import PROXIES

pytestmark = pytest.mark.long

HANGS_SECONDS = 1800  # a demo takes two minutes, or several on a busy machine
OTHERS_STACK = """
version = 0.1
[default.global.parameters]
profile = "nobody"
region = "mars-north-1"
stack_name = "theirs"
[default.build.parameters]
use_container = true
cached = "perhaps"
template_file = "theirs.yaml"
parameter_overrides = "Architecture=mips"
"""


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return one in an odd place, its environments made from a shell with odd settings."""
    folder = tmp_path_factory.mktemp("fresh") / "the clône"
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    (folder / "samconfig.toml").write_text(OTHERS_STACK)
    reached = {name: value for name, value in ODD_SHELL.items() if name not in PROXIES}
    subprocess.run(["make", "environments"], cwd=folder, env=os.environ | reached, check=True)
    return folder


@contextmanager
def demo(clone: Path, temporary: Path) -> Iterator[subprocess.Popen[str]]:
    env = os.environ | ODD_SHELL | {"TMPDIR": str(temporary), "COLUMNS": "80"}
    with subprocess.Popen(
        ["make", "demo"],
        cwd=clone,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        umask=0o077,
    ) as running:
        net = threading.Timer(HANGS_SECONDS, running.kill)  # what it started ends with it
        net.start()
        try:
            yield running
        finally:
            net.cancel()


def in_an_odd_shell(
    *command: str, clone: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ODD_SHELL | variables
    return finished(command, env=environment, cwd=clone, seconds=HANGS_SECONDS)


def processes_of(clone: Path) -> list[str]:
    listed = finished(["ps", "-eo", "args"])
    assert listed.returncode == 0
    folder = str(clone.parent)  # of plain letters, which ps shows in any locale
    return [line for line in listed.stdout.splitlines() if folder in line]


@pytest.fixture
def temporary(clone: Path, tmp_path: Path) -> Iterator[Path]:
    """Return a folder for temporary files; nothing is left of the demo that used it."""
    yield tmp_path
    assert processes_of(clone) == []
    assert list(tmp_path.iterdir()) == []


def wait_for(words: str, running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if words in line:
            break
    return "".join(lines)


def without_figures(text: str) -> str:
    """Return what stays the same from one demo to the next: no times, ports or fingerprints.

    On a busy machine the wait of the failed tenant is over before the table is printed.
    """
    words = (re.sub(r"^[0-9a-f]{8}$", "0", word) for word in text.split())
    figures = " ".join(re.sub(r"\d+", "0", word) for word in words)
    return re.sub(r"\b0 (s|min)\b|next run", "0 time", figures)


def test_a_demo_on_a_busy_machine_shows_the_same_as_the_readme() -> None:
    at_once, later = "initech   no token      26 s", "initech   no token      next run"

    assert without_figures(at_once) == without_figures(later)


def test_the_demo_shows_tokens_and_a_failure_with_its_remedy(clone: Path, temporary: Path) -> None:
    with demo(clone, temporary) as running:
        output, _ = running.communicate()

    assert running.returncode == 0, output
    for name in TENANTS:
        token, none = r"fresh +━+╌* \d+ min", "no token .*TokenRefused"
        row = rf"^ *{name} +{none if name == NOT_GRANTED else token}"
        assert re.search(row, output, re.MULTILINE)
    assert "initech: invalid_tenant" in output
    assert "grant the application" in output
    shown = output[output.index("Authorization server") :]
    assert without_figures(shown) in without_figures((PROJECT / "README.md").read_text()), shown
    assert "\x1b" not in output
    assert max(map(len, output.splitlines())) <= 80


def test_a_demo_that_is_killed_leaves_nothing_running(clone: Path, temporary: Path) -> None:
    with demo(clone, temporary) as running:
        wait_for("AWS (MiniStack)", running)
        running.kill()
        rest, _ = running.communicate()  # ends once all that write to it have ended

    assert "Interrupted; everything is stopped." in rest


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        pytest.param("<&- >&- 2>&-", "", id="all of them closed"),
        pytest.param("2>&1 | head -n 1", "Authorization server", id="a reader that has ended"),
        pytest.param("2>&1 >/dev/full", "No space left on device. Everything is", id="a full disk"),
    ],
)
def test_a_demo_ends_in_a_sentence_when_nobody_takes_what_it_prints(
    streams: str, told: str, clone: Path, temporary: Path
) -> None:
    ended = in_an_odd_shell("sh", "-c", f"make demo {streams}", clone=clone, TMPDIR=str(temporary))

    assert told in ended.stdout
    assert (ended.returncode == 0) == ("/dev/full" not in streams), ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_demo_on_a_full_disk_ends_in_a_sentence(clone: Path, temporary: Path) -> None:
    megabyte = 2048  # blocks of 512 bytes: no file may become larger
    limited = f"ulimit -f {megabyte}; make demo"
    ended = in_an_odd_shell("sh", "-c", limited, clone=clone, TMPDIR=str(temporary))

    assert ended.returncode != 0
    assert "sam build failed with exit code" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("moment", ["Authorization server", "AWS (MiniStack)", "Waiting"])
def test_an_interrupted_demo_leaves_nothing_behind(
    moment: str, number: signal.Signals, clone: Path, temporary: Path
) -> None:
    with demo(clone, temporary) as running:
        wait_for(moment, running)
        time.sleep(1)
        os.killpg(running.pid, number)
        output, _ = running.communicate()

    assert running.returncode != 0
    assert "Interrupted; everything is stopped." in output
    assert "Traceback" not in output


def test_the_linters_pass_from_the_oddest_shell(clone: Path, tmp_path: Path) -> None:
    (tmp_path / ".cfnlintrc").write_text("regions: [mars-north-1]")
    (tmp_path / ".aws").mkdir()
    for name in ("config", "credentials"):
        (tmp_path / ".aws" / name).write_text("of no format")

    done = in_an_odd_shell("make", "check", clone=clone, HOME=str(tmp_path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_make_alone_says_what_there_is(clone: Path) -> None:
    said = finished(["make"], cwd=clone).stdout

    assert {"demo", "local", "test", "test-long", "check"} <= set(re.findall(r"make (\S+)", said))


def test_without_python_3_13_one_line_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    for tool in ("sh", "make", "sed", "tr", "test", "echo", "false"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    for python in ("python3.13", "python3", "python"):
        (tmp_path / python).symlink_to(tmp_path / "false")

    command = [str(tmp_path / "make"), "demo", "UV=none", "-B"]
    said = finished(command, env={"PATH": str(tmp_path)}, cwd=clone)

    assert said.returncode != 0
    first, *others = said.stderr.splitlines()
    assert first.startswith("Python 3.13 is needed and not found: install it")
    assert all(line.startswith("make: ***") for line in others)
    assert sys.version_info[:2] == (3, 13)
