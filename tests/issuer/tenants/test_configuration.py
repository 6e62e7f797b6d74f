"""Who owns a name: whole runs with parameters of several owners, and any parameters at all."""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings

from local.authorization_server import SCOPES
from tests.conftest import Event, counts
from tests.helpers.account import Account, Log, Run, client_error, tenant_id
from tests.helpers.any_parameters import (
    ALL_PARAMETERS,
    KNOWN,
    PATH,
    Pairs,
    Parameters,
    issued_for,
    listed,
)
from tests.helpers.scene import Scene, call, opened_scene
from tests.helpers.world import START, World
from token_issuer.errors import DocumentInvalid, TenantsUnreadable
from token_issuer.names import NAME
from token_issuer.reporting.report import Report
from token_issuer.tenants.configuration import parse_configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tenants.recall import tenant_of
from token_issuer.tokens.plan import Leaving


def document(owner: str, **members: object) -> dict[str, object]:
    return {"tenant_id": tenant_id(owner), "scope": SCOPES[0]} | members


def owner_of(account: Account, name: str) -> str | None:
    token = account.token_of(name)
    return account.visma_connect.claims(token)["tenant_id"] if token else None


@pytest.fixture
def attacker(account: Account) -> Account:
    """Return an account where a company `attacker` has granted the application as well."""
    account.app.tenants.add(tenant_id("attacker"))
    return account


def packed(**documents: object) -> str:
    return json.dumps({"tenants": documents})


@pytest.mark.parametrize("event", [{}, {"force": True}, {"tenants": ["globex"], "force": True}])
def test_nobody_turns_on_what_its_owner_has_disabled(
    event: object, attacker: Account, run: Run
) -> None:
    attacker.configure("globex", enabled=False)
    attacker.put_document("acme", packed(globex=document("attacker")))

    report = run(event)

    assert attacker.tokens() == {}
    assert report["issued"] == 0
    assert {one["tenant"] for one in report["failures"]} == {"globex"}


def test_an_owner_who_comes_later_gets_the_name(attacker: Account, run: Run, log: Log) -> None:
    attacker.put_document("acme", packed(globex=document("attacker")))
    run()
    attacker.configure("globex")

    run()

    assert owner_of(attacker, "globex") == tenant_id("globex")
    assert len(reassigned(log)) == 1


def test_a_tenant_that_two_packed_parameters_name_is_served_as_before(
    attacker: Account, run: Run
) -> None:
    attacker.configure("globex")
    attacker.ssm.delete_parameter(Name=f"{PATH}/globex")
    attacker.put_document("packed", packed(globex=document("globex")))
    run()
    attacker.put_document("acme", packed(globex=document("attacker"), hooli=document("attacker")))
    attacker.put_document("more", packed(hooli=document("attacker")))

    report = run({"force": True})

    assert owner_of(attacker, "globex") == tenant_id("globex")
    assert attacker.token_of("hooli") is None
    assert counts(report) == {"issued": 1, "failed": 2}


# Whose tokens


def counted(measured: Log) -> list[list[float]]:
    name = "TenantReassigned"
    return [one[name] for one in measured() if name in one]


