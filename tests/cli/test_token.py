"""What is told of a stored token, and to whom the token goes."""

import base64
import json
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.helpers.facts import NOW, fail, make_facts, make_record
from tests.helpers.terminal import ENVIRONMENT, in_a_pipe
from token_issuer.errors import TokenRefused
from token_issuer.ledger.records import Memory
from token_issuer.redaction import Quoted
from visma_tokens_cli.stored_token import Stored, claims_of
from visma_tokens_cli.token import TokenDescription, describe, no_token

HOUR = timedelta(hours=1)
PARAMETER = "/visma/tokens/acme"


def jwt(**claims: object) -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256"}, claims)]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJlIG9mIGl0"])


def known(stored: Stored, **changes: Any) -> Memory:  # noqa: ANN401  of Issued
    record = make_record("acme")
    assert record.issued
    issued = replace(
        record.issued,
        issued_at=NOW - HOUR / 2,
        expires_at=NOW + HOUR / 2,
        fingerprint=stored.fingerprint,
        version=stored.version,
    )
    return make_facts(records=[replace(record, issued=replace(issued, **changes))]).memory


def of_acme(stored: Stored | None, memory: Memory | None) -> TokenDescription:
    return describe("acme", PARAMETER, stored=stored, memory=memory)


# What is known


def test_claims_and_ledger_are_put_together() -> None:
    claims = {"client_id": "demoapp", "tenant_id": "af11", "exp": (NOW + HOUR).timestamp()}
    stored = Stored(version=7, value=jwt(**claims))

    found = of_acme(stored, known(stored))

    assert (found.client, found.client_id, found.tenant_id) == ("default", "demoapp", "af11")
    assert (found.version, found.scope, found.in_ledger) == (7, "b", True)
    assert found.fingerprint == stored.fingerprint


def test_the_earlier_expiry_counts() -> None:
    stored = Stored(version=7, value=jwt(exp=(NOW + HOUR).timestamp()))

    assert of_acme(stored, known(stored)).expires_at == NOW + HOUR / 2
    assert of_acme(stored, known(stored, expires_at=NOW + 2 * HOUR)).expires_at == NOW + HOUR


def test_the_ledger_says_nothing_of_another_token() -> None:
    stored = Stored(version=8, value=jwt(exp=(NOW + HOUR).timestamp()))

    found = of_acme(stored, known(stored, fingerprint="another", version=7))

    assert (found.version, found.issued_at, found.scope) == (8, None, None)
    assert (found.expires_at, found.in_ledger) == (NOW + HOUR, False)


def test_without_the_token_the_ledger_tells() -> None:
    stored = Stored(version=7, value="opaque")

    found = of_acme(None, known(stored))

    assert (found.version, found.fingerprint, found.scope) == (7, stored.fingerprint, "b")
    assert (found.client_id, found.in_ledger) == (None, None)


def test_without_the_ledger_the_claims_tell() -> None:
    stored = Stored(version=7, value=jwt(scope=["read", "write"]))

    found = of_acme(stored, None)

    assert (found.scope, found.expires_at, found.in_ledger) == ("read write", None, None)
    assert not found.has_expired(NOW)


def test_a_token_expires_at_its_last_moment() -> None:
    found = TokenDescription(tenant="acme", parameter=PARAMETER, expires_at=NOW)

    assert found.has_expired(NOW)
    assert not found.has_expired(NOW - timedelta(seconds=1))


@pytest.mark.parametrize(
    "token",
    ["opaque", "a.b", "a.!.c", "a.W10.c", "a.e30.c.d", jwt(exp="soon"), jwt(exp=1e300)],
    ids=["opaque", "two parts", "no base64", "a list", "four parts", "exp a text", "exp too far"],
)
def test_what_is_no_jwt_has_no_expiry(token: str) -> None:
    assert Stored(version=1, value=token).expires_at is None
    assert claims_of("a.W10.c") == {}


