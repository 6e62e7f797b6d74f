import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the lines of so many runs out of what pytest remembers of a test."""
    logger = logging.getLogger("token-issuer")
    logger.propagate = False
    yield
    logger.propagate = True
