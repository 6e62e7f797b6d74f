"""A virtual clock, a token endpoint and a Parameter Store around the real run."""

import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import batched
from math import ceil
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.account import client_error, make_settings
from tests.helpers.memory_ledger import MemoryLedger
from token_issuer.clients.credentials import CURRENT
from token_issuer.errors import EndpointUnavailable
from token_issuer.limits.deadline import ASK, Clock, Deadline
from token_issuer.outside import Aws, Outside, open_outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import run
from token_issuer.settings import Settings
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.oauth import Answer

START = datetime(2026, 11, 23, tzinfo=UTC)
CACHE = timedelta(minutes=5)  # that a consumer may keep a token for
TIMEOUT_MARGIN = timedelta(seconds=10)
HANGS = timedelta(seconds=ASK)
AWS = timedelta(milliseconds=15)  # latency of a call
PACKED, PAGE = 75, 10  # tenants in a parameter, parameters a page
PREFIX = "/visma/tokens/"
STACK = "token-issuer"


class Killed(BaseException):
    """Lambda ends the run."""


@dataclass(frozen=True)
class Stored:
    version: int
    issued_at: datetime
    expires_at: datetime
    stored_at: datetime


@dataclass(frozen=True)
class Replaced:
    """A token that another one took the place of, or that was deleted (`by` None)."""

    tenant: str
    token: Stored
    at: datetime
    by: Stored | None

    @property
    def is_breach(self) -> bool:
        """Tell whether a consumer that caches for five minutes may have held it expired."""
        return self.at + CACHE > self.token.expires_at


