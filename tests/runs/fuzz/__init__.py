"""Whatever another party sends: many cases, all of them drawn from one seed, which is shown.

To repeat a run: `SEED=<number> .venv/bin/python -m pytest tests/runs/fuzz`.
"""

import inspect
import os
import secrets
import time
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, seed, settings

from tests.conftest import Show

FEW, MANY = 4_000, 200_000  # cases in all: in `make test`, in `make test-long`
SHARES = {  # of them, by part: most where a case is quickest
    "answers": 0.03,
    "documents": 0.05,
    "secrets": 0.33,
    "ledger items": 0.2,
    "invocations": 0.29,
    "AWS answers": 0.1,
    "runs": 0.05,
}
SEED = int(os.environ.get("SEED") or secrets.randbelow(2**32))

type Test = Callable[..., None]


def cases(part: str) -> Callable[[Test], Test]:
    """Run a test of Hypothesis with this part's share of the cases, a few or many."""
    few, many = (round(SHARES[part] * total) for total in (FEW, MANY))

    def decorate(test: Test) -> Test:
        def run(*, count: int, show: Show, **fixtures: object) -> None:
            began = time.monotonic()
            several = settings(
                max_examples=count,
                deadline=None,
                database=None,  # a run depends on its seed alone
                suppress_health_check=list(HealthCheck),
            )
            try:
                several(seed(SEED)(test))(**fixtures)
            finally:
                seconds = time.monotonic() - began
                show(f"SEED={SEED}: {count:,} cases of {part} in {seconds:.1f} s")

        named = [*inspect.signature(test).parameters, "count", "show"]  # the fixtures that it takes
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in named]
        )
        run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
        long = pytest.param(many, id="many", marks=pytest.mark.long)
        return pytest.mark.parametrize("count", [pytest.param(few, id="few"), long])(run)

    return decorate
