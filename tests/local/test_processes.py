"""Processes that end with the block that started them, whenever a signal comes."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local.processes import run
from tests.conftest import PROJECT

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


def test_a_signal_while_a_process_starts_ends_it_too(tmp_path: Path) -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED_WHILE_IT_STARTS, name, tmp_path / "log"],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

        child, *further = ended.stdout.split()
        assert not Path(f"/proc/{child}").exists(), name
        assert further == []
        assert ended.returncode == -signal.SIGINT, ended.stderr


def test_processes_may_be_started_by_any_thread(tmp_path: Path) -> None:
    def start(number: int) -> None:
        run(["true"], env=os.environ, cwd=tmp_path, log=tmp_path / f"{number}.log")

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(start, range(4))) == [None] * 4
