"""Any parameters at all, and any tenants that had a token, for property tests."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from token_issuer.tenants.documents import Tenant

if TYPE_CHECKING:
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

PATH = "/visma/tenants"
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
type Parameters = dict[str, tuple[str, Any]]  # text and type, by name


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
ALL_PARAMETERS: st.SearchStrategy[Parameters] = st.dictionaries(
    PLACES, st.tuples(TEXTS, KINDS), max_size=6
)
HOMES = st.dictionaries(st.sampled_from(NAMES), PLACES.map(lambda name: f"{PATH}/{name}"))


def issued_for(name: str, home: str) -> Tenant:
    """Return a tenant as its token was issued for it, and where it was then."""
    return Tenant(
        name=name, tenant_id=None, scope="last-token", client="default", enabled=True, document=home
    )


KNOWN = HOMES.map(lambda homes: {name: issued_for(name, home) for name, home in homes.items()})


def listed(parameters: Mapping[str, tuple[str, Any]]) -> "list[ParameterTypeDef]":
    return [
        {"Name": f"{PATH}/{name}", "Value": text, "Type": kind}
        for name, (text, kind) in parameters.items()
    ]
