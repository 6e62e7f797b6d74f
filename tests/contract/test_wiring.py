"""The one wiring: each run is made by open_outside, with some of it replaced or not."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.imports import parsed

SRC = PROJECT / "src/token_issuer"
EVERYWHERE = [
    module
    for folder in ("src", "tests", "benchmarks", "local", "cli", "reader", "examples")
    for module in sorted((PROJECT / folder).rglob("*.py"))
]
OPENS = {"open_outside", "make_outside"}  # the second one is the first one for tests
OF_PYTHON = {"response_class"}  # http.client takes a class there


def place(module: Path) -> str:
    return str(module.relative_to(SRC))


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


@pytest.mark.parametrize(
    "module", sorted(SRC.rglob("*.py")), ids=lambda one: f"{one.parent.name}.{one.stem}"
)
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
