import json
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from tests.issuer.conftest import ended_pacer, fast_pacer
from token_issuer.errors import DocumentInvalid, TenantsUnreadable
from token_issuer.tenants import (
    Configuration,
    Tenant,
    check_document,
    parse_configuration,
    read_tenants,
)

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


def parse(
    *parameters: "ParameterTypeDef", last_good: dict[str, str] | None = None
) -> Configuration:
    return parse_configuration(parameters, PATH, last_good or {})


def test_a_document_says_all_there_is_to_say() -> None:
    configuration = parse(parameter("acme", FULL))

    assert configuration.tenants["acme"] == Tenant(
        name="acme",
        tenant_id="af1140c1-52e0-46c7-b684-df894d4b8a5a",
        scope="vismanet_erp_service_api:read visma.net.erp.salesorder:read",
        client="sales",
        enabled=False,
        document=f"{PATH}/acme",
    )
    assert configuration.invalid == {}


def test_only_the_scope_is_required() -> None:
    configuration = parse(parameter("acme", {"scope": ""}))

    assert configuration.tenants["acme"] == Tenant(
        name="acme",
        tenant_id=None,
        scope="",
        client="default",
        enabled=True,
        document=f"{PATH}/acme",
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

        configuration = read_tenants(ssm, PATH, {}, pacer=fast_pacer())

    assert configuration.tenants.keys() == {f"t{number}" for number in range(count)}


def test_nested_and_encrypted_parameters_are_listed_too(ssm: "SSMClient") -> None:
    with mock_aws():
        ssm.put_parameter(Name=f"{PATH}/eu/acme", Value='{"scope": ""}', Type="String")
        ssm.put_parameter(Name=f"{PATH}/globex", Value='{"scope": ""}', Type="SecureString")

        configuration = read_tenants(ssm, PATH, {}, pacer=fast_pacer())

    assert configuration.tenants == {}
    assert configuration.invalid.keys() == {f"{PATH}/eu/acme", f"{PATH}/globex"}


def test_a_listing_that_cannot_be_asked_for_is_no_listing() -> None:
    nobody = boto3.client(
        "ssm",
        endpoint_url="http://127.0.0.1:1",
        region_name="eu-north-1",
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        config=Config(retries={"total_max_attempts": 1}),
    )

    with pytest.raises(TenantsUnreadable, match="EndpointConnectionError"):
        read_tenants(nobody, PATH, {}, pacer=fast_pacer())


def test_a_listing_that_takes_too_long_is_said() -> None:
    with pytest.raises(TenantsUnreadable, match="ended before its turn"):
        read_tenants(boto3.client("ssm", "eu-north-1"), PATH, {}, pacer=ended_pacer())


# Last good documents

GOOD = {"tenants": {"acme": {"scope": "a"}, "globex": {"scope": "b"}}}
KEPT = {f"{PATH}/packed": json.dumps(GOOD)}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(parameter("packed", "{"), id="malformed"),
        pytest.param(parameter("packed", {"tenants": {}, "tenant": {}}), id="an unknown member"),
        pytest.param(parameter("packed", GOOD, "StringList"), id="another type"),
    ],
)
def test_a_parameter_that_cannot_be_used_goes_on_as_it_was(broken: "ParameterTypeDef") -> None:
    configuration = parse(broken, last_good=KEPT)

    assert configuration.tenants == parse(parameter("packed", GOOD)).tenants
    assert configuration.invalid.keys() == {f"{PATH}/packed"}
    assert json.loads(configuration.good_texts[f"{PATH}/packed"]) == GOOD


def test_one_bad_document_of_many_goes_on_and_the_others_are_what_they_are_now() -> None:
    now = {"tenants": {"acme": {"scop": "a"}, "globex": {"scope": "c"}, "hooli": {"scope": "d"}}}

    configuration = parse(parameter("packed", now), last_good=KEPT)

    scopes = {name: tenant.scope for name, tenant in configuration.tenants.items()}
    assert scopes == {"acme": "a", "globex": "c", "hooli": "d"}
    assert configuration.invalid.keys() == {"acme"}
    good = {"tenants": {name: {"scope": scope} for name, scope in scopes.items()}}
    assert json.loads(configuration.good_texts[f"{PATH}/packed"]) == good


def test_a_document_that_is_taken_out_is_gone() -> None:
    configuration = parse(parameter("packed", {"tenants": {}}), last_good=KEPT)

    assert configuration.tenants == {}
    assert configuration.good_texts == {f"{PATH}/packed": '{"tenants": {}}'}
    assert parse(parameter("packed", "{"), last_good=configuration.good_texts).tenants == {}


def test_a_name_that_is_configured_twice_goes_on_where_it_was() -> None:
    again = parameter("more", {"tenants": {"acme": {"scope": "x"}, "hooli": {"scope": "y"}}})

    configuration = parse(parameter("packed", GOOD), again, last_good=KEPT)

    assert configuration.tenants["acme"].scope == "a"
    assert configuration.invalid.keys() == {"acme"}
    assert json.loads(configuration.good_texts[f"{PATH}/packed"]) == GOOD
    more = {"tenants": {"hooli": {"scope": "y"}}}
    assert json.loads(configuration.good_texts[f"{PATH}/more"]) == more


def test_a_parameter_without_tenants_takes_no_name() -> None:
    empty = parameter("acme", {"tenants": {}})

    configuration = parse(empty, parameter("packed", {"tenants": {"acme": {"scope": "a"}}}))

    assert configuration.invalid == {}
    assert configuration.tenants.keys() == {"acme"}


def test_a_good_text_is_kept_as_it_is() -> None:
    text = '{ "scope": "a" }'

    assert parse(parameter("acme", text)).good_texts == {f"{PATH}/acme": text}


def test_what_an_earlier_version_took_for_good_is_used_as_far_as_it_can_be() -> None:
    kept = {f"{PATH}/packed": json.dumps({"tenants": {"acme": {"scope": "a"}, "globex": {}}})}

    configuration = parse(parameter("packed", "{"), last_good=kept)

    assert configuration.tenants.keys() == {"acme"}
    assert parse(parameter("packed", "{"), last_good={f"{PATH}/packed": "["}).tenants == {}


def test_a_document_is_checked_as_it_will_be_read() -> None:
    home = "/visma/tenants/acme"

    tenant = check_document("acme", '{"scope": "a:read"}', home)

    assert (tenant.name, tenant.scope, tenant.document) == ("acme", "a:read", home)
    with pytest.raises(DocumentInvalid, match="unknown members: colour"):
        check_document("acme", '{"scope": "", "colour": "red"}', home)
