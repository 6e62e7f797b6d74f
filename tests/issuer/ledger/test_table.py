from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber

from tests.helpers.account import NOBODY, Account, make_client
from tests.helpers.fuzzed_table import Table
from tests.helpers.ledger_records import (
    FAILED,
    FAILURE,
    FALLBACK,
    FULL,
    ISSUED,
    NOT_TIMES,
    NOW,
    ODD,
    OWNER,
    PENDING,
    RECORD,
)
from tests.helpers.memory_ledger import MemoryLedger
from token_issuer.errors import LedgerUnreadable, LedgerUnwritable
from token_issuer.ledger.records import (
    ClientRecord,
    Failure,
    Memory,
    Owner,
    Record,
)
from token_issuer.ledger.table import Ledger
from token_issuer.redaction import Quoted

FAILURE_ITEM = {
    "reason": {"S": "TokenRefused"},
    "detail": {"S": "no"},
    "failed_at": {"S": "2026-11-24T12:00:00.000Z"},
    "waits": {"N": "2"},
    "purpose": {"S": "{}"},
    "client_secret_version": {"S": "v1"},
}
PENDING_ITEM = {
    "version": {"S": "v2"},
    "reason": {"S": "PendingSecretUndecided"},
    "detail": {"S": "HTTP 503"},
    "tried_at": {"S": "2026-11-24T12:00:00.000Z"},
    "refusals": {"N": "2"},
}
FALLBACK_ITEM = {
    "version": {"S": "v1"},
    "stage": {"S": "AWSPREVIOUS"},
    "detail": {"S": "invalid_client"},
    "since": {"S": "2026-11-24T12:00:00.000Z"},
}


IN_A_CENTURY = {"S": "2126-11-24T12:00:00.000Z"}


def failing(**members: dict[str, str]) -> dict[str, Any]:
    return {"failure": {"M": FAILURE_ITEM | members}}


def pending(**members: dict[str, str]) -> dict[str, Any]:
    return {"pending": {"M": PENDING_ITEM | members}}


@pytest.fixture(params=["DynamoDB", "memory", "table"])
def ledger(request: pytest.FixtureRequest, empty_account: Account) -> Ledger:
    """Return the ledger, that of simulations, and the one on the table of the many cases."""
    if request.param == "table":
        return Table().ledger
    return empty_account.ledger if request.param == "DynamoDB" else MemoryLedger()


@pytest.fixture
def table(empty_account: Account) -> Account:
    """Return an account with the table and nothing in it."""
    return empty_account


def version_of(ledger: Ledger) -> int | None:
    record = ledger.read().records.get("acme")
    return record.issued.version if record and record.issued else None


def test_an_empty_ledger_knows_nothing(ledger: Ledger) -> None:
    assert ledger.read() == Memory()


@pytest.mark.parametrize("scope", [ISSUED.scope, None])
def test_a_token_is_read_as_it_was_recorded(scope: Quoted | None, ledger: Ledger) -> None:
    record = replace(RECORD, issued=replace(ISSUED, scope=scope))

    ledger.record_token(record, None)

    assert ledger.read().records == {"acme": record}


def test_a_failure_leaves_what_is_known_of_the_token_and_a_token_ends_the_failure(
    ledger: Ledger,
) -> None:
    failed = replace(RECORD, failure=FAILURE)
    ledger.record_token(RECORD, None)

    ledger.record_failure(replace(failed, issued=None))
    assert ledger.read().records == {"acme": failed}

    ledger.record_token(replace(RECORD, issued=replace(ISSUED, version=6)), failed)
    assert ledger.read().records["acme"].failure is None


@pytest.mark.parametrize("failure", [FAILURE, replace(FAILURE, code=None, next_attempt_at=None)])
def test_a_tenant_may_have_failed_only(failure: Failure, ledger: Ledger) -> None:
    record = Record(tenant="acme", client="default", attempted_at=NOW, failure=failure)

    ledger.record_failure(record)

    assert ledger.read().records == {"acme": record}


