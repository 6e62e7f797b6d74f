"""Which stack can be used, and what is said of one that can't."""

from collections.abc import Callable

import pytest

from tests.cli.conftest import Run
from tests.conftest import rarely
from tests.helpers.deployed_aws import Deployed

type Told = Callable[..., list[str]]


@pytest.fixture
def told(aws: Deployed, invoked: Run) -> Told:
    """Return what says what is said of a stack in that status, whose function is gone."""

    def status(status: str, outputs: dict[str, str] | None = None) -> list[str]:
        aws.status, aws.function = status, None
        if outputs is not None:
            aws.outputs = outputs
        done = invoked("status")
        assert (done.stdout, done.returncode) == ("", 3)
        return done.stderr.splitlines()

    return status


STATUSES = {
    "CREATE_IN_PROGRESS": ("is not deployed yet: CREATE_IN_PROGRESS.", "Wait until"),
    "ROLLBACK_COMPLETE": ("could not be deployed: ROLLBACK_COMPLETE.", "See its events"),
    "CREATE_FAILED": ("could not be deployed: CREATE_FAILED.", "See its events"),
    "CREATE_COMPLETE": ("is no token issuer: CREATE_COMPLETE.", "Give --stack-name"),
    "DELETE_FAILED": ("is being deleted, or its deletion failed: DELETE_FAILED.", "See its"),
    "DELETE_COMPLETE": ("is deleted: DELETE_COMPLETE.", "Deploy it anew"),
    "REVIEW_IN_PROGRESS": ("is not deployed yet: REVIEW_IN_PROGRESS.", "Execute its change"),
}

OFTEN = {"CREATE_COMPLETE", "DELETE_COMPLETE"}


@pytest.mark.parametrize("status", [*sorted(OFTEN), *rarely(*sorted(STATUSES.keys() - OFTEN))])
def test_a_stack_without_our_outputs_is_told_by_its_status(status: str, told: Told) -> None:
    words, remedy = STATUSES[status]
    detail, advice = told(status, outputs={})

    assert detail == f"Stack token-issuer in eu-north-1 {words}"
    assert advice.startswith(remedy)


@pytest.mark.parametrize("status", ["DELETE_COMPLETE", *rarely("DELETE_FAILED")])
def test_a_stack_that_is_deleted_has_lost_nothing_by_hand(status: str, told: Told) -> None:
    words, _ = STATUSES[status]

    assert told(status)[0] == f"Stack token-issuer in eu-north-1 {words}"


def test_a_stack_that_has_lost_its_function_is_deployed_anew(told: Told) -> None:
    detail, advice = told("UPDATE_COMPLETE")

    assert detail == "Stack token-issuer in eu-north-1 has lost its function, issuer."
    assert "`sam delete` the stack, and deploy it anew" in advice
