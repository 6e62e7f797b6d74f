"""Whatever streams, encodings and widths a person's machine has: the same words and exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.cli.conftest import Run
from tests.conftest import rarely
from tests.helpers.deployed_aws import REGION, Deployed
from tests.helpers.programs import finished
from tests.helpers.terminal import ENVIRONMENT, STYLE, end_of, on_terminal, on_terminal_of, run

COMMAND = (sys.executable, "-m", "visma_tokens_cli")
FILE = "tenants.json"
COMMANDS = {
    "status": ("status",),
    "doctor": ("doctor",),
    "apply": ("apply", FILE, "--dry-run"),
    "secret status": ("secret", "status"),
    "token": ("token", "acme"),
    "renew": ("renew", "acme"),
    "help": ("--help",),
    "wrong": ("status", "→"),
}
PLAIN = {"━": "=", "╌": "-", "─": "-", "✓": "+", "✗": "x", "\u2013": "-", "→": "->", "…": "..."}
MINUTES = re.compile(r"\d+ (s|min)\b|\d\d:\d\d(:\d\d)?")


@pytest.fixture
def file(tmp_path: Path) -> str:
    wanted = {"acme": {"scope": "b", "note": "smør → 漢"}, "hooli": {"scope": ""}}
    path = tmp_path / FILE
    path.write_text(json.dumps({"tenants": wanted}))
    return str(path)


def words(text: str) -> list[str]:
    """Return the words of a text, but for how much time there is left."""
    return MINUTES.sub("_", text).split()


RARE = pytest.mark.long
ENCODED = [("status", "cp1252"), ("apply", "ascii")]


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        *ENCODED,
        *(
            pytest.param(name, encoding, marks=RARE)
            for name in COMMANDS
            for encoding in ("cp1252", "latin-1", "cp437", "cp932", "ascii", "ascii:replace")
            if (name, encoding) not in ENCODED
        ),
    ],
)
def test_an_encoding_without_our_characters_has_plain_ones(
    name: str, encoding: str, visma_tokens: Run, file: str
) -> None:
    arguments = [file if one == FILE else one for one in COMMANDS[name]]
    usual = visma_tokens(*arguments, COLUMNS="80")

    with_it = subprocess.run(
        [*COMMAND, *arguments],
        env=ENVIRONMENT
        | visma_tokens.keywords  # type: ignore[attr-defined]
        | {"COLUMNS": "80", "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )

    codec = encoding.partition(":")[0]
    said = (with_it.stdout + with_it.stderr).decode(codec)
    expected = usual.stdout + usual.stderr
    for character, plain in PLAIN.items():
        try:
            character.encode(codec)
        except UnicodeEncodeError:
            expected = expected.replace(character, plain)
    expected = expected.encode(codec, "backslashreplace").decode(codec)
    assert words(said) == words(expected)
    assert with_it.returncode == usual.returncode != 70


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("status", "0"),
        pytest.param("status", "²", marks=RARE),
        *(
            pytest.param(name, columns, marks=RARE)
            for name in ("status", "doctor", "help")
            for columns in ("00", "-1", "7", "abc", "8e1", " 80", "9" * 5000)
        ),
    ],
    ids=lambda text: text[:6],
)
def test_a_width_that_can_be_none_is_80_columns(name: str, columns: str, visma_tokens: Run) -> None:
    usual = visma_tokens(*COMMANDS[name], COLUMNS="80")

    done = visma_tokens(*COMMANDS[name], COLUMNS=columns, LINES=columns)

    assert words(done.stdout) == words(usual.stdout)
    assert done.returncode == usual.returncode


def status_on_terminal(aws: Deployed, size: tuple[int, int]) -> str:
    variables = {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": REGION}
    said, code = end_of(on_terminal_of(size, *COMMAND[1:], "status", **variables))
    assert code == 1
    return STYLE.sub("", said.rpartition("\x1b[2K")[2])


@pytest.mark.parametrize(
    "size", [(0, 0), pytest.param((1, 1), marks=RARE), pytest.param((24, 9), marks=RARE)]
)
def test_a_terminal_that_reports_no_columns_has_80(size: tuple[int, int], aws: Deployed) -> None:
    assert words(status_on_terminal(aws, size)) == words(status_on_terminal(aws, (24, 80)))


ODD = {  # line of a shell, exit code
    "no output": ("{} >&-", 1),
    "none of them": ("{} <&- >&- 2>&-", 1),
    "nobody reads": ("set -o pipefail; {} | true", 141),
    "the locale C": ("PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 LC_ALL=C {}", 1),
    "a proxy": ("HTTP_PROXY=http://127.0.0.1:9 NO_PROXY= {}", 1),
}
RARELY = {
    "errors that can't be written": ("{} 2>/dev/full", 1),
    "warnings are errors": ("PYTHONWARNINGS=error {}", 1),
    "a working directory that is gone": ("mkdir gone; cd gone; rmdir ../gone; {}", 1),
    "no errors": ("{} 2>&-", 1),
    "no input": ("{} <&-", 1),
    "output that can't be written": ("{} >/dev/full", 3),
    "nothing that can be written": ("{} >/dev/full 2>&1", 3),
    "output that is for reading": ("{} >/dev/null 1</dev/null", 3),
    "nobody reads errors": ("set -o pipefail; ({} 2>&1 >/dev/null | true); true", 0),
    "help that nobody reads": ("set -o pipefail; sleep 1 | {} --help | true", 141),
    "help that can't be written": ("{} --help >/dev/full", 3),
    "a wrong line that can't be told": ("{} --nope 2>/dev/full", 2),
    "a failure that can't be told": ("{} --stack-name '' 2>/dev/full", 2),
    "a working directory with spaces": ("mkdir 'å  b'; cd 'å  b'; {}", 1),
    "no home": ("HOME=/nowhere {}", 1),
    "an empty home": ("HOME= {}", 1),
    "Python for developers": ("PYTHONDEVMODE=1 {}", 1),
    "Python without assertions": ("PYTHONOPTIMIZE=2 {}", 1),
    "a dumb terminal": ("TERM=dumb NO_COLOR=1 {}", 1),
    "no terminal": ("env -u TERM {}", 1),
    "a zone that is none": ("TZ=Nowhere/At_All {}", 1),
    "a zone far away": ("TZ=UTC-99 {}", 1),
    "a zone of a day": ("TZ=AAA24 {}", 1),
    "a summer time of a day": ("TZ=AAA0BBB-24,J1/0,J365/23 {}", 1),
    "a proxy in small letters": ("http_proxy=http://127.0.0.1:9 no_proxy= {}", 1),
    "a proxy that spares others": ("HTTP_PROXY=http://127.0.0.1:9 NO_PROXY=example.org {}", 1),
    "a .netrc": ("HOME=$PWD; echo 'machine 127.0.0.1 login a password b' >.netrc; {}", 1),
    "the AWS CLI's own settings": ("AWS_PAGER=nope AWS_DEFAULT_OUTPUT=nope {}", 1),
}


@pytest.mark.parametrize("name", [*ODD, *rarely(*RARELY)])
def test_the_exit_code_is_that_of_the_check(name: str, aws: Deployed, tmp_path: Path) -> None:
    line, code = (ODD | RARELY)[name]
    command = " ".join((*COMMAND, "status"))

    environment = ENVIRONMENT | {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": REGION}
    done = finished(["bash", "-c", line.format(command)], env=environment, cwd=tmp_path)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    if code == 1 and "put" not in name and "none of" not in name:
        assert done.stdout.startswith("3 tenants")


NIGHT = ("-m", "visma_tokens_cli", "status", "--profile", "night")


def with_a_device(serial: str, aws: Deployed, folder: Path) -> dict[str, str]:
    """Return the variables of a person whose profile asks for the code of that device."""
    config = folder / "config"
    config.write_text(
        "[profile source]\naws_access_key_id = a\naws_secret_access_key = b\n"
        "[profile night]\nsource_profile = source\nrole_arn = arn:aws:iam::123456789012:role/x\n"
        f"mfa_serial = {serial}\n"
    )
    where = {"AWS_ENDPOINT_URL": aws.url, "AWS_REGION": REGION, "AWS_CONFIG_FILE": str(config)}
    return where | {"AWS_ACCESS_KEY_ID": ""}


def test_the_question_for_a_code_stays_until_it_is_answered(aws: Deployed, tmp_path: Path) -> None:
    child = on_terminal(*NIGHT, **with_a_device("arn:aws:iam::123456789012:mfa/me", aws, tmp_path))
    child.expect_exact("Enter MFA code for arn:aws:iam::123456789012:mfa/me: ")

    with pytest.raises(pexpect.TIMEOUT):
        child.expect_exact("\x1b", timeout=1)  # nothing is written over it
    child.sendline("123456")

    said, code = end_of(child)
    assert "3 tenants" in said
    assert code == 1


def test_the_question_for_a_code_is_printable(aws: Deployed, tmp_path: Path) -> None:
    child = on_terminal(*NIGHT, **with_a_device("arn:\x1b[2J\u202e", aws, tmp_path))

    child.expect_exact(r"Enter MFA code for arn:\x1b[2J\u202e: ")
    child.sendeof()

    said, code = end_of(child)
    assert "No MFA code was given." in said
    assert code == 3


def test_where_nobody_can_be_asked_for_a_code_that_is_said(aws: Deployed, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, *NIGHT],
        env=ENVIRONMENT | with_a_device("arn:aws:iam::123456789012:mfa/me", aws, tmp_path),
        input="a client secret, perhaps\n",
        start_new_session=True,  # without a terminal
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr.splitlines() == [
        "The profile asks for an MFA code, and there is no terminal to ask on.",
        "Give a --profile without mfa_serial, or keys of a session that is open already.",
    ]
    assert done.returncode == 3


def test_who_is_no_tenant_of_ours_is_a_wrong_line() -> None:
    done = run("status", "--\x1b[2J\u202e")

    assert "\x1b" not in done.stderr
    assert "\u202e" not in done.stderr
    assert done.returncode == 2
