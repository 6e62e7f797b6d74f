"""The reader as people install it: from its wheel, old and new, with and without the extras."""

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from local.authorization_server import serving_wsgi
from tests.conftest import PROJECT
from tests.helpers.parameter_store import ParameterStore
from tests.helpers.programs import finished
from tests.helpers.reader_processes import environment
from tests.helpers.refusing_api import Api

pytestmark = pytest.mark.long

UV = str(PROJECT / ".tools/uv/bin/uv")
OURS = str(PROJECT / ".venv/bin/python")
CONSUMER = str(PROJECT / "tests/helpers/consumer.py")


def run(*command: str, folder: Path, **variables: str) -> str:
    """Run it outside the checkout, and return what it prints."""
    done = finished(command, env=os.environ | variables, cwd=folder, seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def oldest_python() -> str | None:
    """Return a Python 3.10 that works: one on the PATH, or pyenv's."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which("python3.10"), *map(str, versions.glob("3.10.*/bin/python"))]
    works = (
        python
        for python in found
        if python and finished([python, "-c", ""], cwd=Path("/")).returncode == 0
    )
    return next(works, None)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--quiet", "--wheel", "--no-build-isolation", "--python",
        OURS, "--out-dir", str(folder), str(PROJECT / "reader"),
        folder=folder)  # fmt: skip
    [built] = folder.glob("*.whl")
    return built


def install(what: str, folder: Path, *options: str, python: str = OURS) -> str:
    """Install it in an environment of its own, and return the Python in there."""
    own = str(folder / "venv/bin/python")
    run(UV, "venv", "--quiet", "--python", python, "venv", folder=folder)
    run(UV, "pip", "install", "--quiet", "--python", own, *options, what, folder=folder)
    return own


def test_the_wheel_holds_the_package_and_its_types(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info" not in name}

    modules = {one.name for one in (PROJECT / "reader/visma_tokens").glob("*.py")}
    assert names == {f"visma_tokens/{name}" for name in modules | {"py.typed"}}
    assert wheel.name.startswith("visma_tokens-")


def test_without_extras_it_needs_boto3_alone(
    wheel: Path, store: ParameterStore, served_url: str, tmp_path: Path
) -> None:
    store.tokens = {"acme": "one", "globex": "two"}
    python = install(str(wheel), tmp_path)

    told = run(python, CONSUMER, folder=tmp_path, **environment(served_url))
    listed = run(UV, "pip", "list", "--quiet", "--python", python, folder=tmp_path)

    assert told == "nobody\n"
    assert {line.split()[0] for line in listed.splitlines()[2:]} == {
        "boto3", "botocore", "jmespath", "python-dateutil", "s3transfer", "six", "urllib3",
        "visma-tokens",
    }  # fmt: skip


@pytest.mark.parametrize("age", ["highest", "lowest-direct"])
@pytest.mark.parametrize("version", ["oldest", "own"])
def test_it_works_with_python_and_libraries_new_and_old(
    version: str, age: str, wheel: Path, store: ParameterStore, tmp_path: Path
) -> None:
    python = OURS if version == "own" else oldest_python()
    if python is None:
        pytest.skip("there is no Python 3.10 on this machine")
    store.tokens = {"acme": "one", "globex": "two"}
    what = f"{wheel}[requests,httpx]"
    own = install(what, tmp_path, "--resolution", age, python=python)

    with serving_wsgi(store) as aws, serving_wsgi(Api({"one"})) as api:
        told = run(own, CONSUMER, folder=tmp_path, **environment(aws, API=api))

    assert told == "nobody\n200 welcome\n200 200\n"


def test_its_types_are_seen_by_those_who_check_theirs(wheel: Path, tmp_path: Path) -> None:
    python = install(f"{wheel}[requests,httpx]", tmp_path)
    (tmp_path / "service.py").write_text(
        "from visma_tokens import TokenReader, Tokens\n"
        "from visma_tokens.requests import VismaToken\n"
        'def call(tokens: Tokens) -> str:\n    return tokens["acme"]\n'
        'call({"acme": "t"})\n'
        'call(TokenReader("/visma/tokens"))\n'
        "call(7)\n"
        "VismaToken(7)\n"
    )

    mypy = str(PROJECT / ".venv/bin/mypy")
    command = [mypy, "--strict", "--python-executable", python, "service.py"]
    done = finished(command, cwd=tmp_path)

    *lines, told = done.stdout.splitlines()
    assert {line.partition(": ")[0] for line in lines} == {"service.py:7", "service.py:8"}
    assert told == "Found 2 errors in 1 file (checked 1 source file)"
