"""From a host's name to a connection, whatever the network does."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from tests.helpers.resolver import address_of, dropping_server
from token_issuer.errors import EndpointUnavailable
from token_issuer.tokens.connecting import MOST_LOOK_UPS, Address, LookUps, connect, look_up
from token_issuer.tokens.endpoint import CONNECT_SECONDS

PROGRAM = PROJECT / "tests/helpers/resolver.py"


def soon(seconds: float = 3.0) -> float:
    return time.monotonic() + seconds


@pytest.fixture
def good() -> Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield address_of(server)


@pytest.fixture
def dropping() -> Iterator[Address]:
    with dropping_server() as server:
        yield address_of(server)


@pytest.fixture
def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return address_of(server)


def open_files() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_no_second_address_is_asked_where_the_first_answers(good: Address) -> None:
    with socket.create_server(("127.0.0.1", 0)) as spare:
        spare.settimeout(0)

        connect([good, address_of(spare)], soon()).close()

        with pytest.raises(BlockingIOError):
            spare.accept()


def test_the_next_address_is_tried_at_once_when_one_refuses(
    refusing: Address, good: Address
) -> None:
    with connect([refusing, refusing, good], soon()) as connected:
        assert connected.getpeername() == good[-1]


@pytest.mark.parametrize("dead", [1, 2, 6, 20])
def test_an_address_that_drops_what_is_sent_leaves_the_others_time(
    dead: int, dropping: Address, good: Address
) -> None:
    with connect([dropping] * dead + [good], soon()) as connected:
        assert connected.getpeername() == good[-1]


def test_an_address_that_drops_what_is_sent_costs_a_moment_however_much_time_there_is(
    dropping: Address, good: Address
) -> None:
    started = time.monotonic()

    with connect([dropping, good], soon(60)) as connected:
        assert connected.getpeername() == good[-1]

    assert time.monotonic() - started < 60 / 8


def test_an_address_may_be_of_a_kind_that_is_not_there(good: Address) -> None:
    before = open_files()
    elsewhere = (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", "/no/such/socket")

    with connect([elsewhere, good], soon()) as connected:
        assert connected.getpeername() == good[-1]

    assert open_files() == before


def test_an_address_that_is_only_slow_is_still_taken(dropping: Address) -> None:
    """It gets all the time that there is, not a share of it."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        connected = stack.enter_context(connect([address_of(server), dropping], soon()))

        assert connected.getpeername() == server.getsockname()


def test_many_addresses_have_the_time_of_one(dropping: Address) -> None:
    def seconds_until_given_up(addresses: list[Address]) -> float:
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            connect(addresses, soon(0.5))
        return time.monotonic() - started

    assert seconds_until_given_up([dropping] * 6) < 2 * seconds_until_given_up([dropping])


def test_the_last_refusal_is_what_is_told(refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect([refusing, refusing], soon())


def test_no_socket_stays_open(dropping: Address, refusing: Address, good: Address) -> None:
    before = open_files()

    connect([refusing, dropping, dropping, good, good], soon()).close()
    with pytest.raises(OSError):  # noqa: PT011  which one doesn't matter
        connect([dropping, refusing, dropping], soon(0.4))

    assert open_files() == before


def test_a_connection_waits_for_what_it_is_sent(good: Address) -> None:
    """It is not left as it was while it was made, when nothing waited."""
    with connect([good], soon()) as connected:
        assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_name_has_its_addresses() -> None:
    assert ("127.0.0.1", 443) in [address[-1] for address in look_up("localhost", 443, soon())]


def test_a_name_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(socket.gaierror):
        look_up("no-such-host.invalid", 443, soon(30))


def test_a_look_up_waits_for_its_turn_no_longer_than_it_may() -> None:
    with ExitStack() as stack:
        for _ in range(MOST_LOOK_UPS):
            stack.enter_context(LookUps.free)

        with pytest.raises(EndpointUnavailable, match="took too long") as caught:
            look_up("localhost", 443, soon(0.1))

    assert caught.value.is_timeout
    assert look_up("localhost", 443, soon())


# In a process whose resolver is another


def resolved(how: str) -> dict[str, Any]:
    """Return what a program tells that posts to a host with such a resolver."""
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, PROGRAM, how],
        env=os.environ | {"PYTHONPATH": f"{PROJECT / 'src'}{os.pathsep}{PROJECT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told | {"process": time.monotonic() - started}


def test_a_look_up_that_hangs_ends_in_time_and_keeps_no_process_from_ending() -> None:
    told = resolved("hangs")

    assert told["seconds"] < CONNECT_SECONDS + 1
    assert told["reason"] == EndpointUnavailable.__name__
    assert "took too long" in told["detail"]
    assert "the look-up takes too long" in told["remedy"]
    assert told["process"] < told["all"] + 10


def test_look_ups_that_hang_do_not_pile_up() -> None:
    told = resolved("hangs often")

    assert told["threads"] <= MOST_LOOK_UPS + 1
    assert told["seconds"] < CONNECT_SECONDS + 2
    assert told["afterwards"] == 200  # once the resolver answers again


def test_a_host_whose_first_address_drops_what_is_sent_is_served_by_the_second() -> None:
    told = resolved("two addresses")

    assert told["status"] == 200
    assert told["seconds"] < CONNECT_SECONDS


def test_an_answer_is_early_until_a_round_trip_is_over() -> None:
    assert resolved("far away")["is_early"]
