import pytest

from tests.conftest import Event
from token_issuer.errors import EventInvalid
from token_issuer.invocation import Invocation, parse_invocation

EVENTS = {
    "scheduled": Invocation(),
    "all": Invocation(),
    "tenants": Invocation(tenants=("acme",)),
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


@pytest.mark.parametrize(
    ("event", "words"),
    [
        pytest.param(["acme"], "list", id="a list"),
        pytest.param("acme", "str", id="a text"),
        pytest.param(None, "NoneType", id="null"),
        pytest.param({"tenant": "acme"}, "tenant", id="an unknown member"),
        pytest.param({"source": "aws.s3"}, "source", id="another service's event"),
        pytest.param({"detail-type": "Scheduled Event"}, "detail-type", id="half an envelope"),
        pytest.param(
            {"detail-type": "Scheduled Event", "dry_run": True},
            "detail-type",
            id="a scheduled event with more in it",
        ),
        pytest.param({"tenants": "acme"}, "tenants", id="tenants as a text"),
        pytest.param({"tenants": []}, "tenants", id="no tenants"),
        pytest.param({"tenants": ["acme", 7]}, "tenants", id="a number among tenants"),
        pytest.param({"tenants": [""]}, "tenants", id="an empty name"),
        pytest.param({"tenants": None}, "tenants", id="tenants null"),
        pytest.param({"dry_run": "yes"}, "dry_run", id="dry_run as a text"),
        pytest.param({"dry_run": 1}, "dry_run", id="dry_run as a number"),
        pytest.param({"probe": ["acme"]}, "probe", id="probe as a list"),
        pytest.param({"probe": ""}, "probe", id="probe of nobody"),
        pytest.param({"probe": "acme", "tenants": ["acme"]}, "probe", id="probe with tenants"),
        pytest.param({"probe": "acme", "dry_run": True}, "probe", id="probe with dry_run"),
    ],
)
def test_anything_else_is_refused_by_name(event: object, words: str) -> None:
    with pytest.raises(EventInvalid, match=words):
        parse_invocation(event)
