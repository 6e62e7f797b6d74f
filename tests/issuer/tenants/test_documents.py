import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.any_parameters import PATH, issued_for
from tests.helpers.facts import make_tenant
from token_issuer.errors import DocumentInvalid
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.documents import (
    Tenant,
    check_document,
    parse_documents,
    parse_tenant,
)

if TYPE_CHECKING:
    from mypy_boto3_ssm.literals import ParameterTypeType
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

FULL: dict[str, Any] = {
    "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a",
    "scope": "vismanet_erp_service_api:read visma.net.erp.salesorder:read",
    "client": "sales",
    "enabled": False,
}


def parameter(name: str, value: object, kind: "ParameterTypeType" = "String") -> "ParameterTypeDef":
    text = value if isinstance(value, str) else json.dumps(value)
    return {"Name": f"{PATH}/{name}", "Value": text, "Type": kind}


def parse(*parameters: "ParameterTypeDef", known: dict[str, Tenant] | None = None) -> Configuration:
    return parse_configuration(parameters, PATH, known or {})


def had(place: str, *names: str) -> dict[str, Tenant]:
    """Return tenants as their tokens were issued for them, while they were in a parameter."""
    return {name: issued_for(name, f"{PATH}/{place}") for name in names}


def pack(name: str, **documents: object) -> "ParameterTypeDef":
    return parameter(name, {"tenants": documents})


@pytest.mark.parametrize(
    ("document", "tenant"),
    [
        pytest.param(
            FULL | {"note": "ticket 4711"}, make_tenant("acme", **FULL), id="all there is to say"
        ),
        pytest.param({"scope": ""}, make_tenant("acme", scope=""), id="the scope alone"),
    ],
)
def test_a_document_is_read(document: dict[str, object], tenant: Tenant) -> None:
    configuration = parse(parameter("acme", document))

    assert configuration.tenants == {"acme": tenant}
    assert configuration.invalid == {}


def test_one_parameter_holds_many_tenants_in_order_of_their_names() -> None:
    packed = {"tenants": {"globex": {"scope": "b"}, "acme": {"scope": "a"}}}

    configuration = parse(parameter("packed-1", packed), parameter("hooli", {"scope": "c"}))

    assert list(configuration.tenants) == ["acme", "globex", "hooli"]
    assert configuration.tenants["globex"].scope == "b"
    assert configuration.parameters == 2


def test_a_name_of_64_characters_is_one() -> None:
    assert list(parse(parameter("a" * 64, {"scope": ""})).tenants) == ["a" * 64]


def test_nested_and_encrypted_parameters_configure_nobody() -> None:
    encrypted = parameter("globex", {"scope": ""}, "SecureString")

    configuration = parse(parameter("eu/acme", {"scope": ""}), encrypted)

    assert configuration.tenants == {}
    assert configuration.invalid.keys() == {f"{PATH}/eu/acme", f"{PATH}/globex"}


# A document that can't be used

GOOD = {"tenants": {"acme": {"scope": "a"}, "globex": {"scope": "b"}}}
KNOWN = had("packed", "acme", "globex")


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(parameter("packed", "{"), id="malformed"),
        pytest.param(parameter("packed", {"tenants": {}, "tenant": {}}), id="an unknown member"),
        pytest.param(parameter("packed", GOOD, "StringList"), id="another type"),
    ],
)
def test_a_parameter_that_cannot_be_used_leaves_its_tenants_the_values_of_their_tokens(
    broken: "ParameterTypeDef",
) -> None:
    configuration = parse(broken, known=KNOWN | had("gone", "hooli"))

    assert configuration.tenants == KNOWN
    assert configuration.invalid.keys() == {f"{PATH}/packed"}
    assert parse(broken).tenants == {}


def test_one_bad_document_of_many_goes_on_and_the_others_are_what_they_are_now() -> None:
    now = {"tenants": {"acme": {"scop": "a"}, "globex": {"scope": "c"}, "hooli": {"scope": "d"}}}

    configuration = parse(parameter("packed", now), known=KNOWN)

    scopes = {name: tenant.scope for name, tenant in configuration.tenants.items()}
    assert scopes == {"acme": "last-token", "globex": "c", "hooli": "d"}
    assert configuration.invalid.keys() == {"acme"}


def test_a_document_that_is_taken_out_is_gone() -> None:
    configuration = parse(parameter("packed", {"tenants": {}}), known=KNOWN)

    assert configuration.tenants == {}
    assert configuration.invalid == {}


