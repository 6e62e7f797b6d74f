"""The commands about client secrets."""

from pathlib import Path
from typing import Annotated

import typer

from visma_tokens_cli.exit_codes import NOT_WELL, WELL
from visma_tokens_cli.options import Options, example, with_options

app = typer.Typer(
    help="Stage a new client secret, and see what became of it.",
    epilog=example("visma-tokens secret stage", "visma-tokens secret status"),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.command("stage", epilog=example("visma-tokens secret stage --file client.json"))
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
    from visma_tokens_cli import screen, secret
    from visma_tokens_cli.stack import open_stack

    secret.check_client(client)
    stack = open_stack(options)
    document = secret.read_document(file, lambda: secret.read_auth_method(stack, client))
    version = (secret.create if create else secret.stage)(stack, client, document)
    if options.as_json:
        screen.print_json({"client": client, "version": version})
    elif create:
        screen.out().print(f"Created, version {version}: the next run uses it.")
    else:
        screen.out().print(f"Staged as version {version}: the next run proves it.")
        screen.out().print("See what became of it: visma-tokens secret status")
    return WELL


@app.command("status", epilog=example("visma-tokens secret status --client default"))
@with_options
def secret_status(
    *,
    client: Annotated[
        str | None, typer.Option(help="Whose secret; else all that tenants name.")
    ] = None,
    options: Options,
) -> int:
    """Show the versions of client secrets.

    Shows which one is current, and whether a pending one was proved. Exits with 1 if you have to
    do something.
    """
    from visma_tokens_cli import screen
    from visma_tokens_cli.secret_status import read_secrets, render
    from visma_tokens_cli.stack import open_stack

    found = read_secrets(open_stack(options), client)
    if options.as_json:
        screen.print_json([one.as_dict() for one in found])
    else:
        screen.out().print(render(found))
    return WELL if all(one.is_well for one in found) else NOT_WELL
