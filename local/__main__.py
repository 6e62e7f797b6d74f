"""`python -m local demo` runs the main job once, `python -m local up` keeps it up."""

import argparse
import signal
import sys
from typing import TYPE_CHECKING

from local.processes import raise_on_signals

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130


def main() -> int:
    """Do what the command line says, and return the exit code."""
    raise_on_signals()
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("demo", "up"))
    command = parser.parse_args().command
    try:
        # imported here, since that takes a second in which Ctrl-C wants an answer too
        from rich.console import Console  # noqa: PLC0415

        from local.demo import demo  # noqa: PLC0415

        console = Console()
        if command == "up":
            return keep_up(console)
        demo(console)
    except KeyboardInterrupt:
        print("Interrupted; everything is stopped.")  # noqa: T201  its purpose
        return INTERRUPTED
    return 0


def keep_up(console: "Console") -> int:
    """Keep everything up until Ctrl-C, which is the way to end it, and say how to use it."""
    from local.aws import PROJECT  # noqa: PLC0415
    from local.demo import NOT_GRANTED, TENANTS, Progress, running  # noqa: PLC0415

    def say(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True)

    with running(Progress(console)) as local:
        variables = local.account.environment | {
            "FUNCTION": local.stack.outputs["FunctionName"],
            "LOG_GROUP": local.stack.outputs["LogGroupName"],
            "VISMA_CONNECT": local.visma_connect.url,
            "API": f"{local.api.url}/me",
            "ORDERS": f"/companies/{TENANTS['acme']}/orders",
        }
        say("\nIn another terminal, for visma-tokens, the AWS CLI and curl:\n")
        say("unset AWS_PROFILE AWS_SESSION_TOKEN")
        say(f"export PATH={local.command.parent}:$PATH:{PROJECT / '.tools/consumers/bin'}")
        for name, value in variables.items():
            say(f"export {name}={value}")
        say("\nThen, for instance (tokens come with the first run, in about a minute):\n")
        say("visma-tokens status --watch")
        say("aws lambda invoke --function-name $FUNCTION --payload fileb://events/all.json out")
        say("aws logs tail $LOG_GROUP --format short")
        say(f"curl -X POST $VISMA_CONNECT/local/grants/{TENANTS[NOT_GRANTED]}")
        say("curl -d status=503 $VISMA_CONNECT/local/fault  # an outage; -X DELETE ends it")
        say("echo $ORDERS | examples/shell/call-api.sh acme $API  # as a consumer; or:")
        say("echo $ORDERS | node examples/node/call-api.mjs acme $API")
        python = "PYTHONPATH=reader .venv/bin/python examples/python/call_api.py"
        say(f"echo $ORDERS | {python} acme $API")
        say("curl ${API%/me}/counts  # who has called it, and what it thought of their tokens")
        say("\nCtrl-C stops everything.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            say("Stopping …")
    return 0


if __name__ == "__main__":
    sys.exit(main())
