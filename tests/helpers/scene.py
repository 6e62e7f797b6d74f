"""What each case finds: three tenants with tokens, two clients, and one thing that goes wrong."""

import secrets
import select
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from local.authorization_server import Fault, VismaConnect, serving
from tests.helpers.account import (
    CLIENT_SECRET,
    Account,
    behind,
    lambda_context,
    set_all,
    tenant_id,
)
from tests.helpers.broken_server import Break, BrokenServer, broken_server
from tests.helpers.observation import Observed, observe
from tests.helpers.scripted_aws import ScriptedAws, serving_aws
from token_issuer.errors import IssuerError
from token_issuer.handler import lambda_handler

CLIENT_OF = {"acme": "default", "globex": "default", "hooli": "sales"}
ALL = frozenset(CLIENT_OF)
LOOSE_TOKEN = f"head.claims.{secrets.token_urlsafe(64)}"
ECHO = f"{CLIENT_SECRET} {LOOSE_TOKEN}"  # what a bad server says, so that it could leak


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that goes wrong, or merely odd, for tenant `acme`, and what comes of it."""

    words: str
    arrange: Callable[["Scene"], object]
    event: object = field(default_factory=dict)
    reason: str | None = None
    detail: str = ""  # words of it
    failures: frozenset[str] = frozenset()  # as they are named in the report
    kept: frozenset[str] = frozenset()  # tenants whose token is still the previous one
    unrecorded: frozenset[str] = frozenset()  # have a new one, of which the ledger doesn't know
    raises: bool = False
    warning: str | None = None
    lifetime: int = 3600  # seconds, of acme's new token


type Arrange = Callable[["Scene"], object]


def hitting(  # noqa: PLR0913  all of them words of a table
    tenants: Iterable[str],
    words: str,
    arrange: Arrange,
    reason: str,
    detail: str,
    *,
    named: Iterable[str] | None = None,
) -> Case:
    """Return a case in which these get no token; the report has them, or what is named."""
    return Case(
        words=words,
        arrange=arrange,
        reason=reason,
        detail=detail,
        failures=frozenset(tenants if named is None else named),
        kept=frozenset(tenants),
    )


def raising(words: str, arrange: Arrange, reason: str, detail: str) -> Case:
    """Return a case in which the run fails as a whole."""
    return replace(hitting(ALL, words, arrange, reason, detail, named=[]), raises=True)


class RecordingVismaConnect(VismaConnect):
    """Knows each token that it has made."""

    def __init__(self) -> None:
        super().__init__()
        self.signed: list[str] = []

    def sign(self, claims: dict[str, Any]) -> str:
        self.signed.append(super().sign(claims))
        return self.signed[-1]


@dataclass(kw_only=True)
class Scene:
    visma_connect: RecordingVismaConnect
    elsewhere: socket.socket  # listens, and nobody should connect
    front: BrokenServer
    aws: ScriptedAws
    environment: pytest.MonkeyPatch
    account: Account
    offered: str | None = None  # the token in an answer that a case has made for acme
    opaque: list[str] = field(default_factory=list)  # tokens that Visma Connect didn't make
    secrets: list[str] = field(default_factory=list)  # client secrets
    more: set[str] = field(default_factory=set)  # tenants besides

    def reset(self) -> None:
        self.visma_connect.clients.clear()
        self.visma_connect.faults.clear()
        self.visma_connect.signed.clear()
        self.front.reset()
        self.aws.reset()
        self.offered = None
        self.opaque = [LOOSE_TOKEN]
        self.more = set()
        self.secrets = [CLIENT_SECRET]
        set_all(self.environment, self.aws.url, self.visma_connect.token_endpoint)
        self.account.make_ledger()
        for client in set(CLIENT_OF.values()):
            self.account.add_client(client)
        for tenant, client in CLIENT_OF.items():
            self.account.configure(tenant, client=client)
            self.account.put_token(tenant, previous(tenant))

    def forget(self) -> None:
        """Begin anew to keep what is sent."""
        self.aws.forget()
        self.visma_connect.received.clear()

    def sent(self) -> list[str]:
        """Return all that was sent, but for secret and token where they belong."""
        return [
            *(request.said() for request in self.aws.received),
            *(
                f"{name}: {value}"
                for request in self.visma_connect.received
                for name, value in request.headers.items()
                if name != "Authorization"
            ),
        ]

    def answer(self, fault: Fault, tenant: str = "acme") -> None:
        self.visma_connect.faults[tenant_id(tenant)] = fault

    def break_connection(self, fault: Break, tenant: str = "acme") -> None:
        self.environment.setenv("TOKEN_ENDPOINT", f"{self.front.url}/connect/token")
        self.front.faults[tenant_id(tenant)] = fault

    def token(self, **claims: object) -> str:
        """Make the token that the answer offers acme."""
        self.offered = self.visma_connect.sign(claims)
        return self.offered

    def leave(self) -> None:
        """Change nothing: the event is what is odd."""

    def replace_secret(self, value: str | bytes) -> None:
        self.drop_secret()
        self.account.put_secret("default", value)

    def drop_secret(self) -> None:
        self.account.secretsmanager.delete_secret(
            SecretId="visma/clients/default", ForceDeleteWithoutRecovery=True
        )

    def drop_document(self, name: str) -> None:
        self.account.ssm.delete_parameter(Name=f"/visma/tenants/{name}")


def previous(tenant: str) -> str:
    return f"the-last-good-token-of-{tenant}.it-is-opaque-and-has-a-signature-of-{tenant}"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case: the report or the failure, and all that was said."""

    case: Case
    observed: Observed
    tokens: dict[str, str] = field(repr=False)
    owners: dict[str, str]  # tenant_id in each token, by tenant
    offered: str | None = field(repr=False)
    client_secrets: list[str] = field(repr=False)
    access_tokens: list[str] = field(repr=False)
    configured: frozenset[str]
    calls: Counter[str]  # of AWS, by operation
    told: list[object]  # details of events, and failures as the ledger has them
    description: str  # of acme's token parameter
    went_elsewhere: bool


