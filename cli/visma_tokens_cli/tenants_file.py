"""Read the file of tenants that `visma-tokens apply` is given."""

import json
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from token_issuer.tenants.configuration import parse_configuration
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.files import read_bytes

type Document = Mapping[str, object]
type Tenants = Mapping[str, Document]  # valid documents, by tenant

MOST_BYTES = 10_000_000  # in a file: a Region's 14,000 tenants, with 700 bytes each
LONG_KEY = re.compile(  # a key of twenty parts or more: tomllib's time grows with their square
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){20}"""
)
MOST_ERRORS = 20  # in one message


def read_file(file: Path) -> Tenants:
    """Read a TOML or JSON file of tenants, and check it as the function does.

    Raises CommandFailed, which names each member that is wrong and where it is.
    """
    text, name = _read_json(file), file.name
    checked = parse_configuration([{"Name": f"/{name}", "Type": "String", "Value": text}], "", {})
    complaints = [
        f"{name}: tenant {tenant} is in it twice"
        if error.code == "twice"
        else error.detail.removeprefix("/")
        for tenant, error in checked.invalid.items()
    ]
    with suppress(ValueError, RecursionError):
        content = json.loads(text)
        if isinstance(content, dict) and "tenants" not in content:
            complaints = [f"{name}: tenants is missing"]
    if complaints:
        raise _invalid(complaints)
    tenants: Tenants = content["tenants"]
    if not tenants:
        raise _invalid([f"{name}: there are no tenants in it, so all would be removed"])
    return tenants


def _read_json(file: Path) -> str:
    content = read_bytes(file, MOST_BYTES)
    try:
        text = content.decode("utf-8-sig")  # editors on Windows begin a file with a BOM
        if file.suffix.lower() == ".toml":
            if LONG_KEY.search(text):
                raise _invalid([f"{file.name}: it is nested too deeply"])
            # a date becomes null, which no member accepts
            return json.dumps(tomllib.loads(text), default=lambda _: None)
        with suppress(json.JSONDecodeError):  # the parser below reports it
            json.loads(text)
    except UnicodeDecodeError as error:
        raise _invalid([f"{file.name}: it is not UTF-8: byte {error.start}"]) from error
    except tomllib.TOMLDecodeError as error:
        raise _invalid([f"{file.name}: it is not TOML: {error}"]) from error
    except ValueError as error:
        raise _invalid([f"{file.name}: a number in it has too many digits"]) from error
    except RecursionError as error:
        raise _invalid([f"{file.name}: it is nested too deeply"]) from error
    return text


def _invalid(complaints: list[str]) -> CommandFailed:
    told = complaints[:MOST_ERRORS]
    if len(complaints) > len(told):
        told.append(f"and {len(complaints) - len(told)} more")
    return CommandFailed(told, "Correct the file; nothing was changed.", code=UNCHANGED)
