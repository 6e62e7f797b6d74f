"""`python -m local demo` runs the main job once, `python -m local up` keeps it up."""

import argparse
import signal
import sys

from rich.console import Console

from local.demo import Progress, demo, running
from local.processes import raise_on_signals

INTERRUPTED = 130


def main() -> int:
    """Do what the command line says, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("demo", "up"))
    command = parser.parse_args().command
    raise_on_signals()
    console = Console()
    try:
        if command == "demo":
            demo(console)
        else:
            keep_up(console)
    except KeyboardInterrupt:
        console.print("Interrupted; everything is stopped.")
        return INTERRUPTED
    return 0


def keep_up(console: Console) -> None:
    """Keep everything up until Ctrl-C, and say how to use it."""
    with running(Progress(console)) as local:
        console.print("\nIn another terminal:\n")
        for name, value in local.account.environment.items():
            console.print(f"export {name}={value}", highlight=False, soft_wrap=True)
        console.print(f"export FUNCTION={local.stack.outputs['FunctionName']}", highlight=False)
        console.print(f"export VISMA_CONNECT={local.visma_connect.url}", highlight=False)
        console.print("\nCtrl-C stops everything.")
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
