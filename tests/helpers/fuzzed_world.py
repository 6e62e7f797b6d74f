"""A whole run in memory, with the issuer's own parts: what it is given is whatever a case says."""

import io
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from tests.helpers.account import CLIENT_SECRET, fast_pacer, log_to, make_settings, token_answer
from tests.helpers.fuzzed_table import Table, Value
from tests.helpers.outside import make_outside
from token_issuer.clients.credentials import CURRENT, PENDING, ClientCredentials, parse_credentials
from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.errors import IssuerError
from token_issuer.limits.deadline import Clock
from token_issuer.outside import Outside
from token_issuer.reporting.events import Events
from token_issuer.reporting.report import Report
from token_issuer.run import run
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.store import TokenStore

BEGIN = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SETTINGS = make_settings(concurrency=1)
SECRET = json.dumps({"client_id": "id", "client_secret": CLIENT_SECRET})
TENANTS = ("acme", "globex")
DOCUMENT = '{"scope": "a b", "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a"}'
DEFECTS = {"Unexpected", "RunCrashed"}

type Parameter = dict[str, Any]


def configured(name: str, text: str = DOCUMENT, kind: str = "String") -> Parameter:
    return {"Name": f"/visma/tenants/{name}", "Value": text, "Type": kind}


def packed(names: Iterable[str]) -> Parameter:
    return configured(
        "packed", f'{{"tenants": {json.dumps({name: {"scope": ""} for name in names})}}}'
    )


class World:
    """The surroundings of runs that follow each other; `said` is all that left the process."""

    def __init__(
        self,
        items: Iterable[Mapping[str, Value]] = (),
        parameters: Iterable[Parameter] = tuple(map(configured, TENANTS)),
        secrets: Mapping[str, object] | None = None,
    ) -> None:
        self.now = BEGIN
        self.clock = _Clock(self)
        self.seconds = 240.0  # that a run has
        self.table = Table(items)
        self.parameters = list(parameters)
        self.secrets: dict[str, object] = dict(secrets or {CURRENT: SECRET})  # by stage
        self.versions: dict[str, int] = {}  # of stored tokens
        self.answer = token_answer("opaque")
        self.said = io.StringIO()
        log_to(self.said)

    def run(self, invocation: Invocation | None = None, **others: object) -> Report:
        """Run with some things outside replaced."""
        outside = replace(self._outside(), **others)  # type: ignore[arg-type]
        with redirect_stdout(self.said):
            return run(invocation or Invocation(), outside, holder=f"{self.now}")

    def _outside(self) -> Outside:
        events: Any = SimpleNamespace(put_events=self._put_events)
        tenants: Any = SimpleNamespace(read=lambda: self.parameters)
        endpoint: Any = SimpleNamespace(post=lambda *_: self.answer)
        return make_outside(
            self.clock,
            self.seconds,
            SETTINGS,
            tenants=tenants,
            endpoint=endpoint,
            secrets=Secrets(self.secrets),
            tokens=Tokens(self.versions),
            ledger=self.table.ledger,
            events=Events(lambda: events, "issuer"),
        )

    def _put_events(self, *, Entries: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:  # noqa: N803
        self.said.writelines(f"{json.dumps(one, ensure_ascii=False)}\n" for one in Entries)
        return {"Entries": [{} for _ in Entries]}

    def check(self, *reports: Report) -> None:
        """Assert that nothing was a defect of ours, and that all that was said may be said."""
        said = self.said.getvalue()
        answers = [json.dumps(report.as_dict(), ensure_ascii=False) for report in reports]
        for text in (said, *answers):
            text.encode()  # as Lambda does, which fails for half a character
            assert all(line.isprintable() for line in text.splitlines())
            assert not any(f'"{defect}"' in text for defect in DEFECTS), text
            assert CLIENT_SECRET not in text


class _Clock(Clock):
    def __init__(self, world: World) -> None:
        self._world, self._seconds = world, 0.0

    def now(self) -> datetime:
        return self._world.now

    def seconds(self) -> float:
        return self._seconds

    def sleep(self, seconds: float) -> None:
        self._seconds += seconds


class Secrets(ClientSecrets):
    """Versions by stage, each of them named by it."""

    def __init__(self, by_stage: dict[str, object]) -> None:
        self._by_stage = by_stage

    def read(self, client: str, stage: str = CURRENT) -> ClientCredentials:
        secret_id = f"visma/clients/{client}"
        return parse_credentials(secret_id, self._by_stage.get(stage), f"version-{stage}")

    def stages(self, client: str) -> dict[str, str]:
        assert client
        return {stage: f"version-{stage}" for stage in self._by_stage}

    def promote(self, client: str, pending: str, current: str) -> None:
        assert client
        assert pending != current
        self._by_stage[CURRENT] = self._by_stage.pop(PENDING)

    def unstage(self, client: str, version: str) -> None:
        """Leave it."""


class Tokens(TokenStore):
    """Versions by parameter."""

    def __init__(self, stored: dict[str, int]) -> None:
        self._stored, self.writes = stored, fast_pacer()

    def put(self, parameter: str, token: AccessToken) -> int:
        assert token.value
        self._stored[parameter] = self._stored.get(parameter, 0) + 1
        return self._stored[parameter]

    def versions(self, parameters: Collection[str]) -> dict[str, int]:
        return {name: self._stored[name] for name in parameters if name in self._stored}

    def delete(self, parameters: Collection[str]) -> dict[str, IssuerError]:
        for parameter in parameters:
            self._stored.pop(parameter, None)
        return {}


def later(world: World, **span: float) -> World:
    """Let time pass between two runs."""
    world.now += timedelta(**span)
    return world