def reassigned(log: Log) -> list[dict[str, Any]]:
    return [line for line in log() if line["message"] == "Tenant reassigned"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_token_for_another_company_is_told_once(
    attacker: Account, run: Run, log: Log, measured: Log, *, enabled: bool
) -> None:
    """Also of a tenant that was disabled, of whom the ledger knows nothing any more."""
    attacker.configure("globex")
    attacker.put_document("acme", packed(globex=document("attacker")))
    run()
    attacker.configure("globex", enabled=enabled)
    run()
    attacker.ssm.delete_parameter(Name=f"{PATH}/globex")
    measured()

    report = run()

    assert owner_of(attacker, "globex") == tenant_id("attacker")
    assert counts(report) == {"issued": 1}  # a notice, no failure
    [line] = reassigned(log)
    assert (line["tenant"], line["warning"]) == ("globex", "TenantReassigned")
    assert line["detail"] == (
        f"Tenant globex had tenant_id {tenant_id('globex')};"
        f" it has tenant_id {tenant_id('attacker')} now, in {PATH}/acme"
    )
    assert "disable the tenant" in line["remedy"]
    assert counted(measured) == [[1.0]]
    run({"force": True})
    assert len(reassigned(log)) == 1


@pytest.mark.parametrize(
    "same",
    [
        pytest.param({"tenant_id": tenant_id("acme").upper()}, id="in capitals"),
        pytest.param({"tenant_id": tenant_id("acme").replace("-", "")}, id="without hyphens"),
        pytest.param({"scope": SCOPES[1]}, id="with another scope"),
    ],
)
def test_the_same_company_is_no_other(
    same: dict[str, object], account: Account, run: Run, log: Log
) -> None:
    account.configure("acme")
    run()
    account.put_document("acme", json.dumps(document("acme") | same))

    run()

    assert reassigned(log) == []


@pytest.mark.parametrize("without", ["before", "now"])
def test_no_tenant_id_is_another_one(without: str, account: Account, run: Run, log: Log) -> None:
    texts = [json.dumps(document("acme")), json.dumps({"scope": SCOPES[0]})]
    account.configure("acme")
    for text in reversed(texts) if without == "before" else texts:
        account.put_document("acme", text)
        run()

    assert [line["tenant"] for line in reassigned(log)] == ["acme"]


def test_a_company_that_is_refused_is_told_once_and_again_when_it_changes(
    account: Account, run: Run, log: Log
) -> None:
    account.configure("acme")
    run()
    for stranger in ("one", "two"):
        account.put_document("acme", json.dumps(document(stranger)))
        for _ in range(2):
            assert run()["failures"][0]["reason"] == "TokenRefused"

    assert len(reassigned(log)) == 2


def test_another_client_is_another_owner_where_no_tenant_id_is_asked_for(
    account: Account, run: Run, log: Log
) -> None:
    account.add_client("more")
    for client in ("default", "more", "more"):
        account.put_document("acme", json.dumps({"scope": SCOPES[0], "client": client}))
        run({"force": True})

    [line] = reassigned(log)
    assert line["detail"] == (
        "Tenant acme had no tenant_id (client default);"
        f" it has no tenant_id (client more) now, in {PATH}/acme"
    )


def test_a_name_is_not_taken_over_by_disabling_it_first(
    attacker: Account, run: Run, log: Log
) -> None:
    """The run in between removes the token and forgets the record."""
    attacker.configure("globex")
    run()
    attacker.ssm.delete_parameter(Name=f"{PATH}/globex")
    attacker.put_document("acme", packed(globex=document("attacker", enabled=False)))
    assert run()["removed"] == 1
    attacker.put_document("acme", packed(globex=document("attacker")))

    run()

    assert owner_of(attacker, "globex") == tenant_id("attacker")
    assert len(reassigned(log)) == 1


def test_a_change_that_a_run_for_one_tenant_makes_is_measured(
    account: Account, run: Run, log: Log, measured: Log
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))
    measured()

    run({"tenants": ["acme"]})

    assert counted(measured) == [[1.0]]
    assert len(reassigned(log)) == 1


@pytest.mark.parametrize("name", ["dry_run", "probe"])
def test_a_run_that_stores_nothing_tells_no_change(
    name: str, account: Account, run: Run, event: Event, log: Log
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))

    report = run(event(name))

    assert reassigned(log) == []
    if name == "dry_run":
        [row] = report["planned"]
        assert row["because"].startswith("changed. TenantReassigned: Tenant acme had tenant_id")


def test_a_token_that_cannot_be_stored_is_told_when_it_is(
    account: Account, run: Run, log: Log
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))
    account.app.client_secrets.clear()
    assert run()["failures"][0]["reason"] == "ClientRefused"
    assert reassigned(log) == []

    account.add_client("more")
    account.configure("acme", tenant_id=tenant_id("other"), client="more")
    run()

    assert len(reassigned(log)) == 1


