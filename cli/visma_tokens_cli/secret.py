"""Client secrets: stage a new one, and say what became of it."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from token_issuer.credentials import (
    AUTH_METHODS,
    CURRENT,
    MISSING,
    PENDING,
    PREVIOUS,
    parse_credentials,
    read_credentials,
)
from token_issuer.errors import (
    ClientFailed,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    IssuerError,
    aws_code,
)
from token_issuer.ledger import ClientRecord
from token_issuer.tenants import NAME, NAME_WORDS
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.options import UNCHANGED
from visma_tokens_cli.screen import err, say
from visma_tokens_cli.stack import Stack

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a client secret; nothing of what is in it."""

    version: str
    stages: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SecretStatus:
    """The versions of a client's secret, and what the ledger knows of them.

    `versions` is None where there is no such secret.
    """

    client: str
    secret_id: str
    versions: list[Version] | None
    record: ClientRecord

    @property
    def is_well(self) -> bool:
        """Tell whether the current version serves, and none is pending for a reason."""
        return not self.notices()

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read; times are ISO 8601 in UTC."""
        return {
            "client": self.client,
            "secret_id": self.secret_id,
            "versions": [
                {
                    "version": one.version,
                    "stages": one.stages,
                    "created_at": one.created_at.isoformat(timespec="seconds"),
                }
                for one in self.versions or []
            ],
            "notices": [
                {"reason": one.reason, "detail": one.detail, "remedy": one.remedy}
                for one in self.notices()
            ],
        }

    def notices(self) -> list[IssuerError]:
        """Return what is wrong: no secret, a version that is pending still, another that serves."""
        found: list[IssuerError] = []
        if self.versions is None:
            found.append(_no_secret(self.client, self.secret_id))
        if pending := self.record.pending:
            until = pending.next_attempt_at
            again = f"; tried again at {until:%H:%M}Z" if until else "; tried again in the next run"
            detail = f"{pending.detail}{again}"
            found.append(IssuerError.recall(pending.reason, detail, None))
        if fallback := self.record.fallback:
            detail = f"{fallback.stage} serves: {fallback.detail}"
            found.append(IssuerError.recall("ClientSecretFallback", detail, None))
        return found


def check_client(client: str) -> None:
    """Refuse a name that no tenant document can have; raises CommandFailed."""
    if not NAME.fullmatch(client):
        raise CommandFailed(
            f"A client's name is {NAME_WORDS}",
            "Give --client as tenant documents name it.",
            code=UNCHANGED,
        )


def read_document(file: Path | None, auth_method: Callable[[], str]) -> str:
    """Return a client secret document: from a file, from stdin, or from a person who types it.

    A person is not asked for the `auth_method`. Raises CommandFailed where it is none; never with
    anything of what is in it.
    """
    text = _read_text(file) if file else _ask(auth_method)
    try:
        parse_credentials(f"in {file}" if file else "as typed", text, "")
    except ClientSecretInvalid as error:
        raise CommandFailed(error.detail, error.remedy, code=UNCHANGED) from None
    return text.strip()


def _read_text(file: Path) -> str:
    try:
        content = sys.stdin.buffer.read() if str(file) == STDIN else file.read_bytes()
        return content.decode("utf-8-sig")  # as editors on Windows write it
    except (OSError, UnicodeDecodeError) as error:
        why = type(error).__name__
        raise CommandFailed(f"{file} can't be read: {why}", "", code=UNCHANGED) from None


def read_auth_method(stack: Stack, client: str) -> str:
    """Return how a client authenticates now; where that can't be told, say what is assumed."""
    secretsmanager, assumed = stack.aws.client("secretsmanager"), AUTH_METHODS[0]
    prefix = stack.settings.client_secrets_prefix
    try:
        return read_credentials(secretsmanager, prefix, client).auth_method
    except ClientFailed as error:
        if error.code != MISSING:
            say(f"{error.detail}: {assumed} is assumed; else give the client secret as a file.")
        return assumed


def _ask(auth_method: Callable[[], str]) -> str:
    console = err()
    if not (sys.stdin.isatty() and console.is_terminal):
        raise CommandFailed(
            "There is no terminal to ask for the client secret",
            "Give it as a file, or as `--file -` on standard input.",
            code=UNCHANGED,
        )
    method = auth_method()
    try:
        document = {
            "client_id": console.input("Client ID: ").strip(),
            "client_secret": console.input("Client secret (not shown): ", password=True).strip(),
        }
    except EOFError:
        console.line()
        raise CommandFailed("Nothing was staged", "", code=UNCHANGED) from None
    if method != AUTH_METHODS[0]:
        document["auth_method"] = method
    return json.dumps(document)


