"""A run whose surroundings fail: what they raise is reported, and the run goes on."""

import json
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.fuzzed_table import Table
from tests.helpers.fuzzed_world import (
    BEGIN,
    DOCUMENT,
    SECRET,
    Secrets,
    Tokens,
    World,
    configured,
    later,
    packed,
)
from tests.helpers.ledger_records import FAILED
from token_issuer.clients.credentials import CURRENT
from token_issuer.errors import (
    ClientSecretUnreadable,
    IssuerError,
    LedgerUnwritable,
    ParameterUnwritable,
    StoreDenied,
    TokensUnchecked,
)
from token_issuer.ledger.records import Record
from token_issuer.ledger.table import Ledger
from token_issuer.redaction import Quoted
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.oauth import Answer
from token_issuer.tokens.plan import Fresh

ACME = "/visma/tokens/acme"
REFUSED = Answer(status=400, body=b'{"error": "invalid_tenant"}')
CLIENT_REFUSED = Answer(status=400, body=b'{"error": "invalid_client"}')
FORCED = Invocation(force=True)
DISABLED = '{"scope": "", "enabled": false}'


@pytest.fixture
def world() -> World:
    return World(parameters=[configured("acme")])


def named(count: int) -> list[str]:
    return [f"t{number:03}" for number in range(count)]


def said(world: World, message: str) -> list[dict[str, Any]]:
    lines = map(json.loads, world.said.getvalue().splitlines())
    return [line for line in lines if line.get("message") == message]


def meanwhile(world: World, happens: Callable[[], object]) -> Any:  # noqa: ANN401  an endpoint
    """Return an endpoint: something happens while a token is asked for."""

    def post(*_: object) -> Answer:
        happens()
        return world.answer

    return SimpleNamespace(post=post)


class Unchecked(Tokens):
    def versions(self, parameters: Collection[str]) -> dict[str, int]:
        raise TokensUnchecked(f"no {len(parameters)}", code=Quoted("ThrottlingException"))


def test_tokens_that_cannot_be_checked_are_said_and_the_run_goes_on(world: World) -> None:
    world.run()

    report = world.run(tokens=Unchecked(world.versions))

    assert (report.number_of(Fresh), report.failures) == (1, {})
    [line] = said(world, "Tokens unchecked")
    assert line["warning"] == "TokensUnchecked"
    assert "reads Parameter Store in a loop" in line["remedy"]


def test_each_run_looks_at_some_of_many_tokens(world: World) -> None:
    world.parameters = [packed(named(601))]
    world.run()
    del world.versions["/visma/tokens/t599"]

    issued = [later(world, minutes=5).run().issued for _ in range(3)]

    assert sorted(issued) == [0, 0, 1]


def test_the_lease_is_held_until_the_time_is_up(world: World) -> None:
    held: list[bool] = []

    def take() -> None:
        for minutes in (3.99, 4):
            at = BEGIN + timedelta(minutes=minutes)
            until = at + timedelta(minutes=4)
            with world.table.ledger.lease("two", now=at, until=until) as taken:
                held.append(taken)

    world.run(endpoint=meanwhile(world, take))

    assert held == [False, True]


def test_a_lost_token_that_is_not_had_is_due_in_the_next_run(world: World) -> None:
    world.parameters = [packed(named(601))]
    world.run()
    del world.versions["/visma/tokens/t000"]
    issued, world.answer = world.answer, CLIENT_REFUSED
    while "t000" not in later(world, minutes=5).run().failures:
        assert world.now < BEGIN + timedelta(minutes=20)

    world.answer = issued
    later(world, minutes=5).run()  # which looks at others

    assert world.versions["/visma/tokens/t000"] == 1


def test_a_lost_token_that_cannot_be_marked_is_said(world: World) -> None:
    class Full(Ledger):
        def mark_lost(self, record: Record, at: datetime, *, removing: bool = False) -> bool:
            raise LedgerUnwritable(f"{record.tenant} at {at}, {removing}")

    world.run()
    world.versions.clear()
    world.answer = CLIENT_REFUSED

    report = world.run(ledger=opened(Full, world))

    assert report.failures["/visma/tenants"].reason == "LedgerUnwritable"


