"""A client secret document that a person gives: in a file, on standard input, or typed."""

import json
import sys
from collections.abc import Callable
from getpass import getpass
from pathlib import Path

from token_issuer.clients.credentials import AUTH_METHODS, parse_credentials
from token_issuer.clients.secrets_manager import MISSING, read_credentials
from token_issuer.errors import ClientFailed, ClientSecretInvalid
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.files import name_of, read_bytes
from visma_tokens_cli.screen import err, say
from visma_tokens_cli.stack import Stack

MOST_BYTES = 65_536  # of a secret, as Secrets Manager has it


def read_document(file: Path | None, auth_method: Callable[[], str]) -> str:
    """Return a client secret document: from a file, from stdin, or from a person who types it.

    A person is not asked for the `auth_method`. Raises CommandFailed where it is none; never with
    anything of what is in it.
    """
    text = _read_text(file) if file else _ask(auth_method)
    try:
        parse_credentials(f"in {name_of(file)}" if file else "as typed", text, "")
    except ClientSecretInvalid as error:
        raise CommandFailed(error.detail, error.remedy, code=UNCHANGED) from None
    return text.strip()


def _read_text(file: Path) -> str:
    try:
        # as editors on Windows write it
        return read_bytes(file, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailed(
            f"The client secret in {name_of(file)} is not UTF-8: byte {error.start}",
            "Save it as UTF-8.",
            code=UNCHANGED,
        ) from None


def read_auth_method(stack: Stack, client: str) -> str:
    """Return how a client authenticates now; where that can't be told, say what is assumed."""
    secretsmanager, assumed = stack.aws.client("secretsmanager"), AUTH_METHODS[0]
    prefix = stack.settings.client_secrets_prefix
    try:
        return read_credentials(secretsmanager, prefix, client).auth_method
    except ClientFailed as error:
        if error.code not in {MISSING, "NoValue"}:
            say(f"{error.detail}: {assumed} is assumed; else give the client secret as a file.")
        return assumed


def _ask(auth_method: Callable[[], str]) -> str:
    console = err()
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandFailed(
            "There is no terminal to ask for the client secret",
            "Give it as a file, or as `--file -` on standard input.",
            code=UNCHANGED,
        )
    method = auth_method()
    try:
        document = {
            "client_id": console.input("Client ID: ").strip(),
            # which turns the echo off before it asks: who pastes is fast
            "client_secret": getpass("Client secret (not shown): ").strip(),
        }
    except EOFError:
        console.line()
        raise CommandFailed("Nothing was staged", "", code=UNCHANGED) from None
    except UnicodeDecodeError:
        raise CommandFailed(
            "What was typed is not text in the encoding of this terminal",
            "Nothing was staged. Type it again, or give it as a file.",
            code=UNCHANGED,
        ) from None
    if not all(one.isprintable() for one in document.values()):
        raise CommandFailed(
            "What was typed has control characters in it, such as those of an arrow key",
            "Nothing was staged. Type it again, or give it as a file.",
            code=UNCHANGED,
        )
    if method != AUTH_METHODS[0]:
        document["auth_method"] = method
    return json.dumps(document)
