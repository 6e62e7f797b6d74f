"""Who owns a name: whole runs with parameters of several owners, and any parameters at all."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import combinations, product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.authorization_server import SCOPES, VismaConnect
from tests.conftest import Event, counts
from tests.helpers.account import Account, Log, Run, tenant_id
from tests.helpers.memory_ledger import MemoryLedger
from tests.helpers.scene import Scene, call, opened_scene, previous
from tests.runs.test_handler import metrics_of
from tests.runs.test_run import NOW, World, pack
from token_issuer.errors import DocumentInvalid, TenantsUnreadable
from token_issuer.redaction import Quoted
from token_issuer.reporting.report import Report
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tenants.recall import tenant_of

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

PATH = "/visma/tenants"


def document(owner: str, **members: object) -> dict[str, object]:
    return {"tenant_id": tenant_id(owner), "scope": SCOPES[0]} | members


def owner_of(account: Account, name: str) -> str | None:
    token = account.token_of(name)
    return account.visma_connect.claims(token)["tenant_id"] if token else None


@pytest.fixture
def attacker(account: Account, visma_connect: VismaConnect) -> Account:
    """Return an account where a company `attacker` has granted the application as well."""
    visma_connect.clients["default-id"].tenants.add(tenant_id("attacker"))
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


def test_nobody_takes_over_who_has_a_document(attacker: Account, run: Run) -> None:
    attacker.configure("globex")
    attacker.put_document("acme", packed(globex=document("attacker")))

    for _ in range(2):
        run({"force": True})

    assert owner_of(attacker, "globex") == tenant_id("globex")


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
    run({"tenants": ["globex"]})  # of which no last good text is kept
    attacker.put_document("acme", packed(globex=document("attacker"), hooli=document("attacker")))
    attacker.put_document("more", packed(hooli=document("attacker")))

    report = run({"force": True})

    assert owner_of(attacker, "globex") == tenant_id("globex")
    assert attacker.token_of("hooli") is None
    assert counts(report) == {"issued": 1, "failed": 2}


def test_a_named_tenant_whose_own_document_breaks_at_once_is_renewed_and_told(
    account: Account, run: Run
) -> None:
    account.configure("acme")
    event = {"tenants": ["acme"], "force": True}
    run(event)  # which keeps no last good text
    account.put_document("acme", "{")

    report = run(event)

    assert counts(report) == {"issued": 1, "failed": 1}
    assert report["failures"][0]["tenant"] == f"{PATH}/acme"


# Whose tokens


def measured(capsys: pytest.CaptureFixture[str]) -> list[list[float]]:
    name = "TenantReassigned"
    return [one[name] for one in metrics_of(capsys.readouterr().out) if name in one]


def reassigned(log: Log) -> list[dict[str, Any]]:
    return [line for line in log() if line["message"] == "Tenant reassigned"]


@pytest.mark.parametrize("enabled", [True, False])
def test_a_token_for_another_company_is_told_once(
    attacker: Account, run: Run, log: Log, capsys: pytest.CaptureFixture[str], *, enabled: bool
) -> None:
    """Also of a tenant that was disabled, of whom the ledger knows nothing any more."""
    attacker.configure("globex")
    attacker.put_document("acme", packed(globex=document("attacker")))
    run()
    attacker.configure("globex", enabled=enabled)
    run()
    attacker.ssm.delete_parameter(Name=f"{PATH}/globex")
    capsys.readouterr()

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
    assert measured(capsys) == [[1.0]]
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
    """The run in between removes the token and forgets the record and the owner's document."""
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
    account: Account, run: Run, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))
    capsys.readouterr()

    run({"tenants": ["acme"]})

    assert measured(capsys) == [[1.0]]
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
    account: Account, run: Run, log: Log, visma_connect: VismaConnect
) -> None:
    account.configure("acme")
    run()
    account.configure("acme", tenant_id=tenant_id("other"))
    visma_connect.clients["default-id"].client_secrets.clear()
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

    error: TenantsUnreadable | None = None

    def __init__(self) -> None:
        super().__init__(MemoryLedger())

    def read_tenants(
        self, last_good: Mapping[str, str], known: Mapping[str, Tenant]
    ) -> Configuration:
        if self.error:
            raise self.error
        return super().read_tenants(last_good, known)

    def fail(self) -> None:
        text = "Listing /visma/tenants failed: ThrottlingException"
        self.error = TenantsUnreadable(text, code=Quoted("ThrottlingException"))

    def run_later(self, minutes: int, invocation: Invocation | None = None) -> Report:
        return self.run(invocation, now=lambda: NOW + timedelta(minutes=minutes))


