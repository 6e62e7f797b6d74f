"""The command line: options and help of each command; other modules do the work."""

from typing import Annotated

import typer

from visma_tokens_cli import secret_commands, tenant_commands
from visma_tokens_cli.exit_codes import NOT_WELL, WELL
from visma_tokens_cli.options import Name, Options, example, with_options

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
    """Print the version and exit."""
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            told = version("visma-tokens-cli")
        except PackageNotFoundError:  # run from a checkout
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
    """Handle the options that come before a command."""


ROWS = 40  # of the table, without --all


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
    """Show the state of each tenant, the worst first.

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


app.add_typer(tenant_commands.app)
app.add_typer(secret_commands.app, name="secret")
