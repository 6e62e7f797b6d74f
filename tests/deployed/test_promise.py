"""The promise, end to end: whatever breaks, no API ever sees an expired or another's token.

Everything is thirty times faster than by default, but for a run: tokens live for 60 s, a tick comes
each 10 s, consumers cache for 5 s.
"""

import itertools
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from local.api import TAKEN
from local.api import Call as JudgedCall
from local.authorization_server import Fault
from local.aws import PROJECT, Account, build, deploy
from local.demo import CLIENT_ID, CLIENT_SECRET, NOT_GRANTED, TENANTS, Local
from tests.conftest import Event, Show
from tests.deployed.command import credentials_of, environment_of
from tests.deployed.conftest import Invoke
from tests.deployed.front import Front, standing_before
from tests.examples.programs import COMMANDS, NO_ANSWER, program

pytestmark = pytest.mark.long

LIFETIME, TICK, CACHE = 60, 10, 5  # seconds
FUNCTION_SECONDS = 38  # a run takes on no tenant with less than 32 left; the lease lasts as long
SERVED = [name for name in TENANTS if name != NOT_GRANTED]
DECLARED = {"hooli": str(uuid4())}  # by the stack of its consumer
IDS = TENANTS | DECLARED
LAMBDA = "Lambda"  # deployed; the others are programs
PROGRAMS = [kind for kind in COMMANDS if kind != LAMBDA]
PAUSE = 0.2  # seconds between the calls of a consumer
FEWEST = 10  # calls of a consumer while something is broken
NOTHING = "nothing broken"

type Call = Callable[[str], str]  # a path → the status


@dataclass(kw_only=True)
class Service:
    """The issuer and its consumers at work, and who breaks what."""

    local: Local
    front: Front
    invoke: Callable[[], dict[str, Any]]
    reports: list[dict[str, Any]] = field(default_factory=list)
    unserved: Counter[tuple[str, str]] = field(default_factory=Counter)  # by fault and consumer
    ended: threading.Event = field(default_factory=threading.Event)

    def tick(self, pool: ThreadPoolExecutor) -> None:
        """Be the schedule, but faster."""
        following = time.monotonic()
        while not self.ended.wait(following - time.monotonic()):
            pool.submit(lambda: self.reports.append(self.invoke()))
            following += TICK

    def consume(self, kind: str, tenant: str, call: Call) -> None:
        """Call the API all the while."""
        while not self.ended.wait(PAUSE):
            during = self.local.api.during
            if call(f"/companies/{IDS[tenant]}/orders") == NO_ANSWER:
                self.unserved[during, kind] += 1

    def wait_for(self, holds: Callable[[dict[str, Any]], bool], seconds: float = 90) -> None:
        """Wait for a run, of those that end from now on, whose report is like that."""
        seen, deadline = len(self.reports), time.monotonic() + seconds
        while not any(holds(report) for report in self.reports[seen:]):
            assert time.monotonic() < deadline, self.reports[seen:]
            time.sleep(0.1)

    def recover(self) -> None:
        """Wait until all tokens have been renewed, and no cache holds another."""
        self.wait_for(lambda report: report.get("issued") == len(SERVED) + len(DECLARED))
        time.sleep(CACHE + 1)

    @contextmanager
    def during(self, fault: str) -> Iterator[list[dict[str, Any]]]:
        """Give the reports of what comes in the block; it counts as this fault until it is over."""
        seen = len(self.reports)
        reports: list[dict[str, Any]] = []
        self.local.api.during = fault
        yield reports
        self.recover()
        reports += self.reports[seen:]
        self.local.api.during = NOTHING


def endpoint_down(service: Service) -> None:
    visma_connect = service.local.visma_connect
    with service.during(title(endpoint_down)) as reports:
        visma_connect.faults[None] = Fault(status=503)
        time.sleep(25)
        visma_connect.faults.clear()
    assert sum(report["issued"] == 0 for report in reports) >= 2


def reads_throttled(service: Service) -> None:
    with service.during(title(reads_throttled)):
        service.front.share = 0.6
        time.sleep(30)
        service.front.share = 0
    assert {"GetParameter", "GetParametersByPath"} <= service.front.throttled.keys()


