import pytest

from tests.conftest import Event
from token_issuer.errors import EventInvalid
from token_issuer.invocation import Invocation, parse_invocation

EVENTS = {
    "scheduled": Invocation(),
    "all": Invocation(),
    "tenants": Invocation(tenants=("acme",)),
    "force": Invocation(force=True),
    "dry_run": Invocation(dry_run=True),
    "probe": Invocation(tenants=("acme",), probe=True),
}


@pytest.mark.parametrize("name", EVENTS)
def test_each_file_of_events_is_understood(name: str, event: Event) -> None:
    assert parse_invocation(event(name)) == EVENTS[name]


def test_a_detail_that_is_an_object_is_a_scheduled_event_too(event: Event) -> None:
    assert parse_invocation(event("scheduled") | {"detail": {}}) == Invocation()


def test_the_envelope_of_another_event_is_refused(event: Event) -> None:
    with pytest.raises(EventInvalid, match="detail-type"):
        parse_invocation(event("scheduled") | {"detail-type": "Parameter Store Change"})


def test_a_dry_run_may_be_for_named_tenants() -> None:
    invocation = parse_invocation({"tenants": ["acme", "globex"], "dry_run": True})

    assert invocation == Invocation(tenants=("acme", "globex"), dry_run=True)


def test_a_tenant_named_twice_is_served_once() -> None:
    assert parse_invocation({"tenants": ["acme", "acme"]}).tenants == ("acme",)
