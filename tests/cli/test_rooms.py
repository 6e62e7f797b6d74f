"""What the command shares with the function, and that its wheel carries it."""

import ast
import tomllib
from pathlib import Path

from tests.conftest import PROJECT

SHARED = {
    "credentials",
    "errors",
    "ledger",
    "pacing",
    "redaction",
    "renewal",
    "settings",
    "tenants",
}


def imported(module: Path, package: str) -> set[str]:
    """Return the modules of a package that one imports."""
    names = [
        node.module
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    ]
    return {one.partition(".")[2] for one in names if one.partition(".")[0] == package}


def test_the_command_shares_documents_ledger_and_secrets_with_the_function() -> None:
    modules = (PROJECT / "cli/visma_tokens_cli").glob("*.py")

    assert {name for one in modules for name in imported(one, "token_issuer")} == SHARED


def test_the_function_imports_nothing_of_the_command() -> None:
    modules = (PROJECT / "src/token_issuer").glob("*.py")

    assert not {name for one in modules for name in imported(one, "visma_tokens_cli")}


def test_the_wheel_carries_that_and_what_it_imports_and_no_more() -> None:
    settings = tomllib.loads((PROJECT / "cli/pyproject.toml").read_text())
    carried = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    needed, left = {"__init__"}, set(SHARED)
    while left:
        name = left.pop()
        needed.add(name)
        left |= imported(PROJECT / f"src/token_issuer/{name}.py", "token_issuer") - needed

    assert {f"../src/token_issuer/{name}.py" for name in needed} == carried.keys()