def opened(kind: type[Ledger], world: World) -> Ledger:
    table: Any = world.table
    return kind(table, "ledger")


def test_a_tenant_that_vanished_with_its_token_is_forgotten_in_the_end(world: World) -> None:
    world.run()
    world.parameters = [configured("globex")]
    del world.versions[ACME]

    for _ in range(25):
        later(world, minutes=5).run()

    assert world.table.ledger.read().records.keys() == {"globex"}


def test_a_token_that_a_killed_run_stored_stays_though_its_tenant_has_vanished(
    world: World,
) -> None:
    world.parameters = [packed(named(900))]
    world.run()
    world.parameters = [packed(named(899))]
    world.versions["/visma/tokens/t899"] = 2  # of which the ledger doesn't know

    later(world, hours=1).run()

    assert world.versions["/visma/tokens/t899"] == 2


def test_an_enabled_tenants_new_token_is_not_removed_for_what_was_read_before(
    world: World,
) -> None:
    """Somebody enables it, and a run for it ends before our removals."""

    class Enabled(Tokens):
        def versions(self, parameters: Collection[str]) -> dict[str, int]:
            found = super().versions(parameters)
            world.parameters = [configured("acme")]
            assert world.run(Invocation(tenants=("acme",), force=True)).issued == 1
            return found

    world.run()
    world.parameters = [configured("acme", DISABLED)]

    assert world.run(tokens=Enabled(world.versions)).removed == 0
    assert world.versions[ACME] == 2


def test_a_document_error_is_reported_beside_what_becomes_of_its_tenant(world: World) -> None:
    world.run()
    world.parameters = [configured("acme", '{"scope": "", "scop": ""}')]
    world.answer = REFUSED

    answer = world.run(FORCED).as_dict()

    assert answer["failed"] == 2
    assert [(one["tenant"], one["reason"]) for one in answer["failures"]] == [
        ("acme", "TokenRefused"),
        ("acme", "DocumentInvalid"),
    ]


def test_only_a_token_that_was_there_counts_as_removed(world: World) -> None:
    world.table.ledger.record_failure(replace(FAILED, tenant="never"))

    assert world.run().removed == 0
    assert world.table.ledger.read().records.keys() == {"acme"}
    assert not said(world, "Token removed")


def test_stages_that_cannot_be_read_are_told_and_hit_nobody(world: World) -> None:
    class Failing(Secrets):
        code = Quoted("AccessDeniedException")

        def stages(self, client: str) -> dict[str, str]:
            raise ClientSecretUnreadable(client, code=self.code)

    class Missing(Failing):
        code = Quoted("ResourceNotFoundException")  # whoever is due says so

    assert world.run(secrets=Failing(world.secrets)).issued == 1
    world.run(secrets=Missing(world.secrets))

    [line] = said(world, "Client secret noticed")
    assert (line["client"], line["warning"]) == ("default", "ClientSecretUnreadable")
    assert "secretsmanager:DescribeSecret" in line["remedy"]


def test_stages_are_read_for_the_clients_of_the_run_while_there_is_time(world: World) -> None:
    asked: list[str] = []

    class Slow(Secrets):
        def stages(self, client: str) -> dict[str, str]:
            asked.append(client)
            if len(asked) == 2:
                world.clock.sleep(121)
            return super().stages(client)

    documents = {name: {"scope": "", "client": name} for name in ("a", "b", "c")}
    world.parameters = [configured("packed", json.dumps({"tenants": documents}))]

    world.run(Invocation(tenants=("b",)), secrets=Slow(world.secrets))
    assert asked == ["b"]

    asked.clear()
    world.run(secrets=Slow(world.secrets))
    assert asked == ["a", "b"]


def test_what_there_is_no_time_for_is_done_by_the_next_run(world: World) -> None:
    world.parameters = [packed(["t0", "t1", "t2"])]
    world.run()
    world.parameters = [configured("t0", DISABLED)]
    world.seconds = 1.0

    class Slow(Tokens):
        def versions(self, parameters: Collection[str]) -> dict[str, int]:
            world.clock.sleep(0.6)  # more than half of it
            return super().versions(parameters)

    report = world.run(tokens=Slow(world.versions))

    assert (report.removed, report.failures) == (0, {})
    assert {name: one.reason for name, one in report.deferred.items()} == {"t0": "NoTimeLeft"}
    memory = world.table.ledger.read()
    assert "t0" in memory.records
    world.seconds = 240.0
    assert world.run().removed == 1


