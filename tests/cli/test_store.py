"""Documents are written where nobody else has written meanwhile."""

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import PATH, Shelf
from tests.helpers.applying import DENIED, before, fail
from visma_tokens_cli.documents import Parameter
from visma_tokens_cli.exit_codes import NOT_WELL, UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.store import Store

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

ACME = f"{PATH}/acme"


def read(store: Store) -> Parameter:
    return store.read().parameters[ACME]


def history(shelf: Shelf) -> list[str]:
    return [one["Value"] for one in shelf.ssm.get_parameter_history(Name=ACME)["Parameters"]]


def test_a_text_is_put_in_place_of_the_one_that_was_read(store: Store, shelf: Shelf) -> None:
    shelf.put("acme", "old")

    store.overwrite(read(store), "new")

    assert history(shelf) == ["old", "new"]
    [found] = shelf.ssm.describe_parameters()["Parameters"]
    assert (found["Type"], found["Tier"]) == ("String", "Intelligent-Tiering")


def test_what_somebody_wrote_before_is_not_overwritten(store: Store, shelf: Shelf) -> None:
    shelf.put("acme", "old")
    parameter = read(store)
    shelf.put("acme", "theirs")

    with pytest.raises(CommandFailed, match="changed by somebody else") as caught:
        store.overwrite(parameter, "ours")

    assert history(shelf) == ["old", "theirs"]
    assert caught.value.code == UNCHANGED


def test_what_somebody_writes_at_the_last_moment_is_put_back(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(read(store), "ours")

    assert history(shelf) == ["old", "theirs", "ours", "theirs"]


def test_what_is_written_while_it_is_put_back_is_put_back_too(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    before(
        ssm,
        "PutParameter",
        lambda: shelf.put("acme", "theirs"),
        lambda: shelf.put("acme", "a third's"),
    )

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(read(store), "ours")

    assert history(shelf)[-1] == "a third's"


def test_who_writes_after_us_stands_and_it_is_said_whose_was_overwritten(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    parameter = read(store)
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))
    before(  # the look before, the one at what was overwritten, and the one at what stands
        ssm, "GetParameter", None, None, lambda: shelf.put("acme", "a third's")
    )

    with pytest.raises(CommandFailed, match="their version 2 was overwritten") as caught:
        store.overwrite(parameter, "ours")

    assert history(shelf) == ["old", "theirs", "ours", "a third's"]
    assert f"{ACME}:2" in caught.value.remedy
    assert caught.value.code == NOT_WELL


@pytest.mark.parametrize(
    ("operation", "calls_before"),
    [
        pytest.param("GetParameter", 1, id="at the look at what was overwritten"),
        pytest.param("GetParameter", 2, id="at the look at what stands"),
        pytest.param("PutParameter", 1, id="as it is put back"),
    ],
)
def test_what_was_overwritten_is_told_where_it_could_not_be_put_back(
    operation: str, calls_before: int, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    parameter = read(store)
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))
    before(ssm, operation, *[None] * calls_before, fail(DENIED))

    with pytest.raises(CommandFailed, match="their version 2 was overwritten") as caught:
        store.overwrite(parameter, "ours")

    assert history(shelf) == ["old", "theirs", "ours"]
    assert f"{ACME}:2" in caught.value.remedy
    assert caught.value.code == NOT_WELL


def test_what_was_overwritten_is_told_where_it_is_interrupted(
    store: Store, shelf: Shelf, ssm: "SSMClient", capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("acme", "old")
    parameter = read(store)
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"), fail(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        store.overwrite(parameter, "ours")

    told = capsys.readouterr().err
    assert "their version 2 was overwritten" in told
    assert f"{ACME}:2" in told


def test_a_write_that_was_repeated_is_ours(store: Store, shelf: Shelf, ssm: "SSMClient") -> None:
    shelf.put("acme", "old")
    before(ssm, "PutParameter", lambda: shelf.put("acme", "ours"))  # whose answer was lost

    store.overwrite(read(store), "ours")

    assert shelf.texts() == {"acme": "ours"}


@pytest.mark.parametrize("operation", ["GetParameter", "PutParameter"])
def test_what_somebody_deletes_stays_deleted(
    operation: str, store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    before(ssm, operation, lambda: shelf.delete("acme"))

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.overwrite(read(store), "ours")

    assert shelf.texts() == {}


def test_a_new_parameter_takes_nobodys_place(store: Store, shelf: Shelf, ssm: "SSMClient") -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "theirs"))

    with pytest.raises(CommandFailed, match="changed by somebody else") as caught:
        store.create(ACME, "ours")

    assert history(shelf) == ["theirs"]
    assert caught.value.code == UNCHANGED


def test_a_new_parameter_may_have_been_made_by_a_call_without_answer(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", lambda: shelf.put("acme", "ours"))

    store.create(ACME, "ours")

    assert history(shelf) == ["ours"]


def test_only_what_was_read_is_deleted(store: Store, shelf: Shelf) -> None:
    shelf.put("acme", "old")
    parameter = read(store)
    shelf.put("acme", "theirs")

    with pytest.raises(CommandFailed, match="changed by somebody else"):
        store.delete(parameter)
    assert shelf.texts() == {"acme": "theirs"}

    store.delete(read(store))
    assert shelf.texts() == {}


def test_a_deletion_may_have_been_done_by_a_call_without_answer(
    store: Store, shelf: Shelf, ssm: "SSMClient"
) -> None:
    shelf.put("acme", "old")
    before(ssm, "DeleteParameter", lambda: shelf.delete("acme"))

    store.delete(read(store))

    assert shelf.texts() == {}


def test_a_text_that_no_parameter_holds_is_refused(store: Store, shelf: Shelf) -> None:
    with pytest.raises(CommandFailed, match="would have 8,194 bytes"):
        store.create(ACME, "ø" * 4097)

    assert shelf.texts() == {}
