"""A tenant document is whatever somebody has put below the tenants path, now and earlier."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.any_parameters import KNOWN as REMEMBERED
from tests.helpers.fuzzed_values import objects, spelled, texts, values
from tests.helpers.fuzzed_world import configured
from tests.runs.fuzz import cases
from token_issuer.redaction import DETAIL_CHARACTERS
from token_issuer.tenants.configuration import parse_configuration
from token_issuer.tenants.documents import Tenant

NAMES = ["acme", "globex", "initech", "a/b", "x" * 65, ".."]
KNOWN: dict[str, list[Any]] = {
    "scope": ["", "a", "a b"],
    "tenant_id": ["af1140c1-52e0-46c7-b684-df894d4b8a5a", "t"],
    "client": ["default", "sales"],
    "enabled": [True, False],
    "note": ["ticket 4711"],
}

documents = objects(KNOWN)
packed = st.builds(
    lambda tenants: {"tenants": tenants},
    st.dictionaries(st.sampled_from(NAMES) | texts, documents | values, max_size=4) | values,
)
contents = spelled(documents | packed | values) | texts
names = st.sampled_from(NAMES) | st.text("azAZ09_.-/", min_size=1, max_size=10)
parameters = st.lists(
    st.builds(
        configured,
        names,
        contents,
        st.sampled_from(["String", "String", "String", "StringList", "SecureString"]),
    ),
    max_size=4,
    unique_by=lambda one: one["Name"],
)


@cases("documents")
@given(parameters, REMEMBERED)
def test_a_document_is_used_or_named_as_invalid(
    parameters: list[dict[str, Any]], remembered: dict[str, Tenant]
) -> None:
    configuration = parse_configuration(
        [*parameters, configured("hooli")],  # type: ignore[list-item]
        "/visma/tenants",
        {name: one for name, one in remembered.items() if name != "hooli"},
    )

    assert configuration.tenants["hooli"].enabled
    assert "hooli" not in configuration.invalid
    for error in configuration.invalid.values():
        assert error.detail.isprintable()
        assert len(error.detail) <= DETAIL_CHARACTERS
