"""The rooms of the code: who imports whom, and who touches the process."""

import ast
from pathlib import Path

import pytest

from tests.conftest import PROJECT

MODULES = sorted((PROJECT / "src/token_issuer").glob("*.py"))
PARTS = [module for module in MODULES if module.stem != "handler"]  # which wires, and imports all
VALUES_OF = {  # who may import what from whom beside errors: values, no work
    "client_secret": {
        "credentials": {"CURRENT", "MISSING", "PENDING", "PREVIOUS", "ClientCredentials"},
    },
    "authorization_server": {
        "credentials": {"ClientCredentials"},
        "tenants": {"Tenant", "comparable"},
    },
    "invocation": {"tenants": {"NAME_CHARACTERS", "Configuration", "Tenant"}},
    "issuance": {
        "authorization_server": {"AccessToken"},
        "client_secret": {"ClientSecret"},
        "credentials": {"ClientCredentials"},
        "ledger": {"Record"},
        "ownership": {"Ownership"},
        "pacing": {
            "ASK_SECONDS",
            "Breaker",
            "Pacer",
            "asks_for_long",
            "pause_before_repeat",
        },
        "renewal": {"Renewal"},
        "settings": {"Settings"},
        "tenants": {"Owner", "Tenant"},
    },
    "ledger": {"tenants": {"NAME", "Owner"}},
    "ownership": {
        "authorization_server": {"AccessToken"},
        "ledger": {"Record"},
        "renewal": {"last_tenant"},
        "tenants": {"Tenant", "comparable"},
    },
    "removal": {
        "ledger": {"Record"},
        "pacing": {"RECORD_SECONDS", "REPORT_SECONDS"},
        "renewal": {"Removal"},
    },
    "renewal": {
        "authorization_server": {"AccessToken"},
        "ledger": {"Failure", "Issued", "Memory", "Record"},
        "settings": {"Settings"},
        "tenants": {"Configuration", "Tenant", "check_document"},
    },
    "rollover": {
        "authorization_server": {"AccessToken"},
        "client_secret": {"ClientSecret"},
        "credentials": {"CURRENT", "MISSING", "PENDING", "PREVIOUS", "ClientCredentials"},
        "ledger": {"ClientRecord", "Fallback", "Pending"},
        "pacing": {"ASK_SECONDS", "RECORD_SECONDS", "TELL_SECONDS"},
        "renewal": {"Facts", "back_off", "was_told"},
        "settings": {"Settings"},
        "tenants": {"Tenant"},
    },
    "token_endpoint": {
        "authorization_server": {"Answer"},
        "connecting": {"connect", "look_up"},
    },
    "tenants": {"pacing": {"Pacer"}},
    "token_store": {"authorization_server": {"AccessToken"}, "pacing": {"Pacer"}},
    "telemetry": {
        "authorization_server": {"AccessToken"},
        "pacing": {"Breaker"},
        "tenants": {"Tenant"},
    },
}


def imports(module: Path) -> dict[str, set[str]]:
    """Return what a module imports, by the module that it comes from; a whole one gives "*"."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name: {"*"} for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found[node.module or "."] = {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("module", PARTS, ids=lambda module: module.stem)
def test_imports_run_one_way(module: Path) -> None:
    ours = {
        name.removeprefix("token_issuer."): what
        for name, what in imports(module).items()
        if name.startswith(("token_issuer", "."))
    }

    ours.pop("redaction", None)
    ours.pop("errors", None)
    if module.stem in {"run", "reading"}:  # which call them
        assert not ours.keys() & {"handler", "token_store", "token_endpoint", "issuance", "removal"}
        return
    assert ours == VALUES_OF.get(module.stem, {})


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_only_the_handler_touches_the_process(module: Path) -> None:
    wired = {"boto3", "logging", "os"} if module.stem == "handler" else set()

    assert imports(module).keys() & {"os", "boto3", "sys", "logging"} == wired


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_nothing_works_at_import_time(module: Path) -> None:
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.TypeAlias, ast.If)

    for node in ast.parse(module.read_text()).body:
        if isinstance(node, ast.Assign):
            calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
            assert all(ast.unparse(call.func) == "re.compile" for call in calls)
        elif not isinstance(node, allowed):
            assert isinstance(node, ast.Expr)
            assert isinstance(node.value, ast.Constant)


def test_only_the_function_is_in_src() -> None:
    names = {path.name for path in (PROJECT / "src").iterdir()} - {"__pycache__"}

    assert names == {"requirements.in", "requirements.txt", "token_issuer"}


def test_run_stays_short() -> None:
    assert len((PROJECT / "src/token_issuer/run.py").read_text().splitlines()) < 200
