"""What all commands share: the options, named as in AWS tools, and the exit code."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Annotated
from urllib.parse import urlsplit

import typer

from visma_tokens_cli.ending import tell_interrupted
from visma_tokens_cli.exit_codes import NOBODY_READS
from visma_tokens_cli.streams import abandon


def example(*lines: str) -> str:
    r"""Return the examples that end a command's help; `\b` keeps Click from wrapping them."""
    return "\n".join(("\b", "For instance:", *(f"  {line}" for line in lines)))


Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.")]


def _name(value: str) -> str:
    if not value:
        raise typer.BadParameter("it is empty")
    if not value.isprintable():
        raise typer.BadParameter("it has characters that no name has")
    return value


def _url(value: str | None) -> str | None:
    if value is None:
        return None
    from visma_tokens_cli.endpoints import SENDABLE, is_safe  # noqa: PLC0415  when it is needed

    try:
        url = urlsplit(value)
        is_url = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        # error messages print the URL, so it must have no password
        is_url = is_url and bool(SENDABLE.fullmatch(value)) and "@" not in url.netloc
    except ValueError:
        is_url = False
    if not is_url:
        raise typer.BadParameter("give it as http://127.0.0.1:4566, for instance")
    if not is_safe(value):
        raise typer.BadParameter("it must be https; http is for this machine alone")
    return value


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of every command: the stack, its place, the credentials, and the format."""

    stack_name: Annotated[
        str, typer.Option(envvar="VISMA_TOKENS_STACK", help="The stack.", callback=_name)
    ] = "token-issuer"
    region: Annotated[str | None, typer.Option(help="Its AWS Region.")] = None
    profile: Annotated[str | None, typer.Option(help="A profile of the AWS CLI.")] = None
    endpoint_url: Annotated[
        str | None,
        typer.Option(help="Where AWS is, if not at AWS: `make local` tells.", callback=_url),
    ] = None
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False


def with_options(command: Callable[..., int]) -> Callable[..., None]:
    """Pass the shared options to a command as its keyword argument `options`.

    The program exits with the code that the command returns, or with that of its failure.
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
            code = tell_interrupted()
        except BrokenPipeError:
            code = NOBODY_READS
        except typer.TyperException:
            raise
        except Exception as error:  # noqa: BLE001  of which some are the command's own defects
            from visma_tokens_cli.failures import print_failure  # noqa: PLC0415  when it is needed

            code = print_failure(error, as_json=options.as_json)
        abandon(sys.stdout)
        raise typer.Exit(code)

    parameters = [
        one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for one in [*own.values(), *shared.values()]
        if one.name != "options"
    ]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {one.name: one.annotation for one in parameters}
    return call
