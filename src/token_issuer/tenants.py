"""Parameter Store documents → Tenant."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from token_issuer.errors import (
    AWS_ERRORS,
    DocumentInvalid,
    IssuerError,
    NoTimeLeft,
    TenantsUnreadable,
    aws_code,
)
from token_issuer.pacing import Pacer
from token_issuer.redaction import Quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import GetParametersByPathResultTypeDef, ParameterTypeDef

NAME_CHARACTERS = 64
NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS}}}")
NAME_WORDS = "1 to 64 of A-Z a-z 0-9 _ . -"
TENANT_ID = re.compile(r"[\x21-\x7e]+")
SCOPE = re.compile(r"([\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*)?")  # RFC 6749 §3.3
ANYTHING = re.compile(r"[\s\S]*")
MEMBERS = {"tenant_id", "scope", "client", "enabled", "note"}
PLACES_SHOWN = 3  # of a tenant that is in many
ERRORS_KEPT = 100  # of a parameter, each with its own text, since memory is limited


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose token it is: a company's, or its client's where it is asked for without tenant_id."""

    tenant_id: str | None
    client: str

    def __str__(self) -> str:
        """Return words for people."""
        if self.tenant_id:
            return f"tenant_id {self.tenant_id}"
        return f"no tenant_id (client {self.client})"

    def is_same(self, other: "Owner") -> bool:
        """Compare as UUIDs where they are, whatever the client is."""
        if self.tenant_id or other.tenant_id:
            return comparable(self.tenant_id) == comparable(other.tenant_id)
        return self.client == other.client


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A customer company and what to ask for on its behalf; an empty scope is not sent.

    `document` is the parameter that it is configured in.
    """

    name: str
    tenant_id: str | None
    scope: str
    client: str
    enabled: bool
    document: str

    @property
    def owner(self) -> Owner:
        """Return whose tokens it gets."""
        return Owner(tenant_id=self.tenant_id, client=self.client)


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


def read_tenants(
    ssm: "SSMClient",
    path: str,
    last_good: Mapping[str, str],
    known: Mapping[str, Tenant] = {},
    *,
    pacer: Pacer,
) -> Configuration:
    """Read all tenant documents below `path`; raises TenantsUnreadable unless all were listed."""
    return parse_configuration(list_parameters(ssm, path, pacer=pacer), path, last_good, known)


def list_parameters(ssm: "SSMClient", path: str, *, pacer: Pacer) -> "list[ParameterTypeDef]":
    """Return all parameters below `path`; raises TenantsUnreadable unless all were listed.

    Ten parameters a page, and all pages:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
    """
    list_page = partial(ssm.get_parameters_by_path, Path=path, Recursive=True, WithDecryption=False)
    try:
        pages = _pages(list_page, pacer)
        return [one for page in pages for one in _checked(page["Parameters"])]
    except NoTimeLeft as error:
        raise TenantsUnreadable(f"Listing {path}: {error.detail}") from None
    except AWS_ERRORS as error:
        code = aws_code(error)
        raise TenantsUnreadable(f"Listing {path} failed: {code}", code=code) from error


def _pages(
    list_page: "Callable[..., GetParametersByPathResultTypeDef]", pacer: Pacer
) -> "Iterator[GetParametersByPathResultTypeDef]":
    """Yield page after page; raises ValueError where they go in a circle.

    No paginator does that: one that has failed says that there are no more pages.
    """
    page, asked = pacer.send(list_page), set[str]()
    yield page
    while following := page.get("NextToken"):
        if following in asked:
            raise ValueError
        asked.add(following)
        page = pacer.send(partial(list_page, NextToken=following))
        yield page


def _checked(parameters: "list[ParameterTypeDef]") -> "list[ParameterTypeDef]":
    """Return parameters that are such; raises KeyError or TypeError."""
    for one in parameters:
        if not all(isinstance(one[member], str) for member in ("Name", "Type", "Value")):
            raise TypeError
    return parameters


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


def check_document(name: str, text: str, home: str) -> Tenant:
    """Parse a tenant's own document before it is stored at `home`; raises DocumentInvalid."""
    return _parse_tenant(name, _parse_object(text), home)


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
        if not isinstance(found, _Object) or "enabled" not in found:
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
        for name, document in _documents(home.removeprefix(f"{path}/"), text):
            with suppress(DocumentInvalid):
                _parse_tenant(name, document, home)
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
            return _parse_tenant(name, document, holder.home), document, None
        except DocumentInvalid as why:
            error = None if holder.error else _located(why, holder.home, name)
    document = holder.last_good().get(name)
    tenant = _parse_tenant(name, document, holder.home) if document else None
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