def test_a_parameter_without_tenants_takes_no_name() -> None:
    empty = parameter("acme", {"tenants": {}})

    configuration = parse(empty, parameter("packed", {"tenants": {"acme": {"scope": "a"}}}))

    assert configuration.invalid == {}
    assert configuration.tenants.keys() == {"acme"}


def test_a_document_is_checked_as_it_will_be_read() -> None:
    home = "/visma/tenants/acme"

    tenant = check_document("acme", '{"scope": "a:read"}', home)

    assert (tenant.name, tenant.scope, tenant.document) == ("acme", "a:read", home)
    with pytest.raises(DocumentInvalid, match="unknown members: colour"):
        check_document("acme", '{"scope": "", "colour": "red"}', home)


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("packed", '{"tenants": []}', "tenants must be one object"),
        ("packed", '{"tenants": {}, "tenants": {}}', "tenants must be one object"),
        ("packed", '{"tenants": {"acme": []}}', "it is not a JSON object"),
        ("acme", "[]", "it is not a JSON object"),
        pytest.param("acme", "[" * 100_000, "nested too deeply", id="nesting without end"),
        ("acme", f'{{"scope": {"1" * 5000}}}', "a number in it has too many digits"),
        ("a b", '{"scope": ""}', "the name must be 1 to 64 of"),
        ("acme", '{"scope": "", "enabled": 1}', "enabled must be true or false"),
        ("acme", '{"scope": "a  b"}', "scope must be a text: scopes with one space between them"),
        ("acme", '{"scope": "", "client": "a b"}', "client must be 1 to 64 of"),
        ("acme", '{"scope": "", "note": 7}', "note must be a text"),
        ("acme", '{"scope": "", "tenant_id": null}', "tenant_id must be a text without spaces"),
    ],
)
def test_what_is_wrong_with_a_document_is_told(name: str, text: str, detail: str) -> None:
    with pytest.raises(DocumentInvalid, match=detail):
        _ = [parse_tenant(*one, "/visma/tenants/acme") for one in parse_documents(name, text)]


# A name in several places

OURS = {"tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a", "scope": "ours"}
THEIRS = {"tenant_id": "11111111-52e0-46c7-b684-df894d4b8a5a", "scope": "theirs"}
OFF = {"enabled": False}
BROKEN = {"scop": "ours"}


@pytest.mark.parametrize("enabled", [True, False])
def test_a_tenants_own_parameter_decides(*, enabled: bool) -> None:
    """Whoever may write another parameter could else take the tenant over, or turn it on."""
    own = parameter("globex", OURS | {"enabled": enabled})
    theirs = THEIRS | {"enabled": not enabled}
    packed = [pack("acme", globex=theirs), pack("packed", globex=theirs)]

    found = parse(*packed, own, known=had("acme", "globex"))

    tenant = found.tenants["globex"]
    assert (tenant.scope, tenant.enabled, tenant.document) == ("ours", enabled, f"{PATH}/globex")
    assert found.invalid.keys() == {"globex"}
    error = found.invalid["globex"]
    places = f"{PATH}/acme and in {PATH}/globex and in {PATH}/packed"
    assert error.detail == f"Tenant globex follows its own parameter; it is in {places}"
    assert error.code == "overridden"


def test_a_packed_parameter_of_the_tenants_own_name_decides_too() -> None:
    found = parse(pack("acme", acme=OURS, hooli=OURS), pack("packed", acme=THEIRS | OFF))

    assert found.tenants["acme"].scope == "ours"
    assert found.tenants["acme"].enabled
    assert found.tenants.keys() == {"acme", "hooli"}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(parameter("globex", "{"), id="not JSON"),
        pytest.param(parameter("globex", OURS, "SecureString"), id="another type"),
        pytest.param(parameter("globex", BROKEN), id="an unknown member"),
        pytest.param(pack("globex", globex=BROKEN), id="packed in its own"),
    ],
)
def test_a_tenants_own_parameter_decides_though_it_cannot_be_used(
    broken: "ParameterTypeDef",
) -> None:
    packed = pack("acme", globex=THEIRS)

    new = parse(packed, broken)
    known = parse(packed, broken, known=had("globex", "globex"))

    assert new.tenants == {}
    why = ": its own parameter can't be used; it is in"
    assert new.invalid["globex"].detail.startswith(f"Tenant globex is not served{why}")
    assert known.tenants == had("globex", "globex")
    kept = "Tenant globex keeps the values of its last token"
    assert known.invalid["globex"].detail.startswith(f"{kept}{why}")


