"""The command line: each command says what it does, and leaves it to a module of that name."""

from typing import Annotated

import typer

from visma_tokens_cli.options import NOT_WELL, WELL, Options, with_options

app = typer.Typer(
    name="visma-tokens",
    help="See and change what the Visma token issuer does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # their tracebacks show values
    context_settings={"help_option_names": ["-h", "--help"]},
)

ROWS = 40  # of a table, unless all are asked for


@app.command(epilog="visma-tokens status --failing --watch")
@with_options
def status(
    *,
    failing: Annotated[bool, typer.Option(help="Only those that need attention.")] = False,
    watch: Annotated[bool, typer.Option(help="Again every five seconds.")] = False,
    all_: Annotated[bool, typer.Option("--all", help=f"More than {ROWS} rows.")] = False,
    options: Options,
) -> int:
    """Show how each tenant is, the worst first; 1 where one is not well."""
    from visma_tokens_cli import screen
    from visma_tokens_cli.stack import open_stack
    from visma_tokens_cli.status import read_status, render, watch_status

    stack, most = open_stack(options), None if all_ or options.as_json else ROWS
    if watch:
        return watch_status(stack, failing=failing, most=most)
    found = read_status(stack, failing=failing, most=most)
    if options.as_json:
        screen.print_json(found.as_dict())
    else:
        screen.out().print(render(found, failing=failing, most=most))
    return WELL if found.is_well else NOT_WELL


@app.command(epilog="visma-tokens renew acme globex")
@with_options
def renew(
    tenants: Annotated[list[str] | None, typer.Argument(metavar="[NAME]…")] = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Whoever is due.")] = False,
    force: Annotated[bool, typer.Option(help="Due or not, backing off or not.")] = False,
    options: Options,
) -> int:
    """Invoke the function, once, and show its report; 1 where a tenant failed."""
    from visma_tokens_cli.function import invoke, print_report
    from visma_tokens_cli.stack import open_stack

    if bool(tenants) == all_:
        raise typer.BadParameter("give names, or --all")
    event: dict[str, object] = {"tenants": tenants} if tenants else {}
    report = invoke(open_stack(options), event | ({"force": True} if force else {}))
    print_report(report, as_json=options.as_json)
    return NOT_WELL if report["failed"] else WELL
