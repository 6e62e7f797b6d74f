"""Runs that are killed at any call, or that run two at once: nothing is lost, the next mends it."""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aws_lambda_powertools import Logger

from local.authorization_server import SCOPES, VismaConnect, make_app, serving_wsgi
from tests.conftest import PROJECT, Show, counts
from tests.helpers.account import (
    CLIENT_SECRET,
    Account,
    behind,
    tenant_id,
)
from tests.helpers.scripted_aws import ScriptedAws
from tests.helpers.wire import Wire
from token_issuer import handler
from token_issuer.ledger.records import Issued
from token_issuer.limits.deadline import Clock, Deadline
from token_issuer.outside import open_outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import run
from token_issuer.settings import parse_settings
from token_issuer.tenants.invocation import parse_invocation

pytestmark = pytest.mark.long

ANYWHERE = 60  # kills by chance, besides one on either side of each call
SEED = 5  # of which tokens live longer: a second one of `changed` lives shorter
PENDING_SECRET = "pending-7zR2pXw9Lm4Tb8YcH6vKq"
NAMED = {"tenants": ["changed", "fresh", "lost", "missing"], "force": True}
LAST = {"tenants": ["fresh"], "force": True}  # for whom the pending secret will be proved
AT_ONCE = 20  # pairs of runs
PERIOD = timedelta(minutes=5)
LIVE = ("changed", "fresh", "refused", "vanished")  # have a token before, and nobody touches it
SERVED = ("changed", "fresh", "lost", "missing")  # have one after the next run that is right
NAMES = {tenant_id(name): name for name in (*LIVE, *SERVED, "disabled")}


class ManyLifetimes(VismaConnect):
    """Some tokens live longer, and no two tenants' equally long, else a lot would order them."""

    def __init__(self) -> None:
        super().__init__()
        self.seed: float = 0
        self.times: Counter[str] = Counter()

    def access_token(self, *, user: Any, **details: Any) -> str:  # noqa: ANN401  Authlib's
        self.times[user] += 1
        chance = random.Random(f"{self.seed} {user} {self.times[user]}")  # noqa: S311  no secret
        apart = 2 * 60 * sorted(NAMES).index(user)  # seconds
        self.lifetime = chance.choice((2400, 3600)) + apart
        return super().access_token(user=user, **details)


class Later(Clock):
    def __init__(self, ticks: int) -> None:
        self._ticks = ticks

    def now(self) -> datetime:
        return super().now() + self._ticks * PERIOD


@dataclass(frozen=True, kw_only=True)
class Place:
    """The servers, and what is in them."""

    wire: Wire
    aws: ScriptedAws
    visma_connect: ManyLifetimes
    environment: pytest.MonkeyPatch

    def arrange(self, seed: int | None = None) -> Account:
        """Have a run behind us, and tenants in every state that the next one meets."""
        self.visma_connect.seed = random.random() if seed is None else seed  # noqa: S311
        self.visma_connect.times.clear()
        self.aws.reset()
        account = Account(self.visma_connect)
        account.make_ledger()
        client = account.add_client()
        for name in (*LIVE, "lost", "disabled"):
            account.configure(name)
        assert counts(self.run()) == {"issued": 6}
        assert counts(self.run(LAST)) == {"issued": 1}
        account.configure("changed", scope=SCOPES[1])
        account.configure("missing")
        account.configure("refused", scope=SCOPES[1])
        account.configure("disabled", enabled=False)
        client.tenants.remove(tenant_id("refused"))
        account.put_token("lost", "by hand")
        account.ssm.delete_parameter(Name="/visma/tenants/vanished")
        client.client_secrets.add(PENDING_SECRET)
        account.secretsmanager.put_secret_value(
            SecretId="visma/clients/default",
            SecretString=json.dumps({"client_id": "default-id", "client_secret": PENDING_SECRET}),
            VersionStages=["AWSPENDING"],
        )
        return account

    def run(self, event: object = None, ticks: int = 0) -> dict[str, Any]:
        """Run in this process, some ticks later."""
        settings = parse_settings(os.environ)
        outside = open_outside(
            settings,
            handler.aws_clients(settings.concurrency),
            Telemetry(Logger(service="token-issuer"), "issuer"),
            Events(handler.events_client, "issuer"),
            Deadline(290, Later(ticks)),
        )
        return run(parse_invocation(event or {}), outside, holder=f"in process {ticks}").as_dict()

    def told(self) -> Iterator[tuple[str, str]]:
        """Yield kind and tenant of each event that was put."""
        for request in self.aws.received:
            if request.operation == "PutEvents":
                for entry in request.members["Entries"]:
                    yield entry["DetailType"], json.loads(entry["Detail"]).get("tenant", "")

    def start(self, event: object, request_id: str = "only") -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.killed_function", json.dumps(event), request_id],
            cwd=PROJECT,
            env=os.environ | {"PYTHONPATH": "src"},
            stdout=subprocess.DEVNULL,
        )


@pytest.fixture
def place() -> Iterator[Place]:
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        wire, aws, visma_connect = Wire(NAMES), ScriptedAws(), ManyLifetimes()
        aws.url = stack.enter_context(serving_wsgi(wire.around(aws)))
        visma_connect.url = stack.enter_context(serving_wsgi(wire.around(make_app(visma_connect))))
        stack.enter_context(behind(aws.url, environment, visma_connect.token_endpoint))
        yield Place(wire=wire, aws=aws, visma_connect=visma_connect, environment=environment)


