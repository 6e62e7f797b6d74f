"""Processes that end with the block that started them, whenever a signal comes."""

import os
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from local.processes import run
from tests.conftest import PROJECT
from tests.helpers.programs import finished

INTERRUPTED_WHILE_IT_STARTS = """
import os, signal, subprocess, sys
from pathlib import Path
from local import processes

class Interrupted(subprocess.Popen):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        print(self.pid, flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        sum(range(10_000))  # a signal is met between two steps of the interpreter

processes.raise_on_signals()
processes.subprocess.Popen = Interrupted
with processes.process(["sleep", "60"], env=os.environ, cwd=Path(), log=Path(sys.argv[2])):
    print("begun")
"""

KILLED = """
import os, signal, sys
from pathlib import Path
from local import processes

shell = "sleep 61 & echo $! $$; wait"
with processes.process(["sh", "-c", shell], env=os.environ, cwd=Path(), log=Path(sys.argv[1])):
    while not Path(sys.argv[1]).read_text().endswith("\\n"):
        pass
    os.kill(os.getpid(), signal.SIGKILL)
"""

WITHOUT_ITS_PARENT = """
import signal
from local import processes

processes.raise_on_signals()
processes.end_with_parent()
print("begun", flush=True)
try:
    signal.pause()
finally:
    print("tidied up", flush=True)
"""
GONE_SECONDS = 60
BY_MAKE = os.environ | {"PYTHONPATH": "src"}


def is_gone(pid: str) -> bool:
    """Tell whether a process has ended; one that nobody waits for stays as a zombie."""
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_signal_while_a_process_starts_ends_it_too(tmp_path: Path) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        command = [sys.executable, "-c", INTERRUPTED_WHILE_IT_STARTS, name, str(tmp_path / "log")]
        ended = finished(command, env=BY_MAKE, cwd=PROJECT)

        child, *further = ended.stdout.split()
        assert not Path(f"/proc/{child}").exists(), name
        assert further == []
        assert ended.returncode == -signal.SIGINT, ended.stderr


def test_processes_may_be_started_by_any_thread(tmp_path: Path) -> None:
    def start(number: int) -> None:
        run(["true"], env=os.environ, cwd=tmp_path, log=tmp_path / f"{number}.log")

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(start, range(4))) == [None] * 4


def test_a_killed_process_takes_with_it_what_it_started(tmp_path: Path) -> None:
    log = tmp_path / "log"

    killed = finished([sys.executable, "-c", KILLED, log], env=BY_MAKE, cwd=PROJECT)

    started = log.read_text().split()
    until = time.monotonic() + GONE_SECONDS
    while not all(map(is_gone, started)) and time.monotonic() < until:
        time.sleep(0.05)
    assert killed.returncode == -signal.SIGKILL
    assert len(started) == 2
    assert list(map(is_gone, started)) == [True, True]


def test_a_process_whose_parent_is_killed_tidies_up_and_ends() -> None:
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(WITHOUT_ITS_PARENT)}; true"
    with subprocess.Popen(
        ["sh", "-c", command],
        cwd=PROJECT,
        env=BY_MAKE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as parent:
        assert parent.stdout
        begun = parent.stdout.readline()
        parent.kill()
        rest = parent.stdout.read()  # ends once the other has ended

    assert (begun, rest) == ("begun\n", "tidied up\n")


def test_what_a_program_has_printed_does_nothing_to_a_terminal(tmp_path: Path) -> None:
    printed = r"printf 'Build \033[2J\033]0;owned\007 \342\200\256 failed\r\n' >&2; exit 7"

    with pytest.raises(SystemExit) as ended:
        run(["sh", "-c", printed], env=os.environ, cwd=tmp_path, log=tmp_path / "log")

    first, second = str(ended.value).splitlines()
    assert first == "sh -c failed with exit code 7:"
    assert second.isprintable()
    assert r"Build \x1b[2J\x1b]0;owned\x07 \u202e failed" in second


def test_a_command_that_is_not_there_is_told_in_its_log(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)exit code 127.*/nowhere/sam"):
        run(["/nowhere/sam"], env=os.environ, cwd=tmp_path, log=tmp_path / "log")
