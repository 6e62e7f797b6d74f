"""What is cached and for how long, who reads anew, and what is served when nothing can be read."""

from tests.reader.parameter_store import NOW, Clock, ParameterStore, jwt
from visma_tokens import TokenReader


def test_a_token_is_read_once_in_five_minutes(
    tokens: TokenReader, store: ParameterStore, clock: Clock
) -> None:
    store.tokens["acme"] = jwt(number=1)

    first = tokens["acme"]
    clock.now = NOW + 269
    second = tokens["acme"]

    assert first == second == store.tokens["acme"]
    assert store.asked == [["acme"]]