def expiry(account: Account, token: str, name: str) -> datetime:
    claims = account.visma_connect.claims(token)
    assert claims["tenant_id"] == tenant_id(name)
    return datetime.fromtimestamp(claims["exp"], UTC)


def recorded(account: Account) -> dict[str, Issued]:
    records = account.ledger.read().records
    return {name: record.issued for name, record in records.items() if record.issued}


def stored_versions(account: Account) -> dict[str, int]:
    names = [f"/visma/tokens/{name}" for name in account.tokens()]
    stored = account.ssm.get_parameters(Names=names)["Parameters"]
    return {one["Name"]: one["Version"] for one in stored}


def assert_nothing_lost(account: Account) -> None:
    """Each live token is there or has a successor, and the ledger claims no more than it has.

    Of a successor that it doesn't know it says nothing: the next run sees another version.
    """
    tokens, records, versions = account.tokens(), recorded(account), stored_versions(account)
    assert set(LIVE) <= tokens.keys()
    assert set(LIVE) <= records.keys()
    for name, issued in records.items():
        if name not in ("lost", "disabled"):  # a person overwrote it; it is being removed
            expires_at = expiry(account, tokens[name], name)
            assert datetime.now(UTC) < expires_at, name
            is_known = issued.version == versions[issued.parameter]
            assert issued.expires_at <= expires_at or not is_known, name


def assert_recorded(account: Account) -> None:
    """The ledger knows the tokens that are stored, and no others."""
    records = recorded(account).values()
    assert stored_versions(account) == {one.parameter: one.version for one in records}


def assert_promoted(account: Account) -> None:
    """The pending secret is the current one, and the one before is still there."""
    secret = account.secretsmanager.describe_secret(SecretId="visma/clients/default")
    current, previous = (
        json.loads(
            account.secretsmanager.get_secret_value(
                SecretId="visma/clients/default", VersionStage=stage
            )["SecretString"]
        )["client_secret"]
        for stage in ("AWSCURRENT", "AWSPREVIOUS")
    )
    assert (current, previous) == (PENDING_SECRET, CLIENT_SECRET)
    assert sorted(secret["VersionIdsToStages"].values()) == [["AWSCURRENT"], ["AWSPREVIOUS"]]


def assert_mended(place: Place, account: Account) -> None:
    """The next run makes good what is missing, and the one after it finds nothing to do."""
    report = place.run(ticks=1)
    assert "skipped" not in report
    assert [one["tenant"] for one in report["failures"]] == ["refused"]
    assert_nothing_lost(account)
    assert datetime.now(UTC) < expiry(account, account.tokens()["lost"], "lost")
    assert account.tokens().keys() == {*LIVE, *SERVED}
    assert_recorded(account)
    assert recorded(account)["changed"].scope == SCOPES[1]
    assert_promoted(account)
    assert counts(place.run(ticks=2)) == {"fresh": 4, "failed": 1}
    told = Counter(place.told())
    assert told["Token Issuance Failing", "refused"] in {1, 2}  # at least once, twice at worst


def kill(place: Place, number: int, *, after: bool, seed: int | None = None) -> str | None:
    """Kill the run at the call of this number, see what is left, and return the call."""
    account = place.arrange(seed)
    with place.start({}) as process:
        place.wire.watch(process, number, after=after)
        assert process.wait(60) in {0, -signal.SIGKILL}
        place.wire.victim = None
    assert_nothing_lost(account)
    assert_mended(place, account)
    return place.wire.calls[number - 1] if process.returncode < 0 else None


def table(title: str, killed: Counter[str]) -> str:
    rows = (f"{times:4} {call}" for call, times in killed.items())
    return "\n".join([f"{killed.total()} {title}:", *rows])


def test_a_run_killed_on_either_side_of_each_call(place: Place, show: Show) -> None:
    place.environment.setenv("CONCURRENCY", "1")
    killed: Counter[str] = Counter()
    number = 1
    while call := kill(place, number, after=False, seed=SEED):
        assert kill(place, number, after=True, seed=SEED) == call
        killed[f"before and after {number}: {call}"] += 2
        number += 1

    show(table("kills, one tenant at a time", killed))
    assert killed.total() > 40
    assert any("PutEvents" in call for call in killed)
    assert any("#failure.#told_at" in call for call in killed)  # an event is noted


def test_a_run_killed_anywhere_while_tenants_go_side_by_side(place: Place, show: Show) -> None:
    killed: Counter[str] = Counter()
    while killed.total() < ANYWHERE:
        after = random.random() < 0.5  # noqa: S311
        call = kill(place, random.randrange(8, 38), after=after)  # noqa: S311
        killed[f"{'after' if after else 'before'} {call}"] += call is not None

    show(table("kills, tenants side by side", +killed))


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(({}, {}), id="full ones"),
        pytest.param(({}, NAMED), id="a full one and one for names"),
        pytest.param((NAMED, NAMED), id="for the same names"),
    ],
)
def test_two_runs_at_once(events: tuple[object, object], place: Place) -> None:
    place.wire.delay = 0.1
    for _ in range(AT_ONCE):
        account = place.arrange()
        with place.start(events[0], "one") as one, place.start(events[1], "other") as other:
            place.wire.watch(one)
            assert one.wait(60) == other.wait(60) == 0
            place.wire.victim = None
        assert_nothing_lost(account)
        assert_recorded(account)
        assert_mended(place, account)