def play(scene: Scene, case: Case) -> Outcome:
    """Run the function with the case's event, at the most talkative log level."""
    scene.reset()
    case.arrange(scene)
    scene.forget()
    observed = observe(lambda: call(case.event), scene.sent)
    calls, requests = scene.aws.calls.copy(), scene.aws.received.copy()
    tokens = scene.account.tokens()
    issued = set(scene.visma_connect.signed)
    return Outcome(
        case=case,
        observed=observed,
        tokens=tokens,
        owners={
            name: str(scene.visma_connect.claims(token).get("tenant_id"))
            for name, token in tokens.items()
            if token in issued
        },
        offered=scene.offered,
        client_secrets=scene.secrets,
        access_tokens=[*issued, *scene.opaque, *tokens.values(), *map(previous, CLIENT_OF)],
        configured=ALL | scene.more,
        calls=calls,
        told=[one for request in requests for one in request.told()],
        description=scene.account.describe("acme").get("Description", ""),
        went_elsewhere=bool(select.select([scene.elsewhere], [], [], 0)[0]),
    )


def call(event: object) -> dict[str, Any]:
    return lambda_handler(event, lambda_context())


def reason_of(error: BaseException | None) -> str:
    return error.reason if isinstance(error, IssuerError) else repr(error)


@contextmanager
def opened_scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        visma_connect = stack.enter_context(serving(RecordingVismaConnect()))
        aws = stack.enter_context(serving_aws(ScriptedAws()))
        stack.enter_context(behind(aws.url, environment, visma_connect.token_endpoint))
        yield Scene(
            visma_connect=visma_connect,
            elsewhere=stack.enter_context(socket.create_server(("127.0.0.1", 0))),
            front=stack.enter_context(broken_server(visma_connect)),
            aws=aws,
            environment=environment,
            account=Account(visma_connect),
        )
