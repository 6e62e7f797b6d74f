"""Programs in processes of their own, run to their end."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def finished(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    said: str = "",
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run it with that on its standard input; it has that long. Without `env` it has ours."""
    return subprocess.run(
        command,
        env=env,
        cwd=cwd,
        input=said,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",  # for what is none
        timeout=seconds,
        check=False,
    )
