"""Install `visma-tokens` as people do: from its wheel, in an environment of its own."""

import os
from pathlib import Path

from local.aws import PROJECT
from local.environment import isolated
from local.processes import run

UV = str(PROJECT / ".tools/uv/bin/uv")


def install(folder: Path) -> Path:
    """Build the wheel, install it below `folder`, and return the command."""
    environment, log = folder / "visma-tokens", folder / "visma-tokens.log"
    python = str(environment / "bin/python")

    def uv(*arguments: str) -> None:
        run([UV, *arguments], env=isolated(os.environ, folder), cwd=folder, log=log)

    uv("build", "--wheel", "--no-build-isolation", "--python", str(PROJECT / ".venv/bin/python"),
       "--out-dir", str(folder / "wheel"), str(PROJECT / "cli"))  # fmt: skip
    [wheel] = (folder / "wheel").glob("*.whl")
    uv("venv", "--python", str(PROJECT / ".venv/bin/python"), str(environment))
    uv("pip", "sync", "--python", python, "--require-hashes", str(PROJECT / "cli/requirements.txt"))
    uv("pip", "install", "--python", python, "--no-deps", str(wheel))
    return environment / "bin/visma-tokens"
