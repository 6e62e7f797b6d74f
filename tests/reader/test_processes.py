"""Processes of their own: forked, interrupted, without threads, without what AWS needs."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from local.authorization_server import serving_wsgi
from tests.conftest import rarely
from tests.helpers.parameter_store import ParameterStore, asked, jwt, wait_until
from tests.helpers.reader_processes import (
    FOR_EVER,
    SECONDS,
    SIGN_IN,
    environment,
    output_of,
    program,
)
from tests.helpers.refusing_api import Api
from tests.reader.conftest import held


def test_a_forked_process_reads_by_itself(store: ParameterStore, served_url: str) -> None:
    store.tokens = {name: jwt(name, expires_at=FOR_EVER) for name in ("acme", "globex")}
    gate = store.hold("acme")

    with program("fork", environment(served_url)) as running:
        assert running.stdout
        assert running.stdout.readline() == "reading\n"
        wait_until(asked(store, 2))
        assert running.stdin
        print(file=running.stdin, flush=True)
        wait_until(asked(store, 3))
        gate.set()
        output, _ = running.communicate(timeout=SECONDS)

    assert output == "child ended with 0\n"
    assert store.asked == [["globex"], ["acme"], ["acme"]]


def test_a_process_that_is_forked_in_the_middle_of_it_reads_by_itself(
    store: ParameterStore, served_url: str
) -> None:
    store.tokens = {name: jwt(name, expires_at=FOR_EVER) for name in ("acme", "globex")}

    assert output_of("fork_locked", environment(served_url)) == ["child ended with 0"]


def test_credentials_that_come_later_are_used(store: ParameterStore, served_url: str) -> None:
    store.tokens["acme"] = jwt(expires_at=FOR_EVER)
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}

    assert output_of("later", environment(served_url, **nothing)) == [SIGN_IN, "acme"]


def test_forked_processes_have_connections_of_their_own(
    store: ParameterStore, served_url: str
) -> None:
    store.tokens = {name: jwt(name, expires_at=FOR_EVER) for name in ("t0", "t1", "t2", "t3")}

    assert output_of("connections", environment(served_url)) == ["[True, 0, 0, 0]"]


def test_whoever_waits_for_a_read_that_is_interrupted_is_told(
    store: ParameterStore, served_url: str
) -> None:
    store.tokens["acme"] = jwt(expires_at=FOR_EVER)

    with held(store, "acme"), program("interrupted", environment(served_url)) as running:
        wait_until(asked(store, 1))
        assert running.stdin
        assert running.stdout
        print(file=running.stdin, flush=True)
        assert running.stdout.readline() == "waiting\n"
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=SECONDS)

    assert sorted(output.splitlines()) == [
        "No token for acme: the read was interrupted. Try again",
        "interrupted",
    ]


def test_where_no_thread_can_be_started_a_task_is_told(
    store: ParameterStore, served_url: str
) -> None:
    store.tokens["acme"] = jwt(expires_at=FOR_EVER)

    assert output_of("no_threads", environment(served_url)) == [
        "No token for acme: no thread could be started to read it. Try again",
        "acme",
    ]


def test_who_names_no_reader_shares_one(
    store: ParameterStore, served_url: str, api: Api, url: str
) -> None:
    token = store.tokens["acme"] = jwt(expires_at=FOR_EVER)
    api.taken = {token}

    output = output_of("shared", environment(served_url, API=url))

    assert output == ["200", "200"]
    assert store.asked == [["acme"]]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_a_pool_return_answers_and_read_once_each(
    method: str, store: ParameterStore, served_url: str, api: Api, url: str
) -> None:
    token = store.tokens["acme"] = jwt(expires_at=FOR_EVER)
    api.taken = {token}

    output = output_of("pool", environment(served_url, API=url, METHOD=method))

    assert output == ["welcome"] * 6
    assert store.asked == [["acme"]] * (1 if method == "fork" else 2)  # which has the parent's


def test_the_python_of_the_docs_runs(
    store: ParameterStore, served_url: str, api: Api, url: str
) -> None:
    store.tokens = {name: jwt(name, expires_at=FOR_EVER) for name in ("acme", "globex")}
    api.taken = {store.tokens["acme"]}

    output = output_of("page", environment(served_url, API=url))

    assert output[:2] == ["200", "200"]
    assert output[2].startswith("An API refuses the token of acme,")  # since nothing was renewed
    assert output[3:] == ["None"]
    assert {call.path for call in api.calls} == {"/orders"}


def test_a_role_that_may_not_be_assumed_is_no_matter_of_the_policy(
    served_url: str, tmp_path: Path
) -> None:
    def security_token_service(_: object, start_response: Callable[..., object]) -> list[bytes]:
        start_response("403 Forbidden", [("Content-Type", "text/xml")])
        return [REFUSAL]

    (tmp_path / "identity").write_text("an identity")
    variables = {
        "AWS_ACCESS_KEY_ID": "",
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "identity"),
    }

    with serving_wsgi(security_token_service) as url:
        output = output_of(
            "failing", environment(served_url, AWS_ENDPOINT_URL_STS=url, **variables)
        )

    why = "AssumeRoleWithWebIdentity failed: AccessDenied: Not authorized"
    assert output == [f"ReadFailed: No token for acme: {why}. {SIGN_IN}"]


REFUSAL = b"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Code>AccessDenied</Code><Message>Not authorized</Message></Error></ErrorResponse>"""
ROLE = "arn:aws:iam::123456789012:role/service"
MEND = "Mend this process's AWS settings: Region, profile, credentials, endpoint"
CLEAR_TEXT = (
    "the endpoint is not https, so a token would be sent in clear text; plain http is for loopback"
)
WANTING = {
    "credentials": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""},
        f"Unable to locate credentials. {SIGN_IN}",
    ),
    "region": ({"AWS_DEFAULT_REGION": ""}, f"You must specify a region. {MEND}"),
    "profile": (
        {"AWS_PROFILE": "nobody"},
        f"The config profile (nobody) could not be found. {MEND}",
    ),
    "file": (
        {"AWS_ACCESS_KEY_ID": "", "AWS_WEB_IDENTITY_TOKEN_FILE": "/gone", "AWS_ROLE_ARN": ROLE},
        f"[Errno 2] No such file or directory: '/gone'. {MEND}",
    ),
    "endpoint": ({"AWS_ENDPOINT_URL": "nowhere"}, f"Invalid endpoint: nowhere. {MEND}"),
    "https": ({"AWS_ENDPOINT_URL_SSM": "http://aws.invalid"}, f"{CLEAR_TEXT}. {MEND}"),
}


@pytest.mark.parametrize(
    "what", ["region", "file", *rarely("credentials", "profile", "endpoint", "https")]
)
def test_without_what_aws_needs(what: str, served_url: str) -> None:
    variables, why = WANTING[what]

    assert output_of("failing", environment(served_url, **variables)) == [
        f"ReadFailed: No token for acme: Parameter Store can't be asked: {why}"
    ]


LOOPBACK = ["127.0.0.1", *rarely("localhost", "[::1]")]


@pytest.mark.parametrize("host", LOOPBACK)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_is_asked_without_a_proxy(scheme: str, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        variables = environment(
            f"{scheme}://{host}:9", HTTP_PROXY=url, HTTPS_PROXY=url, NO_PROXY=""
        )

        output = output_of("failing", variables)

        assert "Could not connect to the endpoint" in output[0]
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_what_is_elsewhere_is_asked_by_the_proxy() -> None:
    proxies = {"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}

    output = output_of("failing", environment("https://aws.invalid", **proxies))

    assert "Failed to connect to proxy" in output[0]
