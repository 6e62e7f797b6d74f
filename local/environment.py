"""Environments for local processes: of a person's shell, only what environment.ini lists."""

import os
import shlex
from collections.abc import Mapping
from configparser import ConfigParser
from fnmatch import fnmatchcase
from pathlib import Path

EVERY_PROGRAM, FETCHING = "every program", "programs that fetch packages"
# `make environments` downloads the wheels. It is a URL because pip splits paths at spaces.
WHEELS = (Path(__file__).parent.parent / ".tools/wheels").as_uri()
LOOPBACK = ("127.0.0.1", "localhost", "::1")  # without brackets, as httpx needs it
NO_FILES = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
FIXED = NO_FILES | {
    "NETRC": os.devnull,  # requests would send its default entry in place of tokens
    "PYTHONUTF8": "1",  # whatever the locale's encoding
}
NO_INDEX = {
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_FIND_LINKS": WHEELS,
    "PIP_NO_INDEX": "1",
    "UV_FIND_LINKS": WHEELS,
    "UV_NO_CACHE": "1",
    "UV_NO_CONFIG": "1",
    "UV_NO_INDEX": "1",
    "UV_OFFLINE": "1",
}
FORGET = "unset AWS_PROFILE $(env | sed -En 's/^((AWS_|PYTHON|VISMA_)[A-Za-z0-9_]*)=.*/\\1/p')"


def isolated(given: Mapping[str, str], folder: Path, **ours: str) -> dict[str, str]:
    """Return an environment for a program that uses only loopback and this folder."""
    folders = {"HOME": str(folder), "TMPDIR": str(folder)}
    return _kept(given, EVERY_PROGRAM) | FIXED | NO_INDEX | direct({}) | folders | ours


def settle() -> None:
    """Drop all variables of this process that its children must not inherit."""
    kept = _kept(os.environ, EVERY_PROGRAM, FETCHING) | FIXED | direct(os.environ)
    os.environ.clear()
    os.environ |= kept


def lines(**ours: str) -> list[str]:
    """Return the shell commands that give a person's shell an environment for local AWS."""
    exported = NO_FILES | direct(os.environ) | ours
    return [FORGET, *(f"export {name}={shlex.quote(value)}" for name, value in exported.items())]


def direct(given: Mapping[str, str]) -> dict[str, str]:
    """Return NO_PROXY in both spellings: the hosts it has in `given`, and loopback."""
    excluded = (given.get("no_proxy") or given.get("NO_PROXY") or "").split(",")
    hosts = [host.strip() for host in excluded if host.strip()]
    if hosts != ["*"]:  # `*` is all hosts if it stands alone, and nothing beside other hosts
        hosts = [*hosts, *(host for host in LOOPBACK if host not in hosts)]
    value = ",".join(hosts)
    return {"NO_PROXY": value, "no_proxy": value}


def _kept(given: Mapping[str, str], *sections: str) -> dict[str, str]:
    listed = ConfigParser(allow_no_value=True, delimiters="=")
    listed.optionxform = str  # type: ignore[assignment, method-assign]  # letters as they are
    listed.read_string(Path(__file__).with_suffix(".ini").read_text())
    patterns = [pattern for section in sections for pattern in listed[section]]
    return {
        name: value
        for name, value in given.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }
