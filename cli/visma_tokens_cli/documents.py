"""Tenant documents as they were read: which parameter has which tenant, and what is invalid."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from token_issuer.errors import IssuerError
from token_issuer.tenants.configuration import Configuration, parse_configuration
from visma_tokens_cli.contents import Content, parse_content
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed, unchanged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_ssm.type_defs import ParameterTypeDef

MOST_BYTES = 8192  # of an advanced parameter


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter as it was read."""

    name: str
    text: str
    version: int


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All parameters by name, their tenants, and the configuration as the function parses it.

    `contents` has the valid parameters only; `homes` has the parameters of each tenant.
    """

    parameters: dict[str, Parameter]
    contents: dict[str, Content]
    homes: dict[str, list[Parameter]]
    configuration: Configuration

    @property
    def path(self) -> str:
        """Return the path that all tenant parameters are below."""
        return self.configuration.path

    def home(self, tenant: str) -> Parameter | None:
        """Return a tenant's parameter, if any; raises CommandFailed if that is ambiguous."""
        homes = self.homes.get(tenant, [])
        error = self.configuration.invalid.get(tenant)
        if error and len(homes) > 1:
            raise unchanged(error)
        if not homes:
            self.refuse_unreadable()
        return homes[0] if homes else None

    def places(self, tenant: str) -> list[Parameter]:
        """Return all parameters of a tenant, its own first; raises CommandFailed for none.

        The tenant's own parameter is one of them even if its content is invalid.
        """
        own = self.parameters.get(f"{self.path}/{tenant}")
        found = {one.name: one for one in self.homes.get(tenant, [])}
        if own and (own.name in found or own.name in self.configuration.invalid):
            found = {own.name: own} | found
        if not found:
            self.refuse_unreadable()
            raise CommandFailed(
                f"Tenant {tenant} is not configured",
                "See `visma-tokens status` for who is.",
                code=UNCHANGED,
            )
        return [*found.values()]

    def text_of(self, content: Content) -> str | None:
        """Return the text to write: as it was read if unchanged, None to delete the parameter."""
        if content.is_spare:
            return None
        if content is self.contents.get(content.name):
            return self.parameters[content.name].text
        return content.text()

    @property
    def unreadable(self) -> dict[str, IssuerError]:
        """Return the parameters whose tenants can't be listed, each with the error."""
        invalid = self.configuration.invalid
        return {name: error for name, error in invalid.items() if name in self.parameters}

    def refuse_unreadable(self) -> None:
        """Raise CommandFailed if there is a parameter whose tenants can't be listed."""
        for error in self.unreadable.values():
            raise unchanged(error)

    def own_place(self, tenant: str) -> str:
        """Return the name of the tenant's own parameter; raises CommandFailed if it is taken."""
        name = f"{self.path}/{tenant}"
        if name in self.parameters:
            raise CommandFailed(
                f"{name} holds other tenants", "Choose another name.", code=UNCHANGED
            )
        return name


def parse_documents(found: "Iterable[ParameterTypeDef]", path: str) -> Documents:
    """List the tenants of each parameter; an invalid parameter has none."""
    found = [*found]
    configuration = parse_configuration(found, path, {})
    parameters = {
        one["Name"]: Parameter(name=one["Name"], text=one["Value"], version=one["Version"])
        for one in found
    }
    contents = {
        name: parse_content(name, one.text)
        for name, one in parameters.items()
        if name not in configuration.invalid
    }
    homes: dict[str, list[Parameter]] = {}
    for name, content in contents.items():
        for tenant, _ in content.documents:
            homes.setdefault(tenant, []).append(parameters[name])
    return Documents(
        parameters=parameters, contents=contents, homes=homes, configuration=configuration
    )


def check_size(name: str, text: str) -> None:
    """Raise CommandFailed if a text is too long for a parameter."""
    size = len(text.encode())
    if size > MOST_BYTES:
        raise CommandFailed(
            f"{name} would have {size:,} bytes, and a parameter holds {MOST_BYTES:,}",
            "Shorten its notes, or remove some of its tenants and add them again.",
            code=UNCHANGED,
        )
