"""Parameter Store documents → Tenant."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import DocumentInvalid, TenantsUnreadable

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
SCOPE = re.compile(r"([\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*)?")  # RFC 6749 §3.3
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
        raise TenantsUnreadable(f"Listing {path} failed: {code}") from error
    except BotoCoreError as error:
        raise TenantsUnreadable(f"Listing {path} failed: {type(error).__name__}") from error
    return parse_configuration(parameters, path)


def parse_configuration(parameters: "list[ParameterTypeDef]", path: str) -> Configuration:
    """Sort parameters into tenants and errors; a name that is configured twice is an error."""
    tenants: dict[str, Tenant] = {}
    invalid: dict[str, DocumentInvalid] = {}
    homes: dict[str, str] = {}
    for parameter in sorted(parameters, key=lambda parameter: parameter["Name"]):
        home = parameter["Name"]
        try:
            for name, document in _documents(parameter, path):
                if name in homes:
                    tenants.pop(name, None)
                    invalid[name] = DocumentInvalid(
                        f"Tenant {name} is configured twice, in {homes[name]} and in {home}"
                    )
                    continue
                homes[name] = home
                try:
                    tenants[name] = _parse_tenant(name, document)
                except DocumentInvalid as error:
                    invalid[name] = DocumentInvalid(f"{home}, tenant {name}: {error.detail}")
        except DocumentInvalid as error:
            invalid[home] = DocumentInvalid(f"{home}: {error.detail}")
    return Configuration(tenants=tenants, invalid=invalid)


class _Object(dict[str, Any]):
    """A JSON object that remembers which members stood in it twice; `dict` keeps the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(name for name, _ in pairs)
        self.twice = {name for name, count in counts.items() if count > 1}


def _documents(parameter: "ParameterTypeDef", path: str) -> Iterator[tuple[str, object]]:
    """Yield (name, document) for each tenant that the parameter holds."""
    name = parameter["Name"].removeprefix(f"{path}/")
    if "/" in name:
        raise DocumentInvalid("it is nested; tenant documents lie directly under the tenants path")
    if parameter["Type"] != "String":
        raise DocumentInvalid(f"its type is {parameter['Type']}, not String")
    document = _parse_object(parameter["Value"])
    if "tenants" not in document:
        yield name, document
        return
    if unknown := document.keys() - {"tenants"}:
        raise DocumentInvalid(f"unknown members beside tenants: {_listed(unknown)}")
    packed = document["tenants"]
    if not isinstance(packed, _Object) or document.twice:
        raise DocumentInvalid("tenants is not one object")
    for tenant, its_document in packed.items():
        yield tenant, its_document
        if tenant in packed.twice:
            yield tenant, its_document


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
        raise DocumentInvalid("the name is not 1 to 64 of A-Z a-z 0-9 _ . -")
    if not isinstance(document, _Object):
        raise DocumentInvalid("it is not a JSON object")
    if unknown := document.keys() - MEMBERS:
        raise DocumentInvalid(f"unknown members: {_listed(unknown)}")
    if document.twice:
        raise DocumentInvalid(f"members that stand twice: {_listed(document.twice)}")
    scope, tenant_id = document.get("scope"), document.get("tenant_id")
    client, enabled = document.get("client", "default"), document.get("enabled", True)
    if scope is None:
        raise DocumentInvalid('scope is missing ("" means: send no scope)')
    if not isinstance(scope, str) or not SCOPE.fullmatch(scope):
        raise DocumentInvalid("scope is not a text of scopes with single spaces between them")
    if "tenant_id" in document and (not isinstance(tenant_id, str) or not tenant_id.strip()):
        raise DocumentInvalid("tenant_id is not a text")
    if not isinstance(client, str) or not NAME.fullmatch(client):
        raise DocumentInvalid("client is not 1 to 64 of A-Z a-z 0-9 _ . -")
    if not isinstance(enabled, bool):
        raise DocumentInvalid("enabled is not true or false")
    if not isinstance(document.get("note", ""), str):
        raise DocumentInvalid("note is not a text")
    return Tenant(name=name, tenant_id=tenant_id, scope=scope, client=client, enabled=enabled)


def _listed(members: set[str]) -> str:
    return ", ".join(sorted(members))[:200]
