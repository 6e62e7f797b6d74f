"""Parameter Store documents → Tenant."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import DocumentInvalid, NoTimeLeft, TenantsUnreadable, aws_code
from token_issuer.pacing import Pacer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NAME_WORDS = "1 to 64 of A-Z a-z 0-9 _ . -"
TENANT_ID = re.compile(r"[\x21-\x7e]+")
SCOPE = re.compile(r"([\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*)?")  # RFC 6749 §3.3
ANYTHING = re.compile(r"[\s\S]*")
MEMBERS = {"tenant_id", "scope", "client", "enabled", "note"}


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


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The tenants by name, what is wrong with documents, and the last good texts.

    `invalid` is keyed by the tenant's name, or by the parameter's where that can't be read; its
    tenants are among `tenants` all the same where they have a last good document.
    `good_texts` is by parameter: what to go on with when it can't be used. `parameters` are all
    that there are below `path`.
    """

    path: str
    parameters: frozenset[str]

    tenants: dict[str, Tenant]
    invalid: dict[str, DocumentInvalid]
    good_texts: dict[str, str]


def read_tenants(
    ssm: "SSMClient", path: str, last_good: "Mapping[str, str]", *, pacer: Pacer
) -> Configuration:
    """Read all tenant documents below `path`; raises TenantsUnreadable unless all were listed."""
    return parse_configuration(list_parameters(ssm, path, pacer=pacer), path, last_good)


def list_parameters(ssm: "SSMClient", path: str, *, pacer: Pacer) -> "list[ParameterTypeDef]":
    """Return all parameters below `path`; raises TenantsUnreadable unless all were listed.

    Ten parameters a page, and all pages:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
    """
    list_page = partial(ssm.get_parameters_by_path, Path=path, Recursive=True, WithDecryption=False)
    try:
        # no paginator: one that has failed says that there are no more pages
        page = pacer.send(list_page)
        parameters = page["Parameters"]
        while next_token := page.get("NextToken"):
            page = pacer.send(partial(list_page, NextToken=next_token))
            parameters += page["Parameters"]
    except NoTimeLeft as error:
        raise TenantsUnreadable(f"Listing {path}: {error.detail}") from None
    except (ClientError, BotoCoreError) as error:
        code = aws_code(error)
        raise TenantsUnreadable(f"Listing {path} failed: {code}", code=code) from error
    return parameters


def parse_configuration(
    parameters: "Iterable[ParameterTypeDef]", path: str, last_good: "Mapping[str, str]"
) -> Configuration:
    """Sort parameters into tenants and errors; a name that is configured twice is an error."""
    sources = [_source(parameter, path, last_good) for parameter in parameters]
    homes: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        names = [name for name, _ in source.documents]
        if source.error and not names:  # whose else should it be
            names = [source.home.removeprefix(f"{path}/")]
        for name in names:
            homes[name].append(source.home)
    tenants: dict[str, Tenant] = {}
    invalid: dict[str, DocumentInvalid] = {}
    good_texts: dict[str, str] = {}
    for source in sources:
        errors = {source.home: source.error} if source.error else {}
        good: dict[str, object] = {}
        for name, document in source.documents:
            try:
                tenant = _parse_tenant(name, document, source.home)
                _refuse_twice(name, homes[name])
            except DocumentInvalid as error:
                errors[_shown(name)] = _located(error, source.home, name)
                kept = source.last_good()
                if name not in kept:
                    continue
                tenant = _parse_tenant(name, kept[name], source.home)
                good[name] = kept[name]
            else:
                good[name] = document
            tenants[name] = tenant
        invalid |= errors
        text = json.dumps({"tenants": good}) if errors else source.text
        if good or not source.error:
            good_texts[source.home] = text
    return Configuration(
        path=path,
        parameters=frozenset(source.home for source in sources),
        tenants=dict(sorted(tenants.items())),
        invalid=invalid,
        good_texts=good_texts,
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


def _source(parameter: "ParameterTypeDef", path: str, last_good: "Mapping[str, str]") -> _Source:
    home, text = parameter["Name"], parameter["Value"]
    kept = cache(partial(_last_good, home, path, last_good))
    error = None
    try:
        documents = _check_parameter(parameter, path)
    except DocumentInvalid as why:
        error = DocumentInvalid(f"{home}: {why.detail}", code=why.code)
        documents = list(kept().items())
    return _Source(home=home, text=text, documents=documents, last_good=kept, error=error)


def _last_good(home: str, path: str, last_good: "Mapping[str, str]") -> dict[str, object]:
    """Return the documents that were good; an earlier version may have taken others for good."""
    usable = {}
    with suppress(DocumentInvalid):
        text = last_good.get(home, '{"tenants": {}}')
        for name, document in _documents(home.removeprefix(f"{path}/"), text):
            with suppress(DocumentInvalid):
                _parse_tenant(name, document, home)
                usable[name] = document
    return usable


def _refuse_twice(name: str, homes: list[str]) -> None:
    if len(homes) > 1:
        places = " and in ".join(sorted(set(homes)))
        raise DocumentInvalid(f"Tenant {name} is configured twice, in {places}", code="twice")


def _located(error: DocumentInvalid, home: str, name: str) -> DocumentInvalid:
    if error.code == "twice":
        return error
    return DocumentInvalid(f"{home}, tenant {_shown(name)}: {error.detail}", code=error.code)


def _shown(name: str) -> str:
    return name if name.isprintable() else ascii(name)


class _Object(dict[str, Any]):
    """A JSON object that remembers which members stood in it twice; `dict` keeps the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: set[str] = set()
        if len(self) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            self.twice = {name for name, count in counts.items() if count > 1}


def _check_parameter(parameter: "ParameterTypeDef", path: str) -> list[tuple[str, object]]:
    name = parameter["Name"].removeprefix(f"{path}/")
    if "/" in name:
        raise DocumentInvalid("it is not directly under the tenants path", code="nested")
    if parameter["Type"] != "String":
        raise DocumentInvalid(f"its type is {parameter['Type']}, not String", code="type")
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
    return [*packed.items(), *((name, packed[name]) for name in packed.twice)]


def _parse_object(text: str) -> _Object:
    try:
        document = json.loads(text, object_pairs_hook=_Object)
    except RecursionError:
        raise DocumentInvalid("it is nested too deeply") from None
    except ValueError as error:
        raise DocumentInvalid(f"it is not JSON: {error}") from error
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


def _text(value: object, pattern: re.Pattern[str], complaint: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DocumentInvalid(complaint)
    return value


def _listed(members: set[str]) -> str:
    return ", ".join(sorted(members))[:200]
