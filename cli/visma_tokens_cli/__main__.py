"""`python -m visma_tokens_cli` is `visma-tokens`."""

import io
import sys
from typing import NoReturn

from visma_tokens_cli.ending import exit_on_sigterm, tell_interrupted
from visma_tokens_cli.exit_codes import NOBODY_READS
from visma_tokens_cli.streams import abandon, prepare, printable, tell


def main() -> NoReturn:
    """Run the command, and exit with its exit code."""
    exit_on_sigterm()
    try:
        prepare()
        code = _run()
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = tell_interrupted()
    except BrokenPipeError:
        code = NOBODY_READS
    except Exception as error:  # noqa: BLE001  `with_options` handles those of commands
        from visma_tokens_cli.failures import print_failure  # noqa: PLC0415  when it is needed

        code = print_failure(error, as_json=False)
    abandon(sys.stdout)
    abandon(sys.stderr)
    sys.exit(code)


def _run() -> int:
    # imported here: it takes time, and Ctrl-C and SIGTERM have to work meanwhile
    import typer  # noqa: PLC0415

    from visma_tokens_cli.commands import app  # noqa: PLC0415

    output = sys.stdout
    try:
        return app(standalone_mode=False) or 0
    except typer.Abort:  # Ctrl-C while it reads the command line
        raise KeyboardInterrupt from None
    except typer.TyperException as error:
        usage, error.message = io.StringIO(), printable(error.message)
        error.show(usage)  # type: ignore[attr-defined]  # all of Typer's have it
        tell(usage.getvalue().rstrip("\n"))
        return error.exit_code
    except SystemExit:
        if sys.stdout is not output:  # Typer exits so if stdout is closed
            sys.stdout = output
            raise BrokenPipeError from None
        raise


if __name__ == "__main__":
    main()