@pytest.mark.parametrize(
    "purpose",
    ["", "7", "[]", "{", "{}", '{"tenant_id": 1, "scope": "", "client": "default"}', "[" * 100_000],
)
def test_a_purpose_that_cannot_be_read_is_nobodys(purpose: str) -> None:
    assert tenant_of("acme", purpose, f"{PATH}/acme") is None


# A listing that can't be had


class Unlisted(World):
    """A world whose parameters are listed, until they can't be."""

    is_throttled = False

    def get_parameters_by_path(self, **members: Any) -> dict[str, Any]:  # noqa: ANN401  as boto3's
        if self.is_throttled:
            raise client_error("ThrottlingException", "GetParametersByPath")
        return super().get_parameters_by_path(**members)

    def run_later(self, minutes: int, invocation: Invocation | None = None) -> Report:
        report = self.tick(START + timedelta(minutes=minutes), invocation=invocation)
        assert report
        return report


@pytest.fixture
def unlisted() -> Unlisted:
    world = Unlisted()
    world.configure(["acme"])
    return world


def test_without_a_listing_the_tenants_of_the_ledger_are_served_as_before(
    unlisted: Unlisted,
) -> None:
    text = '{{"tenant_id": "{}", "scope": "a b"}}'
    names = ("acme", "globex", "hooli")
    unlisted.documents = {f"{PATH}/{name}": text.format(name) for name in names}
    unlisted.run_later(0)
    before = dict(unlisted.ledger.records)
    unlisted.documents[f"{PATH}/initech"] = text.format("initech")
    unlisted.is_throttled = True

    report = unlisted.run_later(31)

    assert (report.issued, report.unreadable, len(report.tenants)) == (3, 1, 3)
    [failure] = report.as_dict()["failures"]
    assert (failure["tenant"], failure["reason"]) == (PATH, "TenantsUnreadable")
    assert "reads Parameter Store in a loop" in failure["remedy"]
    assert unlisted.ledger.records.keys() == unlisted.stored.keys() == before.keys()
    for name, after in unlisted.ledger.records.items():
        old, new = before[name].issued, after.issued
        assert old
        assert new
        assert new.issued_at > old.issued_at
        assert (new.purpose, new.document) == (old.purpose, old.document)


def test_nobody_is_removed_without_a_listing(unlisted: Unlisted) -> None:
    unlisted.configure(["acme", "globex", "hooli"])
    unlisted.run_later(0)
    unlisted.configure(["acme", "globex"])
    unlisted.run_later(5)  # hooli has vanished, and its token lives
    unlisted.is_throttled = True

    reports = [unlisted.run_later(200), unlisted.run_later(205)]

    assert [(one.removed, one.number_of(Leaving)) for one in reports] == [(0, 0)] * 2
    assert unlisted.stored.keys() == {"acme", "globex", "hooli"}


ENABLED, DISABLED = '{"scope": ""}', '{"scope": "", "enabled": false}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"acme": ENABLED}, {"acme": DISABLED}),
        ({"acme": ENABLED}, {"acme": '{"scope": "", "enabled": false, "colour": "blue"}'}),
        (
            {"pack-1": f'{{"tenants": {{"acme": {ENABLED}}}}}'},
            {
                "pack-1": f'{{"tenants": {{"acme": {ENABLED}}}}}',
                "pack-2": f'{{"tenants": {{"acme": {DISABLED}}}}}',
            },
        ),
    ],
    ids=["by its document", "by one with an unknown member", "by another packed parameter"],
)
@pytest.mark.parametrize("then", ["no listing", "documents that are no JSON"])
def test_who_was_found_disabled_stays_so(
    before: dict[str, str], after: dict[str, str], then: str, unlisted: Unlisted
) -> None:
    def put(documents: dict[str, str]) -> None:
        unlisted.configure(["globex"])
        for name, text in documents.items():
            named = text.replace('"scope"', '"tenant_id": "acme", "scope"')
            unlisted.documents[f"{PATH}/{name}"] = named

    put(before)
    assert unlisted.run_later(0).issued == 2
    put(after)
    assert unlisted.run_later(5).removed == 1
    if then == "no listing":
        unlisted.is_throttled = True
    else:
        put({name: text[:-1] for name, text in after.items()})

    unlisted.run_later(61)

    assert unlisted.stored.keys() == {"globex"}

    unlisted.is_throttled = False
    put(before)
    unlisted.run_later(62)
    assert unlisted.stored.keys() == {"acme", "globex"}


