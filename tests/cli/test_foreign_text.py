"""Text of another party, and of the operator: a terminal obeys nothing in it."""

import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group
from rich.table import Table

from tests.cli.conftest import Run
from tests.helpers.deployed_aws import Deployed
from visma_tokens_cli.screen import Console, Text, labelled
from visma_tokens_cli.streams import printable

if TYPE_CHECKING:
    from mypy_boto3_logs.type_defs import InputLogEventTypeDef

HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\u202egnp\u2066\x9b31m\r\x08\x7f[red]:smile:[link=x]y[/]\nacme  fresh"
)
IN_XML = "\u202egnp\u2066[red]:smile:[/]"  # which has no control characters


@given(st.text(st.characters(codec=None)) | st.just(HOSTILE))
def test_what_is_printed_is_printable_however_it_is_shown(text: str) -> None:
    console = Console(stderr=False)
    console.file = io.StringIO()
    console.width = 80
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    table.add_row(Text.assemble(text, (text, "red")))

    console.print(text)
    console.print(Group(table, Text(text).append(text)))
    console.print(labelled(text, text, 18, console))

    shown = console.file.getvalue()
    assert all(line.isprintable() for line in shown.split("\n"))
    unwrapped = re.sub(r"\s", "", printable(text))
    assert unwrapped in re.sub(r"\s", "", shown)


def in_a_report(aws: Deployed) -> None:
    failure = dict.fromkeys(("tenant", "reason", "detail", "remedy"), HOSTILE)
    aws.report = dict(aws.report, failed=1, failures=[failure])  # type: ignore[call-overload]


def in_the_log(aws: Deployed) -> None:
    logs = aws.session.client("logs", "eu-north-1", endpoint_url=aws.url)
    logs.create_log_group(logGroupName="issuer-log")
    logs.create_log_stream(logGroupName="issuer-log", logStreamName="s")
    line = {"message": "Run failed", "reason": HOSTILE, "detail": HOSTILE, "remedy": HOSTILE}
    event: InputLogEventTypeDef = {
        "timestamp": round(time.time() * 1000),
        "message": json.dumps(line),
    }
    logs.put_log_events(logGroupName="issuer-log", logStreamName="s", logEvents=[event])


def in_a_state_of_the_stack(aws: Deployed) -> None:
    aws.status = IN_XML


def in_the_settings(aws: Deployed) -> None:
    assert aws.function
    aws.function["Environment"]["Variables"]["TENANTS_PATH"] = HOSTILE


def nowhere(_aws: Deployed) -> None:
    pass


STATUS, DOCTOR = ("status",), ("doctor",)
IN_OUTPUTS = {"Version": IN_XML, "ReadTokensPolicyArn": IN_XML}
CASES: dict[str, tuple[Callable[[Deployed], object], tuple[str, ...]]] = {
    "a failure in the ledger": (lambda aws: aws.record("initech", HOSTILE), STATUS),
    "a member of a document": (
        lambda aws: aws.configure("globex", {"scope": "a", HOSTILE: 1}),
        STATUS,
    ),
    "a name in a packed document": (
        lambda aws: aws.configure("packed", {"tenants": {HOSTILE: {"scope": "a"}}}),
        STATUS,
    ),
    "an error of AWS": (lambda aws: aws.fail("Scan", "ValidationException", HOSTILE), STATUS),
    "a code of AWS": (lambda aws: aws.fail("Scan", HOSTILE, HOSTILE), DOCTOR),
    "the report of a run": (in_a_report, ("renew", "acme")),
    "the report of a probe": (in_a_report, DOCTOR),
    "the log": (in_the_log, DOCTOR),
    "the stack's outputs": (lambda aws: aws.outputs.update(IN_OUTPUTS), DOCTOR),
    "the stack's state": (in_a_state_of_the_stack, DOCTOR),
    "the function's settings": (in_the_settings, STATUS),
    "a tenant that is named": (nowhere, ("token", HOSTILE)),
    "a tenant that is to go": (nowhere, ("remove", HOSTILE, "--yes")),
    "a tenant that is added": (nowhere, ("add", HOSTILE, "--no-tenant-id", "--scope", "")),
    "a tenant that is examined": (nowhere, ("doctor", HOSTILE)),
    "a note": (nowhere, ("add", "hooli", "--no-tenant-id", "--scope", "", "--note", HOSTILE)),
    "a stack": (nowhere, ("status", "--stack-name", HOSTILE)),
    "a Region": (nowhere, ("status", "--region", HOSTILE)),
    "a profile": (nowhere, ("status", "--profile", HOSTILE)),
    "an endpoint": (nowhere, ("status", "--endpoint-url", HOSTILE)),
    "a client": (nowhere, ("secret", "status", "--client", HOSTILE)),
    "a file": (nowhere, ("apply", HOSTILE)),
    "a command": (nowhere, (HOSTILE,)),
    "an option": (nowhere, (f"--{HOSTILE}",)),
    "an argument too many": (nowhere, ("status", HOSTILE)),
}
OFTEN = {"a failure in the ledger", "an error of AWS", "a file"}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in OFTEN else pytest.mark.long) for one in CASES]
)
def test_no_terminal_obeys_it(name: str, visma_tokens: Run, aws: Deployed) -> None:
    arrange, arguments = CASES[name]
    arrange(aws)

    done = visma_tokens(*arguments)

    assert done.returncode != 70
    for text in (done.stdout, done.stderr):
        assert all(line.isprintable() for line in text.split("\n"))
        assert not re.search("^acme  fresh", text, re.MULTILINE)


def test_a_note_is_shown_escaped_before_it_is_written(visma_tokens: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"tenants": {"acme": {"scope": "a", "note": HOSTILE}}}))

    done = visma_tokens("apply", str(file), "--dry-run")

    assert json.dumps(HOSTILE) in done.stdout
    assert done.returncode == 0
