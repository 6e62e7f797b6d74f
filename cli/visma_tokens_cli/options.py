"""What every command has: options as AWS tools name them, and exit codes."""

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated
from urllib.parse import urlsplit

import typer

# exit codes; 2 is a wrong command line
WELL = 0
NOT_WELL = 1  # a tenant, or a check
CANT = 3  # the command can't do its work
UNCHANGED = 4  # it did not, since it would have been wrong to
DEFECT = 70  # of the command
INTERRUPTED = 130
NOBODY_READS = 141  # as of other tools that SIGPIPE ends


def _filled(value: str) -> str:
    if not value:
        raise typer.BadParameter("it is empty")
    return value


def _url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        url = urlsplit(value)
        is_good = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise typer.BadParameter("give it as http://127.0.0.1:4566, for instance")
    return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which stack, where, as whom; and whether what is printed is JSON."""

    stack_name: Annotated[
        str, typer.Option(envvar="VISMA_TOKENS_STACK", help="The stack.", callback=_filled)
    ] = "token-issuer"
    region: Annotated[str | None, typer.Option(help="Its AWS Region.")] = None
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS CLI.")] = None
    endpoint_url: Annotated[
        str | None,
        typer.Option(help="Where AWS is, if not at AWS: `make local` tells.", callback=_url),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False


def with_options(command: Callable[..., int]) -> Callable[..., None]:
    """Give a command the shared options, as its keyword argument `options`.

    What it returns is the exit code.
    """
    shared = inspect.signature(Options).parameters
    own = inspect.signature(command).parameters

    @wraps(command)
    def call(**values: object) -> None:
        options = Options(**{name: values.pop(name) for name in shared})  # type: ignore[arg-type]
        try:
            code = command(**values, options=options)
            sys.stdout.flush()
        except KeyboardInterrupt:
            # on a terminal, behind the ^C that it shows
            sys.stderr.write("\nInterrupted.\n" if sys.stderr.isatty() else "Interrupted.\n")
            code = INTERRUPTED
        except BrokenPipeError:
            code = NOBODY_READS
        except typer.TyperException:
            raise
        except Exception as error:  # noqa: BLE001  of which some are the command's own defects
            from visma_tokens_cli.failures import print_failure  # noqa: PLC0415  when it is needed

            code = print_failure(error, as_json=options.as_json)
        try:
            sys.stdout.flush()
        except OSError:
            # https://docs.python.org/3/library/signal.html#note-on-sigpipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(code)

    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in [*own.values(), *shared.values()]
        if one.name != "options"
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call
