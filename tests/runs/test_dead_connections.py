"""Connections that died without a word while the function was frozen between two runs."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from local.authorization_server import VismaConnect
from tests.conftest import counts
from tests.helpers.account import Account, Run, behind, tenant_id
from tests.helpers.scripted_aws import ScriptedAws, serving_aws
from token_issuer.handler import events_client
from token_issuer.reporting.events import Events, removed

NAMES = [f"t{number}" for number in range(12)]


class Relay:
    """Passes bytes on; those of the connections that it has forgotten it takes, and says nothing.

    As a NAT does whose time is up, or a peer that hung up while Lambda was frozen.
    """

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._listener]
        self._forgotten: set[socket.socket] = set()
        self._asked_in_vain: set[socket.socket] = set()
        self.forget_next = 0  # connections, from their first byte on
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def asked_in_vain(self) -> int:
        """Return the number of connections."""
        return len(self._asked_in_vain)

    def forget(self) -> None:
        self._forgotten.update(self._sockets)

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                far = socket.create_connection((self._upstream.hostname, self._upstream.port))
                self._sockets += [near, far]
                if self.forget_next:
                    self.forget_next -= 1
                    self._forgotten.add(near)
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                for one in select.select([near, far], [], [])[0]:
                    content = one.recv(65536)
                    if near in self._forgotten:
                        if one is near and content:
                            self._asked_in_vain.add(near)
                        if not content:
                            return
                        continue
                    if not content:
                        near.shutdown(socket.SHUT_RDWR)
                        return
                    (far if one is near else near).sendall(content)


@contextmanager
def relayed(upstream: str) -> Iterator[Relay]:
    relay = Relay(upstream)
    try:
        yield relay
    finally:
        relay.close()


@pytest.fixture
def aws() -> Iterator[ScriptedAws]:
    with serving_aws(ScriptedAws()) as served:
        yield served


@pytest.fixture
def relay(
    aws: ScriptedAws, monkeypatch: pytest.MonkeyPatch, visma_connect: VismaConnect
) -> Iterator[Relay]:
    endpoint = visma_connect.token_endpoint
    with relayed(aws.url) as relay, behind(relay.url, monkeypatch, endpoint):
        yield relay


@pytest.fixture
def account(
    aws: ScriptedAws, relay: Relay, visma_connect: VismaConnect, monkeypatch: pytest.MonkeyPatch
) -> Account:
    """Return the account as an operator has it, who is not behind the relay."""
    with monkeypatch.context() as direct:
        direct.setenv("AWS_ENDPOINT_URL", aws.url)
        account = Account(visma_connect)
    account.make_ledger()
    account.add_client()
    account.configure(*NAMES)
    assert relay.connections == 0
    return account


def test_a_run_uses_no_connection_of_the_run_before(
    account: Account, aws: ScriptedAws, relay: Relay, run: Run
) -> None:
    granted = account.app.tenants
    granted.clear()
    assert counts(run()) == {"failed": 12}
    assert aws.calls["PutEvents"] == 2  # ten in a request
    granted.update(map(tenant_id, NAMES))
    aws.calls.clear()

    relay.forget()

    assert counts(run({"force": True})) == {"issued": 12}
    assert account.tokens().keys() == set(NAMES)
    assert aws.calls["PutEvents"] == 2  # each has recovered
    assert relay.asked_in_vain == 0


def test_an_event_has_two_attempts(relay: Relay, aws: ScriptedAws) -> None:
    relay.forget_next = 1

    assert Events(events_client, "issuer").put([removed("acme", "disabled")]) == [None]

    assert aws.calls["PutEvents"] == 1
    assert (relay.asked_in_vain, relay.connections) == (1, 2)
