import pytest

from tests.conftest import Event
from token_issuer.errors import EventInvalid
from token_issuer.tenants.invocation import Invocation, parse_invocation

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


def test_a_name_that_is_longer_than_any_is_refused() -> None:
    assert parse_invocation({"tenants": ["a" * 64]}).tenants == ("a" * 64,)
    with pytest.raises(EventInvalid, match="names"):
        parse_invocation({"tenants": ["a" * 65]})


def test_more_names_than_any_stack_serves_are_refused() -> None:
    names = [f"t{number}" for number in range(10_001)]

    assert parse_invocation({"tenants": names[1:]}).tenants == tuple(names[1:])
    with pytest.raises(EventInvalid, match="more than 10000 names"):
        parse_invocation({"tenants": names})
