"""A server before the local authorization server, which breaks HTTP for some tenants."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from socketserver import BaseServer
from urllib.parse import parse_qs, urlsplit

from local.authorization_server import VismaConnect

type Break = Callable[[socket, threading.Event], None]


class BrokenServer(ThreadingHTTPServer):
    """Passes requests on, but for tenants with a fault of their own (by tenant_id)."""

    def __init__(self, upstream: VismaConnect) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream
        self.faults: dict[str, Break] = {}
        self.stop = threading.Event()  # what a fault waits for, so that it ends with its case

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def reset(self) -> None:
        self.stop.set()
        self.stop = threading.Event()
        self.faults.clear()


class Handler(BaseHTTPRequestHandler):
    server: BrokenServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        [tenant_id] = parse_qs(body.decode())["tenant_id"]
        if fault := self.server.faults.get(tenant_id):
            self.close_connection = True
            with suppress(OSError):  # the client may have hung up
                fault(self.connection, self.server.stop)
            return
        upstream = http.client.HTTPConnection(urlsplit(self.server.upstream.url).netloc)
        upstream.request("POST", self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        upstream.close()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def running(server: BaseServer) -> Iterator[None]:
    """Have a server serve in a thread until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=[0.02], daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def broken_server(
    upstream: VismaConnect, tls: ssl.SSLContext | None = None
) -> Iterator[BrokenServer]:
    with BrokenServer(upstream) as server:
        server.daemon_threads = True
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        try:
            with running(server):
                yield server
        finally:
            server.reset()
