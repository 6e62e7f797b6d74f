import json
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws

from token_issuer.errors import TenantsUnreadable
from token_issuer.tenants import Configuration, Tenant, parse_configuration, read_tenants

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.literals import ParameterTypeType
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

PATH = "/visma/tenants"
FULL = {
    "tenant_id": "af1140c1-52e0-46c7-b684-df894d4b8a5a",
    "scope": "vismanet_erp_service_api:read visma.net.erp.salesorder:read",
    "client": "sales",
    "enabled": False,
    "note": "ticket 4711",
}


def parameter(name: str, value: object, kind: "ParameterTypeType" = "String") -> "ParameterTypeDef":
    text = value if isinstance(value, str) else json.dumps(value)
    return {"Name": f"{PATH}/{name}", "Value": text, "Type": kind}


def parse(*parameters: "ParameterTypeDef") -> Configuration:
    return parse_configuration(parameters, PATH)


def test_a_document_says_all_there_is_to_say() -> None:
    configuration = parse(parameter("acme", FULL))

    assert configuration.tenants["acme"] == Tenant(
        name="acme",
        tenant_id="af1140c1-52e0-46c7-b684-df894d4b8a5a",
        scope="vismanet_erp_service_api:read visma.net.erp.salesorder:read",
        client="sales",
        enabled=False,
    )
    assert configuration.invalid == {}


def test_only_the_scope_is_required() -> None:
    configuration = parse(parameter("acme", {"scope": ""}))

    assert configuration.tenants["acme"] == Tenant(
        name="acme", tenant_id=None, scope="", client="default", enabled=True
    )


def test_one_parameter_holds_many_tenants_in_order_of_their_names() -> None:
    packed = {"tenants": {"globex": {"scope": "b"}, "acme": {"scope": "a"}}}

    configuration = parse(parameter("packed-1", packed), parameter("hooli", {"scope": "c"}))

    assert list(configuration.tenants) == ["acme", "globex", "hooli"]
    assert configuration.tenants["globex"].scope == "b"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param("{", "not JSON", id="malformed"),
        pytest.param("[]", "not a JSON object", id="a list"),
        pytest.param("[" * 100_000, "nested too deeply", id="deep nesting"),
        pytest.param({"tenants": []}, "tenants must be one object", id="packed as a list"),
        pytest.param({"tenants": {}, "scope": ""}, "scope", id="a member beside tenants"),
        pytest.param('{"tenants": {}, "tenants": {}}', "must be one object", id="tenants twice"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_named_in_full(value: object, words: str) -> None:
    configuration = parse(parameter("acme", value), parameter("globex", {"scope": ""}))

    assert list(configuration.tenants) == ["globex"]
    assert list(configuration.invalid) == ["/visma/tenants/acme"]
    assert words in configuration.invalid["/visma/tenants/acme"].detail


@pytest.mark.parametrize(
    ("document", "words"),
    [
        pytest.param([], "not a JSON object", id="a list"),
        pytest.param({}, "scope is missing", id="no scope"),
        pytest.param({"scope": ["a"]}, "scope", id="scope as a list"),
        pytest.param({"scope": "a  b"}, "scope", id="two spaces between scopes"),
        pytest.param({"scope": " a"}, "scope", id="a space before the scope"),
        pytest.param({"scope": 'a"b'}, "scope", id="a quote in the scope"),
        pytest.param({"scope": "å"}, "scope", id="a scope beyond ASCII"),
        pytest.param({"scope": "", "tenant_id": None}, "tenant_id", id="tenant_id null"),
        pytest.param({"scope": "", "tenant_id": ""}, "tenant_id", id="tenant_id empty"),
        pytest.param({"scope": "", "tenant_id": "a b"}, "tenant_id", id="tenant_id with a space"),
        pytest.param({"scope": "", "client": "a/b"}, "client", id="a slash in the client"),
        pytest.param({"scope": "", "client": ""}, "client", id="client empty"),
        pytest.param({"scope": "", "enabled": "no"}, "enabled", id="enabled as a text"),
        pytest.param({"scope": "", "note": 4711}, "note", id="note as a number"),
        pytest.param({"scope": "", "scopes": "a"}, "scopes", id="an unknown member"),
    ],
)
def test_a_bad_document_costs_its_tenant_alone(document: object, words: str) -> None:
    packed = {"tenants": {"acme": document, "globex": {"scope": ""}}}

    configuration = parse(parameter("packed-1", packed))

    assert list(configuration.tenants) == ["globex"]
    assert list(configuration.invalid) == ["acme"]
    assert words in configuration.invalid["acme"].detail
    assert "/visma/tenants/packed-1" in configuration.invalid["acme"].detail


def test_a_member_that_stands_twice_is_an_error() -> None:
    configuration = parse(parameter("acme", '{"scope": "a", "scope": "b"}'))

    assert "duplicate members: scope" in configuration.invalid["acme"].detail


@pytest.mark.parametrize("name", ["a" * 65, "a b", "å", ""])
def test_a_name_outside_the_grammar_is_an_error(name: str) -> None:
    configuration = parse(parameter("packed-1", {"tenants": {name: {"scope": ""}}}))

    assert configuration.tenants == {}
    assert "name must be 1 to 64 of" in configuration.invalid[name].detail


def test_a_name_of_64_characters_is_one() -> None:
    assert list(parse(parameter("a" * 64, {"scope": ""})).tenants) == ["a" * 64]


@pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(
            [
                parameter("acme", {"scope": ""}),
                parameter(
                    "packed-1", {"tenants": {"acme": {"scope": ""}, "globex": {"scope": ""}}}
                ),
            ],
            id="alone and packed",
        ),
        pytest.param(
            [
                parameter("packed-1", {"tenants": {"acme": {"scope": ""}}}),
                parameter(
                    "packed-2", {"tenants": {"acme": {"scope": ""}, "globex": {"scope": ""}}}
                ),
            ],
            id="in two packed documents",
        ),
        pytest.param(
            [
                parameter(
                    "packed-1",
                    '{"tenants": {"acme": {"scope": ""}, "globex": {"scope": ""},'
                    ' "acme": {"scope": ""}}}',
                )
            ],
            id="twice in one packed document",
        ),
        pytest.param(
            [
                parameter("acme", "{"),
                parameter(
                    "packed-1", {"tenants": {"acme": {"scope": ""}, "globex": {"scope": ""}}}
                ),
            ],
            id="alone, where it can't be read, and packed",
        ),
    ],
)
def test_a_name_that_is_configured_twice_is_an_error_for_that_name(
    parameters: "list[ParameterTypeDef]",
) -> None:
    configuration = parse(*parameters)

    assert list(configuration.tenants) == ["globex"]
    assert "acme" in configuration.invalid
    assert "configured twice" in configuration.invalid["acme"].detail
    assert "packed-1" in configuration.invalid["acme"].detail


