"""What the command shares with the function, and that its wheel carries it."""

import tomllib
from pathlib import Path

from tests.conftest import PROJECT
from tests.helpers.imports import assert_no_circle, imports, too_long

SHARED = {
    "clients",
    "errors",
    "foreign_errors",
    "ledger",
    "limits",
    "names",
    "redaction",
    "settings",
    "tenants",
    "tokens",
}
MODULES = {one.stem: one for one in (PROJECT / "cli/visma_tokens_cli").glob("*.py")}
NEEDED = {"requests", "urllib3", "aws_lambda_powertools"}  # by the function, and not by the command


def imported(module: Path, package: str) -> set[str]:
    """Return the modules of a package that one imports, wherever in it."""
    names = (one.partition(".") for one in imports(module))
    return {name for first, _, name in names if first == package}


def test_no_imports_go_in_a_circle() -> None:
    assert_no_circle({name: imported(one, "visma_tokens_cli") for name, one in MODULES.items()})


def test_no_file_is_longer_than_a_newcomer_reads() -> None:
    assert too_long(MODULES) == set()


def test_the_command_shares_documents_ledger_and_secrets_with_the_function() -> None:
    rooms = {
        name.partition(".")[0] for one in MODULES.values() for name in imported(one, "token_issuer")
    }

    assert rooms == SHARED


def test_the_function_imports_nothing_of_the_command() -> None:
    modules = (PROJECT / "src/token_issuer").rglob("*.py")

    assert not {name for one in modules for name in imported(one, "visma_tokens_cli")}


def test_the_wheel_carries_the_function_whole() -> None:
    settings = tomllib.loads((PROJECT / "cli/pyproject.toml").read_text())
    carried = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]

    assert carried == {"../src/token_issuer": "token_issuer"}


def test_what_the_command_imports_of_it_needs_no_more_than_the_command_has() -> None:
    left = {name for one in MODULES.values() for name in imported(one, "token_issuer")}
    seen: set[str] = set()
    while left:
        name = left.pop()
        seen.add(name)
        module = PROJECT / f"src/token_issuer/{name.replace('.', '/')}.py"
        left |= imported(module, "token_issuer") - seen
        assert not any(imported(module, needed) for needed in NEEDED), name
