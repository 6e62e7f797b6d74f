from collections.abc import Collection
from datetime import datetime

import pytest

from tests.helpers.account import fast_pacer
from tests.helpers.facts import make_record, make_tenant
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.outside import make_outside
from tests.helpers.virtual_clock import NOON, VirtualClock
from token_issuer.errors import IssuerError, LedgerUnwritable, NoTimeLeft, StoreDenied
from token_issuer.ledger.records import Record
from token_issuer.limits.deadline import RECORD, REPORT
from token_issuer.removing import remove
from token_issuer.tokens.plan import Decision, Fresh, Removal
from token_issuer.tokens.store import TokenStore

ENOUGH = 2 * RECORD + REPORT


def removal(tenant: str, *, is_ours: bool = True) -> Removal:
    parameter = f"/visma/tokens/{tenant}" if is_ours else None
    return Removal(record=make_record(tenant), parameter=parameter, because="disabled")


class World(VirtualClock):
    """A ledger and a store that note what they are told, in which some things fail."""

    def __init__(self, failing: dict[str, Exception] | None = None) -> None:
        super().__init__()
        self.failing = failing or {}
        self.replaced: set[str] = set()  # tenants that have a new token meanwhile
        self.done: list[str] = []
        self.deleting_takes = 0.0  # seconds

    def step(self, verb: str, name: str) -> None:
        if error := self.failing.get(f"{verb} {name}"):
            raise error
        self.done.append(f"{verb} {name}")

    def remove(self, *removals: Removal, seconds: float = 60) -> dict[str, IssuerError | None]:
        outside = make_outside(self, seconds, ledger=Ledger(self), tokens=Tokens(self))
        decisions: list[Decision] = [Fresh(tenant=make_tenant("another"), due=NOON), *removals]
        return {one.decision.name: one.failure for one in remove(decisions, NOON, outside)}


class Ledger(MemoryLedger):
    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def mark_lost(self, record: Record, at: datetime, *, removing: bool = False) -> bool:
        assert (at, removing) == (NOON, True)
        self._world.step("mark", record.tenant)
        return record.tenant not in self._world.replaced

    def drop_record(self, record: Record, at: datetime) -> None:
        assert at == NOON
        self._world.step("drop", record.tenant)


class Tokens(TokenStore):
    def __init__(self, world: World) -> None:
        self._world, self.writes = world, fast_pacer()

    def delete(self, parameters: Collection[str]) -> dict[str, IssuerError]:
        world = self._world
        world.done.append(f"delete {len(parameters)}")
        world.passed += world.deleting_takes
        failures = {one: world.failing.get(f"delete {one[14:]}") for one in parameters}
        for failure in failures.values():
            if failure and not isinstance(failure, IssuerError):
                raise failure
        return {one: why for one, why in failures.items() if isinstance(why, IssuerError)}


def test_a_token_is_marked_then_deleted_then_forgotten() -> None:
    world = World()

    assert world.remove(removal("acme")) == {"acme": None}

    assert world.done == ["mark acme", "delete 1", "drop acme"]


def test_ten_are_deleted_at_once() -> None:
    world = World()

    assert len(world.remove(*(removal(f"t{number}") for number in range(12)))) == 12

    assert [one for one in world.done if one.startswith("delete")] == ["delete 10", "delete 2"]


def test_a_token_that_came_meanwhile_stays() -> None:
    world = World()
    world.replaced = {"acme"}

    assert world.remove(removal("acme"), removal("globex")) == {"globex": None}

    assert world.done == ["mark acme", "mark globex", "delete 1", "drop globex"]


def test_a_parameter_that_is_not_ours_is_forgotten_only() -> None:
    world = World()

    assert world.remove(removal("acme", is_ours=False)) == {"acme": None}

    assert world.done == ["delete 0", "drop acme"]


@pytest.mark.parametrize(
    ("step", "done"),
    [
        ("mark", ["delete 0"]),
        ("delete", ["mark acme", "delete 1"]),
        ("drop", ["mark acme", "delete 1"]),
    ],
)
def test_what_fails_is_told_and_nothing_follows_it(step: str, done: list[str]) -> None:
    error = StoreDenied("no") if step == "delete" else LedgerUnwritable("no")
    world = World({f"{step} acme": error})

    assert world.remove(removal("acme")) == {"acme": error}

    assert world.done == done


@pytest.mark.parametrize("step", ["mark", "delete", "drop"])
def test_a_defect_stops_no_other_removal_and_is_not_quoted(step: str) -> None:
    world = World({f"{step} t3": ZeroDivisionError("the token is t-t3")})

    outcomes = world.remove(*(removal(f"t{number}") for number in range(12)))

    hit = {f"t{number}" for number in range(10)} if step == "delete" else {"t3"}
    failures = {name: why for name, why in outcomes.items() if why}
    assert failures.keys() == hit
    assert all(why.reason == "Unexpected" for why in failures.values())
    assert all(why.detail.startswith("ZeroDivisionError in ") for why in failures.values())
    assert {f"drop t{number}" for number in range(12)} - {f"drop {name}" for name in hit} == {
        one for one in world.done if one.startswith("drop")
    }


@pytest.mark.parametrize(
    ("seconds", "deleting_takes", "done"),
    [
        pytest.param(ENOUGH - 0.1, 0.0, ["delete 0"], id="to begin"),
        pytest.param(ENOUGH, 0.1, ["mark acme", "delete 1"], id="to forget, so it comes again"),
    ],
)
def test_nothing_is_done_that_there_is_no_time_for(
    seconds: float, deleting_takes: float, done: list[str]
) -> None:
    world = World()
    world.deleting_takes = deleting_takes

    [failure] = world.remove(removal("acme"), seconds=seconds).values()

    assert isinstance(failure, NoTimeLeft)
    assert world.done == done