def test_no_change_of_owner_is_told_without_a_listing() -> None:
    with opened_scene() as scene:
        scene.reset()
        call({})
        scene.account.put_document("acme", json.dumps(document("stranger")))
        call({})
        assert told(scene) == 1
        scene.aws.fail("GetParametersByPath", "AccessDeniedException")

        planned = call({"dry_run": True, "force": True})["planned"]
        report = call({"force": True})

        scene.aws.script = None
        assert not [row for row in planned if "TenantReassigned" in row["because"]]
        assert report["issued"] == 3
        assert call({"tenants": ["acme"]})["failures"][0]["reason"] == "TokenRefused"
        assert told(scene) == 1


def told(scene: Scene) -> int:
    """Return how often a change of owner was."""
    events = [one for one in scene.aws.received if one.operation == "PutEvents"]
    kinds = [entry["DetailType"] for one in events for entry in one.members["Entries"]]
    return kinds.count("Tenant Reassigned")


def test_without_a_listing_and_a_ledger_nobody_is_served(unlisted: Unlisted) -> None:
    unlisted.is_throttled = True

    with pytest.raises(TenantsUnreadable):
        unlisted.run_later(0)


@pytest.mark.parametrize("probe", [True, False])
def test_a_named_tenant_is_served_without_a_listing(unlisted: Unlisted, *, probe: bool) -> None:
    unlisted.run_later(0)
    unlisted.is_throttled = True

    known = unlisted.run_later(31, Invocation(tenants=("acme",), probe=probe))
    unknown = unlisted.run_later(31, Invocation(tenants=("tenants",), probe=probe))

    assert known.issued == (not probe)
    assert {name: one.reason for name, one in known.all_failures} == {PATH: "TenantsUnreadable"}
    assert {name: one.reason for name, one in unknown.all_failures} == {
        "tenants": "TenantsUnreadable"
    }


def test_a_dry_run_without_a_listing_removes_nobody_either(unlisted: Unlisted) -> None:
    unlisted.run_later(0)
    unlisted.is_throttled = True

    planned = unlisted.run_later(31, Invocation(dry_run=True)).planned

    assert planned is not None
    assert [(name, action) for name, action, _ in planned] == [("acme", "issue"), (PATH, "fail")]


# Any parameters


def claims_of(text: str) -> Pairs | None:
    """Return who is in a packed text, each time that it is; None where it is none."""

    def pairs_of(pairs: Pairs) -> Any:  # noqa: ANN401  as the parser wants it
        return tuple(pairs) if any(name == "tenants" for name, _ in pairs) else dict(pairs)

    try:
        outer = json.loads(text, object_pairs_hook=lambda pairs: ("object", pairs))
    except (ValueError, RecursionError):
        return None
    match outer:
        case ("object", [("tenants", ("object", inner))]):
            return [
                (name, dict(value[1]) if isinstance(value, tuple) else value)
                for name, value in inner
            ]
    return None


def usable(parameters: Parameters) -> dict[str, str]:
    return {
        name: text
        for name, (text, kind) in parameters.items()
        if kind == "String" and "/" not in name
    }


