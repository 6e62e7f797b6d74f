"""The command line: each command says what it does, and leaves it to a module of that name."""

from pathlib import Path
from typing import Annotated

import typer

from visma_tokens_cli.exit_codes import NOT_WELL, WELL
from visma_tokens_cli.options import Options, with_options


def example(*lines: str) -> str:
    """Return the end of a command's help: lines that can be pasted, and so are never wrapped."""
    return "\n".join(("\b", "For instance:", *(f"  {line}" for line in lines)))


app = typer.Typer(
    name="visma-tokens",
    help="See and change what the Visma token issuer does.",
    epilog=example("visma-tokens status", "visma-tokens doctor", "visma-tokens add --help"),
    no_args_is_help=True,
    rich_markup_mode=None,  # boxes around help cost a third of a second
    pretty_exceptions_enable=False,  # their tracebacks show values
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(asked: bool) -> None:  # noqa: FBT001  as Typer calls it
    """Print the version, and end."""
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            told = version("visma-tokens-cli")
        except PackageNotFoundError:  # from a checkout
            told = "not installed"
        typer.echo(told)
        raise typer.Exit


@app.callback()
def common(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Take what belongs to no command."""


ROWS = 40  # of a table, unless all are asked for

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]


@app.command(epilog=example("visma-tokens status --failing --watch"))
@with_options
def status(
    *,
    failing: Annotated[
        bool, typer.Option("--failing", help="Only those that need attention.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Again every five seconds.")] = False,
    all_: Annotated[bool, typer.Option("--all", help=f"More than {ROWS} rows.")] = False,
    options: Options,
) -> int:
    """Show how each tenant is, the worst first.

    Ledger and parameters are compared for all tenants where there are at most 500, or with --all or
    --json; else for those shown. Exits with 1 where one is not well.
    """
    from visma_tokens_cli import screen
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.status import read_status
    from visma_tokens_cli.status_table import render, watch_status

    if watch and (options.as_json or not screen.out().is_screen):
        raise typer.BadParameter(
            "--watch is for a screen, not for --json, a pipe or a terminal that can't be erased"
            " (see TERM)"
        )
    most = None if all_ or options.as_json else ROWS
    if watch:
        stack = open_stack(options)
        watch_status(
            lambda rows: read_status(stack, failing=failing, most=most and rows), failing=failing
        )
    with screen.waiting("Reading …"):
        found = read_status(open_stack(options), failing=failing, most=most)
    if options.as_json:
        screen.print_json(found.only(failing=failing).as_dict())
    else:
        screen.out().print(render(found, failing=failing, most=most))
    return WELL if found.is_well else NOT_WELL


@app.command(epilog=example("visma-tokens renew acme globex"))
@with_options
def renew(
    tenants: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="The tenants.")
    ] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Renew all tenants that are due.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Due or not, backing off or not.")] = False,
    options: Options,
) -> int:
    """Invoke the function, once, and show its report.

    Exits with 1 where a tenant failed or was deferred, or another run was at work.
    """
    from visma_tokens_cli.function import exit_code, print_report, run_now
    from visma_tokens_cli.stack import open_stack

    if bool(tenants) == all_:
        raise typer.BadParameter("give either names or --all")
    event: dict[str, object] = {"tenants": tenants} if tenants else {}
    report = run_now(open_stack(options), event | ({"force": True} if force else {}))
    print_report(report, as_json=options.as_json)
    return exit_code(report)


secret = typer.Typer(
    help="Stage a new client secret, and see what became of it.",
    epilog=example("visma-tokens secret stage", "visma-tokens secret status"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(secret, name="secret")


@secret.command("stage", epilog=example("visma-tokens secret stage --file client.json"))
@with_options
def stage_secret(
    *,
    client: Annotated[
        str, typer.Option(help="Whose secret, as tenant documents name it.")
    ] = "default",
    file: Annotated[
        Path | None,
        typer.Option(help='{"client_id": ..., "client_secret": ...}; - is standard input.'),
    ] = None,
    create: Annotated[bool, typer.Option("--create", help="The first one of a client.")] = False,
    options: Options,
) -> int:
    """Stage a client secret, typed or in a file.

    The next run proves it and promotes it; leave the old one active in the Visma developer portal
    until then.
    """
    from visma_tokens_cli import screen
    from visma_tokens_cli import secret as secrets
    from visma_tokens_cli.stack import open_stack

    secrets.check_client(client)
    stack = open_stack(options)
    document = secrets.read_document(file, lambda: secrets.read_auth_method(stack, client))
    version = (secrets.create if create else secrets.stage)(stack, client, document)
    if options.as_json:
        screen.print_json({"client": client, "version": version})
    elif create:
        screen.out().print(f"Created, version {version}: the next run uses it.")
    else:
        screen.out().print(f"Staged as version {version}: the next run proves it.")
        screen.out().print("See what became of it: visma-tokens secret status")
    return WELL


@secret.command("status", epilog=example("visma-tokens secret status --client default"))
@with_options
def secret_status(
    *,
    client: Annotated[
        str | None, typer.Option(help="Whose secret; else all that tenants name.")
    ] = None,
    options: Options,
) -> int:
    """Show the versions of client secrets.

    Who is current, and what became of the pending one; exits with 1 where something is to be done.
    """
    from visma_tokens_cli import screen
    from visma_tokens_cli.secret import read_secrets, render
    from visma_tokens_cli.stack import open_stack

    found = read_secrets(open_stack(options), client)
    if options.as_json:
        screen.print_json([one.as_dict() for one in found])
    else:
        screen.out().print(render(found))
    return WELL if all(one.is_well for one in found) else NOT_WELL


@app.command(epilog=example("visma-tokens doctor acme"))
@with_options
def doctor(
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="Whose token to try.")
    ] = None,
    *,
    options: Options,
) -> int:
    """Look at the whole chain, and say what to do.

    Exits with 1 where something is broken.
    """
    from visma_tokens_cli.doctor import examine, print_findings
    from visma_tokens_cli.stack import open_stack

    return print_findings(examine(open_stack(options), tenant), as_json=options.as_json)


@app.command(
    epilog=example(
        "visma-tokens token acme",
        """visma-tokens token acme --exec 'echo "${#VISMA_TOKEN} characters"'""",
    )
)
@with_options
def token(
    name: Name,
    *,
    show: Annotated[
        bool, typer.Option("--show", help="Print the token and nothing else; in --json, as token.")
    ] = False,
    exec_: Annotated[
        str | None,
        typer.Option(
            "--exec",
            metavar="COMMAND",
            help="Become this shell command, with the token in its environment: VISMA_TOKEN.",
        ),
    ] = None,
    options: Options,
) -> int:
    """Tell what is known of a tenant's token.

    Exits with 1 where it has expired, or is not the issuer's.
    """
    from datetime import UTC, datetime

    from visma_tokens_cli import screen
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.token import execute, live_value, look_up, print_token

    if exec_ is not None and (show or options.as_json):
        raise typer.BadParameter("--exec prints nothing that --show or --json could change")
    stack = open_stack(options)
    found, stored = look_up(stack, name)
    now = datetime.now(UTC)
    value = live_value(stack, found, stored, now) if show or exec_ is not None else ""
    if exec_ is not None:
        execute(exec_, value)
    if options.as_json:
        screen.print_json(found.as_dict() | ({"token": value} if show else {}))
    elif show:
        screen.print_bare(value)
    else:
        print_token(stack, found, stored, now)
    return WELL if found.is_well(now) else NOT_WELL


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
    """Take a tenant out of the configuration.

    Its token goes once it has expired; `disable` it first to take that away now.
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
    """Take a tenant's token away, and issue no more.

    Exits with 1 where it is still there.
    """
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.tenant import disable_tenant

    return disable_tenant(open_stack(options), name, as_json=options.as_json)


@app.command(epilog=example("visma-tokens apply tenants.toml --dry-run"))
@with_options
def apply(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="TOML or JSON."),
    ],
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
