"""Client secrets: stage a new one, and say what became of it."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from token_issuer.clients.credentials import AUTH_METHODS, parse_credentials
from token_issuer.clients.secrets_manager import (
    CURRENT,
    MISSING,
    PENDING,
    PREVIOUS,
    read_credentials,
)
from token_issuer.errors import (
    ClientFailed,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    IssuerError,
)
from token_issuer.foreign_errors import aws_code
from token_issuer.ledger.records import ClientRecord, Memory
from token_issuer.names import NAME, NAME_WORDS
from visma_tokens_cli.exit_codes import UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.files import name_of, read_bytes
from visma_tokens_cli.screen import Text, err, say
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.token import is_denied

UNUSABLE = "InvalidRequestException"  # the secret, in the state that it is in
OF_A_CLIENT = {kind.__name__ for kind in ClientFailed.kinds()}
MOST_BYTES = 65_536  # of a secret, as Secrets Manager has it


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a client secret; nothing of what is in it."""

    version: str
    stages: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SecretStatus:
    """The versions of a client's secret, and what the ledger knows of them.

    `versions` is None where there is no such secret; `deletion` says that it is scheduled
    for deletion, or that this role may not see whether. `failure` says why the last run could not
    use the current version.
    """

    client: str
    secret_id: str
    versions: list[Version] | None
    record: ClientRecord
    deletion: ClientSecretUnreadable | None = None
    failure: IssuerError | None = None

    @property
    def is_in_use(self) -> bool:
        """Tell whether tokens are asked for with the current version."""
        return not (self.deletion or self.failure or self.record.fallback)

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
        """Return what is wrong: no secret, no value, one that is pending still, another in use."""
        found: list[IssuerError] = []
        stages = {stage for one in self.versions or [] for stage in one.stages}
        if self.versions is None:
            found.append(_no_secret(self.client, self.secret_id))
        elif self.deletion:
            found.append(self.deletion)
        elif CURRENT not in stages:
            found.append(_no_value(self.client, self.secret_id))
        elif self.failure:
            found.append(self.failure)
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


def stage(stack: Stack, client: str, document: str) -> str:
    """Stage a client secret as pending, and return its version; the first one is current at once.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_PutSecretValue.html
    """
    secret_id = _secret_id(stack, client)
    try:
        answer = stack.aws.client("secretsmanager").put_secret_value(
            SecretId=secret_id, SecretString=document, VersionStages=[PENDING]
        )
    except ClientError as error:
        code = aws_code(error)
        if code == MISSING:
            raise _unchanged(_no_secret(client, secret_id)) from None
        # a replica is another error than one that is scheduled for deletion
        found = _why_not(stack, client) if code in {UNUSABLE, "InvalidParameterException"} else None
        if found or code == UNUSABLE:
            raise _unchanged(found or _odd(stack, secret_id)) from None
        raise
    return answer["VersionId"]


def create(stack: Stack, client: str, document: str) -> str:
    """Create the secret of a client that has none yet, and return its version."""
    secret_id = _secret_id(stack, client)
    try:
        answer = stack.aws.client("secretsmanager").create_secret(
            Name=secret_id, SecretString=document
        )
    except ClientError as error:
        if aws_code(error) not in {"ResourceExistsException", UNUSABLE}:
            raise
        raise _unchanged(_why_not(stack, client) or _exists(secret_id)) from None
    return answer["VersionId"]


def _unchanged(error: ClientSecretUnreadable) -> CommandFailed:
    return CommandFailed(error.detail, error.remedy, code=UNCHANGED)


def _why_not(stack: Stack, client: str) -> ClientSecretUnreadable | None:
    """Return which state a secret is in that takes no value, or has none; None if in no such."""
    secret_id = _secret_id(stack, client)
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
    return None if described.get("VersionIdsToStages") else _no_value(client, secret_id)


def _describe(stack: Stack, secret_id: str) -> Mapping[str, Any]:
    """Return the state of a secret, {} where there is none."""
    try:
        described = stack.aws.client("secretsmanager").describe_secret(SecretId=secret_id)
    except ClientError as error:
        if aws_code(error) != MISSING:
            raise
        return {}
    _ = described["ARN"]  # else it is no answer of AWS
    return described


def _deletion(stack: Stack, secret_id: str) -> ClientSecretUnreadable | None:
    """Return that a secret is scheduled for deletion, or that this role may not see whether."""
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


def read_secrets(stack: Stack, client: str | None) -> list[SecretStatus]:
    """Read the versions of a client's secret, or of all that tenants name."""
    memory = stack.read_ledger()
    if client is None:
        tenants = stack.read_tenants(memory).tenants.values()
        clients = sorted({one.client for one in tenants} or {"default"})
    else:
        check_client(client)
        clients = [client]
    return [_read(stack, one, memory) for one in clients]


def _read(stack: Stack, client: str, memory: Memory) -> SecretStatus:
    secret_id = _secret_id(stack, client)
    return SecretStatus(
        client=client,
        secret_id=secret_id,
        versions=_read_versions(stack, secret_id),
        record=memory.clients.get(client, ClientRecord(client=client)),
        failure=_failure(client, memory),
        deletion=_deletion(stack, secret_id),
    )


def _failure(client: str, memory: Memory) -> IssuerError | None:
    """Return why the client, and not only a tenant, has failed, if none was served after that."""
    records = [one for one in memory.records.values() if one.client == client]
    served = [one.issued.issued_at for one in records if one.issued]
    failures = [one.failure for one in records if one.failure and one.failure.reason in OF_A_CLIENT]
    last = max(failures, key=lambda one: one.failed_at, default=None)
    if last is None or (served and max(served) >= last.failed_at):
        return None
    return IssuerError.recall(last.reason, last.detail, last.code)


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
        for one in answer.get("Versions", [])
        if one.get("VersionStages")
    ]
    return sorted(versions, key=lambda one: one.created_at, reverse=True)


def _no_secret(client: str, secret_id: str) -> ClientSecretUnreadable:
    return _with(
        f"There is no secret {secret_id}",
        "If the client name is right, create the secret:"
        f" visma-tokens secret stage --client {client} --create",
    )


def _no_value(client: str, secret_id: str) -> ClientSecretUnreadable:
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
            meanings = MEANINGS if secret.is_in_use else MEANINGS | {CURRENT: "current"}
            stages = ", ".join(meanings.get(stage, stage) for stage in one.stages)
            table.add_row(one.version, stages, f"{one.created_at:%Y-%m-%d %H:%MZ}")
        if secret.versions:
            parts.append(table)
        for notice in secret.notices():
            words = (f"{notice.reason}: {notice.detail}", "yellow")
            parts.append(Text.assemble(words, f"\n{notice.remedy}\n"))
    return Group(*parts)
