"""The rooms of the code: who imports whom, and who touches the process."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.imports import assert_no_circle, imports, parsed, too_long

SRC = PROJECT / "src/token_issuer"
MODULES = sorted(one for one in SRC.rglob("*.py") if one.name != "__init__.py")
EVERYWHERE = [
    module
    for folder in ("src", "tests", "benchmarks", "local", "cli", "reader", "examples")
    for module in sorted((PROJECT / folder).rglob("*.py"))
]
OPENS = {"open_outside", "make_outside"}  # the second one is the first one for tests
OF_PYTHON = {"response_class"}  # http.client takes a class there
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


# One wiring


def called(node: ast.AST | None) -> str:
    """Return the last name of what is called: `run` of `run(…)`, `outside` of `self.outside()`."""
    return ast.unparse(node.func).rpartition(".")[2] if isinstance(node, ast.Call) else ""


def is_opened(value: ast.expr | None, tree: ast.Module, seen: frozenset[str] = frozenset()) -> bool:
    """Tell whether a value is made by open_outside, with some of it replaced or not."""
    name = value.id if isinstance(value, ast.Name) else called(value)
    if name in OPENS | seen:
        return True
    if isinstance(value, ast.Name):
        sources = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        ]
    elif isinstance(value, ast.Call) and name == "replace":
        sources = value.args[:1]
    else:
        sources = [
            result.value or ast.Constant(None)
            for function in ast.walk(tree)
            if isinstance(function, ast.FunctionDef) and function.name == name
            for result in ast.walk(function)
            if isinstance(result, ast.Return)
        ]
    seen |= set() if name == "replace" else {name}
    return bool(sources) and all(is_opened(one, tree, seen) for one in sources)


def names_of(full: str, tree: ast.Module) -> set[str]:
    """Return what a module calls something by."""
    module, _, name = full.rpartition(".")
    return {name} | {
        one.asname or one.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == module
        for one in node.names
        if one.name == name
    }


def wires(module: Path) -> bool:
    tree = parsed(module)
    names = names_of("token_issuer.outside.Outside", tree)
    return any(called(node) in names for node in ast.walk(tree))


def test_only_one_function_wires_a_run() -> None:
    wiring = {module for module in EVERYWHERE if wires(module)}

    assert wiring == {SRC / "outside.py"}


def test_each_run_is_made_by_that_function() -> None:
    runs = {}
    for module in EVERYWHERE:
        nodes = list(ast.walk(parsed(module)))
        plain = {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
        named = {
            f"{node.module}.{one.name}": one.asname or one.name
            for node in nodes
            if isinstance(node, ast.ImportFrom)
            for one in node.names
        }
        assert "token_issuer.run" not in plain | named.keys(), module  # its `run` goes by that name
        if "token_issuer.run.run" in named:
            name = named["token_issuer.run.run"]
            runs[module] = [
                is_opened(node.args[1], parsed(module))
                for node in nodes
                if isinstance(node, ast.Call) and ast.unparse(node.func) == name
            ]

    assert {"handler", "world", "fuzzed_world"} <= {module.stem for module in runs}
    assert all(opened and all(opened) for opened in runs.values()), runs


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_no_function_is_prepared_and_kept_in_an_object(module: Path) -> None:
    tree = parsed(module)
    prepared = {
        ast.unparse(node.targets[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and called(node.value) == "partial"
    }

    def is_prepared(value: ast.AST | None) -> bool:
        return value is not None and any(
            called(node) == "partial" or (isinstance(node, ast.Name) and node.id in prepared)
            for node in ast.walk(value)
        )

    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (called(node)[:1].isupper() or called(node) == "replace"):
            values = [*node.args, *(one.value for one in node.keywords)]
            assert not any(map(is_prepared, values)), ast.unparse(node)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and is_prepared(node.value):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            fields = {one.attr for one in targets if isinstance(one, ast.Attribute)}
            assert fields <= OF_PYTHON, ast.unparse(node)
            assert isinstance(node, ast.Assign), ast.unparse(node)  # a field has a type


def test_only_the_function_is_in_src() -> None:
    names = {path.name for path in (PROJECT / "src").iterdir()} - {"__pycache__"}

    assert names == {"requirements.in", "requirements.txt", "token_issuer"}


def test_no_file_is_longer_than_a_newcomer_reads() -> None:
    assert too_long({named(module): module for module in MODULES}) <= {"errors"}
