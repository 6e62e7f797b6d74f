"""What every command has: options as AWS tools name them, and exit codes."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated

import typer

# exit codes; 2 is a wrong command line
WELL = 0
NOT_WELL = 1  # a tenant, or a check
CANT = 3  # the command can't do its work
UNCHANGED = 4  # it did not, since it would have been wrong to
INTERRUPTED = 130


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which stack, where, as whom; and whether what is printed is JSON."""

    stack_name: str
    region: str | None
    profile: str | None
    endpoint_url: str | None
    as_json: bool


def _shared(
    *,
    stack_name: Annotated[
        str,
        typer.Option(envvar="VISMA_TOKENS_STACK", help="The stack."),
    ] = "token-issuer",
    region: Annotated[str | None, typer.Option(help="Its AWS Region.")] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS CLI.")] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(help="Of AWS, as for `make local`."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> Options:
    return Options(
        stack_name=stack_name,
        region=region,
        profile=profile,
        endpoint_url=endpoint_url,
        as_json=as_json,
    )


def with_options(command: Callable[..., int]) -> Callable[..., None]:
    """Give a command the shared options, as its keyword argument `options`.

    What it returns is the exit code.
    """
    shared = inspect.signature(_shared).parameters
    own = inspect.signature(command).parameters

    @wraps(command)
    def call(**values: object) -> None:
        options = _shared(**{name: values.pop(name) for name in shared})  # type: ignore[arg-type]
        try:
            code = command(**values, options=options)
        except KeyboardInterrupt:
            # on a terminal, behind the ^C that it shows
            sys.stderr.write("\nInterrupted.\n" if sys.stderr.isatty() else "Interrupted.\n")
            code = INTERRUPTED
        except typer.TyperException:
            raise
        except Exception as error:  # noqa: BLE001  what is none of ours is raised again
            from visma_tokens_cli.failures import print_failure  # noqa: PLC0415  when it is needed

            code = print_failure(error)
        raise typer.Exit(code)

    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in [*own.values(), *shared.values()]
        if one.name != "options"
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call
