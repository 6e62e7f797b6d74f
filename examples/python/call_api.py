r"""Call an API for a tenant with the library in reader/. Paths are read from stdin.

    printf '%s\n' /orders/1 /orders/2 | python call_api.py acme https://api.example

Prints "STATUS PATH" for each path, or "--- PATH" if there is no token or no answer; standard error
says why.
"""

import argparse
import io
import re
import signal
import sys

import requests

from visma_tokens import TokenError, TokenReader
from visma_tokens.requests import VismaToken

TIMEOUT = (5, 30)  # seconds to connect, to answer
NO_PROXY = {"http": ""}  # plain http is for loopback
OTHERS = re.compile(r"[^ -~]")  # characters that no URL has, and that a terminal may obey


def main() -> int:
    """Call each path, and return the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    told, tokens = parse()
    lines = io.TextIOWrapper(sys.stdin.buffer, errors="surrogateescape")  # not all may be text
    failed = 0
    with requests.Session() as session:
        session.auth = VismaToken(told.tenant, tokens)
        for line in lines:
            path = line.rstrip("\r\n")
            shown = OTHERS.sub("?", path)
            try:
                status = call(session, told.api, path)
            except (TokenError, requests.RequestException, ValueError) as error:
                print(f"{shown}: {error}", file=sys.stderr)
                status = "---"
            failed |= not status.startswith("2")
            print(status, shown, flush=True)
    return failed


def parse() -> tuple[argparse.Namespace, TokenReader]:
    """Parse the command line, and make a reader for it; exits if the arguments are wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tenant")
    parser.add_argument("api", help="https://…")
    parser.add_argument("cache_seconds", type=int, nargs="?", default=300, help="1 to 300")
    told = parser.parse_args()
    if not re.match(r"https://.|http://127\.0\.0\.1:\d+(/|$)", told.api):
        parser.error("the API has to be at https://…")
    try:
        tokens = TokenReader(cache_seconds=told.cache_seconds)
    except ValueError as error:
        parser.error(str(error))
    return told, tokens


def call(session: requests.Session, api: str, path: str) -> str:
    """Call a path, and return the HTTP status."""
    if OTHERS.search(path):
        raise ValueError("a path is ASCII, and percent-encoded")
    if not path.startswith("/"):
        raise ValueError(f"a path starts with /: {path}")
    url = api.rstrip("/") + path
    answer = session.get(url, timeout=TIMEOUT, allow_redirects=False, proxies=NO_PROXY)
    return str(answer.status_code)


if __name__ == "__main__":
    sys.exit(main())
