from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

from tests.helpers.account import NOBODY, ended_pacer, fast_pacer, make_client
from token_issuer.errors import TenantsUnreadable
from token_issuer.tenants.parameters import TenantDocuments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ssm import SSMClient

PATH = "/visma/tenants"


def read(ssm: "SSMClient") -> list[str]:
    """Return the names of the parameters, below the path."""
    parameters = TenantDocuments(ssm, PATH, fast_pacer()).read()
    return sorted(one["Name"].removeprefix(f"{PATH}/") for one in parameters)


@pytest.fixture
def ssm() -> "Iterator[SSMClient]":
    with mock_aws():
        yield make_client("ssm")


@pytest.mark.parametrize("count", [0, 10, 11, 21])
def test_all_pages_are_read(count: int, ssm: "SSMClient") -> None:
    for name in [*(f"{PATH}/t{number:02}" for number in range(count)), "/visma/elsewhere"]:
        ssm.put_parameter(Name=name, Value='{"scope": ""}', Type="String")

    assert read(ssm) == [f"t{number:02}" for number in range(count)]


def test_nested_and_encrypted_parameters_are_listed_too(ssm: "SSMClient") -> None:
    ssm.put_parameter(Name=f"{PATH}/eu/acme", Value='{"scope": ""}', Type="String")
    ssm.put_parameter(Name=f"{PATH}/globex", Value='{"scope": ""}', Type="SecureString")

    assert read(ssm) == ["eu/acme", "globex"]


def test_a_listing_that_cannot_be_asked_for_is_no_listing() -> None:
    with pytest.raises(TenantsUnreadable, match="EndpointConnectionError"):
        read(make_client("ssm", NOBODY))


def test_a_listing_that_takes_too_long_is_said() -> None:
    with pytest.raises(TenantsUnreadable, match=r"Listing .*: The run had no time left"):
        TenantDocuments(make_client("ssm"), PATH, ended_pacer()).read()


PARAMETER: dict[str, Any] = {"Name": f"{PATH}/acme", "Type": "String", "Value": "{}"}


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([{"Parameters": [], "NextToken": "a"}] * 2, id="pages in a circle"),
        pytest.param([{"Parameters": [PARAMETER | {"Value": 7}]}], id="a number as a text"),
        pytest.param([{"Parameters": [{"Name": f"{PATH}/acme"}]}], id="no text"),
    ],
)
def test_a_listing_that_is_none_is_said(pages: list[dict[str, Any]]) -> None:
    left = list(pages)

    def list_page(**_: object) -> dict[str, Any]:
        assert left
        return left.pop(0)

    ssm: Any = SimpleNamespace(get_parameters_by_path=list_page)
    with pytest.raises(TenantsUnreadable, match="MalformedAnswer"):
        read(ssm)
