r"""Call an API for a tenant with the library in reader/. Paths come in on standard input.

    printf '%s\n' /orders/1 /orders/2 | python call_api.py acme https://api.example

A third argument says for how many seconds a token is cached: 300 at most, which it is unless told.
Prints "STATUS PATH" for each, "--- PATH" where there is no token or no answer; standard error says
why.
"""

import sys

import requests

from visma_tokens import TokenError, TokenReader
from visma_tokens.requests import VismaToken

TIMEOUT = (5, 30)  # seconds to connect, to answer


def main(tenant: str, api: str, cache_seconds: str = "300") -> int:
    """Call each path, and return the exit code."""
    failed = 0
    with requests.Session() as session:
        session.auth = VismaToken(tenant, TokenReader(cache_seconds=float(cache_seconds)))
        for line in sys.stdin:
            path = line.rstrip("\n")
            try:
                status = call(session, api, path)
            except (TokenError, requests.RequestException, ValueError) as error:
                print(error, file=sys.stderr)
                status = "---"
            failed |= not status.startswith("2")
            print(status, path, flush=True)
    return failed


def call(session: requests.Session, api: str, path: str) -> str:
    """Call a path, and return the status."""
    if not path.startswith("/"):
        raise ValueError(f"a path starts with /: {path}")
    return str(session.get(api + path, timeout=TIMEOUT).status_code)


if __name__ == "__main__":
    if len(sys.argv) not in {3, 4}:
        sys.exit("Usage: python call_api.py TENANT API [CACHE_SECONDS] < PATHS")
    sys.exit(main(*sys.argv[1:]))
