"""The promise, end to end: whatever breaks, no API ever sees an expired or another's token.

Tokens live for 60 s, a tick comes each 10 s, consumers cache for 5 s. How long a run may take
can't be made shorter: the lease of one that is killed keeps the next three ticks out. Each consumer
is told one tenant, so a mix-up would be the issuer's.
"""

import itertools
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
from tests.deployed.conftest import Invoke, forget
from tests.helpers.command import credentials_of, environment_of
from tests.helpers.example_programs import COMMANDS, LAMBDA, NO_ANSWER, PROGRAMS, program
from tests.helpers.front import Front, standing_before

pytestmark = pytest.mark.long

LIFETIME, TICK, CACHE = 60, 10, 5  # seconds
FUNCTION_SECONDS = 36  # a run takes on no tenant with less than 32 left; the lease lasts as long
PROMPT = 1.5  # seconds after a tick in which a run asks for its first token, unless it is late
SERVED = [name for name in TENANTS if name != NOT_GRANTED]
DECLARED = {"hooli": str(uuid4())}  # by the stack of its consumer
IDS = TENANTS | DECLARED
PAUSE = 0.2  # seconds between the calls of a consumer
FEWEST = 10  # calls of a consumer while something is broken
NOTHING = "nothing broken"
SECRET = "visma/clients/default"
ACME = "/visma/tenants/acme"

type Call = Callable[[str], str]  # a path → the status
type Report = dict[str, Any]


@dataclass(kw_only=True)
class Service:
    """The issuer and its consumers at work, and who breaks what."""

    local: Local
    front: Front
    invoke: Callable[[], Report]
    reports: list[Report] = field(default_factory=list)
    unserved: Counter[tuple[str, str]] = field(default_factory=Counter)  # by fault and consumer
    waiting: set[tuple[str, str]] = field(default_factory=set)  # without an answer to their last
    ticks_at: float = 0.0  # next, by the monotonic clock
    ended: threading.Event = field(default_factory=threading.Event)

    def tick(self, pool: ThreadPoolExecutor) -> None:
        """Be the schedule, but faster."""
        runs: list[Future[None]] = []
        self.ticks_at = time.monotonic()
        while not self.ended.wait(self.ticks_at - time.monotonic()):
            runs.append(pool.submit(lambda: self.reports.append(self.invoke())))
            self.ticks_at += TICK
        for run in runs:
            run.result()

    def consume(self, kind: str, tenant: str, call: Call) -> None:
        """Call the API all the while."""
        while not self.ended.wait(PAUSE):
            during = self.local.api.during
            if call(f"/companies/{IDS[tenant]}/orders") == NO_ANSWER:
                self.unserved[during, kind] += 1
                self.waiting.add((kind, tenant))
            else:
                self.waiting.discard((kind, tenant))

    def wait_for(self, holds: Callable[[Report], bool]) -> None:
        """Wait for a run, of those that end from now on, whose report is like that."""
        seen = len(self.reports)
        try:
            wait_until(lambda: any(holds(report) for report in self.reports[seen:]))
        except AssertionError as error:
            error.add_note(f"the last run: {self.reports[-1:]}")
            raise

    def recover(self) -> None:
        """Wait until all tokens have been renewed, no cache holds another, and all are served."""
        self.wait_for(lambda report: report.get("issued") == len(SERVED) + len(DECLARED))
        time.sleep(CACHE + 1)
        wait_until(lambda: not self.waiting)

    @contextmanager
    def during(self, fault: str) -> Iterator[list[Report]]:
        """Give the reports of what comes in the block; it counts as this fault until it is over."""
        seen = len(self.reports)
        reports: list[Report] = []
        self.local.api.during = fault
        yield reports
        self.recover()
        reports += self.reports[seen:]
        self.local.api.during = NOTHING