def test_times_can_be_read_in_the_console(table: Account) -> None:
    table.ledger.record_token(RECORD, None)

    [item] = table.dynamodb.scan(TableName="ledger")["Items"]
    assert item["key"] == {"S": "tenant#acme"}
    assert item["schema"] == {"N": "1"}
    assert item["expires_at"] == {"S": "2026-11-24T13:00:00.000Z"}


def test_of_two_tokens_the_one_that_was_stored_last_stands(ledger: Ledger) -> None:
    ledger.record_token(RECORD, None)
    stored_before = replace(RECORD, issued=replace(ISSUED, version=4))

    ledger.record_token(stored_before, None)
    assert version_of(ledger) == 5

    ledger.record_token(replace(RECORD, issued=replace(ISSUED, version=6)), None)
    assert version_of(ledger) == 6


def test_versions_start_anew_after_a_deletion(ledger: Ledger) -> None:
    ledger.record_token(RECORD, None)
    anew = replace(RECORD, issued=replace(ISSUED, version=1))

    ledger.record_token(anew, RECORD)

    assert version_of(ledger) == 1


def test_a_token_without_a_scope_takes_its_predecessors_away(ledger: Ledger) -> None:
    ledger.record_token(RECORD, None)
    later = replace(RECORD, issued=replace(ISSUED, version=6, scope=None))

    ledger.record_token(later, RECORD)

    assert ledger.read().records == {"acme": later}


def test_a_token_is_lost_until_there_is_another(ledger: Ledger) -> None:
    ledger.record_token(RECORD, None)

    assert ledger.mark_lost(RECORD, NOW)
    assert ledger.mark_lost(RECORD, NOW + timedelta(minutes=5))

    lost = replace(RECORD, issued=replace(ISSUED, lost_at=NOW))
    assert ledger.read().records == {"acme": lost}
    ledger.record_token(replace(RECORD, issued=replace(ISSUED, version=6)), lost)
    assert not ledger.mark_lost(RECORD, NOW)
    assert ledger.read().records == {"acme": replace(RECORD, issued=replace(ISSUED, version=6))}


TIMES = ["attempted_at", "issued_at", "expires_at", "lost_at"]
FAILURE_TIMES = ["failed_at", "next_attempt_at", "told_at"]


def items(account: Account) -> dict[str, dict[str, Any]]:
    return {one["key"]["S"]: one for one in account.dynamodb.scan(TableName="ledger")["Items"]}


def record_all(table: Ledger) -> None:
    table.record_token(replace(FULL, failure=None), None)
    table.record_failure(FULL)


def put(account: Account, item: dict[str, Any]) -> None:
    account.dynamodb.put_item(TableName="ledger", Item=item)