class _Object(dict[str, Any]):
    """A JSON object that keeps each value of a member that is in it twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: Mapping[str, list[Any]] = {}
        if len(self) < len(pairs):
            values: dict[str, list[Any]] = defaultdict(list)
            for name, value in pairs:
                values[name].append(value)
            self.twice = {name: some for name, some in values.items() if len(some) > 1}

    def all(self, name: str) -> list[Any]:
        """Return each value of a member."""
        return self.twice.get(name) or [self[name]]


def _check_parameter(parameter: "ParameterTypeDef", path: str) -> list[tuple[str, object]]:
    name = parameter["Name"].removeprefix(f"{path}/")
    if "/" in name:
        raise DocumentInvalid("it is not directly under the tenants path", code=Quoted("nested"))
    if parameter["Type"] != "String":
        raise DocumentInvalid(f"its type is {parameter['Type']}, not String", code=Quoted("type"))
    return _documents(name, parameter["Value"])


def _documents(name: str, text: str) -> list[tuple[str, object]]:
    """Return (name, document) for each tenant in the text of the parameter of that name."""
    document = _parse_object(text)
    if "tenants" not in document:
        return [(name, document)]
    packed = document["tenants"]
    if unknown := document.keys() - {"tenants"}:
        raise DocumentInvalid(f"unknown members beside tenants: {_listed(unknown)}")
    if not isinstance(packed, _Object) or document.twice:
        raise DocumentInvalid("tenants must be one object")
    return [(name, document) for name in packed for document in packed.all(name)]


def _parse_object(text: str) -> _Object:
    try:
        document = json.loads(text, object_pairs_hook=_Object)
    except RecursionError:
        raise DocumentInvalid("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise DocumentInvalid(f"it is not JSON: {error}") from error
    except ValueError:  # int's own, whose words are for programmers
        raise DocumentInvalid("a number in it has too many digits") from None
    if not isinstance(document, _Object):
        raise DocumentInvalid("it is not a JSON object")
    return document


def _parse_tenant(name: str, document: object, home: str) -> Tenant:
    if not NAME.fullmatch(name):
        raise DocumentInvalid(f"the name must be {NAME_WORDS}")
    if not isinstance(document, _Object):
        raise DocumentInvalid("it is not a JSON object")
    if unknown := document.keys() - MEMBERS:
        raise DocumentInvalid(f"unknown members: {_listed(unknown)}")
    if document.twice:
        raise DocumentInvalid(f"duplicate members: {_listed(document.twice)}")
    if "scope" not in document:
        raise DocumentInvalid('scope is missing ("" means: send no scope)')
    _text(document.get("note", ""), ANYTHING, "note must be a text")
    enabled = document.get("enabled", True)
    if not isinstance(enabled, bool):
        raise DocumentInvalid("enabled must be true or false")
    return Tenant(
        name=name,
        tenant_id=_text(
            document["tenant_id"],
            TENANT_ID,
            "tenant_id must be a text without spaces; leave it out for none",
        )
        if "tenant_id" in document
        else None,
        scope=_text(
            document["scope"], SCOPE, "scope must be a text: scopes with one space between them"
        ),
        client=_text(document.get("client", "default"), NAME, f"client must be {NAME_WORDS}"),
        enabled=enabled,
        document=home,
    )


def comparable(tenant_id: object) -> object:
    """Return equal values for the spellings of one UUID (RFC 9562 §4: case doesn't count)."""
    try:
        return UUID(str(tenant_id))
    except ValueError:
        return tenant_id


def _text(value: object, pattern: re.Pattern[str], complaint: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DocumentInvalid(complaint)
    return value


def _listed(members: Collection[str]) -> str:
    return ", ".join(sorted(members))[:200]
