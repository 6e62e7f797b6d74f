"""A run whose surroundings fail: what they raise is reported, and the run goes on."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools import Logger

from tests.helpers.account import Account, Log, fast_pacer, make_settings
from tests.helpers.memory_ledger import MemoryLedger
from tests.issuer.ledger.test_table import FAILURE
from token_issuer.clients.credentials import ClientCredentials
from token_issuer.clients.secrets_manager import CURRENT
from token_issuer.errors import (
    ClientSecretUnreadable,
    IssuerError,
    LedgerUnwritable,
    StoreDenied,
    TokenRefused,
    TokensUnchecked,
)
from token_issuer.gathering import Sources
from token_issuer.ledger.records import Record
from token_issuer.ledger.table import Ledger
from token_issuer.proving import Rollover
from token_issuer.redaction import Quoted
from token_issuer.removing import remove_tokens
from token_issuer.reporting.report import Report
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.run import Outside, run
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import Removal
from token_issuer.tokens.renewal import Renewal

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class World:
    """Tenants, a token endpoint and a store, as simple as can be."""

    seconds_left = 240.0

    def __init__(self, ledger: Ledger) -> None:
        self.documents = {"/visma/tenants/acme": '{"scope": ""}'}
        self.versions: dict[str, int] = {}
        self.outside = Outside(
            now=lambda: NOW,
            settings=make_settings(),
            telemetry=Telemetry(Logger(service="token-issuer"), "issuer", lambda *_: None),
            ledger=ledger,
            sources=Sources(
                ledger=ledger,
                read_tenants=self.read_tenants,
                read_versions=self.read_versions,
                read_stages=lambda _: {CURRENT: "v1"},
                has_time=self.has_time,
                settings=make_settings(),
            ),
            rollover=Rollover(
                read=self.read_credentials,
                fetch_token=self.fetch_token,
                promote=lambda *_: None,
                unstage=lambda *_: None,
                record=ledger.record_client,
                tell_refused=lambda *_: True,
                has_time=lambda seconds: self.seconds_left >= seconds + 2,
                now=lambda: NOW,
                settings=make_settings(),
            ),
            issue_tokens=self.issue_tokens,
            remove_tokens=self.remove_tokens,
            writes=fast_pacer(),
            time_left=lambda: self.seconds_left,
        )

    def read_tenants(
        self, last_good: "Mapping[str, str]", known: "Mapping[str, Tenant]"
    ) -> Configuration:
        parameters = [
            {"Name": name, "Value": text, "Type": "String"} for name, text in self.documents.items()
        ]
        return parse_configuration(parameters, "/visma/tenants", last_good, known)  # type: ignore[arg-type]

    def read_versions(self, parameters: Collection[str]) -> dict[str, int]:
        return {name: self.versions[name] for name in parameters if name in self.versions}

    def has_time(self) -> bool:
        return self.seconds_left >= 150

    def read_credentials(self, client: str, stage: str) -> ClientCredentials:
        raise AssertionError(client, stage)

    def fetch_token(self, tenant: Tenant, _: ClientCredentials) -> AccessToken:
        raise AssertionError(tenant)

    def issue_tokens(
        self, renewals: list[Renewal], started_at: datetime, *_: object
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
            self.versions.pop(parameter, None)
        return {}

    def remove_tokens(
        self, removals: list[Removal], at: datetime
    ) -> Iterator[tuple[Removal, IssuerError | None]]:
        return remove_tokens(
            removals,
            at,
            mark_lost=self.outside.ledger.mark_lost,
            delete_tokens=self.delete_tokens,
            drop_record=self.outside.ledger.drop_record,
            time_left=lambda: self.seconds_left,
        )

    def run(self, invocation: Invocation | None = None, **others: object) -> Report:
        of_sources = {name: others[name] for name in {"ledger", "read_versions"} & others.keys()}
        outside = replace(
            self.outside,
            **{"sources": replace(self.outside.sources, **of_sources)}  # type: ignore[arg-type]
            | {name: other for name, other in others.items() if name != "read_versions"},
        )
        return run(invocation or Invocation(), outside, holder="one")


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
        raise TokensUnchecked("no", code=Quoted("ThrottlingException"))

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
            until = at + timedelta(minutes=4)
            with world.outside.ledger.lease("two", now=at, until=until) as taken:
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


def test_a_lost_token_is_marked_before_the_bookmark_goes_on(world: World) -> None:
    """Else a run that ends in between forgets it for an hour."""

    class Full(MemoryLedger):
        def mark_lost(self, record: Record, at: datetime) -> bool:
            raise LedgerUnwritable(f"{record.tenant} at {at}")

    ledger = Full()
    world.run(ledger=ledger)
    world.versions.clear()

    world.run(ledger=ledger, issue_tokens=lambda *_: iter(()))

    assert ledger.checked == ""


def test_a_document_is_kept_once(world: World) -> None:
    kept: list[str] = []

    class Counting(MemoryLedger):
        def keep_document(self, parameter: str, text: str) -> None:
            kept.append(parameter)
            super().keep_document(parameter, text)

    ledger = Counting()
    for _ in range(3):
        world.run(ledger=ledger)

    assert kept == ["/visma/tenants/acme"]


def test_a_tenant_that_vanished_with_its_token_is_forgotten_in_the_end(world: World) -> None:
    world.run()
    world.documents = pack(["globex"])
    del world.versions["/visma/tokens/acme"]

    for minutes in range(0, 125, 5):
        world.run(now=lambda minutes=minutes: NOW + timedelta(minutes=minutes))

    assert world.outside.ledger.read().records.keys() == {"globex"}


def test_a_token_that_a_killed_run_stored_stays_though_its_tenant_has_vanished(
    large_world: World,
) -> None:
    large_world.documents = pack(f"t{number:04}" for number in range(900))
    large_world.run()
    large_world.documents = pack(f"t{number:04}" for number in range(899))
    large_world.versions["/visma/tokens/t0899"] = 2  # of which the ledger doesn't know

    large_world.run(now=lambda: NOW + timedelta(hours=1))

    assert large_world.versions["/visma/tokens/t0899"] == 2


def test_an_enabled_tenants_new_token_is_not_removed_for_what_was_read_before(
    world: World,
) -> None:
    world.run()
    token = world.last
    world.documents["/visma/tenants/acme"] = '{"scope": "", "enabled": false}'

    def issue_tokens(*_: object) -> Iterator[tuple[Renewal, AccessToken]]:
        """Have somebody enable it, and a run for it that ends before our removals."""
        list(world.issue_tokens([replace(token, record=None)], NOW))
        return iter(())

    assert world.run(issue_tokens=issue_tokens).removed == 0
    assert world.versions["/visma/tokens/acme"] == 2


def test_a_document_error_is_reported_beside_what_becomes_of_its_tenant(world: World) -> None:
    world.run()
    world.documents["/visma/tenants/acme"] = '{"scope": "", "scop": ""}'
    refused = TokenRefused("invalid_tenant", code=Quoted("invalid_tenant"))

    report = world.run(issue_tokens=lambda *_: iter([(world.last, refused)]))

    answer = report.as_dict()
    assert answer["failed"] == 2
    assert [(one["tenant"], one["reason"]) for one in answer["failures"]] == [
        ("acme", "TokenRefused"),
        ("acme", "DocumentInvalid"),
    ]


def test_only_a_token_that_was_there_counts_as_removed(world: World) -> None:
    world.outside.ledger.record_failure(
        Record(tenant="never", client="default", attempted_at=NOW, failure=FAILURE)
    )

    assert world.run().removed == 0
    assert world.outside.ledger.read().records.keys() == {"acme"}


def test_stages_that_cannot_be_read_are_told_and_hit_nobody(world: World, log: Log) -> None:
    def denied(_: str) -> dict[str, str]:
        raise ClientSecretUnreadable("AccessDeniedException", code=Quoted("AccessDeniedException"))

    def missing(_: str) -> dict[str, str]:
        raise ClientSecretUnreadable("gone", code=Quoted("ResourceNotFoundException"))

    sources = world.outside.sources

    assert world.run(sources=replace(sources, read_stages=denied)).issued == 1
    [line] = [line for line in log() if line["message"] == "Client secret noticed"]
    assert (line["client"], line["warning"]) == ("default", "ClientSecretUnreadable")
    assert "secretsmanager:DescribeSecret" in line["remedy"]
    world.run(sources=replace(sources, read_stages=missing))  # whoever is due says so
    assert len([line for line in log() if line["message"] == "Client secret noticed"]) == 1


def test_stages_are_read_for_the_clients_of_the_run_while_there_is_time(world: World) -> None:
    world.documents = {
        "/visma/tenants/packed": json.dumps(
            {"tenants": {name: {"scope": "", "client": name} for name in ("a", "b", "c")}}
        )
    }
    asked = []

    def read(client: str) -> dict[str, str]:
        asked.append(client)
        if len(asked) == 2:
            world.seconds_left = 149
        return {CURRENT: "v1"}

    sources = replace(world.outside.sources, read_stages=read)

    world.run(Invocation(tenants=("b",)), sources=sources)
    assert asked == ["b"]

    asked.clear()
    world.run(sources=sources)
    assert asked == ["a", "b"]


def test_what_there_is_no_time_for_is_done_by_the_next_run(world: World) -> None:
    world.documents = pack(f"t{number}" for number in range(3))
    world.run()
    world.documents = {"/visma/tenants/t0": '{"scope": "", "enabled": false}'}

    world.seconds_left = 1.0
    report = world.run()

    assert (report.removed, report.failures) == (0, {})
    assert {name: one.reason for name, one in report.deferred.items()} == {"t0": "NoTimeLeft"}
    memory = world.outside.ledger.read()
    assert "t0" in memory.records
    assert memory.documents.keys() == {"/visma/tenants/packed"}
    world.seconds_left = 240.0
    assert world.run().removed == 1
    assert world.outside.ledger.read().documents.keys() == {"/visma/tenants/t0"}


def test_a_token_that_cannot_be_deleted_stays_known(world: World) -> None:
    def delete_tokens(parameters: list[str]) -> dict[str, IssuerError]:
        return {parameter: StoreDenied("Deleting it failed") for parameter in parameters}

    world.run()
    world.documents["/visma/tenants/acme"] = '{"scope": "", "enabled": false}'

    world.delete_tokens = delete_tokens  # type: ignore[method-assign]
    report = world.run()

    assert report.removed == 0
    assert report.failures["acme"].reason == "StoreDenied"
    assert world.outside.ledger.read().records.keys() == {"acme"}
    del world.delete_tokens
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


def test_a_defect_before_the_tokens_are_asked_for_keeps_nobody_from_one(
    world: World, log: Log, empty_account: Account
) -> None:
    class Broken(Ledger):
        def keep_checked(self, tenant: str) -> None:
            raise ZeroDivisionError(f"a secret of {tenant}")

    def read(_: object) -> Any:  # noqa: ANN401  it returns nothing
        raise KeyError("a secret")

    sources = replace(
        world.outside.sources,
        ledger=Broken(empty_account.dynamodb, "ledger"),
        read_versions=read,
        read_stages=read,
    )
    report = world.run(ledger=sources.ledger, sources=sources)

    assert report.issued == 1
    assert report.failures["/visma/tenants"].reason == "Unexpected"
    warnings = {line["message"]: line for line in log() if line["level"] == "WARNING"}
    assert warnings.keys() == {"Tokens unchecked", "Client secret noticed"}
    assert all(line["warning"] == "Unexpected" for line in warnings.values())
    assert all("KeyError in gathering.py" in line["detail"] for line in warnings.values())
    assert "a secret" not in str(log())


def test_tenants_that_wait_do_not_hide_a_new_failure(large_world: World) -> None:
    def issue_tokens(
        renewals: list[Renewal], started_at: datetime, *_: object
    ) -> Iterator[tuple[Renewal, IssuerError]]:
        for renewal in renewals:
            failure = TokenRefused("no")
            large_world.outside.ledger.record_failure(
                renewal.failed(
                    failure,
                    told=False,
                    client_secret_version="v1",
                    now=NOW,
                    attempted_at=started_at,
                    settings=make_settings(),
                )
            )
            yield renewal, failure

    large_world.documents = pack(f"t{number:03}" for number in range(101))
    large_world.run(issue_tokens=issue_tokens)
    large_world.documents["/visma/tenants/acme"] = '{"scope": ""}'

    report = large_world.run(issue_tokens=issue_tokens).as_dict()

    assert report["failed"] == 102
    assert report["failures"][0]["tenant"] == "acme"