def wait_until(holds: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


def reasons(report: Report) -> set[str]:
    return {failure["reason"] for failure in report.get("failures", ())}


def endpoint_down(service: Service, fault: str) -> None:
    with service.during(fault) as reports:
        service.local.visma_connect.faults[None] = Fault(status=503)
        time.sleep(25)
        service.local.visma_connect.faults.clear()
    assert sum("EndpointUnavailable" in reasons(report) for report in reports) >= 2


def reads_throttled(service: Service, fault: str) -> None:
    throttled = service.front.throttled
    with service.during(fault):
        service.front.share = 0.6
        time.sleep(30)
        wait_until(lambda: {"GetParameter", "GetParametersByPath"} <= throttled.keys())
        service.front.share = 0


def function_killed(service: Service, fault: str) -> None:
    received = service.local.visma_connect.received
    name = service.local.stack.outputs["FunctionName"]
    seen = 0

    def has_begun() -> bool:
        nonlocal seen
        is_asking, seen = len(received) > seen, len(received)
        return is_asking and time.monotonic() - (service.ticks_at - TICK) < PROMPT

    with service.during(fault) as reports:
        service.local.visma_connect.faults[None] = Fault(seconds=0.5)  # in which it is killed
        seen = len(received)
        wait_until(has_begun)
        subprocess.run(["pkill", "-KILL", "-f", f"ministack-lambda-{name}-"], check=True)
        service.local.visma_connect.faults.clear()
    assert sum("errorMessage" in report for report in reports) == 1
    assert any(report.get("skipped") for report in reports)  # its lease was still there


def parameter_deleted(service: Service, fault: str) -> None:
    names = [f"/visma/tokens/{name}" for name in (*SERVED, *DECLARED)]
    with service.during(fault):
        for _ in range(6):
            service.wait_for(has_issued)  # so that they are missing until the next
            service.local.account.ssm.delete_parameters(Names=names)
            if all(service.unserved[fault, kind] for kind in COMMANDS):
                break
    assert all(service.unserved[fault, kind] for kind in COMMANDS)


def has_issued(report: Report) -> bool:
    return bool(report.get("issued"))


def document_broken(service: Service, fault: str) -> None:
    ssm = service.local.account.ssm
    text = ssm.get_parameter(Name=ACME)["Parameter"]["Value"]
    with service.during(fault) as reports:
        ssm.put_parameter(Name=ACME, Value=text[:-1], Overwrite=True)
        time.sleep(2.5 * TICK)
        ssm.put_parameter(Name=ACME, Value=text, Overwrite=True)
        service.wait_for(lambda report: has_issued(report) and not broken(report))
    assert sum(map(broken, reports)) >= 2


def broken(report: Report) -> bool:
    return "DocumentInvalid" in reasons(report)


def secret_rolled_over(service: Service, fault: str) -> None:
    secrets = service.local.account.secretsmanager
    app = service.local.visma_connect.clients[CLIENT_ID]
    newer = f"another-{uuid4()}"
    with service.during(fault):
        app.client_secrets.add(newer)
        staged = secrets.put_secret_value(
            SecretId=SECRET, SecretString=client(newer), VersionStages=["AWSPENDING"]
        )["VersionId"]
        service.recover()
        stages = secrets.describe_secret(SecretId=SECRET)["VersionIdsToStages"]
        app.client_secrets.remove(CLIENT_SECRET)
    assert stages[staged] == ["AWSCURRENT"]


def client(client_secret: str) -> str:
    return json.dumps({"client_id": CLIENT_ID, "client_secret": client_secret})


FAULTS = {
    "endpoint down": endpoint_down,
    "reads throttled": reads_throttled,
    "function killed": function_killed,
    "parameter deleted": parameter_deleted,
    "document broken": document_broken,
    "secret rolled over": secret_rolled_over,
}
UNSERVED_IN = {"reads throttled", "parameter deleted"}  # where some can't have a token


@pytest.fixture
def declared(local: Local, account: Account) -> Iterator[str]:
    """Deploy the example of a Lambda function with its tenant, and return the function's name."""
    folder = local.folder / "example"
    folder.mkdir()
    build(account, folder, template=PROJECT / "examples/lambda/template.yaml")
    [(tenant, tenant_id)] = DECLARED.items()
    granted = local.visma_connect.clients[CLIENT_ID].tenants
    granted.add(tenant_id)
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
    forget(local, tenant)
    granted.discard(tenant_id)


def reconfigure(
    account: Account, function: str, seconds: int | None = None, **variables: str
) -> None:
    """Give a function that time-out, and these variables; without an empty one."""
    configured = account.functions.get_function_configuration(FunctionName=function)
    environment = configured["Environment"]["Variables"] | variables
    account.functions.update_function_configuration(
        FunctionName=function,
        Timeout=seconds or configured["Timeout"],
        Environment={"Variables": {name: one for name, one in environment.items() if one}},
    )


@pytest.fixture
def service(
    local: Local, account: Account, invoke: Invoke, event: Event, declared: str
) -> Iterator[Service]:
    function = local.stack.outputs["FunctionName"]
    document = account.ssm.get_parameter(Name=ACME)["Parameter"]["Value"]
    before = account.functions.get_function_configuration(FunctionName=function)
    usual = {"AWS_ENDPOINT_URL_SSM": ""} | before["Environment"]["Variables"]
    app = local.visma_connect.clients[CLIENT_ID]
    with standing_before(account.endpoint) as front, ExitStack() as restoring:
        restoring.callback(invoke, event("force"))
        restoring.callback(reconfigure, account, function, before["Timeout"], **usual)
        restoring.callback(account.ssm.put_parameter, Name=ACME, Value=document, Overwrite=True)
        restoring.callback(
            account.secretsmanager.put_secret_value,
            SecretId=SECRET,
            SecretString=client(CLIENT_SECRET),
        )
        restoring.callback(setattr, app, "client_secrets", {CLIENT_SECRET})
        restoring.callback(local.visma_connect.faults.clear)
        restoring.callback(setattr, local.visma_connect, "lifetime", 3600)
        restoring.callback(setattr, local.api, "during", "")
        reconfigure(account, declared, AWS_ENDPOINT_URL_SSM=front.url)
        faster = {"AWS_ENDPOINT_URL_SSM": front.url, "WRITES_PER_SECOND": "8"}
        reconfigure(account, function, FUNCTION_SECONDS, **faster)
        local.visma_connect.lifetime = LIFETIME
        invoke(event("force"))  # so that all have such a token
        yield Service(local=local, front=front, invoke=lambda: invoke(event("scheduled")))


@contextmanager
def programs(
    service: Service, role_arn: str, folder: Path
) -> Iterator[dict[tuple[str, str], Call]]:
    """Run each example for two tenants as that role; give how to have each call."""
    account, api = service.local.account, service.local.api
    environment = environment_of(account) | credentials_of(account, role_arn)
    environment |= {"AWS_ENDPOINT_URL": service.front.url}
    with ExitStack() as stack:
        calls: dict[tuple[str, str], Call] = {}
        for kind, tenant in itertools.product(PROGRAMS, SERVED[:2]):
            told = (kind, tenant, f"{api.url}/{kind}", str(CACHE))
            running = stack.enter_context(program(*told, environment=environment, folder=folder))
            calls[kind, tenant] = running.call
        yield calls


def test_whatever_breaks_no_api_sees_an_expired_token_or_anothers(
    service: Service, consumer_role: str, declared: str, tmp_path: Path, show: Show
) -> None:
    api, functions = service.local.api, service.local.account.functions

    def call_lambda(path: str) -> str:
        answer = functions.invoke(FunctionName=declared, Payload=json.dumps({"path": path}))
        content: dict[str, Any] = json.loads(answer["Payload"].read())
        return str(content.get("status", NO_ANSWER))

    api.calls.clear()
    with programs(service, consumer_role, tmp_path) as calls, ThreadPoolExecutor(20) as pool:
        consumers = calls | {(LAMBDA, name): call_lambda for name in DECLARED}
        try:
            working = [pool.submit(service.tick, pool)]
            working += [pool.submit(service.consume, *who, call) for who, call in consumers.items()]
            with service.during(NOTHING):
                time.sleep(TICK)
            for name, fault in FAULTS.items():
                fault(service, name)
        finally:
            service.ended.set()
            if api.calls:
                show(table(service))
        for one in working:
            one.result()
    assert {call.verdict for call in api.calls} == {TAKEN}
    assert min(checked(service).values()) > FEWEST
    assert {fault for fault, _ in service.unserved} <= UNSERVED_IN


def checked(service: Service) -> Counter[tuple[str, str]]:
    """Return how many calls were checked by fault and consumer; zero where there were none."""
    counted = Counter(dict.fromkeys(itertools.product([NOTHING, *FAULTS], COMMANDS), 0))
    counted.update((call.during, call.caller) for call in service.local.api.calls)
    return counted


def table(service: Service) -> str:
    """Return how many calls were checked, and how old the oldest token was."""
    calls, counted = service.local.api.calls, checked(service)
    rows = [["calls checked (and without a token)", *COMMANDS]]
    for fault in (NOTHING, *FAULTS):
        cells = (f"{counted[fault, kind]} ({service.unserved[fault, kind]})" for kind in COMMANDS)
        rows.append([fault, *cells])
    oldest, last = max(calls, key=lambda call: call.age), min(calls, key=lambda call: call.left)
    return "\n".join(
        [
            *(f"{first:36}" + "".join(f"{one:>12}" for one in rest) for first, *rest in rows),
            f"{len(calls)} calls; oldest token: {oldest.age:.1f} s ({whence(oldest)})",
            f"nearest its end: {last.left:.1f} s left ({whence(last)})",
            f"{len(service.reports)} runs; throttled: {dict(service.front.throttled)}",
        ]
    )


def whence(call: JudgedCall) -> str:
    return f"{call.caller}, {call.during}"
