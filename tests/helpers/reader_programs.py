"""What tests run in processes of their own: `python -m tests.helpers.reader_programs NAME`."""

import ast
import asyncio
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import httpx
import requests
from botocore.credentials import DeferredRefreshableCredentials

from tests.helpers.parameter_store import claims
from visma_tokens import ReadFailed, TokenError, TokenReader
from visma_tokens.httpx import VismaToken as HttpxToken
from visma_tokens.requests import VismaToken as RequestsToken

CHILDREN, READS = 4, 50


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def end_of(child: int) -> int:
    """Return the exit code of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fork() -> None:
    """Fork while a thread reads acme and holds a connection; the child reads it by itself."""
    tokens = TokenReader()
    assert tokens["globex"]
    reading = threading.Thread(target=lambda: tokens["acme"])
    reading.start()
    say("reading")
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        read = [claims(tokens[name])["tenant"] for name in ("globex", "acme")]
        os._exit(0 if read == ["globex", "acme"] else 1)
    code = end_of(child)
    reading.join()
    say(f"child ended with {code}")


def connections() -> None:
    """Fork with an open connection, and have all read at once, each their own tenant."""
    tokens = TokenReader(cache_seconds=1e-6)
    assert tokens["t0"]

    def read(name: str) -> bool:
        return all(claims(tokens[name])["tenant"] == name for _ in range(READS))

    children = []
    for number in range(1, CHILDREN):
        child = os.fork()
        if child == 0:
            os._exit(0 if read(f"t{number}") else 1)
        children.append(child)
    say([read("t0"), *(end_of(child) for child in children)])


def interrupted() -> None:
    """Be interrupted while reading; another thread waits for that very read."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what is in the background ignores it
    tokens = TokenReader()

    def wait() -> None:
        try:
            say(tokens["acme"])
        except ReadFailed as error:
            say(error)

    waiting = threading.Thread(target=wait)

    def watch() -> None:
        sys.stdin.readline()  # once the request is there
        waiting.start()
        while not waits(waiting):
            time.sleep(0.005)
        say("waiting")

    threading.Thread(target=watch).start()
    try:
        say(tokens["acme"])
    except KeyboardInterrupt:
        say("interrupted")
    waiting.join()


def waits(thread: threading.Thread) -> bool:
    """Tell whether a thread waits for another, which is what threading's conditions are for."""
    frame = sys._current_frames().get(thread.ident or 0)  # noqa: SLF001  there is no other way
    code = frame and frame.f_code
    return code is not None and (code.co_filename, code.co_name) == (threading.__file__, "wait")


def fork_locked() -> None:
    """Fork at the very moment that a thread holds the lock."""
    tokens = TokenReader()
    assert tokens["acme"]
    with tokens._lock:  # noqa: SLF001  by luck it would take a day
        forking = threading.Thread(target=fork_and_read, args=(tokens,))
        forking.start()
        forking.join()


def fork_and_read(tokens: TokenReader) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0 if claims(tokens["globex"])["tenant"] == "globex" else 1)
    say(f"child ended with {end_of(child)}")


