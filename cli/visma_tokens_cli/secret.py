"""Client secrets: read from a person, staged, created; and why AWS may refuse that."""

import json
import sys
from collections.abc import Callable, Mapping
from functools import partial
from getpass import getpass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from token_issuer.clients.credentials import AUTH_METHODS, PENDING, parse_credentials
from token_issuer.clients.secrets_manager import MISSING, UNUSABLE
from token_issuer.errors import ClientFailed, ClientSecretInvalid, ClientSecretUnreadable
from token_issuer.foreign_errors import aws_code
from token_issuer.names import NAME, NAME_WORDS
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed, answer_unless, is_denied, unchanged
from visma_tokens_cli.files import name_of, read_bytes
from visma_tokens_cli.screen import err, say
from visma_tokens_cli.stack import Stack

MOST_BYTES = 65_536  # in a secret, by Secrets Manager's quota


def check_client(client: str) -> None:
    """Refuse a name that no tenant document can have; raises CommandFailed."""
    if not NAME.fullmatch(client):
        raise CommandFailed(
            f"A client's name is {NAME_WORDS}",
            "Give --client as tenant documents name it.",
            code=UNCHANGED,
        )


def read_document(file: Path | None, auth_method: Callable[[], str]) -> str:
    """Return a client secret document, from a file, from stdin, or typed by a person.

    A typed document gets its `auth_method` from the function of that name. Raises CommandFailed
    for an invalid document, and quotes nothing of it.
    """
    text = _read_text(file) if file else _ask(auth_method)
    try:
        parse_credentials(f"in {name_of(file)}" if file else "as typed", text, "")
    except ClientSecretInvalid as error:
        raise unchanged(error) from None
    return text.strip()


def _read_text(file: Path) -> str:
    try:
        # editors on Windows begin a file with a byte order mark
        return read_bytes(file, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandFailed(
            f"The client secret in {name_of(file)} is not UTF-8: byte {error.start}",
            "Save it as UTF-8.",
            code=UNCHANGED,
        ) from None


def read_auth_method(stack: Stack, client: str) -> str:
    """Return the client's current auth_method; if it can't be read, say which one is assumed."""
    assumed = AUTH_METHODS[0]
    try:
        return stack.secrets().read(client).auth_method
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
            # getpass turns the echo off before it asks, so that nothing pasted is shown
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


def stage(stack: Stack, client: str, document: str) -> str:
    """Stage a secret as pending, and return its version id; a client's first is current at once.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
    """
    secret_id = secret_id_of(stack, client)
    try:
        answer = stack.aws.client("secretsmanager").put_secret_value(
            SecretId=secret_id, SecretString=document, VersionStages=[PENDING]
        )
    except ClientError as error:
        code = aws_code(error)
        if code == MISSING:
            raise unchanged(no_secret(client, secret_id)) from None
        # a replica gives InvalidParameterException, a scheduled deletion gives UNUSABLE
        found = _why_not(stack, client) if code in {UNUSABLE, "InvalidParameterException"} else None
        if found or code == UNUSABLE:
            raise unchanged(found or _odd(stack, secret_id)) from None
        raise
    return answer["VersionId"]


def create(stack: Stack, client: str, document: str) -> str:
    """Create the secret of a client that has none yet, and return its version id."""
    secret_id = secret_id_of(stack, client)
    call = partial(stack.aws.client("secretsmanager").create_secret, Name=secret_id)
    answer = answer_unless(
        partial(call, SecretString=document), "ResourceExistsException", UNUSABLE
    )
    if answer is None:
        raise unchanged(_why_not(stack, client) or _exists(secret_id))
    return answer["VersionId"]


def _why_not(stack: Stack, client: str) -> ClientSecretUnreadable | None:
    """Return why a secret accepts no value, or that it has none yet; None if neither is known."""
    secret_id = secret_id_of(stack, client)
    try:
        described = _describe(stack, secret_id)
    except ClientError as error:
        if not is_denied(error):
            raise
        say(f"{_unknown(secret_id, error).detail}.")
        return None
    if not described:
        return None
    if "DeletedDate" in described:
        return _to_be_deleted(stack, secret_id)
    primary = described.get("PrimaryRegion", stack.region)
    if primary != stack.region:
        return _with(
            f"Secret {secret_id} is a replica of that in {primary}, and takes no value",
            f"Set the value in {primary}, where the primary secret is; AWS copies it here.",
        )
    return None if described.get("VersionIdsToStages") else no_value(client, secret_id)


def _describe(stack: Stack, secret_id: str) -> Mapping[str, Any]:
    """Return AWS's description of a secret, {} if there is no such secret."""
    describe = partial(stack.aws.client("secretsmanager").describe_secret, SecretId=secret_id)
    if (described := answer_unless(describe, MISSING)) is None:
        return {}
    _ = described["ARN"]  # raises NotOfAws without one
    return described


def deletion_of(stack: Stack, secret_id: str) -> ClientSecretUnreadable | None:
    """Return a failure if a secret is scheduled for deletion, or if that can't be read."""
    try:
        described = _describe(stack, secret_id)
    except ClientError as error:
        if not is_denied(error):
            raise
        return _unknown(secret_id, error)
    return _to_be_deleted(stack, secret_id) if "DeletedDate" in described else None


def _unknown(secret_id: str, error: ClientError) -> ClientSecretUnreadable:
    return _with(
        f"Whether {secret_id} is scheduled for deletion is not known: {aws_code(error)}",
        "Use a role that may secretsmanager:DescribeSecret, or give another --profile.",
    )


def _aws(stack: Stack, command: str, secret_id: str) -> str:
    return stack.aws_command("secretsmanager", command, "--secret-id", secret_id)


def no_secret(client: str, secret_id: str) -> ClientSecretUnreadable:
    """Return the failure that there is no such secret."""
    return _with(
        f"There is no secret {secret_id}",
        "If the client name is right, create the secret:"
        f" visma-tokens secret stage --client {client} --create",
    )


def no_value(client: str, secret_id: str) -> ClientSecretUnreadable:
    """Return the failure that the secret has no value."""
    return _with(
        f"Secret {secret_id} has no value yet",
        f"Set one: visma-tokens secret stage --client {client}",
    )


def _to_be_deleted(stack: Stack, secret_id: str) -> ClientSecretUnreadable:
    return _with(
        f"Secret {secret_id} is scheduled for deletion",
        f"Restore it: {_aws(stack, 'restore-secret', secret_id)}",
    )


def _odd(stack: Stack, secret_id: str) -> ClientSecretUnreadable:
    return _with(
        f"Secret {secret_id} takes no value in the state that it is in",
        f"Look at it: {_aws(stack, 'describe-secret', secret_id)}",
    )


def _exists(secret_id: str) -> ClientSecretUnreadable:
    return _with(f"There is a secret {secret_id} already", "Leave --create out.")


def _with(detail: str, remedy: str) -> ClientSecretUnreadable:
    error = ClientSecretUnreadable(detail)
    error.remedy = remedy
    return error


def secret_id_of(stack: Stack, client: str) -> str:
    """Return the name of a client's secret."""
    return f"{stack.settings.client_secrets_prefix}/{client}"