@pytest.fixture
def unlisted() -> Unlisted:
    return Unlisted()


def test_without_a_listing_the_tenants_of_the_ledger_are_served() -> None:
    with opened_scene() as scene:
        scene.reset()
        for tenant in ("acme", "globex"):
            scene.account.configure(tenant)
        call({})
        before = scene.account.tokens()
        scene.account.configure("initech")
        scene.aws.fail("GetParametersByPath", "ThrottlingException")

        report = call({"force": True})

        scene.aws.script = None
        after = scene.account.tokens()
    assert report["issued"] == len(before) == 3
    assert {name for name in after if after[name] != before.get(name, "")} == before.keys()
    [failure] = report["failures"]
    assert (failure["tenant"], failure["reason"]) == (PATH, "TenantsUnreadable")
    assert "reads Parameter Store in a loop" in failure["remedy"]
    assert previous("acme") not in after.values()


def test_who_is_served_without_a_listing_is_served_as_before(unlisted: Unlisted) -> None:
    text = '{"tenant_id": "7", "scope": "a b", "client": "default"}'
    unlisted.documents = {f"{PATH}/acme": text}
    unlisted.run()
    unlisted.fail()

    report = unlisted.run_later(31)

    assert (report.issued, report.unreadable, report.configured) == (1, 1, 1)
    assert unlisted.last.tenant == Tenant(
        name="acme",
        tenant_id="7",
        scope="a b",
        client="default",
        enabled=True,
        document=f"{PATH}/acme",
    )
    assert unlisted.outside.ledger.read().documents == {f"{PATH}/acme": text}


def test_nobody_is_removed_without_a_listing(unlisted: Unlisted) -> None:
    unlisted.documents |= pack(["globex", "hooli"])
    unlisted.run()
    unlisted.documents = {f"{PATH}/acme": '{"scope": ""}'} | pack(["globex"])
    unlisted.run()  # hooli has vanished
    unlisted.fail()

    report = unlisted.run_later(200)

    assert (report.issued, report.removed, report.vanished) == (2, 0, 0)
    assert unlisted.versions.keys() == {
        f"/visma/tokens/{one}" for one in ("acme", "globex", "hooli")
    }
    assert unlisted.versions["/visma/tokens/hooli"] == 1  # it stays out
    assert "hooli" in unlisted.outside.ledger.read().records


def test_who_has_no_token_yet_is_served_without_a_listing(unlisted: Unlisted) -> None:
    unlisted.documents |= pack(["globex"])
    unlisted.run(issue_tokens=lambda *_: iter(()))
    unlisted.fail()

    report = unlisted.run_later(5)

    assert (report.issued, report.configured) == (2, 2)


def test_who_is_disabled_stays_so_without_a_listing(unlisted: Unlisted) -> None:
    """The token may still be there, where it could not be deleted."""
    unlisted.run()
    unlisted.documents[f"{PATH}/acme"] = '{"scope": "", "enabled": false}'
    unlisted.documents |= pack(["globex"])
    unlisted.run(remove_tokens=lambda *_: iter(()))
    unlisted.fail()

    assert unlisted.run_later(61).issued == 1
    assert unlisted.versions["/visma/tokens/acme"] == 1


ENABLED, DISABLED = '{"scope": ""}', '{"scope": "", "enabled": false}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"acme": ENABLED}, {"acme": '{"scope": "", "enabled": false, "colour": "blue"}'}),
        (
            {"pack-1": f'{{"tenants": {{"acme": {ENABLED}}}}}'},
            {
                "pack-1": f'{{"tenants": {{"acme": {ENABLED}}}}}',
                "pack-2": f'{{"tenants": {{"acme": {DISABLED}}}}}',
            },
        ),
    ],
    ids=["by a document with an unknown member", "by another packed parameter"],
)
@pytest.mark.parametrize("then", ["no listing", "documents that are no JSON"])
def test_who_was_found_disabled_stays_so(
    before: dict[str, str], after: dict[str, str], then: str, unlisted: Unlisted
) -> None:
    def put(documents: dict[str, str]) -> None:
        unlisted.documents = {f"{PATH}/{name}": text for name, text in documents.items()}
        unlisted.documents |= pack(["globex"])

    put(before)
    unlisted.run()
    put(after)
    unlisted.run(remove_tokens=lambda *_: iter(()))
    if then == "no listing":
        unlisted.fail()
    else:
        put({name: text[:-1] for name, text in after.items()})

    report = unlisted.run_later(61)

    assert unlisted.versions.get("/visma/tokens/acme") in {None, 1}
    assert report.expiries.keys() == {"globex"}

    unlisted.error = None
    put(before)
    assert unlisted.run_later(62).expiries.keys() == {"acme", "globex"}


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
    unlisted.fail()

    with pytest.raises(TenantsUnreadable):
        unlisted.run()


