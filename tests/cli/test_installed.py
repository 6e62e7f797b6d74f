"""The command as people install it: by pip, with the newest and with the oldest it allows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.helpers.programs import finished

pytestmark = pytest.mark.long

UV = str(PROJECT / ".tools/uv/bin/uv")


def call(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run it outside the checkout, with nothing of this environment."""
    ours = ("AWS_", "COV_", "PYTHON", "VIRTUAL_ENV")
    environment = {name: text for name, text in os.environ.items() if not name.startswith(ours)}
    return finished(command, env=environment, cwd=folder, seconds=600)


@pytest.mark.parametrize("age", ["newest", "oldest"])
def test_it_works_where_it_is_installed(age: str, tmp_path: Path) -> None:
    bin_ = tmp_path / "venv/bin"
    made = call(tmp_path, sys.executable, "-m", "venv", "venv")
    assert made.returncode == 0, made.stderr
    cli = str(PROJECT / "cli")
    if age == "newest":
        done = call(tmp_path, str(bin_ / "python"), "-m", "pip", "install", "--quiet", cli)
    else:
        python = ("--python", str(bin_ / "python"))
        done = call(tmp_path, UV, "pip", "install", *python, "--resolution", "lowest-direct", cli)
    assert done.returncode == 0, done.stderr

    told = call(tmp_path, str(bin_ / "visma-tokens"), "--version")
    failed = call(tmp_path, str(bin_ / "visma-tokens"), "status", "--profile", "nobody")
    listed = call(tmp_path, str(bin_ / "visma-tokens"), "status", "--help")

    assert re.fullmatch(r"\d+\.\d+\.\d+\n", told.stdout)
    assert failed.stderr.startswith("The config profile (nobody) could not be found.\n")
    assert failed.returncode == 3
    assert "visma-tokens status --failing" in listed.stdout
