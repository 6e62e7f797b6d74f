"""Pure: parameters → tenants by name; of a name in several places, one decides."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from token_issuer.errors import DocumentInvalid, IssuerError
from token_issuer.names import NAME, NAME_WORDS
from token_issuer.redaction import Quoted
from token_issuer.tenants.documents import JsonObject, Tenant, parse_documents, parse_tenant

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_ssm.type_defs import ParameterTypeDef

PLACES_SHOWN = 3  # of a tenant that is in many
ERRORS_KEPT = 100  # of a parameter, each with its own text, since memory is limited


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The tenants by name, and what is wrong with documents.

    `invalid` is keyed by the tenant's name, or by the parameter's where that can't be read; its
    tenants are among `tenants` all the same if they have had a token. It is keyed by `path` where
    the parameters could not be listed. `parameters` counts all that there are below `path`.
    """

    path: str
    parameters: int
    tenants: dict[str, Tenant]
    invalid: dict[str, IssuerError]

    @property
    def is_complete(self) -> bool:
        """Tell whether all parameters could be listed."""
        return self.path not in self.invalid


def parse_configuration(
    parameters: "Iterable[ParameterTypeDef]", path: str, known: Mapping[str, Tenant]
) -> Configuration:
    """Sort parameters into tenants and errors; a name in several places has one that decides.

    `known` are tenants as their tokens were issued for. A tenant that is configured, and has no
    usable document, stays as it is there.
    """
    at_home: dict[str, list[str]] = defaultdict(list)
    for name, tenant in known.items():
        at_home[tenant.document].append(name)
    sources = [_source(parameter, path, at_home) for parameter in parameters]
    claims: dict[str, list[_Claim]] = defaultdict(list)
    for source in sources:
        for name, document in source.documents:
            claims[name].append(_Claim(source=source, document=document))
    tenants: dict[str, Tenant] = {}
    invalid: dict[str, IssuerError] = {one.home: one.error for one in sources if one.error}
    wrong: Counter[str] = Counter()
    one_of_many = cache(_one_of_many)
    for name, some in claims.items():
        found, error = _settle(name, some, path, known.get(name))
        if found:
            tenants[name] = found
        if error:
            wrong[error.parameter] += 1
            is_one_of_many = wrong[error.parameter] > ERRORS_KEPT
            invalid[_shown(name)] = one_of_many(error.parameter) if is_one_of_many else error
    return Configuration(
        path=path, parameters=len(sources), tenants=dict(sorted(tenants.items())), invalid=invalid
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A parameter: its documents by name; where it can't be used, None for each that it had."""

    home: str
    documents: list[tuple[str, object]]
    error: DocumentInvalid | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Claim:
    """What a parameter says of a tenant."""

    source: _Source
    document: object

    @property
    def disables(self) -> bool:
        """Tell whether it says so, be it valid or not."""
        found = self.document
        if not isinstance(found, JsonObject) or "enabled" not in found:
            return False
        return any(value is False for value in found.all("enabled"))


def _source(parameter: "ParameterTypeDef", path: str, at_home: Mapping[str, list[str]]) -> _Source:
    home = parameter["Name"]
    try:
        return _Source(home=home, documents=_check_parameter(parameter, path), error=None)
    except DocumentInvalid as why:
        error = DocumentInvalid(f"{home}: {why.detail}", code=why.code, parameter=home)
    # it counts as its own tenant's too, so that nobody else gets the name
    names = dict.fromkeys([home.removeprefix(f"{path}/"), *at_home.get(home, ())])
    return _Source(home=home, documents=[*names.items()], error=error)


def _settle(
    name: str, claims: list[_Claim], path: str, known: Tenant | None
) -> tuple[Tenant | None, DocumentInvalid | None]:
    """Return the tenant, and what is wrong with the places that it is in.

    The parameter of the tenant's own name decides. Without one, of several the one that had the
    tenant before does; each of them may disable it. Where there is no document to go on with, a
    tenant stays as it is known, and a new one is not served.
    """
    if not NAME.fullmatch(name):
        return None, _bad_name(name, claims)
    own_home = f"{path}/{name}"
    own = [one for one in claims if one.source.home == own_home]
    entitled = own or claims
    holder = _holder(entitled, known.document if known else None)
    found, error = _read_document(name, entitled, holder) if holder else (None, None)
    tenant = found or known
    disabling = [one for one in entitled if one.disables]
    if tenant and disabling:
        tenant = replace(tenant, enabled=False)
    if len(claims) > 1:
        what = _outcome(tenant, own=own, disabling=disabling, has_document=found is not None)
        error = _in_several(name, claims, what, error, is_overridden=len(own) == 1)
    return tenant, error


def _bad_name(name: str, claims: list[_Claim]) -> DocumentInvalid | None:
    """Return an error, unless that of the parameter says it all."""
    for home in (one.source.home for one in claims if not one.source.error):
        return _located(DocumentInvalid(f"the name must be {NAME_WORDS}"), home, name)
    return None


def _holder(claims: list[_Claim], had_by: str | None) -> _Source | None:
    """Return the parameter that decides; of several the one that had the tenant before."""
    sources = {one.source.home: one.source for one in claims}
    if len(sources) == 1:
        return claims[0].source
    return sources.get(had_by or "")


def _read_document(
    name: str, claims: list[_Claim], holder: _Source
) -> tuple[Tenant | None, DocumentInvalid | None]:
    """Return the tenant as the holder has it, or why that can't be used."""
    document, *others = [one.document for one in claims if one.source is holder]
    if others:
        return None, None
    try:
        return parse_tenant(name, document, holder.home), None
    except DocumentInvalid as why:
        return None, None if holder.error else _located(why, holder.home, name)


def _outcome(
    tenant: Tenant | None, *, own: list[_Claim], disabling: list[_Claim], has_document: bool
) -> str:
    """Say what becomes of a tenant that is in several places."""
    if own and has_document:
        return "follows its own parameter"
    if disabling:
        return f"is disabled, since {disabling[0].source.home} says so"
    if tenant and has_document:
        return f"stays with {tenant.document}"
    why = ": its own parameter can't be used" if own else ""
    return f"keeps the values of its last token{why}" if tenant else f"is not served{why}"


def _in_several(
    name: str,
    claims: list[_Claim],
    outcome: str,
    error: DocumentInvalid | None,
    *,
    is_overridden: bool,
) -> DocumentInvalid:
    """Say what becomes of a tenant, and in which places it is."""
    homes = sorted({one.source.home for one in claims})
    places = " and in ".join(homes[:PLACES_SHOWN])
    if len(homes) > PLACES_SHOWN:
        places += f" and in {len(homes) - PLACES_SHOWN} more"
    if len(homes) < len(claims):
        places += ", more than once"
    why = f"Tenant {name} {outcome}; it is in {places}"
    return DocumentInvalid(
        f"{why}. {error.detail}" if error else why,
        code=Quoted("overridden" if is_overridden else "twice"),
        parameter=homes[0],
    )


def _one_of_many(parameter: str) -> DocumentInvalid:
    why = f"{parameter}: more than {ERRORS_KEPT} of its tenants have errors"
    return DocumentInvalid(why, parameter=parameter)


def _located(error: DocumentInvalid, home: str, name: str) -> DocumentInvalid:
    why = f"{home}, tenant {_shown(name)}: {error.detail}"
    return DocumentInvalid(why, code=error.code, parameter=home)


def _shown(name: str) -> str:
    """Return a name as it is reported: never one that a parameter has."""
    return name if name.isprintable() and not name.startswith("/") else ascii(name)


def _check_parameter(parameter: "ParameterTypeDef", path: str) -> list[tuple[str, object]]:
    name = parameter["Name"].removeprefix(f"{path}/")
    if "/" in name:
        raise DocumentInvalid("it is not directly under the tenants path", code=Quoted("nested"))
    if parameter["Type"] != "String":
        raise DocumentInvalid(f"its type is {parameter['Type']}, not String", code=Quoted("type"))
    return parse_documents(name, parameter["Value"])