def test_an_item_with_a_member_of_another_kind_counts_as_missing(table: Account) -> None:
    record_all(table.ledger)
    item = items(table)["tenant#acme"]
    failure: dict[str, Any] = item["failure"]["M"]
    broken = [
        *((item | {name: odd}, name) for name in item.keys() - {"key"} for odd in ODD.values()),
        *(
            (item | {"failure": {"M": failure | {name: odd}}}, name)
            for name in failure.keys() - {"count"}  # which an earlier version reads
            for odd in ODD.values()
        ),
        *((item | {name: {"S": text}}, name) for name in TIMES for text in NOT_TIMES.values()),
        *(
            (item | {"failure": {"M": failure | {name: {"S": text}}}}, name)
            for name in FAILURE_TIMES
            for text in NOT_TIMES.values()
        ),
    ]

    taken = []
    for one, name in broken:
        put(table, one)
        if table.ledger.read() != Memory():
            taken.append((name, one))

    assert taken == []
    assert len(broken) > 300


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"failure": {"M": {}}}, id="half a failure"),
        pytest.param({"failure": {"S": "TokenRefused"}}, id="a text as a failure"),
        pytest.param(failing(waits={"S": "3"}), id="a text as a number"),
        pytest.param({"client": {"S": "no name of a client"}}, id="a client of another name"),
        pytest.param({"client": {"M": {}}}, id="a map as a client"),
        pytest.param({"expires_at": {"S": "2026-11-26T12:00:00.000Z"}}, id="two days of life"),
        pytest.param(failing(next_attempt_at=IN_A_CENTURY), id="a century to wait"),
        pytest.param({"schema": {"N": "2"}}, id="another schema"),
        pytest.param({"schema": {"S": "1"}}, id="a text as the schema"),
        pytest.param({"version": {"N": "1E+125"}}, id="a version that none comes after"),
        pytest.param({"version": {"NS": ["5"]}}, id="several versions"),
        pytest.param({"version": {"N": "-5"}}, id="a version below nothing"),
        pytest.param({"attempted_at": {"S": "soon"}}, id="no time"),
    ],
)
def test_what_comes_after_replaces_an_item_that_counts_as_missing(
    broken: dict[str, Any], table: Account
) -> None:
    """Also where versions have started anew since, after a deletion."""
    ledger = table.ledger
    record_all(ledger)
    item = items(table)["tenant#acme"] | broken
    put(table, item)
    assert ledger.read().records == {}

    ledger.record_failure(FAILED)
    assert ledger.read().records == {"acme": FAILED}

    put(table, item)
    assert ledger.read().records == {}
    anew = replace(RECORD, issued=replace(ISSUED, version=1))
    ledger.record_token(anew, None)
    assert ledger.read().records == {"acme": anew}


def test_a_token_that_was_recorded_since_a_broken_item_was_read_stands(table: Account) -> None:
    ledger = table.ledger
    ledger.record_token(RECORD, None)
    put(table, items(table)["tenant#acme"] | {"attempted_at": {"N": "7"}})
    assert ledger.read().records == {}
    other = replace(RECORD, issued=replace(ISSUED, version=7))
    table.ledger.record_token(other, None)  # by another run

    ledger.record_token(replace(RECORD, issued=replace(ISSUED, version=6)), None)
    assert table.ledger.read().records == {"acme": other}

    ledger.record_failure(FAILED)
    assert table.ledger.read().records == {"acme": replace(other, failure=FAILURE)}


@pytest.mark.parametrize("name", ["", "a b", "a/b", "åcme", "x" * 65, "acme\n"])
def test_an_item_of_a_name_that_no_tenant_can_have_counts_as_missing(
    name: str, table: Account
) -> None:
    """Parameter Store would refuse to look at all ten of a request for it."""
    table.ledger.record_token(RECORD, None)
    put(table, items(table)["tenant#acme"] | {"key": {"S": f"tenant#{name}"}})

    assert table.ledger.read().records == {"acme": RECORD}


def test_what_is_read_is_printable_and_of_limited_length(table: Account) -> None:
    """Whoever may write the ledger does not decide what a terminal does."""
    record_all(table.ledger)
    item = items(table)["tenant#acme"]
    evil: dict[str, Any] = {"S": f"\u001b[2J\u202e{'x' * 20_000}"}
    failure = item["failure"]["M"] | {"detail": evil, "code": evil, "reason": evil}
    put(table, item | {"failure": {"M": failure}, "scope": evil, "document": evil})

    record = table.ledger.read().records["acme"]

    assert record.failure is not None
    assert record.issued is not None
    for text in (record.failure.detail, record.failure.code, record.failure.reason):
        assert text is not None
        assert text.isprintable()
        assert len(text) == 500
    assert f"{record.issued.scope}{record.issued.document}".isprintable()
    assert len(record.issued.document) < 20_000


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"key": {"S": "else"}, "n": {"N": "1.5"}}, id="something else"),
        pytest.param({"key": {"S": "tenant"}}, id="a tenant without a name"),
        pytest.param({"key": {"S": "#"}}, id="no kind and no name"),
    ],
)
def test_what_else_a_person_wrote_is_left_out(
    broken: dict[str, dict[str, str]], table: Account
) -> None:
    table.ledger.record_token(RECORD, None)
    put(table, broken)

    assert table.ledger.read() == Memory(records={"acme": RECORD})


