"""Processes that end with the block that started them, whatever ends it."""

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
# Standard input stays open as long as we live. Once it ends, the whole group is killed.
UNTIL_WE_END = 'exec 3<&0 </dev/null; { read -r _; kill -s KILL 0; } <&3 & exec "$@" 3<&-'


@contextlib.contextmanager
def process(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as a session of its own, so that Ctrl-C reaches us first; end all of it."""
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
    """Run a command to its end; raises SystemExit with its last lines when it fails."""
    with process(command, env=env, cwd=cwd, log=log) as running:
        code = running.wait()
    if code != 0:
        words = " ".join(command[:2])
        raise SystemExit(f"{words} failed with exit code {code}:\n{tail(log)}")


def tail(log: Path, lines: int = 30) -> str:
    """Return the last lines of a log, as they may be shown on a terminal."""
    last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join(map(quote, last))


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


def end_with_parent() -> None:
    """Stop this process as SIGTERM does once the process that started it is gone."""
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