def test_without_last_good_texts_who_has_a_token_is_served(unlisted: Unlisted) -> None:
    unlisted.run(Invocation(tenants=("acme",)))  # which keeps none
    unlisted.fail()

    assert unlisted.run_later(40).issued == 1


@pytest.mark.parametrize("probe", [True, False])
def test_a_named_tenant_is_served_without_a_listing(unlisted: Unlisted, *, probe: bool) -> None:
    unlisted.run()
    unlisted.fail()

    known = unlisted.run_later(31, Invocation(tenants=("acme",), probe=probe))
    unknown = unlisted.run_later(31, Invocation(tenants=("tenants",), probe=probe))

    assert known.issued == (not probe)
    assert {name: one.reason for name, one in known.all_failures} == {PATH: "TenantsUnreadable"}
    assert {name: one.reason for name, one in unknown.all_failures} == {
        "tenants": "TenantsUnreadable"
    }


def test_a_dry_run_without_a_listing_removes_nobody_either(unlisted: Unlisted) -> None:
    unlisted.run()
    unlisted.fail()

    planned = unlisted.run_later(31, Invocation(dry_run=True)).planned

    assert planned is not None
    assert [(name, action) for name, action, _ in planned] == [("acme", "issue"), (PATH, "fail")]


# Any parameters

NAMES = ("acme", "globex", "hooli", "packed", "more", "tenants", "a b", "", "/visma/tenants/acme")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
DOCUMENTS = st.fixed_dictionaries(
    {"scope": st.sampled_from(["a", "b", "c"])},
    optional={"enabled": st.booleans(), "tenant_id": st.sampled_from(["1", "2", "3"])},
)
BAD_DOCUMENTS = ANYTHING | st.fixed_dictionaries({"scop": st.just(""), "enabled": st.booleans()})
type Pairs = list[tuple[str, Any]]


def written(pairs: Pairs) -> str:
    """Return an object in which a member may be more than once."""
    return (
        "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}"
    )


PAIRS: st.SearchStrategy[Pairs] = st.lists(
    st.tuples(st.sampled_from(NAMES), DOCUMENTS | BAD_DOCUMENTS), max_size=6
)
TEXTS = st.one_of(
    DOCUMENTS.map(json.dumps),
    PAIRS.map(lambda pairs: f'{{"tenants": {written(pairs)}}}'),
    BAD_DOCUMENTS.map(json.dumps),
    st.sampled_from(
        ['{"tenants": {}, "tenants": {}}', '{"tenants": []}', "[" * 20_000, "9" * 9_999]
    ),
    st.text(),
)
PLACES = st.sampled_from([*NAMES[:6], "packed-001", "eu/acme", "eu/packed"])
KINDS = st.sampled_from(["String"] * 8 + ["SecureString", "StringList"])
ALL_PARAMETERS = st.dictionaries(PLACES, st.tuples(TEXTS, KINDS), max_size=6)
LAST_GOOD = st.dictionaries(PLACES.map(lambda name: f"{PATH}/{name}"), TEXTS, max_size=4)
HOMES = st.dictionaries(st.sampled_from(NAMES), PLACES.map(lambda name: f"{PATH}/{name}"))


def issued_for(name: str, home: str) -> Tenant:
    return Tenant(
        name=name, tenant_id=None, scope="last-token", client="default", enabled=True, document=home
    )


KNOWN = HOMES.map(lambda homes: {name: issued_for(name, home) for name, home in homes.items()})


def listed(parameters: Mapping[str, tuple[str, Any]]) -> "list[ParameterTypeDef]":
    return [
        {"Name": f"{PATH}/{name}", "Value": text, "Type": kind}
        for name, (text, kind) in parameters.items()
    ]


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


