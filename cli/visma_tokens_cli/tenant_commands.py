"""The commands that change tenants."""

from pathlib import Path
from typing import Annotated

import typer

from visma_tokens_cli.options import Name, Options, example, with_options

app = typer.Typer(rich_markup_mode=None)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@app.command(
    epilog=example(
        "visma-tokens add acme --tenant-id af1140c1-52e0-46c7-b684-df894d4b8a5a \\",
        "  --scope vismanet_erp_service_api:read",
    )
)
@with_options
def add(  # noqa: PLR0913  its options
    name: Name,
    *,
    tenant_id: Annotated[str | None, typer.Option(help="The company's id at Visma.")] = None,
    no_tenant_id: Annotated[
        bool, typer.Option("--no-tenant-id", help="Its tokens have none (Business NXT).")
    ] = False,
    scope: Annotated[str, typer.Option(help='Several with one space between; "" for none.')],
    client: Annotated[str, typer.Option(help="Whose secret is used.")] = "default",
    note: Annotated[str | None, typer.Option(help="For people.")] = None,
    options: Options,
) -> int:
    """Configure a tenant and have its token issued.

    Exits with 1 where that failed, with 4 where there is such a tenant already.
    """
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenant import add_tenant

    if (tenant_id is None) != no_tenant_id:
        raise typer.BadParameter("give either --tenant-id or --no-tenant-id")
    members: dict[str, object] = {"tenant_id": tenant_id, "scope": scope, "note": note}
    if client != "default":
        members["client"] = client
    document = {member: value for member, value in members.items() if value is not None}
    return add_tenant(open_stack(options), name, document, as_json=options.as_json)


@app.command(epilog=example("visma-tokens remove acme --yes"))
@with_options
def remove(name: Name, *, yes: Yes = False, options: Options) -> int:
    """Remove a tenant from the configuration.

    Its token is removed once it has expired; to remove it now, `disable` the tenant first.
    """
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenant import remove_tenant

    return remove_tenant(open_stack(options), name, yes=yes, as_json=options.as_json)


@app.command(epilog=example("visma-tokens enable acme"))
@with_options
def enable(name: Name, *, options: Options) -> int:
    """Let a tenant have a token again, and have it issued.

    Exits with 1 where that failed.
    """
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenant import enable_tenant

    return enable_tenant(open_stack(options), name, as_json=options.as_json)


@app.command(epilog=example("visma-tokens disable acme"))
@with_options
def disable(name: Name, *, options: Options) -> int:
    """Remove a tenant's token, and issue no more.

    Exits with 1 where it is still there.
    """
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenant import disable_tenant

    return disable_tenant(open_stack(options), name, as_json=options.as_json)


@app.command(epilog=example("visma-tokens apply tenants.toml --dry-run"))
@with_options
def apply(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML or JSON.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the plan.")] = False,
    yes: Yes = False,
    no_renew: Annotated[
        bool, typer.Option("--no-renew", help="Leave the tokens to the next run.")
    ] = False,
    options: Options,
) -> int:
    """Bring the tenants in line with a file.

    Shows the plan, asks, writes, and has tokens issued. In TOML: [tenants.acme] with tenant_id and
    scope; in JSON the same. Who is not in it is removed. Exits with 1 where a tenant failed or was
    deferred, or where only some of it is written: then run it again.
    """
    from visma_tokens_cli.apply import apply_tenants
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenants_file import read_file

    wanted = read_file(file)
    return apply_tenants(
        open_stack(options),
        wanted,
        dry_run=dry_run,
        yes=yes,
        renew=not no_renew,
        as_json=options.as_json,
    )
