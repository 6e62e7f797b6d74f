"""Run processes that end with the block that started them, however it ends."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from token_issuer.redaction import quote

GRACE_SECONDS = 5.0
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_SECONDS = 0.5
# A watcher reads standard input, which stays open as long as we live, then kills the group.
UNTIL_WE_END = 'exec 3<&0 </dev/null; { read -r _; kill -s KILL 0; } <&3 & exec "$@" 3<&-'


@contextlib.contextmanager
def process(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends, in its own session, so that Ctrl-C reaches only us."""
    with log.open("ab") as output, contextlib.ExitStack() as ending:
        with _signals_held():
            started = subprocess.Popen(  # noqa: S603  the commands are ours
                ["/bin/sh", "-c", UNTIL_WE_END, "sh", *command],
                env=env,
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            running = ending.enter_context(started)
            ending.callback(_end, running)
        yield running


def run(command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
    """Run a command to its end; raises SystemExit with the last lines of its log if it fails."""
    with process(command, env=env, cwd=cwd, log=log) as running:
        code = running.wait()
    if code != 0:
        words = " ".join(command[:2])
        raise SystemExit(f"{words} failed with exit code {code}:\n{tail(log)}")


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, with control characters escaped."""
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(map(quote, last))


def _end(running: subprocess.Popen[bytes]) -> None:
    """Terminate the leader and wait, so that it can tidy up; then kill its process group."""
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
    """Hold signals back until the block ends, so that no process is started and never ended."""
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
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP too, and ignore a second signal."""
    for number in STOPPING:
        signal.signal(number, _interrupt)


def end_with_parent() -> None:
    """Send SIGTERM to this process once its parent is gone."""
    parent, waiting = os.getppid(), threading.get_ident()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_SECONDS)
        signal.pthread_kill(waiting, signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _interrupt(_number: int, _frame: object) -> None:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
