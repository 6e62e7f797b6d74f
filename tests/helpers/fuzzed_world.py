"""A whole run in memory, with the issuer's own parts: what it is given is whatever a case says."""

import io
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from aws_lambda_powertools import Logger

from tests.helpers.account import CLIENT_SECRET, log_to, make_settings
from tests.helpers.fuzzed_table import Table, Value
from token_issuer.clients.credentials import ClientCredentials, parse_credentials
from token_issuer.clients.secrets_manager import CURRENT, PENDING
from token_issuer.errors import IssuerError
from token_issuer.gathering import Sources
from token_issuer.issuing import Steps, issue_tokens
from token_issuer.limits.deadline import Clock
from token_issuer.limits.pacer import Pacer
from token_issuer.proving import Rollover
from token_issuer.removing import remove_tokens
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import Outside, run
from token_issuer.tenants.configuration import parse_configuration
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.oauth import Answer, fetch_token

BEGIN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SETTINGS = make_settings(concurrency=1)
SECRET = json.dumps({"client_id": "id", "client_secret": CLIENT_SECRET})
TENANTS = ("acme", "globex")
DOCUMENT = '{"scope": "a b", "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a"}'
DEFECTS = {"Unexpected", "RunCrashed"}

type Parameter = dict[str, Any]


def configured(name: str, text: str = DOCUMENT, kind: str = "String") -> Parameter:
    return {"Name": f"/visma/tenants/{name}", "Value": text, "Type": kind}


class World:
    """The surroundings of runs that follow each other; `said` is all that left the process."""

    def __init__(
        self,
        items: Iterable[Mapping[str, Value]] = (),
        parameters: Iterable[Parameter] = tuple(map(configured, TENANTS)),
        secrets: Mapping[str, object] | None = None,
    ) -> None:
        self.now = BEGIN
        self.table = Table(items)
        self.parameters = list(parameters)
        self.secrets: dict[str, object] = dict(secrets or {CURRENT: SECRET})  # by stage
        self.versions: dict[str, int] = {}  # of stored tokens
        self.answer = Answer(
            status=200,
            body=b'{"access_token": "opaque", "token_type": "Bearer", "expires_in": 3600}',
        )
        self.said = io.StringIO()
        log_to(self.said)
        self._seconds = 0.0

    def run(self, invocation: Invocation | None = None) -> Report:
        with redirect_stdout(self.said):
            return run(invocation or Invocation(), self._outside(), holder=f"{self.now}")

    def _sleep(self, seconds: float) -> None:
        self._seconds += seconds

    def _read_secret(self, client: str, stage: str) -> ClientCredentials:
        version = f"version-{stage}"
        return parse_credentials(f"visma/clients/{client}", self.secrets.get(stage), version)

    def _store(self, parameter: str, _: AccessToken) -> int:
        self.versions[parameter] = self.versions.get(parameter, 0) + 1
        return self.versions[parameter]

    def _delete(self, parameters: Collection[str]) -> dict[str, IssuerError]:
        for parameter in parameters:
            self.versions.pop(parameter, None)
        return {}

    def _put_event(self, kind: str, detail: Mapping[str, object]) -> None:
        self.said.write(f"{json.dumps({'kind': kind, 'detail': detail}, ensure_ascii=False)}\n")

    def _outside(self) -> Outside:
        ledger, clock = self.table.ledger, Clock(now=lambda: self._seconds, sleep=self._sleep)
        logger = Logger(service="token-issuer")
        telemetry = Telemetry(logger, "issuer", self._put_event)
        writes = Pacer(1000, clock)
        fetch = partial(fetch_token, post=lambda *_: self.answer, now=lambda: self.now)
        rollover = Rollover(
            read=self._read_secret,
            fetch_token=fetch,
            promote=lambda *_: self.secrets.update({CURRENT: self.secrets.pop(PENDING)}),
            unstage=lambda *_: None,
            record=ledger.record_client,
            tell_refused=telemetry.secret_refused,
            has_time=lambda _: True,
            now=lambda: self.now,
            settings=SETTINGS,
        )
        steps = Steps(
            secret=rollover.secret,
            fetch_token=fetch,
            store_token=self._store,
            record_token=ledger.record_token,
            record_failure=ledger.record_failure,
            shorten=ledger.shorten,
            tell_failing=telemetry.token_failing,
            tell_recovered=telemetry.token_recovered,
            tell_reassigned=telemetry.tenant_reassigned,
            writes=writes,
            sleep=self._sleep,
            now=lambda: self.now,
            settings=SETTINGS,
        )
        return Outside(
            now=lambda: self.now,
            settings=SETTINGS,
            telemetry=telemetry,
            ledger=ledger,
            sources=Sources(
                ledger=ledger,
                read_tenants=lambda last_good, known: parse_configuration(
                    self.parameters,  # type: ignore[arg-type]
                    SETTINGS.tenants_path,
                    last_good,
                    known,
                ),
                read_versions=lambda names: {
                    name: self.versions[name] for name in names if name in self.versions
                },
                read_stages=lambda _: {stage: f"version-{stage}" for stage in self.secrets},
                has_time=lambda: True,
                settings=SETTINGS,
            ),
            rollover=rollover,
            issue_tokens=partial(issue_tokens, steps=steps),
            remove_tokens=partial(
                remove_tokens,
                mark_lost=ledger.mark_lost,
                delete_tokens=self._delete,
                drop_record=ledger.drop_record,
                time_left=lambda: 240.0,
            ),
            writes=writes,
            time_left=lambda: 240.0,
        )

    def check(self, *reports: Report) -> None:
        """Assert that nothing was a defect of ours, and that all that was said may be said."""
        said = self.said.getvalue()
        answers = [json.dumps(report.as_dict(), ensure_ascii=False) for report in reports]
        for text in (said, *answers):
            text.encode()  # as Lambda does, which fails for half a character
            assert all(line.isprintable() for line in text.splitlines())
            assert not any(f'"{defect}"' in text for defect in DEFECTS), text
            assert CLIENT_SECRET not in text


def later(world: World, **span: float) -> World:
    """Let time pass between two runs."""
    world.now += timedelta(**span)
    return world
