"""What all commands have in common, each in a process of its own."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from local.authorization_server import serving_wsgi
from tests.conftest import PROJECT
from tests.helpers.command import COMMANDS
from tests.helpers.terminal import ENVIRONMENT, run


@pytest.fixture
def aws() -> Iterator[tuple[str, list[str]]]:
    """Return the URL of an AWS that has no stack, and the Regions that requests were signed for."""
    regions: list[str] = []

    def answer(
        environment: dict[str, str], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        regions.append(environment["HTTP_AUTHORIZATION"].split("/")[2])
        start_response("400 Bad Request", [("Content-Type", "text/xml")])
        error = "<Error><Code>ValidationError</Code><Message>no stack</Message></Error>"
        return [f"<ErrorResponse>{error}</ErrorResponse>".encode()]

    with serving_wsgi(answer) as url:
        yield url, regions


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"},
        {"AWS_ENDPOINT_URL_CLOUDFORMATION": "http://127.0.0.1:9"},
        {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
    ],
)
def test_the_endpoint_that_is_asked_for_is_called_whatever_is_set(
    variables: dict[str, str], aws: tuple[str, list[str]]
) -> None:
    url, regions = aws

    done = run("status", "--endpoint-url", url, "--region", "eu-north-1", **variables)

    assert done.stderr.startswith("There is no stack token-issuer in eu-north-1.")
    assert len(regions) == 1


@pytest.mark.parametrize(
    ("option", "variables", "region"),
    [
        ([], {"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ([], {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ([], {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        (["--region", "eu-north-1"], {"AWS_REGION": "eu-west-1"}, "eu-north-1"),
        (["--profile", "night"], {"AWS_CONFIG_FILE": "NIGHT"}, "eu-south-1"),
    ],
)
def test_the_region_is_found_as_the_aws_cli_finds_it(
    option: list[str],
    variables: dict[str, str],
    region: str,
    aws: tuple[str, list[str]],
    tmp_path: Path,
) -> None:
    url, regions = aws
    config = tmp_path / "config"
    config.write_text(
        "[profile night]\nregion = eu-south-1\naws_access_key_id = a\naws_secret_access_key = b\n"
    )
    variables = {name: text.replace("NIGHT", str(config)) for name, text in variables.items()}

    run("status", "--endpoint-url", url, *option, **variables)

    assert regions == [region]


def test_without_a_region_it_is_said_how_to_give_one() -> None:
    done = run("status")

    assert done.stderr.splitlines() == [
        "No AWS Region is chosen.",
        "Give --region, or set AWS_REGION.",
    ]
    assert done.returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("--stack-name", ""),
        ("--stack-name", "\udcff"),
        ("--endpoint-url", "https://aws example"),
        ("--endpoint-url", "https://aws.example/\u202e"),
        ("--endpoint-url", "localhost:4566"),
        ("--endpoint-url", "https://me:Kq7zR2pXw9@aws.example"),
    ],
)
def test_what_can_only_be_a_mistake_is_a_wrong_command_line(arguments: tuple[str, str]) -> None:
    done = run("status", *arguments)

    assert f"Invalid value for '{arguments[0]}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Kq7zR2pXw9" not in done.stderr
    assert done.returncode == 2


PRINTING = """
import typer
from visma_tokens_cli.options import with_options

app = typer.Typer()

@app.command()
@with_options
def command(*, options):
    print("x")
    return 0

app()
"""


def print_into(output: int) -> tuple[str, int]:
    """Run a command whose output goes there, and return what it says and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", PRINTING],
        env={"PYTHONPATH": f"{PROJECT}/cli:{PROJECT}/src"},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(output)
    return done.stderr, done.returncode


def test_it_ends_as_other_tools_where_nobody_reads_on() -> None:
    reading, writing = os.pipe()
    os.close(reading)

    assert print_into(writing) == ("", 141)


def test_a_full_disk_is_said() -> None:
    said, code = print_into(os.open("/dev/full", os.O_WRONLY))

    assert said == "It could not be read or written: No space left on device.\n"
    assert code == 3


@pytest.mark.parametrize(
    ("name", "code", "said"), [("SIGINT", 130, "Interrupted.\n"), ("SIGTERM", 143, "")]
)
@pytest.mark.parametrize("module", ["typer", "boto3"])
def test_it_ends_as_asked_while_it_imports(
    module: str, name: str, code: int, said: str, tmp_path: Path
) -> None:
    lines = ("import os, signal, time", f"os.kill(os.getpid(), signal.{name})", "time.sleep(9)")
    (tmp_path / f"{module}.py").write_text("\n".join(lines))

    done = run("status", PYTHONPATH=f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}")

    assert (done.stderr, done.returncode) == (said, code)


# Help


@pytest.mark.parametrize("command", ["", "secret", *COMMANDS])
def test_help_has_examples_that_can_be_pasted(command: str) -> None:
    done = run(*command.split(), "--help", COLUMNS="80")

    assert done.returncode == 0
    lines = done.stdout.rpartition("For instance:\n")[2].replace("\\\n", "").splitlines()
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "visma-tokens"
        assert " ".join(words).startswith(command)
        known = done.stdout if command else "--help"
        assert all(word in known for word in words if word.startswith("--"))
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_all_commands_are_there() -> None:
    listing = run("--help", COLUMNS="80").stdout.partition("Commands:\n")[2]
    listed = re.findall(r"^  (\w+)  ", listing, re.MULTILINE)

    assert {*listed} == {one.split()[0] for one in COMMANDS}


def test_a_checkout_has_no_version_of_its_own() -> None:
    assert run("--version").stdout == "not installed\n"
