import inspect
import re
from collections.abc import Iterator

import pytest

from tests.conftest import PROJECT
from token_issuer import errors
from token_issuer.errors import IssuerError, TokenRefused
from token_issuer.redaction import Quoted


def leaves(parent: type[IssuerError]) -> Iterator[type[IssuerError]]:
    for child in parent.__subclasses__():
        yield from leaves(child) if child.__subclasses__() else [child]


REASONS = sorted(leaves(IssuerError), key=lambda one: one.__name__)


def rows() -> dict[str, tuple[str, str]]:
    table = (PROJECT / "docs/failures.md").read_text()
    found = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)
    return {reason: (meaning, remedy) for reason, meaning, remedy in found}


@pytest.mark.parametrize("failure", REASONS, ids=lambda failure: failure.__name__)
def test_the_page_of_failures_says_what_the_code_says(failure: type[IssuerError]) -> None:
    remedies = [failure.remedy, *failure.remedies, *failure.remedies.values()]

    meaning, told = rows()[failure.__name__]

    assert meaning == (inspect.getdoc(failure) or "").splitlines()[0]
    assert all(remedies)
    assert all(remedy in told for remedy in remedies)


def test_the_page_has_no_row_too_many() -> None:
    assert rows().keys() == {failure.__name__ for failure in REASONS}


def test_the_tree_on_top_of_the_file_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")

    classes = [one for one in vars(errors).values() if inspect.isclass(one)]
    expected = [one.__name__ for one in classes if issubclass(one, IssuerError)]

    assert ["IssuerError", *drawn] == expected


def test_a_failure_reads_as_cause_and_remedy() -> None:
    failure = TokenRefused("invalid_scope: no such scope", code=Quoted("invalid_scope"))

    assert str(failure) == f"{failure.detail}. {TokenRefused.remedies['invalid_scope']}"
    assert failure.reason == "TokenRefused"


def test_a_code_without_a_remedy_of_its_own_has_that_of_its_class() -> None:
    assert TokenRefused("x", code=Quoted("invalid_moon_phase")).remedy == TokenRefused.remedy
    assert TokenRefused("x").remedy == TokenRefused.remedy


def test_a_reason_of_another_version_is_recalled_too() -> None:
    failure = IssuerError.recall("SolarFlare", "The sun was loud", None)

    assert str(failure) == "The sun was loud. Look the reason up in docs/failures.md."
