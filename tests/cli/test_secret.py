"""Client secrets as operators stage them, and what is told of them."""

import io
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from tests.cli.conftest import Shelf, refused
from tests.helpers.applying import make_stack_with_ledger
from tests.helpers.terminal import Child, end_of, in_a_pipe, on_terminal
from token_issuer.clients.secrets_manager import MISSING
from visma_tokens_cli.secret import create, read_auth_method, stage
from visma_tokens_cli.secret_status import SecretStatus, read_secrets, render
from visma_tokens_cli.stack import Stack

SECRET = "Kq7zR2pXw9-Lm4Tb8YcH6v"
DOCUMENT = json.dumps({"client_id": "demoapp", "client_secret": SECRET})
BASIC = json.dumps({**json.loads(DOCUMENT), "auth_method": "client_secret_basic"})
STAGE = ("-m", "visma_tokens_cli", "secret", "stage")
CTRL_D = "\x04"


@pytest.fixture
def stack(shelf: Shelf) -> Stack:
    """Return one whose tenants name two clients."""
    shelf.put("acme", '{"scope": ""}')
    shelf.put("globex", '{"scope": "", "client": "sales"}')
    return make_stack_with_ledger()


def printed(found: list[SecretStatus]) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(render(found))
    return text.getvalue()


# What is told of them


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("in_tokyo")
def test_times_are_in_utc(stack: Stack) -> None:
    create(stack, "default", DOCUMENT)
    stage(stack, "default", DOCUMENT)

    found = read_secrets(stack, "default")

    [current] = [one for one in found[0].as_dict()["versions"] if "AWSCURRENT" in one["stages"]]
    created = current["created_at"]
    at = datetime.fromisoformat(created)
    assert created.endswith("+00:00")
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    [row] = [line for line in printed(found).splitlines() if "current, in use" in line]
    assert row.split()[0] == current["version"]  # all of it
    assert f"{at:%Y-%m-%d %H:%MZ}" in row


def test_a_client_without_a_secret_hides_no_other(stack: Stack) -> None:
    create(stack, "default", DOCUMENT)
    session = boto3.Session()

    def answer(*, params: dict[str, bytes], **_: object) -> None:
        if b"sales" in params["body"]:  # on which moto breaks
            raise ClientError({"Error": {"Code": MISSING}}, "ListSecretVersionIds")

    session.events.register("before-call.secrets-manager.ListSecretVersionIds", answer)

    well, missing = read_secrets(replace(stack, aws=session), None)

    assert (well.client, well.is_well) == ("default", True)
    assert (missing.client, missing.is_well) == ("sales", False)
    [notice] = missing.as_dict()["notices"]
    assert notice["detail"] == "There is no secret visma/clients/sales"
    assert "visma-tokens secret stage --client sales --create" in notice["remedy"]
    assert "current, in use" in printed([well, missing])
    assert "There is no secret visma/clients/sales" in printed([well, missing])


def test_who_has_no_secret_stages_none(stack: Stack) -> None:
    with refused("There is no secret visma/clients/sales") as caught:
        stage(stack, "sales", DOCUMENT)

    assert "visma-tokens secret stage --client sales --create" in caught.value.remedy


# What is staged


@pytest.mark.parametrize("name", ["a b/../c", "", "x" * 65])
def test_a_client_that_no_tenant_can_name_is_refused(name: str) -> None:
    done = in_a_pipe(*STAGE, "--create", "--client", name, "--file", "-", said=DOCUMENT)

    assert done.stderr.startswith("A client's name is 1 to 64 of A-Z a-z 0-9 _ . -.")
    assert SECRET not in done.stderr
    assert (done.stdout, done.returncode) == ("", 4)


READING = """
import sys
from pathlib import Path
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.secret import read_document

def nobody():
    raise AssertionError("a file says itself how the client authenticates")

try:
    sys.stdout.write(read_document(Path(sys.argv[1]), nobody))
except CommandFailed as error:
    assert error.__suppress_context__
    sys.stderr.write(f"{error} {error.remedy}")
    sys.exit(error.code)
"""

type Read = Callable[[bytes], subprocess.CompletedProcess[str]]