def test_a_parameter_that_packed_others_keeps_its_own_name_though_it_cannot_be_read() -> None:
    """What is in it now may disable the tenant."""
    own = parameter("globex", '{"scope": "ours", "enabled": false')

    found = parse(pack("acme", globex=THEIRS), own, known=had("globex", "hooli"))

    assert found.tenants.keys() == {"hooli"}
    assert found.invalid.keys() == {"globex", f"{PATH}/globex"}


def test_a_nested_parameter_is_not_the_tenants_own() -> None:
    found = parse(parameter("team/globex", THEIRS | OFF), pack("packed", globex=OURS))

    assert found.tenants["globex"].scope == "ours"
    assert found.tenants["globex"].enabled
    assert found.invalid.keys() == {f"{PATH}/team/globex"}


def test_a_tenant_in_two_packed_parameters_stays_with_the_one_that_had_it() -> None:
    more = pack("more", acme=THEIRS, hooli={"scope": "y"})

    found = parse(more, pack("packed", acme=OURS), known=KNOWN)

    assert found.tenants["acme"].document == f"{PATH}/packed"
    assert found.tenants["acme"].scope == "ours"  # as it is now: its owner may still change it
    assert found.invalid.keys() == {"acme"}
    places = f"{PATH}/more and in {PATH}/packed"
    detail = f"Tenant acme stays with {PATH}/packed; it is in {places}"
    assert found.invalid["acme"].detail == detail
    assert found.invalid["acme"].code == "twice"
    assert found.tenants["hooli"].scope == "y"


def test_a_tenant_whose_packed_document_breaks_is_not_taken_over_by_another() -> None:
    more = pack("more", acme=THEIRS)

    found = parse(more, pack("packed", acme=BROKEN), known=KNOWN)
    unreadable = parse(more, parameter("packed", "{"), known=KNOWN)

    assert found.tenants["acme"] == unreadable.tenants["acme"] == KNOWN["acme"]
    assert "unknown members: scop" in found.invalid["acme"].detail


@pytest.mark.parametrize("off", ["more", "packed"])
def test_either_of_two_packed_parameters_disables_a_tenant(off: str) -> None:
    packed = [pack(name, acme=OURS | (OFF if name == off else {})) for name in ("more", "packed")]

    found = parse(*packed, known=KNOWN)

    assert not found.tenants["acme"].enabled
    assert f"is disabled, since {PATH}/{off} says so" in found.invalid["acme"].detail


@pytest.mark.parametrize(
    "text",
    [
        '{"tenants": {"acme": {"scope": "x", "enabled": false}, "acme": {"scope": "x"}}}',
        '{"tenants": {"acme": {"scope": "x"}, "acme": {"scope": "x", "enabled": false}}}',
        '{"tenants": {"acme": {"scope": "x", "enabled": false, "enabled": true}}}',
        '{"tenants": {"acme": {"scop": "x", "enabled": false}}}',
        '{"tenants": {"acme": {"enabled": false}}}',
    ],
)
def test_who_is_disabled_in_a_document_that_cannot_be_used_is_disabled(text: str) -> None:
    found = parse(parameter("packed", text), known=KNOWN)

    assert not found.tenants["acme"].enabled
    assert found.tenants["acme"].scope == "last-token"
    assert found.invalid.keys() == {"acme"}


def test_a_name_twice_in_one_parameter_goes_on_as_it_was() -> None:
    text = '{"tenants": {"acme": {"scope": "x"}, "acme": {"scope": "y"}}}'

    found = parse(parameter("packed", text), known=KNOWN)

    assert found.tenants["acme"].scope == "last-token"
    keeps = "Tenant acme keeps the values of its last token"
    assert found.invalid["acme"].detail == f"{keeps}; it is in {PATH}/packed, more than once"
    assert parse(parameter("packed", text)).tenants == {}


@pytest.mark.parametrize(("count", "more"), [(2, ""), (150, " and in 147 more")])
def test_a_new_name_in_many_places_is_not_served_and_is_one_error_with_three_of_them(
    count: int, more: str
) -> None:
    found = parse(*(pack(f"packed-{number:03}", acme=OURS) for number in range(count)))

    places = " and in ".join(f"{PATH}/packed-{number:03}" for number in range(min(count, 3)))
    assert found.tenants == {}
    assert {name: error.detail for name, error in found.invalid.items()} == {
        "acme": f"Tenant acme is not served; it is in {places}{more}"
    }


def test_a_packed_name_is_never_taken_for_a_parameter() -> None:
    """Else an error of the one would hide that of the other."""
    found = parse(parameter("globex", "{"), pack("packed", **{f"{PATH}/globex": OURS}))

    assert found.invalid.keys() == {f"{PATH}/globex", f"'{PATH}/globex'"}
