"""The reader depends on boto3 alone, its authentication classes on one library more each."""

import re
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.imports import imports

MODULES = sorted((PROJECT / "reader/visma_tokens").glob("*.py"))
OURS = {  # who imports whom
    "__init__": {"errors", "reader"},
    "errors": set(),
    "secret": set(),
    "parameter_store": {"errors", "secret"},
    "cache": {"errors", "parameter_store"},
    "flight": {"cache", "errors", "secret"},
    "outage": set(),
    "reader": {"cache", "errors", "flight", "outage", "parameter_store", "secret"},
    "bearer": {"errors", "reader", "secret"},
    "requests": {"bearer", "reader"},
    "httpx": {"bearer", "reader"},
}
LIBRARIES = {
    "parameter_store": {"boto3", "botocore", "urllib3"},  # which comes with botocore
    "reader": {"boto3"},
    "requests": {"requests", "urllib3"},
    "httpx": {"httpx"},
}


def imported(module: Path) -> set[str]:
    """Return the full names of modules that one imports to run, not for types only."""
    return imports(module, at_work=True)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_imports_run_one_way_and_need_boto3_alone(module: Path) -> None:
    names = imported(module)

    ours = {name.removeprefix("visma_tokens.") for name in names if "visma_tokens" in name}
    others = {name.partition(".")[0] for name in names} - {"visma_tokens"}
    assert ours == OURS[module.stem]
    assert others - sys.stdlib_module_names == LIBRARIES.get(module.stem, set())


def test_nothing_of_the_function_or_the_command_is_imported() -> None:
    assert not {
        name
        for module in MODULES
        for name in imported(module)
        if name.startswith(("token_issuer", "visma_tokens_cli"))
    }


def test_neither_of_them_imports_the_reader() -> None:
    modules = [*(PROJECT / "src").rglob("*.py"), *(PROJECT / "cli").rglob("*.py")]

    assert not [one for one in modules if imported(one) & {"visma_tokens"}]


def test_the_wall_clock_decides() -> None:
    """Lambda's freeze stops the others, and a token that has expired would seem fresh."""
    clocks = re.compile(r"\btime\.\w+|loop\.time")
    used = {one.stem: set(clocks.findall(one.read_text())) for one in MODULES}

    assert {name: those for name, those in used.items() if those} == {
        "bearer": {"time.monotonic"},  # how long to wait for the body of a refusal
        "reader": {"time.time"},
        "requests": {"time.perf_counter"},  # how long the repeated call took
    }
