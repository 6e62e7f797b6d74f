"""Pure: parameters → tenants by name; of a name in several places, one decides."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
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
    """The tenants by name, what is wrong with documents, and the last good texts.

    `invalid` is keyed by the tenant's name, or by the parameter's where that can't be read; its
    tenants are among `tenants` all the same where they have a last good document. It is keyed by
    `path` where the parameters could not be listed.
    `good_texts` is by parameter: what to go on with when it can't be used. `parameters` are all
    that there are below `path`.
    """

    path: str
    parameters: frozenset[str]

    tenants: dict[str, Tenant]
    invalid: dict[str, IssuerError]
    good_texts: dict[str, str]

    @property
    def is_complete(self) -> bool:
        """Tell whether all parameters could be listed."""
        return self.path not in self.invalid


def parse_configuration(
    parameters: "Iterable[ParameterTypeDef]",
    path: str,
    last_good: Mapping[str, str],
    known: Mapping[str, Tenant] = {},
) -> Configuration:
    """Sort parameters into tenants and errors; a name in several places has one that decides.

    `known` are tenants as their tokens were issued for. A tenant that is configured, and has
    neither a usable document nor a last good one, stays as it is there.
    """
    at_home: dict[str, list[str]] = defaultdict(list)
    for name, tenant in known.items():
        at_home[tenant.document].append(name)
    sources = [_source(parameter, path, last_good, at_home) for parameter in parameters]
    claims: dict[str, list[_Claim]] = defaultdict(list)
    for source in sources:
        for name, document in source.documents:
            claims[name].append(_Claim(source=source, document=document))
    tenants: dict[str, Tenant] = {}
    invalid: dict[str, IssuerError] = {one.home: one.error for one in sources if one.error}
    good: dict[str, dict[str, object]] = {source.home: {} for source in sources}
    wrong: Counter[str] = Counter()
    one_of_many = cache(_one_of_many)
    for name, some in claims.items():
        found, document, error = _decide(name, some, path, known.get(name))
        if found:
            tenants[name] = found
        if found and document:
            good[found.document][name] = _as_decided(document, found)
        if error:
            wrong[error.parameter] += 1
            is_one_of_many = wrong[error.parameter] > ERRORS_KEPT
            invalid[_shown(name)] = one_of_many(error.parameter) if is_one_of_many else error
    return Configuration(
        path=path,
        parameters=frozenset(good),
        tenants=dict(sorted(tenants.items())),
        invalid=invalid,
        good_texts={one.home: text for one in sources if (text := _good_text(one, good[one.home]))},
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A parameter: its documents by name, in place of them the last good ones where it is bad."""

    home: str
    text: str
    documents: list[tuple[str, object]]
    last_good: Callable[[], dict[str, object]]  # parsed when it is needed
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


def _source(
    parameter: "ParameterTypeDef",
    path: str,
    last_good: Mapping[str, str],
    at_home: Mapping[str, list[str]],
) -> _Source:
    home, text = parameter["Name"], parameter["Value"]
    kept = cache(partial(_last_good, home, path, last_good))
    error = None
    try:
        documents = _check_parameter(parameter, path)
    except DocumentInvalid as why:
        error = DocumentInvalid(f"{home}: {why.detail}", code=why.code, parameter=home)
        # without a last good text, it counts as its own tenant's, so nobody else gets the name
        names = [
            home.removeprefix(f"{path}/"),
            *(() if home in last_good else at_home.get(home, ())),
        ]
        documents = [*(dict.fromkeys(names) | kept()).items()]
    return _Source(home=home, text=text, documents=documents, last_good=kept, error=error)


def _last_good(home: str, path: str, last_good: Mapping[str, str]) -> dict[str, object]:
    """Return the documents that were good; an earlier version may have taken others for good."""
    usable = {}
    with suppress(DocumentInvalid):
        text = last_good.get(home, '{"tenants": {}}')
        for name, document in parse_documents(home.removeprefix(f"{path}/"), text):
            with suppress(DocumentInvalid):
                parse_tenant(name, document, home)
                usable[name] = document
    return usable


def _good_text(source: _Source, good: dict[str, object]) -> str | None:
    """Return what to keep of a parameter: of its tenants those for whom it decides."""
    names = [name for name, _ in source.documents]
    if (
        not source.error
        and len(names) == len(good)
        and all(good[name] is document for name, document in source.documents)
    ):
        return source.text
    if good or not source.error:
        return json.dumps({"tenants": good})
    return None


def _as_decided(document: object, found: Tenant) -> object:
    """Return a good document, and in it that the tenant is disabled, wherever that was said."""
    if found.enabled or not isinstance(document, dict) or document.get("enabled") is False:
        return document
    return {**document, "enabled": False}


def _decide(
    name: str, claims: list[_Claim], path: str, known: Tenant | None
) -> tuple[Tenant | None, object, DocumentInvalid | None]:
    """Return the tenant with its document, and what is wrong with the places that it is in.

    The parameter of the tenant's own name decides. Without one, of several the one that had the
    tenant before does; each of them may disable it. Where there is no document to go on with, a
    tenant stays as it is known, and a new one is not served.
    """
    if not NAME.fullmatch(name):
        return None, None, _bad_name(name, claims)
    own_home = f"{path}/{name}"
    own = [one for one in claims if one.source.home == own_home]
    entitled = own or claims
    holder = _holder(name, entitled, known.document if known else None)
    tenant, document, error = _read_document(name, entitled, holder)
    tenant = tenant or known
    disabling = [one for one in entitled if one.disables]
    if tenant and disabling:
        tenant = replace(tenant, enabled=False)
    if len(claims) > 1:
        what = _outcome(tenant, own=own, disabling=disabling, has_document=document is not None)
        error = _in_several(name, claims, what, error, is_overridden=len(own) == 1)
    return tenant, document, error


def _bad_name(name: str, claims: list[_Claim]) -> DocumentInvalid | None:
    """Return an error, unless that of the parameter says it all."""
    for home in (one.source.home for one in claims if not one.source.error):
        return _located(DocumentInvalid(f"the name must be {NAME_WORDS}"), home, name)
    return None


def _holder(name: str, claims: list[_Claim], home: str | None) -> _Source | None:
    """Return the parameter that decides; of several the one that had the tenant before."""
    sources = list({one.source.home: one.source for one in claims}.values())
    if len(sources) == 1:
        return sources[0]
    had = [source for source in sources if name in source.last_good()]
    if len(had) != 1:
        had = [source for source in had or sources if source.home == home]
    return had[0] if had else None


def _read_document(
    name: str, claims: list[_Claim], holder: _Source | None
) -> tuple[Tenant | None, object, DocumentInvalid | None]:
    """Return the tenant as the holder has it, or as it had it last where that can't be used."""
    if holder is None:
        return None, None, None
    document, *others = [one.document for one in claims if one.source is holder]
    error = None
    if not others:
        try:
            return parse_tenant(name, document, holder.home), document, None
        except DocumentInvalid as why:
            error = None if holder.error else _located(why, holder.home, name)
    document = holder.last_good().get(name)
    tenant = parse_tenant(name, document, holder.home) if document else None
    return tenant, document, error


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
