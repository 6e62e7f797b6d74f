"""Who imports whom, read from the text of modules."""

import ast
from functools import cache
from pathlib import Path

LONGEST = 300  # lines that a newcomer reads


@cache
def parsed(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def imports(module: Path, package: str = "", *, of_types: bool = True) -> set[str]:
    """Return the full names of what a module imports, wherever in it: modules of that package."""
    left: list[ast.AST] = [parsed(module)]
    found: set[str] = set()
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {f"{package}.{one.name}" for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or ".")
        elif of_types or not (isinstance(node, ast.If) and is_for_types(node)):
            left += ast.iter_child_nodes(node)
    return found


def is_for_types(node: ast.If) -> bool:
    return ast.unparse(node.test) == "TYPE_CHECKING"


def assert_no_circle(below: dict[str, set[str]]) -> None:
    while below:
        ground = {name for name, some in below.items() if not some & below.keys()}
        assert ground, f"a circle of {sorted(below)}"
        below = {name: some for name, some in below.items() if name not in ground}


def too_long(modules: dict[str, Path]) -> set[str]:
    return {name for name, one in modules.items() if len(one.read_text().splitlines()) > LONGEST}
