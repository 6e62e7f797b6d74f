"""A virtual clock, a token endpoint and a Parameter Store around the real run."""

import io
import json
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import batched
from math import ceil
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from tests.helpers.account import make_settings
from tests.helpers.memory_ledger import MemoryLedger
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import CURRENT
from token_issuer.errors import (
    ClientRefused,
    ClientSecretUnreadable,
    EndpointUnavailable,
    TokenRefused,
)
from token_issuer.gathering import Sources
from token_issuer.handler import READS_PER_SECOND
from token_issuer.issuing import Steps, issue_tokens
from token_issuer.limits.deadline import (
    ASK_SECONDS,
    RECORD_SECONDS,
    REPORT_SECONDS,
    STORE_SECONDS,
    Clock,
)
from token_issuer.limits.pacer import Pacer
from token_issuer.proving import Rollover
from token_issuer.redaction import Quoted
from token_issuer.removing import remove_tokens
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import Outside, run
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tenants.parameters import read_tenants
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.store import delete_tokens, read_versions, store_token

START = datetime(2026, 11, 23, tzinfo=UTC)
CACHE = timedelta(minutes=5)  # that a consumer may keep a token for
TIMEOUT_MARGIN = timedelta(seconds=10)
HANGS = timedelta(seconds=ASK_SECONDS)
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
    tokens: list[AccessToken] = field(default_factory=list)
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
            packed = {name: {"scope": "", **members} for name in some}
            self.documents[f"/visma/tenants/packed-{number}"] = json.dumps({"tenants": packed})

    def seconds(self) -> float:
        return (self.now - START).total_seconds()

    def time_left(self) -> float:
        return (self.deadline - self.now).total_seconds()

    def sleep(self, seconds: float) -> None:
        self._pass(timedelta(microseconds=ceil(seconds * 1_000_000)))

    def tick(self, at: datetime, *, force: bool = False) -> Report | None:
        """Run once, at that time or as soon as the last run has ended; None when it was killed."""
        self.now = max(at, self.now)
        self.deadline = self.now + self.settings.period - TIMEOUT_MARGIN
        self.asked_in_run.clear()
        self.runs += 1
        self.ledger.is_dead = False
        try:
            return run(Invocation(force=force), self._outside(), holder=str(self.runs))
        except Killed:
            self.killed += 1
            return None

    def _outside(self) -> Outside:
        # its lines are read by nobody, and would take half the time
        logger = Logger(service="simulation", stream=io.StringIO(), level="CRITICAL")
        clock = Clock(now=self.seconds, sleep=self.sleep)
        margin = STORE_SECONDS + RECORD_SECONDS + REPORT_SECONDS
        writes = Pacer(
            self.settings.writes_per_second,
            clock,
            until=(self.deadline - START).total_seconds() - margin,
        )
        reads = Pacer(READS_PER_SECOND, clock)
        ssm: Any = self
        rollover = Rollover(
            read=self._read_credentials,
            fetch_token=self._fetch,
            promote=lambda *_: None,
            unstage=lambda *_: None,
            record=self.ledger.record_client,
            tell_refused=lambda *_: True,
            has_time=lambda _: True,
            now=lambda: self.now,
            settings=self.settings,
        )
        steps = Steps(
            secret=rollover.secret,
            fetch_token=self._fetch,
            store_token=partial(store_token, ssm=ssm, key_id="key", pacer=writes),
            record_token=self.ledger.record_token,
            record_failure=self.ledger.record_failure,
            shorten=self.ledger.shorten,
            tell_failing=lambda *_: True,
            tell_recovered=lambda *_: True,
            tell_reassigned=lambda *_: True,
            writes=writes,
            sleep=self.sleep,
            now=lambda: self.now,
            settings=self.settings,
        )
        return Outside(
            now=lambda: self.now,
            settings=self.settings,
            telemetry=Captured(logger, STACK, self.metrics),
            ledger=self.ledger,
            sources=Sources(
                ledger=self.ledger,
                read_tenants=partial(read_tenants, ssm, self.settings.tenants_path, pacer=reads),
                read_versions=partial(read_versions, ssm=ssm, pacer=reads),
                read_stages=lambda _: self.secrets,
                has_time=lambda: self.time_left() >= self.settings.period.total_seconds() / 2,
                settings=self.settings,
            ),
            rollover=rollover,
            issue_tokens=partial(issue_tokens, steps=steps),
            remove_tokens=partial(
                remove_tokens,
                mark_lost=self.ledger.mark_lost,
                delete_tokens=partial(delete_tokens, ssm=ssm, pacer=writes),
                drop_record=self.ledger.drop_record,
                time_left=self.time_left,
            ),
            writes=writes,
            time_left=self.time_left,
        )

    def _read_credentials(self, client: str, stage: str) -> ClientCredentials:
        if stage not in self.secrets:
            raise ClientSecretUnreadable(
                "no such version", code=Quoted("ResourceNotFoundException")
            )
        return ClientCredentials(
            client_id=client,
            client_secret="s",
            auth_method="client_secret_post",
            version=self.secrets[stage],
        )

    def _fetch(self, tenant: Tenant, credentials: ClientCredentials) -> AccessToken:
        record = self.ledger.records.get(tenant.name)
        failure = record.failure if record else None
        if failure and failure.next_attempt_at and self.now < failure.next_attempt_at:
            self.asked_too_soon.append(tenant.name)
        self.requests.append(self.now)
        self.asked_in_run[tenant.name] += 1
        issued_at = self.now
        self._pass(HANGS if tenant.name in self.hanging else self.latency)
        if tenant.name in self.hanging or self.is_down(issued_at):
            raise EndpointUnavailable("no answer", is_timeout=tenant.name in self.hanging)
        if credentials.version == self.dead_secret:
            raise ClientRefused("invalid_client", code=Quoted("invalid_client"))
        if tenant.name in self.broken:
            raise EndpointUnavailable("The token endpoint answered HTTP 500", code=Quoted("500"))
        if tenant.name in self.refused:
            raise TokenRefused("invalid_tenant", code=Quoted("invalid_tenant"))
        token = AccessToken(
            value=str(len(self.tokens)),
            issued_at=issued_at,
            expires_at=issued_at + self.lifetime,
            scope=None,
        )
        self.tokens.append(token)
        return token

    def _pass(self, time: timedelta) -> None:
        self.now += time
        if self.now > self.deadline:
            self.now = self.deadline
            self.ledger.is_dead = True
            raise Killed

    def put_parameter(self, *, Name: str, Value: str, **_: object) -> dict[str, int]:  # noqa: N803  as boto3 has it
        self._write()
        name, token = Name.removeprefix(PREFIX), self.tokens[int(Value)]
        last = self.stored.get(name)
        version = last.version + 1 if last else 1
        new = Stored(version, token.issued_at, token.expires_at, self.now)
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
        self._pass(AWS)
        saved = self.saved + (self.now - self.saved_at).total_seconds() * self.quota
        self.saved, self.saved_at = min(self.quota, saved), self.now
        if self.saved < 1:
            self.throttled += 1
            raise _error("ThrottlingException", "PutParameter")
        self.saved -= 1

    def get_parameters_by_path(self, *, NextToken: str = "0", **_: object) -> dict[str, Any]:  # noqa: N803
        self._pass(AWS)
        listed = [
            {"Name": name, "Value": text, "Type": "String"} for name, text in self.documents.items()
        ]
        first = int(NextToken)
        more = {"NextToken": str(first + PAGE)} if first + PAGE < len(listed) else {}
        return {"Parameters": listed[first : first + PAGE]} | more

    def get_parameters(self, *, Names: list[str], **_: object) -> dict[str, Any]:  # noqa: N803
        self._pass(AWS)
        if self.is_unchecked:
            raise _error("AccessDeniedException", "GetParameters")
        found = {name: self.stored.get(name.removeprefix(PREFIX)) for name in Names}
        return {
            "Parameters": [
                {"Name": name, "Version": one.version} for name, one in found.items() if one
            ]
        }


def _error(code: str, operation: str) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
    return ClientError(answer, operation)


class Captured(Telemetry):
    """Writes metrics to a stream."""

    def __init__(self, logger: Logger, stack: str, metrics: io.StringIO) -> None:
        super().__init__(logger, stack, lambda *_: None)
        self._metrics = metrics

    def _measure(self, report: Report, seconds: float) -> None:
        with redirect_stdout(self._metrics), warnings.catch_warnings():
            # that CloudWatch takes nothing so old, or of the future: it is simulated time
            warnings.filterwarnings("ignore", "This metric doesn't meet the requirements")
            super()._measure(report, seconds)