def stage(stack: Stack, client: str, document: str) -> str:
    """Stage a client secret as pending, and return its version; the first one is current at once.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
    """
    secretsmanager = stack.aws.client("secretsmanager")
    secret_id = _secret_id(stack, client)
    try:
        answer = secretsmanager.put_secret_value(
            SecretId=secret_id, SecretString=document, VersionStages=[PENDING]
        )
    except ClientError as error:
        if aws_code(error) != MISSING:
            raise
        missing = _no_secret(client, secret_id)
        raise CommandFailed(missing.detail, missing.remedy, code=UNCHANGED) from None
    return answer["VersionId"]


def create(stack: Stack, client: str, document: str) -> str:
    """Create the secret of a client that has none yet, and return its version."""
    secret_id = _secret_id(stack, client)
    try:
        answer = stack.aws.client("secretsmanager").create_secret(
            Name=secret_id, SecretString=document
        )
    except ClientError as error:
        if aws_code(error) != "ResourceExistsException":
            raise
        raise CommandFailed(
            f"There is a secret {secret_id} already", "Leave --create out.", code=UNCHANGED
        ) from None
    return answer["VersionId"]


def read_secrets(stack: Stack, client: str | None) -> list[SecretStatus]:
    """Read the versions of a client's secret, or of all that tenants name."""
    memory = stack.read_ledger()
    if client is None:
        tenants = stack.read_tenants(memory.documents).tenants.values()
        clients = sorted({one.client for one in tenants} or {"default"})
    else:
        check_client(client)
        clients = [client]
    return [_read(stack, one, memory.clients.get(one, ClientRecord(client=one))) for one in clients]


def _read(stack: Stack, client: str, record: ClientRecord) -> SecretStatus:
    secret_id = _secret_id(stack, client)
    return SecretStatus(
        client=client,
        secret_id=secret_id,
        versions=_read_versions(stack, secret_id),
        record=record,
    )


def _read_versions(stack: Stack, secret_id: str) -> list[Version] | None:
    try:
        # those with a stage are twenty at most, so one page holds them
        answer = stack.aws.client("secretsmanager").list_secret_version_ids(SecretId=secret_id)
    except ClientError as error:
        if aws_code(error) != MISSING:
            raise
        return None
    versions = [
        Version(
            version=one["VersionId"],
            stages=tuple(sorted(one["VersionStages"])),
            created_at=one["CreatedDate"].astimezone(UTC),
        )
        for one in answer["Versions"]
        if one.get("VersionStages")
    ]
    return sorted(versions, key=lambda one: one.created_at, reverse=True)


def _no_secret(client: str, secret_id: str) -> ClientSecretUnreadable:
    error = ClientSecretUnreadable(f"There is no secret {secret_id}", code=MISSING)
    error.remedy = (
        "If that is the client that is meant, create it:"
        f" visma-tokens secret stage --client {client} --create"
    )
    return error


def _secret_id(stack: Stack, client: str) -> str:
    return f"{stack.settings.client_secrets_prefix}/{client}"


MEANINGS = {
    CURRENT: "current, in use",
    PENDING: "pending, to be proved",
    PREVIOUS: "previous, to go back",
}


def render(secrets: list[SecretStatus]) -> RenderableType:
    """Return a table for each secret, and what is to be told of it."""
    parts: list[RenderableType] = []
    for secret in secrets:
        table = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1, 0, 0),
            title=secret.secret_id,
            title_justify="left",
        )
        table.add_column("Version", no_wrap=True)
        table.add_column("Stage")
        table.add_column("Created")
        for one in secret.versions or []:
            stages = ", ".join(MEANINGS.get(stage, stage) for stage in one.stages)
            table.add_row(one.version, stages, f"{one.created_at:%Y-%m-%d %H:%MZ}")
        if secret.versions is not None:
            parts.append(table)
        for notice in secret.notices():
            words = (f"{notice.reason}: {notice.detail}", "yellow")
            parts.append(Text.assemble(words, f"\n{notice.remedy}\n"))
    return Group(*parts)
