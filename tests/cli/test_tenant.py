"""One tenant is added, removed, turned on and off: in its document, and in what the issuer does."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import PATH, Shelf, refused
from tests.helpers.invoked import DENIED, ISSUED, NOTHING, failed_run
from tests.helpers.tenants import OFF, ON, A, Issuer, add, disable, enable, remove
from tests.helpers.terminal import end_of, in_a_pipe, on_terminal
from visma_tokens_cli.exit_codes import CANT, NOT_WELL, UNCHANGED, WELL
from visma_tokens_cli.failures import CommandFailed

UNREADABLE = '{"tenants": {"umbrella": {"scope": "a"}}'
SKIPPED = NOTHING | {"skipped": True}


def failed(reason: str, tenant: str = "acme", **counts: int) -> dict[str, Any]:
    failure = {"tenant": tenant, "reason": reason, "detail": f"{tenant} is out", "remedy": "Do it."}
    return NOTHING | {"failed": 1, "failures": [failure]} | counts


COMMANDS: dict[str, Callable[[Issuer], int]] = {
    "add": lambda issuer: add(issuer, "umbrella"),
    "remove": lambda _: remove("umbrella"),
    "enable": lambda issuer: enable(issuer, "umbrella"),
    "disable": lambda _: disable("umbrella"),
}


def put_token(shelf: Shelf, name: str) -> None:
    shelf.ssm.put_parameter(Name=f"/visma/tokens/{name}", Value="token", Type="SecureString")


# Who is where


@pytest.mark.parametrize("name", COMMANDS)
def test_who_may_be_in_a_parameter_that_cannot_be_read_is_not_said_to_be_nowhere(
    name: str, issuer: Issuer, shelf: Shelf
) -> None:
    shelf.put("many", UNREADABLE)

    with refused(f"{PATH}/many: it is not JSON") as caught:
        COMMANDS[name](issuer)

    assert caught.value.remedy.startswith("Correct the parameter")
    assert shelf.texts() == {"many": UNREADABLE}
    assert issuer.sent == []


@pytest.mark.parametrize("name", ["remove", "enable", "disable"])
def test_who_is_nowhere_is_not_configured(name: str, issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", OFF)

    with refused("Tenant umbrella is not configured"):
        COMMANDS[name](issuer)

    assert shelf.texts() == {"acme": OFF}


# add


def test_add_configures_a_tenant_and_has_its_token_issued(
    issuer: Issuer, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    code = add(issuer)

    assert code == WELL
    assert shelf.texts() == {"acme": json.dumps(A)}
    assert issuer.sent == [{"tenants": ["acme"]}]
    told = capsys.readouterr()
    assert told.out == "1 issued, 0 fresh, 0 failed, 0 deferred, 0 removed\n"
    assert told.err == f"acme is configured, in {PATH}/acme.\n"


def test_add_prints_json_for_scripts(issuer: Issuer, capsys: pytest.CaptureFixture[str]) -> None:
    assert add(issuer, as_json=True) == WELL

    told = json.loads(capsys.readouterr().out)
    assert told == {"tenant": "acme", "parameter": f"{PATH}/acme", "report": ISSUED}


@pytest.mark.parametrize(
    ("name", "members", "words"),
    [
        pytest.param("globex", {}, f"globex is configured already, in {PATH}/many", id="there"),
        pytest.param("many", {}, f"{PATH}/many holds other tenants", id="its place is taken"),
        pytest.param("acme", {"note": 1}, "Tenant acme: note must be a text", id="invalid"),
        pytest.param("a b", {}, "Tenant a b: the name must be", id="a wrong name"),
    ],
)
def test_add_writes_nothing_that_would_be_wrong(
    name: str, members: dict[str, Any], words: str, issuer: Issuer, shelf: Shelf
) -> None:
    shelf.put("many", f'{{"tenants": {{"globex": {OFF}}}}}')
    before = shelf.texts()

    with refused(words):
        add(issuer, name, **members)

    assert shelf.texts() == before
    assert issuer.sent == []


@pytest.mark.parametrize("subject", ["acme", f"{PATH}/acme"], ids=["the tenant", "its parameter"])
def test_add_is_not_well_where_the_tenant_failed(subject: str, issuer: Issuer) -> None:
    issuer.answers = [failed("LedgerUnwritable", subject, fresh=1)]

    assert add(issuer) == NOT_WELL


@pytest.mark.parametrize(
    "stale",
    [
        pytest.param(failed("UnknownTenant"), id="unknown"),
        pytest.param(failed("TenantDisabled"), id="disabled"),
        pytest.param(NOTHING, id="nothing"),
        pytest.param(NOTHING | {"deferred": 1}, id="deferred"),
    ],
)
@pytest.mark.parametrize("command", [add, enable])
def test_a_token_is_waited_for_while_the_function_reads_what_was_before(
    command: Callable[[Issuer], int],
    stale: dict[str, Any],
    issuer: Issuer,
    shelf: Shelf,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if command is enable:
        shelf.put("acme", OFF)
    issuer.answers = [stale, stale, ISSUED]

    assert command(issuer) == WELL

    assert issuer.sent == [{"tenants": ["acme"]}] * 3
    assert all(1 < pause < 10 for pause in issuer.pauses)
    told = capsys.readouterr()
    assert told.out == "1 issued, 0 fresh, 0 failed, 0 deferred, 0 removed\n"
    assert told.err.splitlines()[1:] == ["There is no token of acme yet; asking again …"] * 2


def test_a_token_is_waited_for_until_it_is_enough(issuer: Issuer) -> None:
    issuer.answers = [NOTHING]

    assert add(issuer) == NOT_WELL

    assert 16 <= sum(issuer.pauses) <= 24
    assert len(issuer.sent) == len(issuer.pauses) + 1


def test_a_refusal_is_not_waited_for(issuer: Issuer) -> None:
    issuer.answers = [failed("TokenRefused")]

    assert add(issuer) == NOT_WELL

    assert issuer.pauses == []


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        pytest.param(b"", "The function was invoked, and its answer did not come", id="its run"),
        pytest.param(DENIED, "AWS denies you Invoke", id="of AWS"),
    ],
)
@pytest.mark.parametrize("before", [[], [NOTHING]], ids=["first", "later"])
def test_a_document_that_is_written_is_told_where_the_run_fails(
    before: list[Any], failure: bytes, words: str, issuer: Issuer, shelf: Shelf
) -> None:
    issuer.answers = [*before, failure, ISSUED]

    with refused(code=CANT) as caught:
        add(issuer)

    assert caught.value.detail.startswith(f"acme is configured; its token was not issued: {words}")
    assert issuer.answers == [ISSUED]  # a call without answer is not made again
    assert shelf.texts() == {"acme": json.dumps(A)}


# remove


@pytest.mark.parametrize(
    ("texts", "after"),
    [
        pytest.param({"acme": OFF}, {}, id="its own"),
        pytest.param(
            {"many": f'{{"tenants": {{"acme": {OFF}, "globex" : {ON}}} }}'},
            {"many": f'{{"tenants": {{"globex": {ON}}}}}'},
            id="packed",
        ),
        pytest.param({"packed-001": f'{{"tenants": {{"acme": {ON}}}}}'}, {}, id="packed by us"),
        pytest.param(
            {"many": f'{{"tenants": {{"acme": {ON}}}}}'}, {"many": '{"tenants": {}}'}, id="theirs"
        ),
    ],
)
def test_remove_takes_a_tenant_out(
    texts: dict[str, str], after: dict[str, str], shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put_all(texts)

    assert remove("acme") == WELL

    assert shelf.texts() == after
    assert capsys.readouterr().out == "acme is removed; its token goes once it has expired.\n"


def test_remove_prints_json_for_scripts(shelf: Shelf, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.put("acme", ON)

    assert remove("acme", as_json=True) == WELL

    told = json.loads(capsys.readouterr().out)
    assert told == {"tenant": "acme", "parameter": f"{PATH}/acme", "report": None}


def test_remove_changes_nothing_where_nobody_says_yes(shelf: Shelf) -> None:
    shelf.put("acme", ON)

    with pytest.raises(CommandFailed, match="There is no terminal to ask on"):
        remove("acme", yes=False)

    assert shelf.texts() == {"acme": ON}


# enable, disable


def test_enable_writes_that_and_nothing_else(
    issuer: Issuer, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("many", f'{{"tenants": {{"acme": {OFF}, "globex" : {OFF}}} }}')

    assert enable(issuer) == WELL

    assert shelf.texts() == {"many": f'{{"tenants": {{"acme": {ON}, "globex": {OFF}}}}}'}
    assert issuer.sent == [{"tenants": ["acme"]}]
    assert capsys.readouterr().err == f"acme is enabled, in {PATH}/many.\n"


def test_who_is_enabled_already_gets_a_token_all_the_same(
    issuer: Issuer, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("acme", '{ "scope":"a" }')

    assert enable(issuer) == WELL

    assert shelf.texts() == {"acme": '{ "scope":"a" }'}
    assert issuer.sent == [{"tenants": ["acme"]}]
    assert capsys.readouterr().err == f"acme is enabled already, in {PATH}/acme.\n"


def test_a_document_that_cannot_be_used_is_not_turned_on(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", '{"scope": 1, "enabled": false}')

    with refused("scope must be a text"):
        enable(issuer)

    assert issuer.sent == []


def test_disable_says_that_the_token_is_gone(
    issuer: Issuer, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("acme", ON)
    put_token(shelf, "globex")
    issuer.answers = [failed("TokenRefused", "globex", removed=1)]

    assert disable() == WELL

    assert shelf.texts() == {"acme": OFF}
    assert issuer.sent == [{}]
    assert capsys.readouterr().out == "acme has no token any more.\n"


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param(
            SKIPPED, "Skipped: another run is at work; see `visma-tokens status`.\n", id="skipped"
        ),
        pytest.param(failed("StoreDenied"), "acme is out\nDo it.\n", id="failed"),
    ],
)
def test_disable_is_not_well_while_the_token_is_there(
    report: dict[str, Any],
    words: str,
    issuer: Issuer,
    shelf: Shelf,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shelf.put("acme", ON)
    put_token(shelf, "acme")
    issuer.answers = [report]

    assert disable() == NOT_WELL

    told = capsys.readouterr()
    assert told.out.endswith(words)
    assert told.err.endswith("The token of acme is still there; the next run takes it away.\n")
    assert shelf.texts() == {"acme": OFF}


def test_disable_prints_json_for_scripts(
    issuer: Issuer, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("acme", ON)
    put_token(shelf, "acme")
    issuer.answers = [SKIPPED]

    assert disable(as_json=True) == NOT_WELL

    told = json.loads(capsys.readouterr().out)
    assert told == {"tenant": "acme", "parameter": f"{PATH}/acme", "report": SKIPPED}


def test_who_is_disabled_is_told_so_where_the_run_fails(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", ON)
    issuer.answers = [failed_run("LedgerUnreadable", "no ledger")]

    with refused(code=CANT) as caught:
        disable()

    assert caught.value.detail == (
        "acme is disabled; whether its token is gone is not known: The run failed: no ledger"
    )
    assert shelf.texts() == {"acme": OFF}


# Questions


ASKING = """
import typer
from visma_tokens_cli.asking import confirm
from visma_tokens_cli.options import with_options

