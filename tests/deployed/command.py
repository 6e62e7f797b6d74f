"""How tests call `visma-tokens`: as a person does, in a process of its own."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.aws import Account


@dataclass(frozen=True, kw_only=True)
class Done:
    out: str
    err: str
    code: int


@dataclass(frozen=True, kw_only=True)
class Command:
    path: Path
    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: str, said: str = "", **variables: str) -> Done:
        """Run it with that on its standard input."""
        done = subprocess.run(
            [self.path, *arguments],
            cwd=self.folder,
            env=self.environment | variables,
            input=said,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Done(out=done.stdout, err=done.stderr, code=done.returncode)


def environment_of(account: Account) -> dict[str, str]:
    """Return an environment with that account's AWS, and nothing of this checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    direct = {"NO_PROXY": "127.0.0.1,localhost"}
    return kept | account.environment | nowhere | direct
