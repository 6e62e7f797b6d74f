"""Whatever somebody has put below the tenants path, into a secret, or sends to the function."""

import traceback
from typing import Any
from urllib.parse import urlencode

from hypothesis import given

from tests.helpers.account import CLIENT_SECRET
from tests.helpers.any_parameters import KNOWN as REMEMBERED
from tests.helpers.facts import make_tenant
from tests.helpers.fuzzed_inputs import SCHEDULED, client_secrets, events, parameters
from tests.helpers.fuzzed_world import configured
from tests.runs.fuzz import cases
from token_issuer.clients.credentials import parse_credentials
from token_issuer.errors import ClientSecretInvalid, EventInvalid
from token_issuer.redaction import DETAIL_CHARACTERS
from token_issuer.tenants.configuration import parse_configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import MEMBERS, Invocation, parse_invocation
from token_issuer.tokens.oauth import token_request


@cases("documents")
@given(parameters, REMEMBERED)
def test_a_document_is_used_or_named_as_invalid(
    parameters: list[dict[str, Any]], remembered: dict[str, Tenant]
) -> None:
    configuration = parse_configuration(
        [*parameters, configured("hooli")],  # type: ignore[list-item]
        "/visma/tenants",
        {name: one for name, one in remembered.items() if name != "hooli"},
    )

    assert configuration.tenants["hooli"].enabled
    assert "hooli" not in configuration.invalid
    for error in configuration.invalid.values():
        assert error.detail.isprintable()
        assert len(error.detail) <= DETAIL_CHARACTERS


@cases("secrets")
@given(client_secrets)
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


@cases("invocations")
@given(events)
def test_an_event_is_understood_or_named_as_invalid(event: object) -> None:
    found = understood(event)

    if isinstance(found, EventInvalid):
        assert found.detail.isprintable()
        assert len(found.detail) <= DETAIL_CHARACTERS
        return
    assert isinstance(event, dict)
    assert event.keys() <= MEMBERS or event.keys() == SCHEDULED.keys()
    assert all(name.isprintable() for name in found.tenants or ())
    assert found.is_full == (found.tenants is None and not found.dry_run)


def understood(event: object) -> Invocation | EventInvalid:
    try:
        return parse_invocation(event)
    except EventInvalid as error:
        return error
