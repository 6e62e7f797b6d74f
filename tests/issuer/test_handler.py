from typing import Any

from tests.issuer.conftest import Account


def test_one_run_stores_a_token_for_every_tenant(account: Account, run: Any) -> None:
    account.configure("acme")
    account.configure("globex")

    report = run()

    assert report == {"issued": 2, "failed": 0, "failures": []}
    assert account.tokens().keys() == {"acme", "globex"}