def later() -> None:
    """Have no credentials at first."""
    tokens = TokenReader()
    try:
        say(tokens["acme"])
    except ReadFailed as error:
        say(error.remedy)
    os.environ |= {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    time.sleep(1.1)  # for which the failure is remembered
    say(claims(tokens["acme"])["tenant"])


def in_a_role() -> boto3.Session:
    """Return a session in a role that the program has put into it."""
    core = botocore.session.get_session()
    keys = {"access_key": "old", "secret_key": "secret", "token": "role"}
    keys["expiry_time"] = "2999-01-01T00:00:00Z"
    role = DeferredRefreshableCredentials(lambda: keys, "assume-role")
    setattr(core, "_credentials", role)  # noqa: B010  as such programs do: nothing else does it
    return boto3.Session(botocore_session=core)


def of_the_program() -> boto3.Session:
    """Return a session whose settings the program has changed."""
    core = botocore.session.get_session()
    core.user_agent_extra = "mine"
    return boto3.Session(botocore_session=core)


SESSIONS: dict[str, Callable[[], boto3.Session | None]] = {
    "none": lambda: None,
    "default": lambda: boto3.setup_default_session(),  # noqa: PLW0108  and not its type
    "default-profile": lambda: boto3.setup_default_session(profile_name="service"),
    "default-region": lambda: boto3.setup_default_session(region_name="eu-north-1"),
    "default-keys": lambda: boto3.setup_default_session(
        aws_access_key_id="old", aws_secret_access_key="secret"
    ),
    "given": lambda: boto3.Session(region_name="eu-north-1"),
    "given-profile": lambda: boto3.Session(profile_name="service"),
    "given-agent": of_the_program,
    "given-keys": lambda: boto3.Session("old", "secret"),
    "given-role": in_a_role,
}


def rotation() -> None:
    """Read while somebody replaces the keys, in a file or in this very environment."""
    session = SESSIONS[os.environ["SESSION"]]()
    tokens = TokenReader(session=session)
    say(claims(tokens["acme"])["tenant"])
    os.environ |= dict(pair.split("=") for pair in sys.stdin.readline().split())
    for tenant in ("globex", "initech"):
        try:
            say(claims(tokens[tenant])["tenant"])
        except ReadFailed as error:
            say(error.detail)
    used = session or boto3.DEFAULT_SESSION
    credentials = used and used.get_credentials()
    say(credentials and credentials.access_key)


def no_threads() -> None:
    """Read on a loop where no thread can be started."""
    tokens = TokenReader()
    threading.stack_size(1 << 46)  # bytes, which no machine has
    try:
        say(asyncio.run(tokens.aread("acme")))
    except TokenError as error:
        say(error)
    threading.stack_size(0)
    time.sleep(1.1)  # for which the failure is remembered
    say(claims(asyncio.run(tokens.aread("acme")))["tenant"])


def shared() -> None:
    """Call an API with both libraries and no reader named."""
    url = os.environ["API"]
    with requests.Session() as session, httpx.Client() as client:
        session.auth, client.auth = RequestsToken("acme"), HttpxToken("acme")
        say(session.get(url, timeout=10).status_code)
        say(client.get(url).status_code)


def get_by_requests(url: str, session: requests.Session) -> requests.Response:
    return session.get(url, timeout=10)


def get_by_httpx(url: str, auth: HttpxToken) -> httpx.Response:
    return httpx.get(url, auth=auth, timeout=10)


def pool() -> None:
    """Have processes of a pool call an API, and return the answers."""
    url = os.environ["API"]
    session = requests.Session()
    session.auth = RequestsToken("acme")
    assert session.get(url, timeout=10).ok
    auth = HttpxToken("acme", TokenReader())
    with multiprocessing.get_context(os.environ["METHOD"]).Pool(1) as processes:
        for _ in range(3):
            say(processes.apply(get_by_requests, (url, session)).text)
            say(processes.apply(get_by_httpx, (url, auth)).text)


def failing() -> None:
    """Say why there is no token."""
    try:
        say(TokenReader()["acme"])
    except TokenError as error:
        say(f"{type(error).__name__}: {error}")


def page() -> None:
    """Run what docs/consumers.md shows of Python, against an API of ours, and tell what it got."""
    text = Path("docs/consumers.md").read_text(encoding="utf-8")
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        code = compile(
            block.replace("https://api.example", os.environ["API"]),
            "docs/consumers.md",
            "exec",
            flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
        )
        names: dict[str, Any] = {}
        running = eval(code, names)  # noqa: S307  the page is ours
        if running is not None:
            asyncio.run(running)
        say(names["answer"].status_code if "answer" in names else names["newer"])


PROGRAMS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        connections,
        failing,
        fork,
        fork_locked,
        interrupted,
        later,
        no_threads,
        page,
        pool,
        rotation,
        shared,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]]()
