"""Documents are written where nobody else has written meanwhile."""

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import PATH, Shelf, refused
from tests.helpers.applying import DENIED, before, fail
from visma_tokens_cli.documents import Parameter
from visma_tokens_cli.exit_codes import NOT_WELL
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.store import Store

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

ACME = f"{PATH}/acme"


def history(shelf: Shelf) -> list[str]:
    return [one["Value"] for one in shelf.ssm.get_parameter_history(Name=ACME)["Parameters"]]


@pytest.fixture
def old(store: Store, shelf: Shelf) -> Parameter:
    """Return the parameter as it was read, with that text."""
    shelf.put("acme", "old")
    return store.read().parameters[ACME]


def test_a_text_is_put_in_place_of_the_one_that_was_read(
    old: Parameter, store: Store, shelf: Shelf
) -> None:

    store.overwrite(old, "new")

    assert history(shelf) == ["old", "new"]
    [found] = shelf.ssm.describe_parameters()["Parameters"]
    assert (found["Type"], found["Tier"]) == ("String", "Intelligent-Tiering")


def test_what_somebody_wrote_before_is_not_overwritten(
    old: Parameter, store: Store, shelf: Shelf
) -> None:
    shelf.put("acme", "theirs")

    with refused("changed by somebody else"):
        store.overwrite(old, "ours")

    assert history(shelf) == ["old", "theirs"]


def test_what_somebody_writes_at_the_last_moment_is_put_back(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(old, "ours")

    assert history(shelf) == ["old", "theirs", "ours", "theirs"]


def test_what_is_written_while_it_is_put_back_is_put_back_too(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(
        ssm,
        "PutParameter",
        lambda: shelf.put("acme", "theirs"),
        lambda: shelf.put("acme", "a third's"),
    )

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(old, "ours")

    assert history(shelf)[-1] == "a third's"


def test_who_writes_after_us_stands_and_it_is_said_whose_was_overwritten(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))
    before(  # the look before, the one at what was overwritten, and the one at what stands
        ssm, "GetParameter", None, None, lambda: shelf.put("acme", "a third's")
    )

    with refused("their version 2 was overwritten", NOT_WELL) as caught:
        store.overwrite(old, "ours")

    assert history(shelf) == ["old", "theirs", "ours", "a third's"]
    assert f"{ACME}:2" in caught.value.remedy


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(("GetParameter", 1), id="at the look at what was overwritten"),
        pytest.param(("GetParameter", 2), id="at the look at what stands"),
        pytest.param(("PutParameter", 1), id="as it is put back"),
    ],
)
def test_what_was_overwritten_is_told_where_it_could_not_be_put_back(
    failing: tuple[str, int], old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))
    operation, calls_before = failing
    before(ssm, operation, *[None] * calls_before, fail(DENIED))

    with refused("their version 2 was overwritten", NOT_WELL) as caught:
        store.overwrite(old, "ours")

    assert history(shelf) == ["old", "theirs", "ours"]
    assert f"{ACME}:2" in caught.value.remedy


def test_what_was_overwritten_is_told_where_it_is_interrupted(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient", capsys: pytest.CaptureFixture[str]
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"), fail(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        store.overwrite(old, "ours")

    told = capsys.readouterr().err
    assert "their version 2 was overwritten" in told
    assert f"{ACME}:2" in told


def test_a_write_that_was_repeated_is_ours(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "ours"))  # whose answer was lost

    store.overwrite(old, "ours")

    assert shelf.texts() == {"acme": "ours"}


@pytest.mark.parametrize("operation", ["GetParameter", "PutParameter"])
def test_what_somebody_deletes_stays_deleted(
    operation: str, old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, operation, lambda: shelf.delete("acme"))

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(old, "ours")

    assert shelf.texts() == {}


def test_a_new_parameter_takes_nobodys_place(store: Store, shelf: Shelf, ssm: "SSMClient") -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))

    with refused("changed by somebody else"):
        store.create(ACME, "ours")

    assert history(shelf) == ["theirs"]


def test_a_new_parameter_may_have_been_made_by_a_call_without_answer(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "ours"))

    store.create(ACME, "ours")

    assert history(shelf) == ["ours"]


def test_only_what_was_read_is_deleted(old: Parameter, store: Store, shelf: Shelf) -> None:
    shelf.put("acme", "theirs")

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.delete(old)
    assert shelf.texts() == {"acme": "theirs"}

    store.delete(store.read().parameters[ACME])
    assert shelf.texts() == {}


def test_a_deletion_may_have_been_done_by_a_call_without_answer(
    old: Parameter, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "DeleteParameter", lambda: shelf.delete("acme"))

    store.delete(old)

    assert shelf.texts() == {}


def test_a_text_that_no_parameter_holds_is_refused(store: Store, shelf: Shelf) -> None:
    with pytest.raises(CommandFailed, match="would have 8,194 bytes"):
        store.create(ACME, "ø" * 4097)

    assert shelf.texts() == {}
