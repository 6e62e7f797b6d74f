"""`visma-tokens secret status`: the versions of client secrets, and what is wrong with them."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table

from token_issuer.clients.credentials import CURRENT, PENDING, PREVIOUS
from token_issuer.clients.secrets_manager import MISSING
from token_issuer.errors import ClientFailed, ClientSecretUnreadable, IssuerError
from token_issuer.ledger.records import ClientRecord, Memory
from visma_tokens_cli.failures import answer_unless
from visma_tokens_cli.screen import Text, plain
from visma_tokens_cli.secret import check_client, deletion_of, no_secret, no_value, secret_id_of
from visma_tokens_cli.stack import Stack

OF_A_CLIENT = {kind.__name__ for kind in ClientFailed.kinds()}
MEANINGS = {
    CURRENT: "current, in use",
    PENDING: "pending, to be proved",
    PREVIOUS: "previous, to go back",
}


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of a client secret, without its value."""

    version: str
    stages: tuple[str, ...]
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class SecretStatus:
    """The versions of a client's secret, and what the ledger knows of them.

    `versions` is None if there is no such secret. `deletion` says that it is scheduled for
    deletion, or that this can't be read. `failure` says why runs can't use the current version.
    """

    client: str
    secret_id: str
    versions: list[Version] | None
    record: ClientRecord
    deletion: ClientSecretUnreadable | None = None
    failure: IssuerError | None = None

    @property
    def is_in_use(self) -> bool:
        """Tell whether the issuer uses the current version."""
        return not (self.deletion or self.failure or self.record.fallback)

    @property
    def is_well(self) -> bool:
        """Tell whether there is nothing to report."""
        return not self.notices()

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read; times are ISO 8601 in UTC."""
        return {
            "client": self.client,
            "secret_id": self.secret_id,
            "versions": [plain(one) for one in self.versions or []],
            "notices": [
                {"reason": one.reason, "detail": one.detail, "remedy": one.remedy}
                for one in self.notices()
            ],
        }

    def notices(self) -> list[IssuerError]:
        """Return what is wrong: no secret, no value, a pending one refused, a fallback in use."""
        found: list[IssuerError] = []
        stages = {stage for one in self.versions or [] for stage in one.stages}
        if self.versions is None:
            found.append(no_secret(self.client, self.secret_id))
        elif self.deletion:
            found.append(self.deletion)
        elif CURRENT not in stages:
            found.append(no_value(self.client, self.secret_id))
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
    secret_id = secret_id_of(stack, client)
    return SecretStatus(
        client=client,
        secret_id=secret_id,
        versions=_read_versions(stack, secret_id),
        record=memory.clients.get(client, ClientRecord(client=client)),
        failure=_failure(client, memory),
        deletion=deletion_of(stack, secret_id),
    )


def _failure(client: str, memory: Memory) -> IssuerError | None:
    """Return the last failure of the client itself, unless a tenant got a token after it."""
    records = [one for one in memory.records.values() if one.client == client]
    served = [one.issued.issued_at for one in records if one.issued]
    failures = [one.failure for one in records if one.failure and one.failure.reason in OF_A_CLIENT]
    last = max(failures, key=lambda one: one.failed_at, default=None)
    if last is None or (served and max(served) >= last.failed_at):
        return None
    return IssuerError.recall(last.reason, last.detail, last.code)


def _read_versions(stack: Stack, secret_id: str) -> list[Version] | None:
    # one page is enough: at most twenty versions have a stage
    read = stack.aws.client("secretsmanager").list_secret_version_ids
    answer = answer_unless(partial(read, SecretId=secret_id), MISSING)
    if answer is None:
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


def render(secrets: list[SecretStatus]) -> RenderableType:
    """Return a table for each secret, followed by its notices."""
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
