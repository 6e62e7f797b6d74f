"""AWS keys that are replaced while a program runs, which botocore's sessions keep for good."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import rarely
from tests.helpers.parameter_store import Failure, ParameterStore, asked, jwt, wait_until
from tests.helpers.reader_processes import (
    FOR_EVER,
    SECONDS,
    SIGN_IN,
    environment,
    output_of,
    program,
)

NAMES = ["acme", "globex", "initech"]
KEYS = "aws_access_key_id = {key}\naws_secret_access_key = secret\n"
NEW_VARIABLES = "AWS_ACCESS_KEY_ID=new AWS_SECRET_ACCESS_KEY=secret"
CODES = ["ExpiredTokenException", "InvalidSignatureException", "UnrecognizedClientException"]


type Rotate = Callable[..., list[str]]


@pytest.fixture
def rotate(store: ParameterStore, served_url: str, tmp_path: Path) -> Rotate:
    """Return what says what the program says: before, after, later, and its session's key."""
    store.tokens = {name: jwt(name, expires_at=FOR_EVER) for name in NAMES}
    file = tmp_path / "credentials"

    def run(session: str, *, code: str = CODES[0], is_file: bool = True) -> list[str]:
        def write(key: str) -> None:
            """Give it to the profile that is used, and another one to the others."""
            used = "service" if session.endswith("-profile") else "default"
            keys = {"default": "another", "service": "another"} | ({used: key} if is_file else {})
            texts = (f"[{name}]\n{KEYS.format(key=one)}" for name, one in keys.items())
            file.write_text("".join(texts))

        key, secret = ("", "") if is_file else ("old", "secret")
        variables = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        variables |= {"SESSION": session, "AWS_SHARED_CREDENTIALS_FILE": str(file)}
        if session in {"default-region", "given"}:
            variables["AWS_DEFAULT_REGION"] = ""
        write("old")
        with program("rotation", environment(served_url, **variables)) as running:
            wait_until(asked(store, 1))
            store.refused_key, store.refusal = "old", Failure(code, "The key is not valid.")
            write("new")
            said = "\n" if is_file else f"{NEW_VARIABLES}\n"
            output, _ = running.communicate(said, timeout=SECONDS)
        assert running.returncode == 0, output
        return output.splitlines()

    return run


FROM_FILES = ["none", "default", *rarely("default-profile", "default-region", "given")]
FROM_VARIABLES = ["default", *rarely("none", "default-region")]


@pytest.mark.parametrize("code", [CODES[0], *rarely(*CODES[1:])])
def test_new_keys_are_found_whatever_aws_calls_the_old_ones(
    code: str, rotate: Rotate, store: ParameterStore
) -> None:
    assert rotate("default", code=code) == [*NAMES, "old"]
    assert store.keys == ["old", "old", "new", "new"]


@pytest.mark.parametrize("session", [*FROM_FILES, "given-profile"])
def test_new_keys_in_the_credentials_file_are_found(
    session: str, rotate: Rotate, store: ParameterStore
) -> None:
    assert rotate(session) == [*NAMES, "None" if session == "none" else "old"]
    assert store.keys == ["old", "old", "new", "new"]


@pytest.mark.parametrize("session", FROM_VARIABLES)
def test_new_keys_in_the_environment_are_found(
    session: str, rotate: Rotate, store: ParameterStore
) -> None:
    assert rotate(session, is_file=False) == [*NAMES, "None" if session == "none" else "old"]
    assert store.keys == ["old", "old", "new", "new"]


@pytest.mark.parametrize("session", ["given-keys", "given", *rarely("default-keys", "given-role")])
def test_what_the_program_gave_to_a_session_stays_whatever_other_keys_there_are(
    session: str, rotate: Rotate, store: ParameterStore
) -> None:
    why = "failed: ExpiredTokenException: The key is not valid"
    failures = [f"reading /visma/tokens/{name} {why}" for name in NAMES[1:]]
    assert rotate(session, is_file=session != "given") == ["acme", *failures, "old"]
    assert set(store.keys) == {"old"}


def test_settings_of_a_session_stay_when_new_keys_are_found(
    rotate: Rotate, store: ParameterStore
) -> None:
    assert rotate("given-agent") == [*NAMES, "old"]
    assert ["mine" in one for one in store.user_agents] == [True] * 4


def finding(shell: str, folder: Path) -> dict[str, str]:
    """Return variables with which a shell's commands are run to find keys."""
    finder, config = folder / "finder", folder / "config"
    finder.write_text(f"#!/bin/sh\n{shell}\n")
    finder.chmod(0o755)
    config.write_text(f"[default]\ncredential_process = {finder}\n")
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    return {"AWS_CONFIG_FILE": str(config), **nothing}


def test_what_looks_for_keys_and_fails_is_not_run_at_once_again(
    served_url: str, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    variables = finding(f"echo run >>{runs}\nexit 1", tmp_path)

    output = output_of("failing", environment(served_url, **variables))

    assert output[0].startswith("ReadFailed: No token for acme: Parameter Store can't be asked")
    assert runs.read_text() == "run\n"


def test_keys_that_have_expired_where_they_come_from_are_said_to(
    served_url: str, tmp_path: Path
) -> None:
    keys = {"Version": 1, "AccessKeyId": "old", "SecretAccessKey": "s", "SessionToken": "t"}
    found = json.dumps(keys | {"Expiration": "2020-01-01T00:00:00Z"})
    variables = finding(f"echo {shlex.quote(found)}", tmp_path)

    output = output_of("failing", environment(served_url, **variables))

    assert output[-1] == (
        "ReadFailed: No token for acme: Parameter Store can't be asked: Credentials were refreshed,"
        f" but the refreshed credentials are still expired. {SIGN_IN}"
    )
