"""Processes that end with the block that started them, whatever ends it."""

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

GRACE_SECONDS = 5.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def process(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as a session of its own, so that Ctrl-C reaches us first; end all of it."""
    with log.open("ab") as output, contextlib.ExitStack() as ending:
        with _signals_held():
            running = subprocess.Popen(  # noqa: S603  the commands are ours
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            ending.callback(_end, running)
        yield running


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
    """Run a command to its end; raises SystemExit with its last lines when it fails."""
    with process(command, env=env, cwd=cwd, log=log) as running:
        code = running.wait()
    if code != 0:
        words = " ".join(command[:2])
        raise SystemExit(f"{words} failed with exit code {code}:\n{tail(log)}")


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _end(running: subprocess.Popen[bytes]) -> None:
    """End the whole process group, its leader first, so that it can tidy up."""
    try:
        running.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(GRACE_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: only zombies left
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Let a signal wait for the end of the block: a process that is being started gets an end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python raises in the main thread only
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda *it: came.append(it[0])) for number in STOPPING
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


def raise_on_signals() -> None:
    """Let SIGTERM and SIGHUP end blocks as Ctrl-C does, and a second one not disturb the first."""
    for number in STOPPING:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: object) -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