@pytest.mark.parametrize(
    "record",
    [
        ClientRecord(client="default", pending=PENDING, fallback=FALLBACK),
        ClientRecord(client="default", pending=PENDING),
        ClientRecord(client="default", fallback=replace(FALLBACK, current=None)),
    ],
    ids=["both", "pending", "fallback"],
)
def test_what_is_remarkable_of_a_client_secret_is_kept_and_forgotten(
    record: ClientRecord, ledger: Ledger
) -> None:
    ledger.record_client(ClientRecord(client="default", pending=PENDING, fallback=FALLBACK))

    ledger.record_client(record)

    assert ledger.read().clients == {"default": record}
    ledger.record_client(ClientRecord(client="default"))
    assert ledger.read() == Memory()


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"schema": {"N": "2"}}, id="another schema"),
        pytest.param({"pending": {"S": "v2"}}, id="a text as what is pending"),
        pytest.param({"fallback": {"M": {"version": {"N": "2"}}}}, id="a number as a version"),
        pytest.param(pending(tried_at={"S": "soon"}), id="when tried"),
        pytest.param(pending(next_attempt_at={"S": "2999-01-01"}), id="a date"),
        pytest.param(pending(next_attempt_at=IN_A_CENTURY), id="a century to wait"),
        pytest.param(
            {"fallback": {"M": FALLBACK_ITEM | {"since": {"S": "ever"}}}}, id="since when"
        ),
        pytest.param({"key": {"S": "client#no name"}} | pending(), id="a name"),
        pytest.param({"told_at": {"S": "yesterday"}}, id="a text as when it was told"),
        pytest.param({"told_at": {"M": {"ClientRefused": {"S": "yesterday"}}}}, id="no time"),
        pytest.param({"told_at": {"M": {"ClientRefused": {"N": "7"}}}}, id="a number as a time"),
    ],
)
def test_a_client_record_that_a_person_broke_counts_as_none(
    broken: dict[str, dict[str, object]], table: Account
) -> None:
    item: dict[str, Any] = {"key": {"S": "client#default"}, "schema": {"N": "1"}} | broken
    put(table, item)

    assert table.ledger.read() == Memory()


@pytest.mark.parametrize("kind", ["tenant", "lease", "clients", "Client", "else"])
def test_only_an_item_of_a_client_is_read_as_one(kind: str, table: Account) -> None:
    members = {"schema": {"N": "1"}} | pending()
    put(table, {"key": {"S": f"{kind}#default"}} | members)
    assert table.ledger.read() == Memory()

    put(table, {"key": {"S": "client#default"}} | members)
    assert table.ledger.read().clients.keys() == {"default"}


def test_what_earlier_versions_wrote_is_ignored_and_goes_with_the_next_token(
    table: Account,
) -> None:
    ledger = table.ledger
    record_all(ledger)
    item = items(table)["tenant#acme"]
    counted = {"M": item["failure"]["M"] | {"count": {"N": "3"}}}
    shortened = {"may_live_until": {"S": "2026-11-24T12:00:00.000Z"}}
    put(table, item | shortened | {"failure": counted})
    assert ledger.read().records == {"acme": FULL}

    ledger.record_token(replace(RECORD, issued=replace(ISSUED, version=6)), FULL)

    assert items(table)["tenant#acme"].keys() == item.keys() - {"lost_at", "failure"}


def test_when_a_failure_was_told_is_kept_while_it_lasts(ledger: Ledger) -> None:
    ledger.record_failure(FAILED)

    ledger.keep_told("acme", NOW)
    told = replace(FAILED, failure=replace(FAILURE, told_at=NOW))
    assert ledger.read().records == {"acme": told}

    ledger.record_token(RECORD, told)
    ledger.keep_told("acme", NOW)  # of a run that has ended late
    ledger.keep_told("hooli", NOW)
    assert ledger.read().records == {"acme": RECORD}