def function_killed(service: Service) -> None:
    received = service.local.visma_connect.received
    name = service.local.stack.outputs["FunctionName"]
    with service.during(title(function_killed)) as reports:
        service.local.visma_connect.faults[None] = Fault(seconds=0.5)  # to be killed meanwhile
        asked = len(received)
        while len(received) == asked:
            time.sleep(0.01)
        subprocess.run(["pkill", "-KILL", "-f", f"ministack-lambda-{name}-"], check=True)
        service.local.visma_connect.faults.clear()
    assert any("errorMessage" in report for report in reports)
    assert any(report.get("skipped") for report in reports)  # its lease was still there


def parameter_deleted(service: Service) -> None:
    ssm = service.local.account.ssm
    with service.during(title(parameter_deleted)):
        for name in ("acme", "hooli"):
            ssm.delete_parameter(Name=f"/visma/tokens/{name}")
    assert service.front.missing


def document_broken(service: Service) -> None:
    ssm, name = service.local.account.ssm, "/visma/tenants/acme"
    text = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    with service.during(title(document_broken)) as reports:
        ssm.put_parameter(Name=name, Value=text[:-1], Overwrite=True)
        service.wait_for(lambda report: "DocumentInvalid" in reasons(report))
        time.sleep(2 * TICK)
        ssm.put_parameter(Name=name, Value=text, Overwrite=True)
        service.wait_for(lambda report: "DocumentInvalid" not in reasons(report))
    assert sum("DocumentInvalid" in reasons(report) for report in reports) >= 2


def secret_rolled_over(service: Service) -> None:
    secrets, app = (
        service.local.account.secretsmanager,
        service.local.visma_connect.clients[CLIENT_ID],
    )
    newer = f"another-{uuid4()}"
    with service.during(title(secret_rolled_over)):
        app.client_secrets.add(newer)
        staged = secrets.put_secret_value(
            SecretId="visma/clients/default",
            SecretString=json.dumps({"client_id": CLIENT_ID, "client_secret": newer}),
            VersionStages=["AWSPENDING"],
        )["VersionId"]
        service.recover()
        described = secrets.describe_secret(SecretId="visma/clients/default")
        app.client_secrets.remove(CLIENT_SECRET)
    assert described["VersionIdsToStages"][staged] == ["AWSCURRENT"]


def reasons(report: dict[str, Any]) -> set[str]:
    return {failure["reason"] for failure in report.get("failures", ())}


FAULTS = [
    endpoint_down,
    reads_throttled,
    function_killed,
    parameter_deleted,
    document_broken,
    secret_rolled_over,
]


def title(fault: Callable[[Service], None]) -> str:
    return fault.__name__.replace("_", " ")


@pytest.fixture
def declared(local: Local, account: Account) -> Iterator[str]:
    """Deploy the example of a Lambda function with its tenant, and return the function's name."""
    folder = local.folder / "example"
    folder.mkdir()
    build(account, folder, template=PROJECT / "examples/lambda/template.yaml")
    [(tenant, tenant_id)] = DECLARED.items()
    local.visma_connect.clients[CLIENT_ID].tenants.add(tenant_id)
    stack = deploy(
        account,
        folder,
        stack="orders",
        ReadTokensPolicyArn=local.stack.outputs["ReadTokensPolicyArn"],
        Tenant=tenant,
        TenantId=tenant_id,
        Api=f"{local.api.url}/{LAMBDA}",
        CacheSeconds=str(CACHE),
    )
    yield stack.outputs["FunctionName"]
    account.cloudformation.delete_stack(StackName="orders")
    account.ssm.delete_parameters(Names=[f"/visma/tokens/{tenant}"])


def reconfigure(account: Account, function: str, seconds: int, **variables: str) -> None:
    configured = account.functions.get_function_configuration(FunctionName=function)
    environment = configured["Environment"]["Variables"] | variables
    account.functions.update_function_configuration(
        FunctionName=function,
        Timeout=seconds,
        Environment={"Variables": {name: one for name, one in environment.items() if one}},
    )


