import json

import pytest

from token_issuer.clients.credentials import parse_credentials
from token_issuer.errors import ClientSecretInvalid

GOOD = {"client_id": "demoapp", "client_secret": "correct-horse"}


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (None, "is binary, not text"),
        ("correct-horse", "is not JSON"),
        ('["correct-horse"]', "is not a JSON object"),
        (json.dumps(GOOD | {"correct-horse": 1}), "has other members than it may have"),
        (json.dumps(GOOD | {"client_id": ""}), "client_id is missing, empty or not a text"),
        ('{"client_id": "demoapp"}', "client_secret is missing, empty or not a text"),
        (json.dumps(GOOD | {"client_secret": "correct-horse\ud83d"}), "client_secret has an"),
        (json.dumps(GOOD | {"auth_method": "correct-horse"}), "auth_method must be client_secret_"),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_and_quotes_nothing(
    text: str | None, detail: str
) -> None:
    with pytest.raises(ClientSecretInvalid, match=detail) as caught:
        parse_credentials("visma/clients/default", text, "v1")

    assert caught.value.detail.startswith("Secret visma/clients/default")
    assert "horse" not in str(caught.value)
