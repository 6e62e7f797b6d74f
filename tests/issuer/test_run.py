"""A run whose surroundings fail: what they raise is reported, and the run goes on."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aws_lambda_powertools import Logger

from tests.issuer.conftest import Account, Log, fast_pacer, make_settings
from tests.issuer.simulation.memory_ledger import MemoryLedger
from tests.issuer.test_ledger import FAILURE
from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import (
    IssuerError,
    LedgerUnwritable,
    StoreDenied,
    TokenRefused,
    TokensUnchecked,
)
from token_issuer.invocation import Invocation
from token_issuer.ledger import Ledger, Record
from token_issuer.renewal import Renewal
from token_issuer.run import Outside, run
from token_issuer.telemetry import Report, Telemetry
from token_issuer.tenants import Configuration, parse_configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class World:
    """Tenants, a token endpoint and a store, as simple as can be."""

    def __init__(self, ledger: Ledger) -> None:
        self.documents = {"/visma/tenants/acme": '{"scope": ""}'}
        self.versions: dict[str, int] = {}
        self.outside = Outside(
            now=lambda: NOW,
            settings=make_settings(),
            telemetry=Telemetry(Logger(service="token-issuer"), "issuer"),
            ledger=ledger,
            read_tenants=self.read_tenants,
            read_versions=self.read_versions,
            read_credentials=self.read_credentials,
            issue_tokens=self.issue_tokens,
            delete_tokens=self.delete_tokens,
            writes=fast_pacer(),
            time_left=lambda: 240.0,
        )

    def read_tenants(self, last_good: "Mapping[str, str]") -> Configuration:
        parameters = [
            {"Name": name, "Value": text, "Type": "String"} for name, text in self.documents.items()
        ]
        return parse_configuration(parameters, "/visma/tenants", last_good)  # type: ignore[arg-type]

    def read_versions(self, parameters: Collection[str]) -> dict[str, int]:
        return {name: self.versions[name] for name in parameters if name in self.versions}

    def read_credentials(self, client: str) -> ClientCredentials:
        raise AssertionError(client)

    def issue_tokens(
        self, renewals: list[Renewal], started_at: datetime
    ) -> Iterator[tuple[Renewal, AccessToken]]:
        for renewal in renewals:
            self.last = renewal
            token = AccessToken(
                value="t", issued_at=NOW, expires_at=NOW + timedelta(hours=1), scope=None
            )
            version = self.versions[renewal.parameter] = self.versions.get(renewal.parameter, 0) + 1
            record = renewal.succeeded(
                token, version=version, client_secret_version="v1", attempted_at=started_at
            )
            self.outside.ledger.record_token(record, renewal.record)
            yield renewal, token

    def delete_tokens(self, parameters: list[str]) -> dict[str, IssuerError]:
        for parameter in parameters:
            del self.versions[parameter]
        return {}

    def run(self, **others: object) -> Report:
        outside = replace(self.outside, **others)  # type: ignore[arg-type]
        return run(Invocation(), outside, holder="one")


def pack(names: Iterable[str]) -> dict[str, str]:
    packed = {name: {"scope": ""} for name in names}
    return {"/visma/tenants/packed": json.dumps({"tenants": packed})}


@pytest.fixture
def world(empty_account: Account) -> World:
    return World(empty_account.ledger)


@pytest.fixture
def large_world() -> World:
    """Return one that holds hundreds of tenants without waiting for moto."""
    return World(MemoryLedger())


def test_tokens_that_cannot_be_checked_are_said_and_the_run_goes_on(world: World, log: Log) -> None:
    def read_versions(_: Collection[str]) -> dict[str, int]:
        raise TokensUnchecked("no", code="ThrottlingException")

    world.run()

    report = world.run(read_versions=read_versions)

    assert (report.fresh, report.failures) == (1, {})
    [line] = [line for line in log() if line.get("message") == "Tokens unchecked"]
    assert line["warning"] == "TokensUnchecked"
    assert "reads Parameter Store in a loop" in line["remedy"]


def test_tokens_that_cannot_be_checked_come_first_in_the_next_check(large_world: World) -> None:
    def read_versions(_: Collection[str]) -> dict[str, int]:
        raise TokensUnchecked("no")

    large_world.documents = pack(f"t{number:03}" for number in range(301))
    large_world.run()  # issues
    large_world.run()  # looks at 300 of them

    large_world.run(read_versions=read_versions)

    assert large_world.outside.ledger.read().checked == "t299"


def test_the_next_run_looks_at_the_next_300_tokens(large_world: World) -> None:
    large_world.documents = pack(f"t{number:03}" for number in range(601))
    large_world.run()
    del large_world.versions["/visma/tokens/t599"]

    issued = [large_world.run().issued for _ in range(3)]

    assert issued == [0, 1, 0]


def test_the_lease_is_held_until_the_time_is_up(world: World) -> None:
    held: list[bool] = []

    def issue_tokens(*_: object) -> Iterator[tuple[Renewal, AccessToken]]:
        for minutes in (3.99, 4):
            at = NOW + timedelta(minutes=minutes)
            with world.outside.ledger.lease("two", now=at, until=at) as taken:
                held.append(taken)
        return iter(())

    world.run(issue_tokens=issue_tokens)

    assert held == [False, True]


def test_a_lost_token_that_is_not_had_is_due_in_the_next_run(large_world: World) -> None:
    large_world.documents = pack(f"t{number:03}" for number in range(601))
    large_world.run()
    del large_world.versions["/visma/tokens/t000"]
    large_world.run(
        issue_tokens=lambda *_: iter(())
    )  # as when it was killed, or its client refused

    large_world.run()

    assert large_world.versions["/visma/tokens/t000"] == 1


def test_a_document_error_is_reported_beside_what_becomes_of_its_tenant(world: World) -> None:
    world.run()
    world.documents["/visma/tenants/acme"] = '{"scope": "", "scop": ""}'
    refused = TokenRefused("invalid_tenant", code="invalid_tenant")

    report = world.run(issue_tokens=lambda *_: iter([(world.last, refused)]))

    answer = report.as_dict()
    assert answer["failed"] == 2
    assert [(one["tenant"], one["reason"]) for one in answer["failures"]] == [
        ("acme", "DocumentInvalid"),
        ("acme", "TokenRefused"),
    ]


def test_only_a_token_that_was_there_counts_as_removed(world: World) -> None:
    world.outside.ledger.record_failure(
        Record(tenant="never", client="default", attempted_at=NOW, failure=FAILURE)
    )

    assert world.run().removed == 0
    assert world.outside.ledger.read().records.keys() == {"acme"}


def test_what_there_is_no_time_for_is_done_by_the_next_run(world: World) -> None:
    world.documents = pack(f"t{number}" for number in range(3))
    world.run()
    world.documents = {"/visma/tenants/t0": '{"scope": "", "enabled": false}'}

    report = world.run(time_left=lambda: 1.0)

    assert (report.removed, report.failures) == (0, {})
    assert {name: one.reason for name, one in report.deferred.items()} == {"t0": "NoTimeLeft"}
    memory = world.outside.ledger.read()
    assert "t0" in memory.records
    assert memory.documents.keys() == {"/visma/tenants/packed"}
    world.versions["/visma/tokens/t0"] = 1  # as if it had not been deleted
    assert world.run().removed == 1
    assert world.outside.ledger.read().documents.keys() == {"/visma/tenants/t0"}


def test_a_token_that_cannot_be_deleted_stays_known(world: World) -> None:
    def delete_tokens(parameters: list[str]) -> dict[str, IssuerError]:
        return {parameter: StoreDenied("Deleting it failed") for parameter in parameters}

    world.run()
    world.documents["/visma/tenants/acme"] = '{"scope": "", "enabled": false}'

    report = world.run(delete_tokens=delete_tokens)

    assert report.removed == 0
    assert report.failures["acme"].reason == "StoreDenied"
    assert world.outside.ledger.read().records.keys() == {"acme"}
    assert world.run().removed == 1


def test_a_lease_that_cannot_be_given_back_costs_no_report(
    world: World, empty_account: Account
) -> None:
    def issue_tokens(*_: object) -> Iterator[tuple[Renewal, AccessToken]]:
        empty_account.dynamodb.delete_table(TableName="ledger")
        return iter(())

    assert world.run(issue_tokens=issue_tokens).issued == 0


def test_documents_that_cannot_be_kept_are_said_and_tokens_are_issued(
    world: World, empty_account: Account
) -> None:
    class Full(Ledger):
        def keep_document(self, parameter: str, text: str) -> None:
            raise LedgerUnwritable(f"{parameter} has {len(text)}")

    report = world.run(ledger=Full(empty_account.dynamodb, "ledger"))

    assert report.issued == 1
    assert report.failures["/visma/tenants"].reason == "LedgerUnwritable"
