"""Parameter Store documents → Tenant."""

import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import DocumentInvalid, TenantsUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """A customer company and what to ask for on its behalf; an empty scope is not sent."""

    name: str
    tenant_id: str | None
    scope: str
    client: str
    enabled: bool


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """The usable tenants by name, and what is wrong with the others.

    `invalid` is keyed by the tenant's name, or by the parameter's where that can't be read.
    """

    tenants: dict[str, Tenant]
    invalid: dict[str, DocumentInvalid]


def read_tenants(ssm: "SSMClient", path: str) -> Configuration:
    """Read all tenant documents below `path`; raises TenantsUnreadable unless all were listed.

    Ten parameters a page, and all pages:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html
    """
    pages = ssm.get_paginator("get_parameters_by_path").paginate(
        Path=path, Recursive=True, WithDecryption=False
    )
    try:
        parameters = [parameter for page in pages for parameter in page["Parameters"]]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise TenantsUnreadable(f"Listing {path} failed: {code}", code=code) from error
    except BotoCoreError as error:
        raise TenantsUnreadable(f"Listing {path} failed: {type(error).__name__}") from error
    return parse_configuration(parameters, path)


def parse_configuration(parameters: "Iterable[ParameterTypeDef]", path: str) -> Configuration:
    """Sort parameters into tenants and errors; a name that is configured twice is an error."""
    tenants: dict[str, Tenant] = {}
    invalid: dict[str, DocumentInvalid] = {}
    homes: dict[str, list[str]] = defaultdict(list)
    for parameter in parameters:
        home = parameter["Name"]
        try:
            documents = _documents(parameter, path)
        except DocumentInvalid as error:
            invalid[home] = DocumentInvalid(f"{home}: {error.detail}", code=error.code)
            homes[home.removeprefix(f"{path}/")].append(home)  # it may be this tenant's
            continue
        for name, document in documents:
            homes[name].append(home)
            try:
                tenants[name] = _parse_tenant(name, document)
            except DocumentInvalid as error:
                shown = name if name.isprintable() else ascii(name)
                invalid[shown] = DocumentInvalid(f"{home}, tenant {shown}: {error.detail}")
    for name, where in homes.items():
        if len(where) > 1:
            tenants.pop(name, None)
            places = " and in ".join(sorted(set(where)))
            twice = f"Tenant {name} is configured twice, in {places}"
            invalid[name] = DocumentInvalid(twice, code="twice")
    return Configuration(tenants=dict(sorted(tenants.items())), invalid=invalid)


class _Object(dict[str, Any]):
    """A JSON object that remembers which members stood in it twice; `dict` keeps the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.twice = {name for name, count in counts.items() if count > 1}


def _documents(parameter: "ParameterTypeDef", path: str) -> list[tuple[str, object]]:
    """Return (name, document) for each tenant that the parameter holds."""
    name = parameter["Name"].removeprefix(f"{path}/")
    if "/" in name:
        raise DocumentInvalid("it is not directly under the tenants path", code="nested")
    if parameter["Type"] != "String":
        raise DocumentInvalid(f"its type is {parameter['Type']}, not String", code="type")
    document = _parse_object(parameter["Value"])
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


def _parse_tenant(name: str, document: object) -> Tenant:
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
    )


def _text(value: object, pattern: re.Pattern[str], complaint: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DocumentInvalid(complaint)
    return value


def _listed(members: set[str]) -> str:
    return ", ".join(sorted(members))[:200]
