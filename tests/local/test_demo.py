"""The demo and the Makefile, as a newcomer meets them: in a fresh clone."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.demo import NOT_GRANTED, TENANTS
from tests.conftest import PROJECT

pytestmark = pytest.mark.long

DEMO_SECONDS = 180


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh") / "clone"
    subprocess.run(["git", "clone", "--quiet", PROJECT, folder], check=True)
    return folder


def start(clone: Path, temporary: Path) -> subprocess.Popen[str]:
    env = os.environ | {"TMPDIR": str(temporary), "COLUMNS": "80"}
    return subprocess.Popen(
        ["make", "demo"],
        cwd=clone,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(clone: Path) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(clone) in line]


def wait_for(words: str, running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    lines = []
    for line in running.stdout:
        lines.append(line)
        if words in line:
            break
    return "".join(lines)


def without_figures(text: str) -> str:
    """Return what stays the same from one demo to the next: no times, ports or fingerprints."""
    words = (re.sub(r"^[0-9a-f]{8}$", "0", word) for word in text.split())
    return " ".join(re.sub(r"\d+", "0", word) for word in words)


def test_the_demo_shows_tokens_and_a_failure_with_its_remedy(clone: Path, tmp_path: Path) -> None:
    started = time.monotonic()

    with start(clone, tmp_path) as running:
        output, _ = running.communicate()

    assert running.returncode == 0, output
    assert time.monotonic() - started < DEMO_SECONDS
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
    assert processes_of(clone) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda one: one.name)
@pytest.mark.parametrize("moment", ["Authorization server", "AWS (MiniStack)", "Waiting"])
def test_an_interrupted_demo_leaves_nothing_behind(
    moment: str, number: signal.Signals, clone: Path, tmp_path: Path
) -> None:
    with start(clone, tmp_path) as running:
        wait_for(moment, running)
        time.sleep(1)
        os.killpg(running.pid, number)
        output, _ = running.communicate()

    assert running.returncode != 0
    assert "Interrupted; everything is stopped." in output
    assert "Traceback" not in output
    assert processes_of(clone) == []
    assert list(tmp_path.iterdir()) == []


def test_make_alone_says_what_there_is(clone: Path) -> None:
    said = subprocess.run(["make"], cwd=clone, capture_output=True, text=True, check=True).stdout

    assert {"demo", "local", "test", "test-long", "check"} <= set(re.findall(r"make (\S+)", said))


def test_without_python_3_13_one_line_says_what_to_install(clone: Path, tmp_path: Path) -> None:
    for tool in ("sh", "make", "test", "echo", "false"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    for python in ("python3.13", "python3", "python"):
        (tmp_path / python).symlink_to(tmp_path / "false")

    said = subprocess.run(
        [tmp_path / "make", "demo", "UV=none", "-B"],
        cwd=clone,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert said.returncode != 0
    first, *others = said.stderr.splitlines()
    assert first.startswith("Python 3.13 is needed and not found: install it")
    assert all(line.startswith("make: ***") for line in others)
    assert sys.version_info[:2] == (3, 13)
