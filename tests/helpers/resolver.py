"""Post to a host whose name is looked up in an odd way; prints what came of it, as JSON."""

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

from local.authorization_server import Fault, VismaConnect, serving
from token_issuer.errors import IssuerError
from token_issuer.tokens.connecting import Address
from token_issuer.tokens.endpoint import TokenEndpoint

real = socket.getaddrinfo
goes_on = threading.Event()


def post(endpoint: str) -> dict[str, Any]:
    started = time.monotonic()
    try:
        told: dict[str, Any] = {"status": TokenEndpoint(endpoint).post({}, {}).status}
    except IssuerError as error:
        told = {"reason": error.reason, "detail": error.detail, "remedy": error.remedy}
    return told | {"seconds": time.monotonic() - started}


@contextmanager
def dropping_server(host: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Listen with a queue that is full, so that no further connection is taken, or refused."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server((host, 0), backlog=0))
        stack.enter_context(socket.create_connection(server.getsockname()))
        yield server


def address_of(server: socket.socket) -> Address:
    return (socket.AF_INET, socket.SOCK_STREAM, 0, "", server.getsockname())


def resolve_by(resolver: Callable[..., Any]) -> None:
    """Have the resolver asked for `localhost`, and the real one for the rest."""

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        return (resolver if host == "localhost" else real)(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo  # type: ignore[assignment]


def hang(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401  those of getaddrinfo
    goes_on.wait()
    return real(*arguments, **options)


def hangs(endpoint: str) -> dict[str, Any]:
    resolve_by(hang)
    return post(endpoint)


def hangs_often(endpoint: str) -> dict[str, Any]:
    before = threading.active_count()
    resolve_by(hang)
    with ThreadPoolExecutor(40) as pool:
        slowest = max(told["seconds"] for told in pool.map(post, [endpoint] * 40))
    threads = threading.active_count() - before
    goes_on.set()
    return {"threads": threads, "seconds": slowest, "afterwards": post(endpoint)["status"]}


def two_addresses(endpoint: str) -> dict[str, Any]:
    with dropping_server() as server:
        resolve_by(lambda *asked, **options: [address_of(server), *real(*asked, **options)])
        return post(endpoint)


def far_away(endpoint: str) -> dict[str, Any]:
    """Have a round trip take long, as connecting shows it, and an answer come before the body."""
    with dropping_server() as dropping, socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with server.accept()[0] as connection:
                time.sleep(0.1)
                connection.sendall(b"HTTP/1.1 429 \r\n\r\n")
                connection.recv(1000)

        threading.Thread(target=answer).start()
        resolve_by(lambda *_, **__: [address_of(dropping), address_of(server)])
        return {"is_early": TokenEndpoint(endpoint).post({"a": "b"}, {}).is_early}


if __name__ == "__main__":
    started = time.monotonic()
    visma_connect = VismaConnect()
    visma_connect.faults[None] = Fault(status=200, body=b"answer")
    with serving(visma_connect):
        # by a name, since a number is no matter for a resolver
        endpoint = visma_connect.token_endpoint.replace("127.0.0.1", "localhost")
        told = globals()[sys.argv[1].replace(" ", "_")](endpoint)
    print(json.dumps(told | {"all": time.monotonic() - started}))  # noqa: T201  its purpose
