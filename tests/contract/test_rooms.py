"""The rooms of the code: who imports whom, and who touches the process."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.imports import assert_no_circle, imports, parsed, too_long

SRC = PROJECT / "src/token_issuer"
MODULES = sorted(one for one in SRC.rglob("*.py") if one.name != "__init__.py")
FLOORS = (  # a module imports from its own room and from the floors below it
    {"handler"},
    {"run"},
    {"telling"},
    {"gathering", "issuing", "removing", "proving"},
    {"outside"},
    {"reporting"},
    {"tokens"},
    {"clients"},
    {"facts"},
    {"tenants"},
    {"ledger", "limits"},
    {"settings"},
    {"foreign_errors"},
    {"errors"},
    {"names", "redaction"},
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
PURE = {  # no AWS, no HTTP, no clock: values and decisions, which need no other modules
    "clients.credentials",
    "clients.rollover",
    "errors",
    "facts",
    "ledger.items",
    "ledger.records",
    "limits.breaker",
    "limits.waiting",
    "names",
    "redaction",
    "settings",
    "tenants.configuration",
    "tenants.documents",
    "tenants.invocation",
    "tenants.recall",
    "tokens.access_token",
    "tokens.order",
    "tokens.ownership",
    "tokens.plan",
    "tokens.renewal",
    "tokens.strict_json",
}
OUTSIDE = {"aws_lambda_powertools", "boto3", "botocore", "requests", "socket", "time", "urllib3"}


def named(module: Path) -> str:
    return ".".join(module.relative_to(SRC).with_suffix("").parts)


def ours(module: Path, *, at_work: bool = False) -> set[str]:
    return {
        one.removeprefix("token_issuer.")
        for one in imports(module, at_work=at_work)
        if one.startswith(("token_issuer", "."))
    }


def calls(module: Path) -> set[str]:
    return {
        ast.unparse(node.func) for node in ast.walk(parsed(module)) if isinstance(node, ast.Call)
    }


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_imports_point_downwards(module: Path) -> None:
    room = named(module).split(".")[0]
    rooms = {one.split(".")[0] for one in ours(module)}

    assert {one for one in rooms - {room} if FLOOR_OF[one] <= FLOOR_OF[room]} == set()


def test_no_imports_go_in_a_circle() -> None:
    assert_no_circle({named(module): ours(module) for module in MODULES})


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_module_touches_nothing(name: str) -> None:
    module = SRC / f"{name.replace('.', '/')}.py"

    assert ours(module, at_work=True) <= PURE
    assert {one.split(".")[0] for one in imports(module, at_work=True)} & OUTSIDE == set()
    assert not any(one.endswith("datetime.now") for one in calls(module))


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_only_the_handler_touches_the_process(module: Path) -> None:
    wired = {"boto3", "logging", "os"} if module.stem == "handler" else set()

    assert imports(module) & {"os", "boto3", "sys", "logging"} == wired


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_nothing_works_at_import_time(module: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.TypeAlias, ast.If)

    for node in parsed(module).body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            made = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            assert all(ast.unparse(call.func) == "re.compile" for call in made)
        elif not isinstance(node, allowed):
            assert isinstance(node, ast.Expr)
            assert isinstance(node.value, ast.Constant)


def test_only_the_function_is_in_src() -> None:
    names = {path.name for path in (PROJECT / "src").iterdir()} - {"__pycache__"}

    assert names == {"requirements.in", "requirements.txt", "token_issuer"}


def test_no_file_is_longer_than_a_newcomer_reads() -> None:
    assert too_long({named(module): module for module in MODULES}) <= {"errors"}