@dataclass
class World:
    settings: Settings = field(default_factory=lambda: make_settings(concurrency=1))
    lifetime: timedelta = timedelta(hours=1)
    latency: timedelta = timedelta(milliseconds=50)  # of a token request
    is_down: Callable[[datetime], bool] = lambda _: False
    refused: Collection[str] = ()
    hanging: Collection[str] = ()
    broken: Collection[str] = ()  # are answered 500
    secrets: dict[str, str] = field(default_factory=lambda: {CURRENT: "v1"})  # by stage
    dead_secret: str = ""  # a version that is refused
    is_unchecked: bool = False  # versions of tokens can't be read
    documents: dict[str, str] = field(default_factory=dict)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    now: datetime = START
    stored: dict[str, Stored] = field(default_factory=dict)
    replaced: list[Replaced] = field(default_factory=list)
    requests: list[datetime] = field(default_factory=list)  # for tokens
    asked_in_run: Counter[str] = field(default_factory=Counter)
    asked_too_soon: list[str] = field(default_factory=list)
    tokens: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)  # their life
    quota: float = 3.0  # writes a second
    saved: float = 0.0  # of it
    saved_at: datetime = START - timedelta(seconds=1)
    throttled: int = 0
    deadline: datetime = START
    runs: int = 0
    killed: int = 0
    metrics: io.StringIO = field(default_factory=io.StringIO)  # lines of EMF

    def configure(self, names: Collection[str], **members: object) -> None:
        """Pack the tenants into parameters of 8 KB."""
        self.documents.clear()
        for number, some in enumerate(batched(names, PACKED, strict=False)):
            packed = {name: {"tenant_id": name, "scope": "", **members} for name in some}
            self.documents[f"/visma/tenants/packed-{number}"] = json.dumps({"tenants": packed})

    def tick(
        self, at: datetime, *, force: bool = False, invocation: Invocation | None = None
    ) -> Report | None:
        """Run once, at that time or as soon as the last run has ended; None when it was killed."""
        self.now = max(at, self.now)
        self.deadline = self.now + self.settings.period - TIMEOUT_MARGIN
        self.asked_in_run.clear()
        self.runs += 1
        self.ledger.is_dead = False
        try:
            asked = invocation or Invocation(force=force)
            return run(asked, self.outside(), holder=str(self.runs))
        except Killed:
            self.killed += 1
            return None

    def logger(self) -> Logger:
        """Return one whose lines are read by nobody: they would take half the time."""
        return Logger(service="simulation", stream=io.StringIO(), level="CRITICAL")

    def outside(self) -> Outside:
        aws: Any = self
        seconds = (self.deadline - self.now).total_seconds()
        opened = open_outside(
            self.settings,
            Aws(ssm=aws, secretsmanager=aws, dynamodb=aws),
            Captured(self.logger(), STACK, self.metrics),
            Events(lambda: aws, STACK),
            Deadline(seconds, WorldClock(self)),
        )
        endpoint: Any = self
        return replace(opened, endpoint=endpoint, ledger=self.ledger)

    def post(self, form: dict[str, str], _: dict[str, str]) -> Answer:
        """Answer a token request, as the token endpoint does; a tenant's id is its name."""
        name = form["tenant_id"]
        record = self.ledger.records.get(name)
        failure = record.failure if record else None
        if failure and failure.next_attempt_at and self.now < failure.next_attempt_at:
            self.asked_too_soon.append(name)
        self.requests.append(self.now)
        self.asked_in_run[name] += 1
        issued_at = self.now
        self.let_pass(HANGS if name in self.hanging else self.latency)
        if name in self.hanging or self.is_down(issued_at):
            raise EndpointUnavailable("no answer", is_timeout=name in self.hanging)
        if form["client_secret"] == self.dead_secret:
            return _answer(400, error="invalid_client")
        if name in self.broken:
            return _answer(500)
        if name in self.refused:
            return _answer(400, error="invalid_tenant")
        token = f"opaque-{len(self.tokens)}"
        self.tokens[token] = (issued_at, issued_at + self.lifetime)
        seconds = self.lifetime // timedelta(seconds=1)
        return _answer(200, access_token=token, token_type="Bearer", expires_in=seconds)

    def get_secret_value(self, *, VersionStage: str, **_: object) -> dict[str, str]:  # noqa: N803
        self.let_pass(AWS)
        if VersionStage not in self.secrets:
            raise client_error("ResourceNotFoundException", "GetSecretValue")
        version = self.secrets[VersionStage]
        text = json.dumps({"client_id": "id", "client_secret": version})
        return {"SecretString": text, "VersionId": version}

    def describe_secret(self, **_: object) -> dict[str, dict[str, list[str]]]:
        self.let_pass(AWS)
        return {"VersionIdsToStages": {one: [stage] for stage, one in self.secrets.items()}}

    def put_events(self, *, Entries: list[object]) -> dict[str, list[dict[str, str]]]:  # noqa: N803
        self.let_pass(AWS)
        return {"Entries": [{} for _ in Entries]}

    def let_pass(self, time: timedelta) -> None:
        self.now += time
        if self.now > self.deadline:
            self.now = self.deadline
            self.ledger.is_dead = True
            raise Killed

    def put_parameter(self, *, Name: str, Value: str, **_: object) -> dict[str, int]:  # noqa: N803  as boto3 has it
        self._write()
        name, (issued_at, expires_at) = Name.removeprefix(PREFIX), self.tokens[Value]
        last = self.stored.get(name)
        version = last.version + 1 if last else 1
        new = Stored(version, issued_at, expires_at, self.now)
        if last:
            self.replaced.append(Replaced(name, last, self.now, new))
        self.stored[name] = new
        return {"Version": version}

    def delete_parameters(self, *, Names: list[str]) -> dict[str, list[str]]:  # noqa: N803  as boto3 has it
        self._write()
        for parameter in Names:
            name = parameter.removeprefix(PREFIX)
            if last := self.stored.pop(name, None):
                self.replaced.append(Replaced(name, last, self.now, None))
        return {"DeletedParameters": Names}

    def _write(self) -> None:
        """Take from the quota: a second's may have been saved."""
        self.let_pass(AWS)
        saved = self.saved + (self.now - self.saved_at).total_seconds() * self.quota
        self.saved, self.saved_at = min(self.quota, saved), self.now
        if self.saved < 1:
            self.throttled += 1
            raise client_error("ThrottlingException")
        self.saved -= 1

    def get_parameters_by_path(self, *, NextToken: str = "0", **_: object) -> dict[str, Any]:  # noqa: N803
        self.let_pass(AWS)
        listed = [
            {"Name": name, "Value": text, "Type": "String"} for name, text in self.documents.items()
        ]
        first = int(NextToken)
        more = {"NextToken": str(first + PAGE)} if first + PAGE < len(listed) else {}
        return {"Parameters": listed[first : first + PAGE]} | more

    def get_parameters(self, *, Names: list[str], **_: object) -> dict[str, Any]:  # noqa: N803
        self.let_pass(AWS)
        if self.is_unchecked:
            raise client_error("AccessDeniedException", "GetParameters")
        found = {name: self.stored.get(name.removeprefix(PREFIX)) for name in Names}
        return {
            "Parameters": [
                {"Name": name, "Version": one.version} for name, one in found.items() if one
            ]
        }


class WorldClock(Clock):
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> datetime:
        return self._world.now

    def seconds(self) -> float:
        return (self._world.now - START).total_seconds()

    def sleep(self, seconds: float) -> None:
        self._world.let_pass(timedelta(microseconds=ceil(seconds * 1_000_000)))


def _answer(status: int, **members: object) -> Answer:
    return Answer(status=status, body=json.dumps(members).encode())


class Captured(Telemetry):
    """Writes metrics to a stream."""

    def __init__(self, logger: Logger, stack: str, metrics: io.StringIO) -> None:
        super().__init__(logger, stack)
        self._metrics = metrics

    def _measure(self, report: Report, seconds: float) -> None:
        with redirect_stdout(self._metrics), warnings.catch_warnings():
            # that CloudWatch takes nothing so old, or of the future: it is simulated time
            warnings.filterwarnings("ignore", "This metric doesn't meet the requirements")
            super()._measure(report, seconds)