def test_control_characters_of_a_claim_are_not_shown() -> None:
    stored = Stored(version=1, value=jwt(tenant_id="\x1b[2Jaf11", client_id={"a": 1}))

    found = of_acme(stored, None)

    assert (found.tenant_id, found.client_id) == (None, None)


def test_the_token_is_in_no_text_of_it() -> None:
    stored = Stored(version=7, value=jwt(client_id="demoapp"))

    found = of_acme(stored, known(stored))

    texts = [repr(stored), repr(found), json.dumps(found.as_dict())]
    assert not any(part in text for text in texts for part in stored.value.split("."))


# Where there is none


def test_a_refusal_is_why_there_is_no_token() -> None:
    refused = TokenRefused("invalid_tenant: not granted", code=Quoted("invalid_tenant"))

    error = no_token("acme", fail(None, error=refused))

    assert error.detail == "There is no token of acme: invalid_tenant: not granted"
    assert "grant the application" in error.remedy
    assert error.code == 3


def test_without_a_known_reason_the_status_is_where_to_look() -> None:
    assert "`visma-tokens status`" in no_token("acme", None).remedy


def test_a_parameter_that_is_gone_is_told_from_a_token_that_never_was() -> None:
    memory = known(Stored(version=7, value=jwt()))

    error = no_token("acme", memory.records["acme"])

    assert error.detail == "The token of acme is gone, though the ledger knows it as version 7"
    assert error.remedy == "Run `visma-tokens renew acme`."


def test_what_another_has_written_is_not_well() -> None:
    ours, theirs = Stored(version=7, value=jwt(a=1)), Stored(version=8, value=jwt(a=2))

    assert of_acme(ours, known(ours)).is_well(NOW)
    assert not of_acme(theirs, known(ours)).is_well(NOW)
    assert of_acme(theirs, None).is_well(NOW)  # nobody can tell
    assert not of_acme(ours, known(ours)).is_well(NOW + HOUR)


# To whom it goes


def run_through_execute(command: str) -> subprocess.CompletedProcess[str]:
    code = "from visma_tokens_cli.token import execute; print('first');"
    return in_a_pipe("-c", f"{code} execute({command!r}, 't0ken')")


def test_what_was_printed_before_comes_first_and_the_exit_code_is_the_commands() -> None:
    done = run_through_execute('echo "$VISMA_TOKEN"; exit 7')

    assert (done.stdout, done.returncode) == ("first\nt0ken\n", 7)


def test_a_command_does_not_ignore_a_broken_pipe_as_python_does() -> None:
    done = run_through_execute("kill -PIPE $$; echo alive")

    assert (done.stdout, done.returncode) == ("first\n", -13)


def test_what_is_executed_has_it_in_its_environment_only() -> None:
    done = run_through_execute("tr '\\0' ' ' </proc/$$/cmdline")

    assert "t0ken" not in done.stdout
    assert "cmdline" in done.stdout


def test_its_environment_is_else_the_callers(visma_tokens: Run) -> None:
    odd = {"COLUMNS": "0", "LINES": "0", "TZ": "AAA24", "LC_ALL": "C.UTF-8"}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "corp.example"}

    done = visma_tokens("token", "acme", "--exec", "env", **odd, **proxies)

    lines = dict(line.split("=", 1) for line in done.stdout.splitlines())
    of_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    callers = ENVIRONMENT | visma_tokens.keywords | odd | proxies  # type: ignore[attr-defined]
    assert {name: lines[name] for name in lines.keys() - of_the_shell} == {
        **callers,
        "VISMA_TOKEN": "opaque",
    }


def test_without_a_shell_that_is_said(visma_tokens: Run, tmp_path: Path) -> None:
    done = visma_tokens("token", "acme", "--exec", "env", PATH=str(tmp_path))

    assert done.stderr.splitlines()[-2:] == [
        "sh can't be run: No such file or directory.",
        "Check PATH, and how long the command is.",
    ]
    assert done.returncode == 3