@pytest.fixture
def service(
    local: Local,
    account: Account,
    invoke: Invoke,
    event: Event,
    declared: str,
) -> Iterator[Service]:
    function = local.stack.outputs["FunctionName"]
    with standing_before(account.endpoint) as front:
        reconfigure(account, declared, 90, AWS_ENDPOINT_URL_SSM=front.url)
        reconfigure(account, function, FUNCTION_SECONDS, AWS_ENDPOINT_URL_SSM=front.url)
        local.visma_connect.lifetime = LIFETIME
        invoke(event("force"))  # so that all have such a token
        yield Service(local=local, front=front, invoke=lambda: invoke(event("scheduled")))
    local.visma_connect.lifetime = 3600
    reconfigure(account, function, 50, AWS_ENDPOINT_URL_SSM="")
    account.secretsmanager.put_secret_value(
        SecretId="visma/clients/default",
        SecretString=json.dumps({"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}),
    )
    local.visma_connect.clients[CLIENT_ID].client_secrets.add(CLIENT_SECRET)
    invoke(event("force"))


@contextmanager
def programs(service: Service, folder: Path) -> Iterator[dict[tuple[str, str], Call]]:
    """Run each example for two tenants, as a role with nothing but ReadTokensPolicyArn."""
    local = service.local
    arn = local.account.make_role("caller", policy_arn=local.stack.outputs["ReadTokensPolicyArn"])
    environment = environment_of(local.account) | credentials_of(local.account, arn)
    environment |= {"AWS_ENDPOINT_URL": service.front.url}
    with ExitStack() as stack:
        yield {
            (kind, tenant): stack.enter_context(
                program(
                    kind,
                    tenant,
                    f"{local.api.url}/{kind}",
                    str(CACHE),
                    environment=environment,
                    folder=folder,
                )
            ).call
            for kind in PROGRAMS
            for tenant in SERVED[:2]
        }


def test_whatever_breaks_no_api_sees_an_expired_token_or_anothers(
    service: Service, declared: str, tmp_path: Path, show: Show
) -> None:
    api, functions = service.local.api, service.local.account.functions

    def call_lambda(path: str) -> str:
        answer = functions.invoke(FunctionName=declared, Payload=json.dumps({"path": path}))
        content: dict[str, Any] = json.loads(answer["Payload"].read())
        return str(content.get("status", NO_ANSWER))

    api.calls.clear()
    with programs(service, tmp_path) as calls, ThreadPoolExecutor(20) as pool:
        consumers = calls | {(LAMBDA, name): call_lambda for name in DECLARED}
        try:
            pool.submit(service.tick, pool)
            working = [pool.submit(service.consume, *who, call) for who, call in consumers.items()]
            with service.during(NOTHING):
                time.sleep(TICK)
            for fault in FAULTS:
                fault(service)
        finally:
            service.ended.set()
        for one in working:
            one.result()
    show(table(service))
    assert Counter(call.verdict for call in api.calls).keys() == {TAKEN}
    assert min(calls_by_fault_and_consumer(service).values()) > FEWEST


def calls_by_fault_and_consumer(service: Service) -> Counter[tuple[str, str]]:
    """Return how many calls were checked; zero where there were none."""
    faults = [NOTHING, *map(title, FAULTS)]
    checked = Counter(dict.fromkeys(itertools.product(faults, COMMANDS), 0))
    checked.update((call.during, call.caller) for call in service.local.api.calls)
    return checked


def table(service: Service) -> str:
    """Return how many calls were checked, and how old the oldest token was."""
    calls, kinds = service.local.api.calls, [*COMMANDS]
    checked = calls_by_fault_and_consumer(service)
    faults = [NOTHING, *map(title, FAULTS)]
    rows = [["calls checked (and without a token)", *kinds]]
    for fault in faults:
        cells = (f"{checked[fault, kind]} ({service.unserved[fault, kind]})" for kind in kinds)
        rows.append([fault, *cells])
    oldest, least = max(calls, key=lambda call: call.age), min(calls, key=lambda call: call.left)
    return "\n".join(
        [
            *(f"{first:36}" + "".join(f"{one:>12}" for one in rest) for first, *rest in rows),
            f"{len(calls)} calls; oldest token: {oldest.age:.1f} s ({whence(oldest)})",
            f"nearest its end: {least.left:.1f} s left ({whence(least)})",
            f"{len(service.reports)} runs; throttled: {dict(service.front.throttled)}",
        ]
    )


def whence(call: JudgedCall) -> str:
    return f"{call.caller}, {call.during}"