def test_a_token_that_cannot_be_deleted_stays_known(world: World) -> None:
    class Denied(Tokens):
        def delete(self, parameters: Collection[str]) -> dict[str, IssuerError]:
            return {parameter: StoreDenied("Deleting it failed") for parameter in parameters}

    world.run()
    world.parameters = [configured("acme", DISABLED)]

    report = world.run(tokens=Denied(world.versions))

    assert report.removed == 0
    assert report.failures["acme"].reason == "StoreDenied"
    assert world.table.ledger.read().records.keys() == {"acme"}
    assert world.run().removed == 1


def test_a_lease_that_cannot_be_given_back_costs_no_report(world: World) -> None:
    class Closed(Table):
        def update_item(self, **request: Any) -> None:  # noqa: ANN401  as boto3 takes it
            if request["UpdateExpression"].startswith("REMOVE #holder"):
                raise RuntimeError("gone")
            super().update_item(**request)

    world.table = Closed()

    assert world.run().issued == 1
    assert "holder" in world.table.items["lease"]


def test_a_defect_beside_the_tokens_keeps_nobody_from_one(world: World) -> None:
    class BrokenLedger(Ledger):
        def drop(self, key: str) -> None:
            raise ZeroDivisionError(f"a secret of {key}")

    left_over = "document#/visma/tenants/acme"
    world.table.items[left_over] = {"key": {"S": left_over}}

    class BrokenTokens(Tokens):
        def versions(self, _: object) -> dict[str, int]:
            raise KeyError("a secret")

    class BrokenSecrets(Secrets):
        def stages(self, _: object) -> dict[str, str]:
            raise KeyError("a secret")

    report = world.run(
        ledger=opened(BrokenLedger, world),
        tokens=BrokenTokens(world.versions),
        secrets=BrokenSecrets({CURRENT: SECRET}),
    )

    assert report.issued == 1
    assert report.failures == {}
    warnings = [*said(world, "Tokens unchecked"), *said(world, "Client secret noticed")]
    assert [line["warning"] for line in warnings] == ["Unexpected", "Unexpected"]
    assert all("KeyError in gathering.py" in line["detail"] for line in warnings)
    assert "a secret" not in world.said.getvalue()


def test_tenants_that_wait_do_not_hide_a_new_failure(world: World) -> None:
    world.answer = REFUSED
    world.parameters = [packed(named(101))]
    world.run()
    world.parameters.append(configured("acme"))

    report = world.run().as_dict()

    assert report["failed"] == 102
    assert report["failures"][0]["tenant"] == "acme"


@pytest.mark.parametrize(
    "clients",
    [
        pytest.param("aaaaaaaaa", id="one client"),
        pytest.param("abcabcabc", id="clients that have both kinds"),
        pytest.param("aaabbbbbb", id="a client that has all that can't be stored"),
    ],
)
def test_who_can_be_stored_is_served_by_the_next_run_at_the_latest(
    clients: str, world: World
) -> None:
    class Unwritable(Tokens):
        def put(self, parameter: str, token: AccessToken) -> int:
            if parameter[-1] in "012":  # the most urgent
                raise ParameterUnwritable("Writing failed", code=Quoted("ValidationException"))
            return super().put(parameter, token)

    world.parameters = []
    for number, client in enumerate(clients):
        document = json.loads(DOCUMENT) | {"client": client}
        world.parameters.append(configured(f"t{number}", json.dumps(document)))
        later(world, minutes=1).run(Invocation(tenants=(f"t{number}",)))

    for span in (timedelta(days=1), timedelta(minutes=5)):
        world.now += span
        world.run(tokens=Unwritable(world.versions))

    served = {parameter for parameter, version in world.versions.items() if version == 2}
    assert served == {f"/visma/tokens/t{number}" for number in range(3, 9)}