@with_options
def ask(*, options):
    confirm("Remove [acme]?", yes=False)
    return 0

typer.run(ask)
"""


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " y \n"])
def test_who_says_yes_goes_on(answer: str) -> None:
    child = on_terminal("-c", ASKING)
    child.expect_exact("Remove [acme]? [y/N] ")

    child.send(answer)

    assert end_of(child)[1] == WELL


STRICT = "import sys; sys.stdin.reconfigure(encoding='ascii', errors='strict')"


@pytest.mark.parametrize(
    ("before", "answer"),
    [*(("", answer) for answer in ("n\n", "\n", "\x04", "yep\n")), (STRICT, "é\n")],
)
def test_who_does_not_changes_nothing(before: str, answer: str) -> None:
    child = on_terminal("-c", f"{before}\n{ASKING}")
    child.expect_exact("Remove [acme]? [y/N] ")

    child.send(answer)

    said, code = end_of(child)
    assert "Nothing was changed." in said
    assert code == UNCHANGED


def test_without_a_terminal_nothing_is_asked() -> None:
    done = in_a_pipe("-c", ASKING, said="y\n")

    assert done.stderr.splitlines() == [
        "There is no terminal to ask on, so nothing was changed.",
        "Give --yes, if you mean it.",
    ]
    assert done.returncode == UNCHANGED