@settings(max_examples=400)
@given(parameters=ALL_PARAMETERS, known=KNOWN)
def test_whatever_is_configured_its_owner_decides(
    parameters: Parameters, known: dict[str, Tenant]
) -> None:
    found = parse_configuration(listed(parameters), PATH, known)

    packed_in = {
        name: claims
        for name, text in usable(parameters).items()
        if (claims := claims_of(text)) is not None
    }
    for name, tenant in found.tenants.items():
        is_last = tenant.scope == "last-token"  # no document decides
        if is_last:
            assert replace(tenant, enabled=True) == known[name]
            if name in parameters:
                continue
        if f"{PATH}/{name}" != tenant.document and name in parameters and name not in packed_in:
            raise AssertionError(tenant)  # its own parameter is its own, unless it packs others
        everywhere = [home for home, claims in packed_in.items() if name in dict(claims)]
        says = [value for home in everywhere for one, value in packed_in[home] if one == name]
        if f"{PATH}/{name}" == tenant.document:
            says = [value for one, value in packed_in.get(name, []) if one == name]
        if any(isinstance(value, dict) and value.get("enabled") is False for value in says):
            assert not tenant.enabled
        if len(everywhere) > 1 and name not in parameters and not is_last:
            assert known[name].document == tenant.document
            assert name in found.invalid
    assert all(isinstance(error, DocumentInvalid) for error in found.invalid.values())


@settings(max_examples=400)
@given(own=ALL_PARAMETERS, others=ALL_PARAMETERS, known=KNOWN)
def test_whatever_others_write_nobodys_own_parameter_is_overruled(
    own: Parameters, others: Parameters, known: dict[str, Tenant]
) -> None:
    alone = parse_configuration(listed(own), PATH, known)

    found = parse_configuration(listed(others | own), PATH, known)

    for name in own.keys() & usable(own).keys():
        claims = claims_of(own[name][0])
        if claims is None or name in dict(claims):
            assert found.tenants.get(name) == alone.tenants.get(name)


@settings(max_examples=400)
@given(parameters=ALL_PARAMETERS, known=KNOWN)
def test_whatever_is_typed_a_tenant_that_is_somewhere_goes_on(
    parameters: Parameters, known: dict[str, Tenant]
) -> None:
    found = parse_configuration(listed(parameters), PATH, known)

    for name in filter(NAME.fullmatch, known):
        places = {known[name].document, f"{PATH}/{name}"}  # it may be in, where they can't be read
        claims = [claims_of(text) for text in usable(parameters).values()]
        is_alone = claims_of(usable(parameters).get(name, "")) is None and name in parameters
        if (
            is_alone
            or places & found.invalid.keys()
            or any(name in dict(one or []) for one in claims)
        ):
            assert name in found.tenants


@settings(max_examples=100)
@given(parameters=ALL_PARAMETERS, known=KNOWN)
def test_a_run_later_decides_likewise(parameters: Parameters, known: dict[str, Tenant]) -> None:
    """What tokens are issued for says all that the next run needs."""

    def enabled(known: dict[str, Tenant]) -> dict[str, Tenant]:
        found = parse_configuration(listed(parameters), PATH, known).tenants
        return {name: tenant for name, tenant in found.items() if tenant.enabled}

    first = enabled(known)

    assert enabled(first) == first


STATES = ("nowhere", "on", "off", "bad", "not JSON")
PLACED = ("acme", "many", "more")  # its own parameter, and two packed ones


def text_of(place: str, state: str) -> str:
    document: dict[str, object] = {"scope": f"{place}-now", "enabled": state != "off"}
    if state == "bad":
        document["scop"] = ""
    if state == "not JSON":
        return "{"
    return json.dumps(document) if place == "acme" else packed(acme=document)


