"""A client secret is whatever somebody has put into Secrets Manager, in each version of it."""

import traceback
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.account import CLIENT_SECRET
from tests.helpers.facts import make_tenant
from tests.helpers.fuzzed_values import objects, spelled, texts, values
from tests.runs.fuzz import cases
from token_issuer.clients.credentials import CURRENT, PENDING, PREVIOUS, parse_credentials
from token_issuer.errors import ClientSecretInvalid
from token_issuer.tokens.oauth import token_request

contents = st.one_of(
    spelled(
        objects(
            {
                "client_id": ["id", CLIENT_SECRET],
                "client_secret": [CLIENT_SECRET, f"{CLIENT_SECRET}\ud83d", [CLIENT_SECRET]],
                "auth_method": ["client_secret_post", "client_secret_basic", CLIENT_SECRET],
                CLIENT_SECRET: ["", CLIENT_SECRET],
            }
        )
        | values
    ),
    st.sampled_from([CLIENT_SECRET, None, 7]),
    texts,
)
secrets = st.dictionaries(
    st.sampled_from([CURRENT, CURRENT, PENDING, PREVIOUS, "mine"]), contents, min_size=1
)


@cases("secrets")
@given(contents)
def test_a_secret_is_used_or_named_and_never_shown(content: object) -> None:
    try:
        credentials = parse_credentials("visma/clients/default", content, "v1")
    except ClientSecretInvalid as error:
        shown = "".join(traceback.format_exception(error))
    else:
        form, headers = token_request(make_tenant("acme"), credentials)
        urlencode(form).encode("ascii")
        assert str(headers).isascii()
        shown = f"{credentials!r} {credentials}"

    assert CLIENT_SECRET not in shown.replace(f"client_id={CLIENT_SECRET!r}", "")