def test_a_nested_parameter_is_an_error_by_name() -> None:
    configuration = parse(parameter("eu/acme", {"scope": ""}))

    assert configuration.tenants == {}
    assert "nested" in configuration.invalid["/visma/tenants/eu/acme"].detail


def test_a_parameter_of_another_type_is_an_error_by_name() -> None:
    configuration = parse(parameter("acme", {"scope": ""}, "StringList"))

    assert "type is StringList" in configuration.invalid["/visma/tenants/acme"].detail


@pytest.fixture
def ssm(monkeypatch: pytest.MonkeyPatch) -> "SSMClient":
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    return boto3.client("ssm", region_name="eu-north-1")


@pytest.mark.parametrize("count", [0, 10, 11, 21])
def test_all_pages_are_read(count: int, ssm: "SSMClient") -> None:
    with mock_aws():
        for number in range(count):
            ssm.put_parameter(Name=f"{PATH}/t{number}", Value='{"scope": ""}', Type="String")
        ssm.put_parameter(Name="/visma/elsewhere", Value='{"scope": ""}', Type="String")

        configuration = read_tenants(ssm, PATH)

    assert configuration.tenants.keys() == {f"t{number}" for number in range(count)}


def test_nested_and_encrypted_parameters_are_listed_too(ssm: "SSMClient") -> None:
    with mock_aws():
        ssm.put_parameter(Name=f"{PATH}/eu/acme", Value='{"scope": ""}', Type="String")
        ssm.put_parameter(Name=f"{PATH}/globex", Value='{"scope": ""}', Type="SecureString")

        configuration = read_tenants(ssm, PATH)

    assert configuration.tenants == {}
    assert configuration.invalid.keys() == {f"{PATH}/eu/acme", f"{PATH}/globex"}


@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_listing_that_fails_half_way_is_no_listing(code: str, ssm: "SSMClient") -> None:
    with Stubber(ssm) as stubber:
        page = {"Parameters": [parameter("acme", {"scope": ""})], "NextToken": "more"}
        request = {"Path": PATH, "Recursive": True, "WithDecryption": False}
        stubber.add_response("get_parameters_by_path", page, request)
        stubber.add_client_error("get_parameters_by_path", code)

        with pytest.raises(TenantsUnreadable, match=f"Listing {PATH} failed: {code}"):
            read_tenants(ssm, PATH)


def test_a_listing_that_cannot_be_asked_for_is_no_listing() -> None:
    nobody = boto3.client(
        "ssm",
        endpoint_url="http://127.0.0.1:1",
        region_name="eu-north-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
    )

    with pytest.raises(TenantsUnreadable, match="EndpointConnectionError"):
        read_tenants(nobody, PATH)
