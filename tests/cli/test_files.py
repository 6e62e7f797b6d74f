"""What a person names as a file, whatever it is: one sentence, and nothing is changed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import rarely
from tests.helpers.programs import finished
from tests.helpers.terminal import ENVIRONMENT, in_a_pipe, run

DOCUMENT = b'{"client_id": "demoapp", "client_secret": "Kq7zR2pXw9"}'
NOWHERE = ("--endpoint-url", "http://127.0.0.1:9", "--region", "eu-north-1")


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5_000_000_000)


type Content = bytes | Callable[[Path], object] | None

OF_TOML: dict[str, tuple[Content, str]] = {
    "TOML nested deeply": (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
    "tables nested deeply": (b"a = " + b"{a = " * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
    "keys nested deeply": (b"tenants." + b"a." * 20_000 + b"a = 1", "nested too deeply"),
    "quoted keys nested deeply": (b"tenants." + b'"a" . ' * 20_000 + b"a = 1", "nested too deeply"),
    "a long number in TOML": (b"a = " + b"1" * 5000, "too many digits"),
    "a long hexadecimal number": (b"a = 0x" + b"f" * 5000, "too many digits"),
    "a date that is none": (b"a = 2026-13-45", "it is not TOML"),
    "a NUL in TOML": (b'a = "\0"', "it is not TOML"),
    "not UTF-8": (b"\xff", "it is not UTF-8: byte 0"),
    "empty": (b"", "is empty"),
    "too long": (sparse, "has more than 10,000,000 bytes"),
    "a folder": (Path.mkdir, "Is a directory"),
    "a pipe that nobody writes to": (os.mkfifo, "is empty"),
    "not there": (None, "No such file or directory"),
}
OF_JSON: dict[str, tuple[Content, str]] = {
    "a tenant twice": (
        b'{"tenants": {"a": {"scope": ""}, "a": {"scope": ""}}}',
        "t.json: tenant a is in it twice",
    ),
    "a long number in JSON": (b'{"tenants": ' + b"1" * 5000 + b"}", "too many digits"),
    "JSON nested deeply": (b"[" * 100_000, "nested too deeply"),
    "a NUL in JSON": (b"\0", "it is not JSON"),
    "UTF-16": ("{}".encode("utf-16"), "it is not UTF-8: byte 0"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "it is not JSON"),
}
CONTENTS = OF_TOML | OF_JSON


OF_EACH_KIND = ["TOML nested deeply", "a long number in JSON", "a tenant twice", "not UTF-8"]
OF_EACH_KIND += ["too long", "a pipe that nobody writes to", "not there"]


@pytest.mark.parametrize("kind", [*OF_EACH_KIND, *rarely(*sorted(CONTENTS.keys() - OF_EACH_KIND))])
def test_a_file_that_can_hold_no_tenants_is_refused(kind: str, tmp_path: Path) -> None:
    content, words = CONTENTS[kind]
    file = tmp_path / ("t.toml" if kind in OF_TOML else "t.json")
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content:
        content(file)

    done = run("apply", str(file), "--yes", *NOWHERE)

    sentence, advice = done.stderr.splitlines()
    assert words in sentence
    assert advice
    assert len(sentence) < 600
    assert (done.stdout, done.returncode) == ("", 4)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/urandom"])
@pytest.mark.parametrize("command", ["apply", "secret stage"])
def test_what_has_no_end_is_refused(command: str, device: str, tmp_path: Path) -> None:
    endless = tmp_path / "endless.json"
    endless.symlink_to(device)

    done = in_a_pipe("-c", READING, command, str(endless))

    assert "bytes." in done.stderr
    assert (done.stdout, done.returncode) == ("", 4)


# the secret is read once the stack is known, which needs an AWS
READING = """
import sys
from pathlib import Path
from visma_tokens_cli.tenants_file import read_file
from visma_tokens_cli.failures import print_failure
from visma_tokens_cli.secret import read_document

read = read_file if sys.argv[1] == "apply" else lambda file: read_document(file, str)
try:
    sys.stdout.write(str(read(Path(sys.argv[2]))))
except Exception as error:
    sys.exit(print_failure(error, as_json=False))
"""

SECRETS: dict[str, tuple[bytes, str]] = {
    "nested deeply": (b"[" * 60_000, "is not JSON"),
    "a long number": (b'{"client_id": ' + b"1" * 5000 + b"}", "is not JSON"),
    "not UTF-8": (DOCUMENT + b"\xff", f"is not UTF-8: byte {len(DOCUMENT)}"),
    "a NUL": (DOCUMENT + b"\0", "is not JSON"),
    "empty": (b"", "is empty"),
    "without an id": (b'{"client_secret": "Kq7zR2pXw9"}', "client_id is missing, empty or not a"),
    "too long": (DOCUMENT + b" " * 65_536, "has more than 65,536 bytes"),
}


@pytest.mark.parametrize("source", ["file", *rarely("standard input")])
@pytest.mark.parametrize("kind", SECRETS)
def test_what_can_be_no_client_secret_is_refused(kind: str, source: str, tmp_path: Path) -> None:
    content, words = SECRETS[kind]
    (tmp_path / "client.json").write_bytes(content)
    name = str(tmp_path / "client.json") if source == "file" else "-"

    said = content.decode(errors="surrogateescape")
    done = in_a_pipe("-c", READING, "secret", name, said=said)

    assert words in done.stderr.splitlines()[0]
    assert (name if source == "file" else "tandard input") in done.stderr.splitlines()[0]
    assert "Kq7zR2pXw9" not in done.stderr
    assert (done.stdout, done.returncode) == ("", 4)


@pytest.mark.parametrize("given", ["-", "/dev/stdin"])
def test_standard_input_that_does_not_wait_is_waited_for(given: str) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)  # as from Node.js
    said = json.dumps({"tenants": {"acme": {"scope": "a"}}}).encode()

    with subprocess.Popen(
        [sys.executable, "-m", "visma_tokens_cli", "apply", given, *NOWHERE],
        env=ENVIRONMENT | {"AWS_MAX_ATTEMPTS": "1"},
        stdin=reading,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            pipe.write(said[:20])
            time.sleep(1.5)
            with suppress(BrokenPipeError):
                pipe.write(said[20:])
        _, told = child.communicate()

    assert told.startswith("AWS could not be reached")  # once the file is read
    assert child.returncode == 3


def test_an_output_that_does_not_wait_gets_all_of_it() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    with subprocess.Popen(
        [sys.executable, "-m", "visma_tokens_cli", "status", "--watch", *["x" * 9] * 20_000],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=writing,
    ) as child:
        os.close(writing)
        time.sleep(1.5)
        with os.fdopen(reading, "rb") as pipe:
            told = pipe.read()

    assert told.count(b"x" * 9) == 20_000
    assert child.returncode == 2


@pytest.mark.parametrize("delay", ["0", "0.5"], ids=["at once", "later"])
def test_a_pipe_that_somebody_writes_to_is_read(delay: str) -> None:
    said = json.dumps({"tenants": {"acme": {"scope": "a"}}})
    piped = f'"$0" -c "$1" apply <(sleep {delay}; echo "$2")'

    done = finished(["bash", "-c", piped, sys.executable, READING, said], env=ENVIRONMENT)

    assert done.stdout == "{'acme': {'scope': 'a'}}"
    assert done.returncode == 0
