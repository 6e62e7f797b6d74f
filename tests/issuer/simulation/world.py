"""A virtual clock, a token endpoint and a Parameter Store around the real run."""

import io
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from tests.issuer.conftest import make_settings
from tests.issuer.simulation.memory_ledger import MemoryLedger
from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import EndpointUnavailable, StoreFailed, TokenRefused
from token_issuer.invocation import Invocation
from token_issuer.issuance import Steps, issue_tokens
from token_issuer.run import Outside, run
from token_issuer.settings import Settings
from token_issuer.telemetry import Report, Telemetry
from token_issuer.tenants import Configuration, Tenant, parse_configuration

START = datetime(2026, 11, 23, tzinfo=UTC)
CACHE = timedelta(minutes=5)  # that a consumer may keep a token for
TIMEOUT_MARGIN = timedelta(seconds=10)
PREFIX = "/visma/tokens/"


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
    documents: dict[str, str] = field(default_factory=dict)
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    now: datetime = START
    stored: dict[str, Stored] = field(default_factory=dict)
    replaced: list[Replaced] = field(default_factory=list)
    requests: list[datetime] = field(default_factory=list)  # for tokens
    asked_in_run: Counter[str] = field(default_factory=Counter)
    asked_too_soon: list[str] = field(default_factory=list)
    deadline: datetime = START
    runs: int = 0

    def configure(self, names: Collection[str], **members: object) -> None:
        """Pack the tenants into one parameter."""
        packed = {name: {"scope": "", **members} for name in names}
        self.documents["/visma/tenants/packed"] = json.dumps({"tenants": packed})

    def tick(self, at: datetime, *, force: bool = False) -> Report | None:
        """Run once, at that time or as soon as the last run has ended; None when it was killed."""
        self.now = max(at, self.now)
        time_left = self.settings.period - TIMEOUT_MARGIN
        self.deadline = self.now + time_left
        self.asked_in_run.clear()
        self.runs += 1
        self.ledger.is_dead = False
        try:
            return run(
                Invocation(force=force),
                self._outside(),
                holder=str(self.runs),
                time_left=time_left,
            )
        except Killed:
            return None

    def _outside(self) -> Outside:
        logger = Logger(service="simulation", stream=io.StringIO())
        steps = Steps(
            read_credentials=self._read_credentials,
            fetch_token=self._fetch,
            store_token=self._store,
            record_token=self.ledger.record_token,
            record_failure=self.ledger.record_failure,
            shorten=self.ledger.shorten,
            now=lambda: self.now,
            settings=self.settings,
        )
        return Outside(
            now=lambda: self.now,
            settings=self.settings,
            telemetry=Quiet(logger, "simulation"),
            ledger=self.ledger,
            read_tenants=self._read_tenants,
            read_versions=self._read_versions,
            read_credentials=self._read_credentials,
            issue_tokens=partial(issue_tokens, steps=steps),
            delete_tokens=self._delete,
        )

    def _read_tenants(self, last_good: Mapping[str, str]) -> Configuration:
        listed: Any = [
            {"Name": name, "Value": text, "Type": "String"} for name, text in self.documents.items()
        ]
        return parse_configuration(listed, "/visma/tenants", last_good)

    def _read_credentials(self, client: str) -> ClientCredentials:
        return ClientCredentials(
            client_id=client, client_secret="s", auth_method="client_secret_post", version="v1"
        )

    def _fetch(self, tenant: Tenant, _: ClientCredentials) -> AccessToken:
        record = self.ledger.records.get(tenant.name)
        failure = record.failure if record else None
        if failure and failure.next_attempt_at and self.now < failure.next_attempt_at:
            self.asked_too_soon.append(tenant.name)
        self.requests.append(self.now)
        self.asked_in_run[tenant.name] += 1
        issued_at = self.now
        self._pass(timedelta(seconds=14) if tenant.name in self.hanging else self.latency)
        if tenant.name in self.hanging or self.is_down(issued_at):
            raise EndpointUnavailable("no answer")
        if tenant.name in self.refused:
            raise TokenRefused("invalid_tenant", code="invalid_tenant")
        return AccessToken(
            value="t", issued_at=issued_at, expires_at=issued_at + self.lifetime, scope=None
        )

    def _pass(self, time: timedelta) -> None:
        self.now += time
        if self.now > self.deadline:
            self.now = self.deadline
            self.ledger.is_dead = True
            raise Killed

    def _store(self, parameter: str, token: AccessToken) -> int:
        name = parameter.removeprefix(PREFIX)
        last = self.stored.get(name)
        version = last.version + 1 if last else 1
        new = Stored(version, token.issued_at, token.expires_at, self.now)
        if last:
            self.replaced.append(Replaced(name, last, self.now, new))
        self.stored[name] = new
        return version

    def _read_versions(self, parameters: Collection[str]) -> dict[str, int]:
        found = {name: self.stored.get(name.removeprefix(PREFIX)) for name in parameters}
        return {name: one.version for name, one in found.items() if one}

    def _delete(self, parameters: list[str]) -> dict[str, StoreFailed]:
        for parameter in parameters:
            name = parameter.removeprefix(PREFIX)
            if last := self.stored.pop(name, None):
                self.replaced.append(Replaced(name, last, self.now, None))
        return {}


class Quiet(Telemetry):
    """Measures nothing, since that is printed."""

    def _measure(self, report: Report, seconds: float) -> None:
        """Say nothing."""