def test_no_more_life_is_recorded_than_a_token_has(ledger: Ledger) -> None:
    exact = ISSUED.expires_at + timedelta(microseconds=999_999)

    ledger.record_token(replace(RECORD, issued=replace(ISSUED, expires_at=exact)), None)

    issued = ledger.read().records["acme"].issued
    assert issued is not None
    assert exact - timedelta(milliseconds=1) < issued.expires_at <= exact


def test_a_failure_leaves_a_later_token_as_it_is(ledger: Ledger) -> None:
    """As when a run for named tenants has stored one meanwhile."""
    following = replace(RECORD, issued=replace(ISSUED, version=6))
    ledger.record_token(following, None)

    ledger.record_failure(replace(RECORD, failure=FAILURE))

    assert ledger.read().records == {"acme": replace(following, failure=FAILURE)}


def test_a_record_is_dropped_and_another_token_that_was_recorded_meanwhile_is_lost(
    ledger: Ledger,
) -> None:
    ledger.record_token(RECORD, None)

    ledger.drop_record(replace(RECORD, issued=None, failure=FAILURE), NOW)
    assert ledger.read().records == {"acme": RECORD}
    ledger.drop_record(replace(RECORD, issued=replace(ISSUED, version=4)), NOW)
    assert ledger.read().records == {"acme": replace(RECORD, issued=replace(ISSUED, lost_at=NOW))}

    ledger.drop_record(RECORD, NOW)
    assert ledger.read().records == {}
    ledger.drop_record(RECORD, NOW)
    assert ledger.read().records == {}


def test_a_record_of_a_failure_is_dropped(ledger: Ledger) -> None:
    ledger.record_failure(FAILED)

    ledger.drop_record(FAILED, NOW)

    assert ledger.read().records == {}


def test_whose_token_a_tenant_had_outlives_its_record(ledger: Ledger) -> None:
    failed = Record(tenant="hooli", client="default", attempted_at=NOW, failure=FAILURE)
    ledger.record_token(replace(RECORD, owner=OWNER), None)
    ledger.record_failure(replace(failed, owner=Owner(tenant_id=None, client="default")))
    owners = ledger.read().owners
    assert owners == {"acme": OWNER, "hooli": Owner(tenant_id=None, client="default")}

    for record in (RECORD, failed):
        ledger.drop_record(record, NOW)

    assert ledger.read() == Memory(owners=owners)
    ledger.record_token(RECORD, None)  # of which nobody was told
    ledger.record_failure(failed)
    assert ledger.read().records == {"acme": RECORD, "hooli": failed}
    assert ledger.read().owners == owners

    ledger.keep_owner("hooli", OWNER)  # once it is told
    ledger.keep_owner("umbrella", OWNER)  # whose record is gone
    assert ledger.read().records == {"acme": RECORD, "hooli": failed}
    assert ledger.read().owners == dict.fromkeys(("acme", "hooli", "umbrella"), OWNER)


@pytest.mark.parametrize(
    "owner",
    [*ODD.values(), {"M": {}}, {"M": {"client": {"S": "a b"}}}]
    + [{"M": {"client": {"S": "a"}, "tenant_id": odd}} for odd in ODD.values()],
)
def test_an_owner_that_a_person_wrote_is_none(owner: dict[str, Any], table: Account) -> None:
    item = {"key": {"S": "tenant#acme"}, "schema": {"N": "1"}, "owner": owner}
    put(table, item)

    assert table.ledger.read().owners == {}


# The lease


def lease_until(ledger: Ledger, minutes: int, holder: str, now: datetime = NOW) -> bool:
    with ledger.lease(holder, now=now, until=now + timedelta(minutes=minutes)) as taken:
        return taken


