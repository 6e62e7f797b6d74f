"""How a person's machine is set up: what is wrong with it is said, and secrets stay on it."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.helpers.deployed_aws import Deployed
from tests.helpers.terminal import run

KEYS = "[default]\naws_access_key_id = a\naws_secret_access_key = b\n"
PASSWORD = "Kq7zR2pXw9"
UNUSABLE = "configuration of AWS can't be used"
PROCESS = "[default]\ncredential_process = "
CONFIGS = {
    "that is none": ("region = x\n", "Unable to parse config file"),
    "that is not UTF-8": ("[default]\nregion = \udcff\n", "Unable to parse config file"),
    "with a process that fails": (f"{PROCESS}false\n", "retrieving credentials"),
    "with a process that is not there": (f"{PROCESS}/nope\n", "can't be loaded: [Errno 2]"),
    "with a process that prints no JSON": (f"{PROCESS}echo hello\n", "can't be loaded"),
    "with a process that prints a list": (f"{PROCESS}echo '[1]'\n", "can't be loaded"),
    "with a process whose keys have expired": (
        PROCESS + r"""echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b","""
        r""" "SessionToken": "c", "Expiration": "2020-01-01T00:00:00Z"}'""" + "\n",
        "still expired",
    ),
    "with a token file that is not there": (
        "[default]\nrole_arn = arn:aws:iam::1:role/x\nweb_identity_token_file = /nope\n",
        "can't be loaded: [Errno 2]",
    ),
    "with an SSO session that has ended": (
        (
            "[default]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = r\n"
            "[sso-session s]\nsso_start_url = https://x.example\nsso_region = eu-north-1\n"
        ),
        "Error loading SSO Token",
    ),
    "with roles in a circle": (
        (
            "[default]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = b\n"
            "[profile b]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n"
        ),
        "Infinite loop",
    ),
    "with a number that is none": (f"{KEYS}max_attempts = abc\n", "'abc'"),
    "with an endpoint that has others below it": (
        f"{KEYS}endpoint_url =\n  ssm = http://127.0.0.1:4566\n",
        UNUSABLE,
    ),
    "with a time limit that is none": (
        f"{KEYS}metadata_service_timeout = x\n",
        "configuration of AWS can't be used: invalid literal for int() with base 10: 'x'",
    ),
    "with a session that has others below it": ("[default]\nsso_session =\n  a = b\n", "can't be"),
    "with versions that are a text": (f"{KEYS}api_versions = x\n", UNUSABLE),
    "with a Region that is none": (f"{KEYS}region = a b\n", "region_name 'a b'"),
    "with an endpoint that is none": (f"{KEYS}endpoint_url = x\n", "Invalid endpoint"),
    "with an endpoint elsewhere": (
        f"{KEYS}endpoint_url = http://aws.example\n",
        "http://aws.example is not https",
    ),
    "with an endpoint elsewhere for one service": (
        (
            f"{KEYS}services = s\n[services s]\ncloudformation =\n"
            "  endpoint_url = http://aws.example:80\n"
        ),
        "http://aws.example is not https",
    ),
    "with an endpoint that looks like this machine": (
        f"{KEYS}endpoint_url = http://127.0.0.2:9\\@127.0.0.1:80\n",
        "http://127.0.0.2 is not https",
    ),
    "with a process that prints numbers": (
        PROCESS + """echo '{"Version": 1, "AccessKeyId": 1, "SecretAccessKey": 2}'""" + "\n",
        "the access key id of your AWS credentials is no text",
    ),
    "with a token of two lines": (
        PROCESS + r"""printf '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b","""
        r""" "SessionToken": "c\\nd"}'""" + "\n",
        "the session token of your AWS credentials is no text, or has characters",
    ),
    "with a port that is none": (
        f"{KEYS}endpoint_url = http://127.0.0.1:99999\n",
        "Port out of range",
    ),
    "with a password in an endpoint elsewhere": (
        f"{KEYS}endpoint_url = http://me:{PASSWORD}@aws.example:99/x\n",
        "http://aws.example is not https",
    ),
    "with a password in an endpoint that is none": (
        f"{KEYS}endpoint_url = https://me:{PASSWORD}@aws example\n",
        "Invalid endpoint: https://aws example",
    ),
} | {
    f"with {setting} that has others below it": (f"{KEYS}{setting} =\n  a = b\n", UNUSABLE)
    for setting in ("region", "max_attempts", "defaults_mode", "services", "data_path")
}
OFTEN = {
    *("with a process that is not there", "with a process that prints a list"),
    *("with a number that is none", "with an endpoint elsewhere for one service"),
    *("with a process that prints numbers", "with a port that is none"),
    *("with a password in an endpoint elsewhere", "with an endpoint that has others below it"),
    *("with region that has others below it", "with a time limit that is none"),
}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in OFTEN else pytest.mark.long) for one in CONFIGS]
)
def test_a_configuration_that_cannot_be_used_is_said(name: str, tmp_path: Path) -> None:
    text, words = CONFIGS[name]
    (tmp_path / "config").write_bytes(text.encode(errors="surrogateescape"))
    variables = {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_ACCESS_KEY_ID": ""}
    if "\nregion" not in text:
        variables["AWS_REGION"] = "eu-north-1"

    done = run("status", AWS_SECRET_ACCESS_KEY="", **variables)

    sentence, advice = done.stderr.splitlines()
    assert words in sentence
    assert advice
    assert PASSWORD not in done.stderr
    assert (done.stdout, done.returncode) == ("", 3)


EXPIRING = """#!/bin/sh
if mkdir "$0.asked" 2>/dev/null
then end=$(date -u -d '+902 seconds' +%Y-%m-%dT%H:%M:%SZ)  # botocore asks again at 900
else end=2020-01-01T00:00:00Z
fi
echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "SessionToken": "c",'
echo '"Expiration": "'$end'"}'
"""


def test_keys_that_run_out_meanwhile_are_told_from_an_answer(
    aws: Deployed, visma_tokens: Run, tmp_path: Path
) -> None:
    process, config = tmp_path / "process", tmp_path / "config"
    process.write_text(EXPIRING)
    process.chmod(0o700)
    config.write_text(PROCESS + str(process))

    def pass_time(operation: str, answer: bytes) -> bytes:
        time.sleep(2.5 if operation == "DescribeStacks" else 0)
        return answer

    aws.alter = pass_time
    done = visma_tokens(
        "status", AWS_CONFIG_FILE=str(config), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY=""
    )

    assert "still expired" in done.stderr
    assert "Sign in again" in done.stderr
    assert (done.stdout, done.returncode) == ("", 3)


@contextmanager
def listening() -> Iterator[tuple[str, list[bytes]]]:
    """Listen on an address of this machine that isn't loopback to the command."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.2", 0)) as server:

        def serve() -> None:
            try:
                while True:
                    connection, _ = server.accept()
                    with connection:
                        received.append(connection.recv(65_536))
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.2:{server.getsockname()[1]}", received


@pytest.mark.parametrize(
    ("arguments", "variables", "code"),
    [
        (("status", "--endpoint-url", "{}"), {}, 2),
        (("status",), {"AWS_ENDPOINT_URL": "{}"}, 3),
        pytest.param(("status",), {"AWS_ENDPOINT_URL_SSM": "{}"}, 3, marks=pytest.mark.long),
        pytest.param(("doctor",), {"AWS_ENDPOINT_URL_LAMBDA": "{}"}, 3, marks=pytest.mark.long),
        (("secret", "stage", "--file", "-"), {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "{}"}, 3),
    ],
    ids=["option", "variable", "variable of a service", "of Lambda", "of Secrets Manager"],
)
def test_nothing_is_sent_in_clear_text_to_another_machine(
    arguments: tuple[str, ...], variables: dict[str, str], code: int, visma_tokens: Run
) -> None:
    with listening() as (url, received):
        done = visma_tokens(
            *(one.format(url) for one in arguments),
            said='{"client_id": "a", "client_secret": "b"}',
            **{name: text.format(url) for name, text in variables.items()},
        )

    assert "https" in done.stderr
    assert received == []
    assert (done.stdout, done.returncode) == ("", code)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", pytest.param("[::1]", marks=pytest.mark.long)]
)
def test_this_machine_is_asked_in_clear_text_and_through_no_proxy(host: str) -> None:
    done = run(
        *("status", "--endpoint-url", f"http://{host}:9", "--region", "eu-north-1"),
        HTTP_PROXY="http://gateway.example",
        NO_PROXY="",
        AWS_MAX_ATTEMPTS="1",
    )

    assert done.stderr.startswith("AWS could not be reached: EndpointConnectionError")
    assert done.returncode == 3


def test_a_proxy_is_used_for_what_is_elsewhere() -> None:
    done = run(
        *("status", "--region", "eu-north-1"),
        HTTPS_PROXY="http://127.0.0.1:9",
        NO_PROXY="",
        AWS_MAX_ATTEMPTS="1",
    )

    assert done.stderr.startswith("AWS could not be reached: ProxyConnectionError")