@pytest.fixture(params=["file", "standard input"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Read:
    """Return a reader of what --file names, in a process of its own."""

    def run(content: bytes) -> subprocess.CompletedProcess[str]:
        if request.param == "file":
            (tmp_path / "client.json").write_bytes(content)
            return in_a_pipe("-c", READING, str(tmp_path / "client.json"))
        return in_a_pipe("-c", READING, "-", said=content.decode(errors="surrogateescape"))

    return run


def test_a_byte_order_mark_is_none_of_the_document(read: Read) -> None:
    done = read(f"{DOCUMENT}\n".encode("utf-8-sig"))

    assert (done.stdout, done.stderr, done.returncode) == (DOCUMENT, "", 0)


def test_what_is_not_utf_8_is_refused_and_not_quoted(read: Read) -> None:
    done = read(f"{SECRET}\xe5".encode("latin-1"))

    assert done.returncode == 4
    assert "is not UTF-8: byte" in done.stderr
    assert SECRET not in done.stdout + done.stderr


# How the client authenticates


@pytest.mark.parametrize(
    ("document", "method"), [(DOCUMENT, "client_secret_post"), (BASIC, "client_secret_basic")]
)
def test_how_a_client_authenticates_is_taken_over(
    document: str, method: str, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    create(stack, "default", document)

    assert read_auth_method(stack, "default") == method
    assert capsys.readouterr() == ("", "")


def test_the_first_secret_of_a_client_has_none_to_take_over(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_auth_method(stack, "sales") == "client_secret_post"
    assert capsys.readouterr() == ("", "")


def test_where_it_is_denied_post_is_assumed_and_that_is_said(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    create(stack, "default", BASIC)
    session = boto3.Session()

    def deny(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")

    session.events.register("before-call.secrets-manager.GetSecretValue", deny)

    assert read_auth_method(replace(stack, aws=session), "default") == "client_secret_post"
    said = capsys.readouterr().err
    assert "AccessDeniedException" in said
    assert "client_secret_post is assumed" in said


def test_where_it_is_malformed_post_is_assumed_and_nothing_quoted(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    create(stack, "default", f'{{"{SECRET}": "{SECRET}"}}')

    assert read_auth_method(stack, "default") == "client_secret_post"
    said = capsys.readouterr().err
    assert "client_secret_post is assumed" in said
    assert SECRET not in said


# Who types it

TYPING = """
import sys, typer
from visma_tokens_cli.options import with_options
from visma_tokens_cli.secret import read_document

@with_options
def typing(*, options):
    document = read_document(None, lambda: "{method}")
    open("{file}", "w").write(document)
    return 0

typer.run(typing)
"""


def typing(file: Path, method: str = "client_secret_post") -> Child:
    child = on_terminal("-c", TYPING.format(file=file, method=method))
    child.expect_exact("Client ID: ")
    return child


@pytest.mark.parametrize(
    ("method", "document"), [("client_secret_post", DOCUMENT), ("client_secret_basic", BASIC)]
)
def test_what_is_typed_is_not_shown_and_nothing_more_is_asked(
    method: str, document: str, tmp_path: Path
) -> None:
    child = typing(tmp_path / "typed", method)
    child.sendline(" demoapp ")
    child.expect_exact("Client secret (not shown): ")
    child.sendline(f" {SECRET} ")

    said, code = end_of(child)

    assert json.loads((tmp_path / "typed").read_text()) == json.loads(document)
    assert SECRET not in said
    assert code == 0


@pytest.mark.parametrize(
    ("keys", "why"),
    [(b"SEC\xffRET\n", "is not text"), (b"SECRE\x1b[DT\n", "has control characters in it")],
    ids=["another encoding", "an arrow key"],
)
def test_what_is_no_text_is_not_staged(keys: bytes, why: str, tmp_path: Path) -> None:
    child = typing(tmp_path / "typed")
    child.send("demoapp\n")
    child.expect_exact("Client secret (not shown): ")

    os.write(child.child_fd, keys)

    said, code = end_of(child)
    assert f"What was typed {why}" in said
    assert not (tmp_path / "typed").exists()
    assert code == 4


@pytest.mark.parametrize("typed", ["", "demoapp\n"], ids=["at the id", "at the secret"])
def test_ctrl_d_stages_nothing(typed: str, tmp_path: Path) -> None:
    child = typing(tmp_path / "typed")
    child.send(typed)
    if typed:
        child.expect_exact("Client secret (not shown): ")

    child.send(CTRL_D)

    said, code = end_of(child)
    assert said.splitlines()[-1] == "\x1b[1;31mNothing was staged.\x1b[0m"
    assert not (tmp_path / "typed").exists()
    assert code == 4