def test_one_run_has_the_lease_and_gives_it_back(ledger: Ledger) -> None:
    with ledger.lease("one", now=NOW, until=NOW + timedelta(minutes=5)) as taken:
        assert taken
        assert not lease_until(ledger, 5, "two")
        assert not lease_until(ledger, 5, "two", NOW + timedelta(minutes=4, seconds=59))

    assert lease_until(ledger, 5, "two")


def test_a_run_that_raises_gives_the_lease_back(ledger: Ledger) -> None:
    with (
        pytest.raises(KeyError),
        ledger.lease("one", now=NOW, until=NOW + timedelta(minutes=5)),
    ):
        raise KeyError

    assert lease_until(ledger, 5, "two")


def test_a_lease_is_void_at_its_end_and_not_given_back_by_who_has_lost_it(ledger: Ledger) -> None:
    later = NOW + timedelta(minutes=5)
    first = ledger.lease("killed", now=NOW, until=later)
    first.__enter__()
    second = ledger.lease("next", now=later, until=later + timedelta(minutes=5))
    assert second.__enter__()
    assert not lease_until(ledger, 5, "third", later)

    first.__exit__(None, None, None)

    assert not lease_until(ledger, 5, "third", later)
    second.__exit__(None, None, None)


def test_who_has_the_lease_may_ask_again(ledger: Ledger) -> None:
    """The SDK repeats a request whose answer was lost."""
    with ledger.lease("one", now=NOW, until=NOW + timedelta(minutes=5)):
        assert lease_until(ledger, 5, "one")


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_lease_that_a_person_wrote_is_void(odd: dict[str, Any], table: Account) -> None:
    """Nothing else would end it."""
    put(table, {"key": {"S": "lease"}, "holder": odd, "held_until": odd})

    assert lease_until(table.ledger, 5, "one")


@pytest.mark.parametrize(("minutes", "is_void"), [(9, False), (11, True)])
def test_a_lease_from_the_future_is_void(minutes: int, ledger: Ledger, *, is_void: bool) -> None:
    """A run was killed, and the clock set back."""
    end = NOW + timedelta(minutes=minutes)
    with ledger.lease("killed", now=end - timedelta(minutes=5), until=end):
        assert lease_until(ledger, 5, "next") is is_void


# What fails


def test_all_pages_are_read() -> None:
    dynamodb = make_client("dynamodb")
    key = {"key": {"S": "document#/a"}, "text": {"S": "{}"}}
    with Stubber(dynamodb) as stubber:
        request = {"TableName": "ledger", "ConsistentRead": True}
        last = {"LastEvaluatedKey": {"key": {"S": "document#/a"}}}
        stubber.add_response("scan", {"Items": [key], **last}, request)
        second = {"key": {"S": "document#/b"}, "text": {"S": "{}"}}
        stubber.add_response(
            "scan", {"Items": [second]}, request | {"ExclusiveStartKey": last["LastEvaluatedKey"]}
        )

        assert Ledger(dynamodb, "ledger").read().left_over == ("document#/a", "document#/b")


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_what_cannot_be_read_or_written_is_said(code: str) -> None:
    dynamodb = make_client("dynamodb")
    with Stubber(dynamodb) as stubber:
        for operation in ("scan", "update_item", "update_item", "delete_item"):
            stubber.add_client_error(operation, code)
        ledger = Ledger(dynamodb, "ledger")

        with pytest.raises(LedgerUnreadable, match=f"Reading ledger failed: {code}"):
            ledger.read()
        with pytest.raises(LedgerUnreadable, match=f"Writing lease to ledger failed: {code}"):
            lease_until(ledger, 5, "one")
        with pytest.raises(LedgerUnwritable, match=f"Writing tenant#acme to .* failed: {code}"):
            ledger.record_token(RECORD, None)
        with pytest.raises(LedgerUnwritable, match="document#/a"):
            ledger.drop("document#/a")


def test_an_unreachable_ledger_is_named() -> None:
    with pytest.raises(LedgerUnreadable, match="EndpointConnectionError"):
        Ledger(make_client("dynamodb", NOBODY), "ledger").read()
