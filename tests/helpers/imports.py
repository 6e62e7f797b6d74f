"""What a module imports, read from its text."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import PROJECT

ROOTS = (PROJECT / "src", PROJECT / "cli")


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def imports(module: Path, *, at_work: bool = False) -> set[str]:
    """Return the modules by name, `at_work` without those that are imported for types only."""
    found: set[str] = set()
    for node in _nodes(parsed(module), at_work=at_work):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {_module(node.module or ".", one.name) for one in node.names}
    return found


def _nodes(node: ast.AST, *, at_work: bool) -> Iterator[ast.AST]:
    if at_work and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _nodes(child, at_work=at_work)


def _module(package: str, name: str) -> str:
    """Return the package's module of that name, or the module that something comes from."""
    path = f"{package}.{name}".replace(".", "/")
    is_module = any((root / f"{path}.py").exists() for root in ROOTS)
    return f"{package}.{name}" if is_module else package


def assert_no_circle(below: dict[str, set[str]]) -> None:
    while below:
        ground = {name for name, some in below.items() if not some & below.keys()}
        assert ground, f"a circle of {sorted(below)}"
        below = {name: some for name, some in below.items() if name not in ground}


def too_long(modules: dict[str, Path]) -> set[str]:
    """Return those that are longer than a newcomer reads."""
    return {name for name, one in modules.items() if len(one.read_text().splitlines()) > 300}
