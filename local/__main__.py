"""`make demo` runs the main job once, `make local` keeps everything up."""

import argparse
import os
import shlex
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from local.environment import lines, settle
from local.processes import end_with_parent, raise_on_signals
from token_issuer.redaction import quote

if TYPE_CHECKING:
    from rich.console import Console

FAILED, INTERRUPTED = 1, 130


def main() -> int:
    """Run `demo` or `up`, and return the exit code."""
    settle()
    raise_on_signals()
    end_with_parent()
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=("demo", "up"))
    command = parser.parse_args().command
    try:
        # imported here: it takes a second, and Ctrl-C has to work meanwhile
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        from local.demo import demo  # noqa: PLC0415

        console = Console()
        if command == "up":
            return keep_up(console)
        demo(console)
    except KeyboardInterrupt:
        tell("Interrupted; everything is stopped.")
        return INTERRUPTED
    except (OSError, BotoCoreError, ClientError) as problem:
        tell(f"{quote(str(problem))}. Everything is stopped.")
        return FAILED
    return 0


def tell(sentence: str) -> None:
    """Print on standard error. Nothing more is written to standard output, which may be full."""
    with suppress(OSError):
        print(sentence, file=sys.stderr)  # noqa: T201  its purpose
    if sys.stdout:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def keep_up(console: "Console") -> int:
    """Start everything, print how to use it, and keep it up until Ctrl-C."""
    from local.aws import PROJECT  # noqa: PLC0415
    from local.demo import NOT_GRANTED, TENANTS, Progress, running  # noqa: PLC0415

    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, emoji=False, soft_wrap=True)

    with running(Progress(console)) as local:
        variables = local.account.environment | {
            "FUNCTION": local.stack.outputs["FunctionName"],
            "LOG_GROUP": local.stack.outputs["LogGroupName"],
            "VISMA_CONNECT": local.visma_connect.url,
            "API": f"{local.api.url}/me",
            "ORDERS": f"/companies/{TENANTS['acme']}/orders",
        }
        say("\nIn another terminal, for visma-tokens, the AWS CLI and curl:\n")
        command, tools = map(
            shlex.quote, (str(local.command.parent), f"{PROJECT}/.tools/consumers/bin")
        )
        say(f"cd {shlex.quote(str(PROJECT))}")
        say(f"export PATH={command}:$PATH:{tools}")
        for line in lines(**variables):
            say(line)
        say("\nThen, for instance (tokens come with the first run, in about a minute):\n")
        say("visma-tokens status --watch")
        say("aws lambda invoke --function-name $FUNCTION --payload fileb://events/all.json out")
        messages = "--query events[].message --output text"
        say(f"aws logs filter-log-events --log-group-name $LOG_GROUP {messages}")
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