@settings(max_examples=400)
@given(parameters=ALL_PARAMETERS, last_good=LAST_GOOD, known=KNOWN)
def test_whatever_is_configured_its_owner_decides(
    parameters: dict[str, tuple[str, Any]], last_good: dict[str, str], known: dict[str, Tenant]
) -> None:
    found = parse_configuration(listed(parameters), PATH, last_good, known)

    usable = {
        name: text
        for name, (text, kind) in parameters.items()
        if kind == "String" and "/" not in name
    }
    packed_in = {
        name: claims for name, text in usable.items() if (claims := claims_of(text)) is not None
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
            had = dict(claims_of(last_good.get(tenant.document, "")) or [])
            assert name in had or known[name].document == tenant.document
            assert name in found.invalid
    for name, text in usable.items():
        own = parse_configuration(listed({name: (text, "String")}), PATH, {})
        if name in own.tenants and name not in own.invalid:
            assert found.tenants[name] == own.tenants[name]
    assert all(isinstance(error, DocumentInvalid) for error in found.invalid.values())


STATES = ("nowhere", "on", "off", "bad", "not JSON")
PLACED = ("acme", "many", "more")  # its own parameter, and two packed ones


def text_of(place: str, state: str) -> str:
    document: dict[str, object] = {"scope": f"{place}-now", "enabled": state != "off"}
    if state == "bad":
        document["scop"] = ""
    if state == "not JSON":
        return "{"
    return json.dumps(document) if place == "acme" else packed(acme=document)


def expected(states: dict[str, str], last: tuple[str, ...], home: str) -> object:
    """Return scope and whether it is enabled, as docs/operations.md has it; None: not served."""
    places = [
        place
        for place, state in states.items()
        # who is in a packed parameter that can't be read is known from its last good text, or from
        # what tokens were issued for
        if state != "nowhere" and (state != "not JSON" or place in {"acme", home} or place in last)
    ]
    deciding = ["acme"] if "acme" in places else places
    had = [place for place in deciding if place in last]
    if len(deciding) > 1 and len(had) != 1:
        had = [place for place in had or deciding if place == home]
    [decides] = (deciding if len(deciding) == 1 else had) or [""]
    if states.get(decides) in {"on", "off"}:
        scope = f"{decides}-now"
    elif decides in last:
        scope = f"{decides}-last"
    elif places and home:
        scope = "last-token"
    else:
        return None
    return scope, all(states[place] != "off" for place in deciding)


@pytest.mark.parametrize("own", STATES)
def test_each_contest_has_its_outcome(own: str) -> None:
    """Play all there are: three places in five states each, and what was known of them before."""
    subsets = [some for count in range(4) for some in combinations(PLACED, count)]
    for many, more, last, home in product(STATES, STATES, subsets, ("", *PLACED)):
        states = dict(zip(PLACED, (own, many, more), strict=True))
        parameters = {
            place: (text_of(place, state), "String")
            for place, state in states.items()
            if state != "nowhere"
        }
        known = {f"{PATH}/{place}": text_of(place, "on").replace("now", "last") for place in last}

        tokens = {"acme": issued_for("acme", f"{PATH}/{home}")} if home else {}
        found = parse_configuration(listed(parameters), PATH, known, tokens)

        tenant = found.tenants.get("acme")
        served = tenant and (tenant.scope, tenant.enabled)
        assert served == expected(states, last, home), (states, last, home)


@settings(max_examples=100)
@given(parameters=ALL_PARAMETERS, last_good=LAST_GOOD)
def test_a_run_later_decides_likewise(
    parameters: dict[str, tuple[str, Any]], last_good: dict[str, str]
) -> None:
    """What is kept of a run says all that the next one needs."""
    first = parse_configuration(listed(parameters), PATH, last_good)
    kept = {name: text for name, text in last_good.items() if name in first.parameters}

    second = parse_configuration(listed(parameters), PATH, kept | first.good_texts)

    assert second.tenants == first.tenants


def cost(count: int) -> int:
    """Return how many places are looked at for so many parameters with the same names."""
    looked: list[str] = []

    class Place(str):
        __slots__ = ()

        def __lt__(self, other: str) -> bool:
            looked.append(other)
            return str(self) < other

    names = pack(f"t{number}" for number in range(40))[f"{PATH}/packed"]
    found = [
        {"Name": Place(f"{PATH}/p{number:04}"), "Value": names, "Type": "String"}
        for number in range(count)
    ]
    configuration = parse_configuration(found, PATH, {})  # type: ignore[arg-type]
    assert len(configuration.invalid) == 40
    return len(looked)


def test_the_same_names_in_twice_as_many_parameters_cost_twice_as_much() -> None:
    assert cost(400) < 2.5 * cost(200)


def test_errors_of_the_same_names_in_more_parameters_are_no_longer() -> None:
    def length(count: int) -> int:
        names = pack(f"t{number}" for number in range(40))[f"{PATH}/packed"]
        found = parse_configuration(
            listed({f"p{one:04}": (names, "String") for one in range(count)}), PATH, {}
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