def expected(states: dict[str, str], home: str) -> object:
    """Return scope and whether it is enabled, as docs/operations.md has it; None: not served."""
    places = [
        place
        for place, state in states.items()
        # who is in a packed parameter that can't be read is known from the token's record
        if state != "nowhere" and (state != "not JSON" or place in {"acme", home})
    ]
    deciding = ["acme"] if "acme" in places else places
    [decides] = deciding if len(deciding) == 1 else [home if home in deciding else ""]
    is_enabled = all(states[place] != "off" for place in deciding)
    if states.get(decides) in {"on", "off"}:
        return f"{decides}-now", is_enabled
    return ("last-token", is_enabled) if places and home else None


@pytest.mark.parametrize("own", STATES)
def test_each_contest_has_its_outcome(own: str) -> None:
    """Play all there are: three places in five states each, and where the token came from."""
    for many, more, home in product(STATES, STATES, ("", *PLACED)):
        states = dict(zip(PLACED, (own, many, more), strict=True))
        parameters = {
            place: (text_of(place, state), "String")
            for place, state in states.items()
            if state != "nowhere"
        }
        known = {"acme": issued_for("acme", f"{PATH}/{home}")} if home else {}

        found = parse_configuration(listed(parameters), PATH, known)

        tenant = found.tenants.get("acme")
        served = tenant and (tenant.scope, tenant.enabled)
        assert served == expected(states, home), (states, home)
        assert found.invalid or not tenant or tenant.scope != "last-token", (states, home)


FORTY = packed(**{f"t{number}": {"scope": ""} for number in range(40)})


def cost(count: int) -> int:
    """Return how many places are looked at for so many parameters with the same names."""
    looked: list[str] = []

    class Place(str):
        __slots__ = ()

        def __lt__(self, other: str) -> bool:
            looked.append(other)
            return str(self) < other

    found = [
        {"Name": Place(f"{PATH}/p{number:04}"), "Value": FORTY, "Type": "String"}
        for number in range(count)
    ]
    configuration = parse_configuration(found, PATH, {})  # type: ignore[arg-type]
    assert len(configuration.invalid) == 40
    return len(looked)


def test_the_same_names_in_twice_as_many_parameters_cost_twice_as_much() -> None:
    assert cost(400) < 2.5 * cost(200)


def test_errors_of_the_same_names_in_more_parameters_are_no_longer() -> None:
    def length(count: int) -> int:
        found = parse_configuration(
            listed({f"p{one:04}": (FORTY, "String") for one in range(count)}), PATH, {}
        )
        return sum(len(error.detail) for error in found.invalid.values())

    assert length(900) == length(150)


def test_each_of_many_errors_in_one_parameter_is_counted_and_a_hundred_have_a_text() -> None:
    """A parameter of 8 KB has room for a thousand; each text takes ten times as much."""
    text = json.dumps({"tenants": {f"{number}": 1 for number in range(900)}})

    found = parse_configuration(listed({"packed": (text, "String")}), PATH, {})

    assert len(found.invalid) == 900
    assert len({id(error) for error in found.invalid.values()}) == 101
    assert found.invalid["99"].detail == f"{PATH}/packed, tenant 99: it is not a JSON object"
    detail = f"{PATH}/packed: more than 100 of its tenants have errors"
    assert found.invalid["899"].detail == detail


class Undeletable(Unlisted):
    """A world in which no token can be deleted."""

    def delete_parameters(self, *, Names: list[str]) -> dict[str, list[str]]:  # noqa: N803
        assert Names
        raise client_error("AccessDeniedException", "DeleteParameters")


def test_a_disabled_tenant_whose_token_stays_gets_no_new_one_without_a_listing() -> None:
    world = Undeletable()
    world.configure(["acme"])
    assert world.run_later(0).issued == 1
    world.configure(["acme"], enabled=False)
    assert world.run_later(5).removed == 0

    world.configure(["globex"])
    assert world.run_later(10).issued == 1
    world.is_throttled = True

    assert [world.run_later(minutes).issued for minutes in (60, 65)] == [1, 0]
    assert {name: one.version for name, one in world.stored.items()} == {"acme": 1, "globex": 2}
