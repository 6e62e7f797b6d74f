import json
from typing import TYPE_CHECKING

import boto3
import pytest
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


def test_a_bad_document_costs_no_other_in_the_same_parameter() -> None:
    packed = {"tenants": {"acme": {}, "globex": {"scope": ""}}}

    configuration = parse(parameter("packed-1", packed))

    assert configuration.tenants.keys() == {"globex"}
    assert configuration.invalid.keys() == {"acme"}


def test_nesting_without_end_is_an_error() -> None:
    configuration = parse(parameter("acme", "[" * 100_000))

    assert "nested too deeply" in configuration.invalid["/visma/tenants/acme"].detail


def test_a_name_of_64_characters_is_one() -> None:
    assert list(parse(parameter("a" * 64, {"scope": ""})).tenants) == ["a" * 64]


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
