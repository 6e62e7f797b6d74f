"""`visma-tokens token`: describe a stored token; print it or pass it on only if asked to."""

import os
import re
import signal
import sys
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NoReturn

from botocore.exceptions import ClientError

from token_issuer.errors import IssuerError, LedgerUnreadable
from token_issuer.ledger.records import Memory, Record
from visma_tokens_cli.exit_codes import NOT_WELL
from visma_tokens_cli.failures import CommandFailed, is_denied
from visma_tokens_cli.screen import labelled, out, plain, say, shown_span
from visma_tokens_cli.stack import Stack
from visma_tokens_cli.stored_token import Stored, claims_of, parameter_of, read_token
from visma_tokens_cli.streams import callers_environment

VARIABLE = "VISMA_TOKEN"
BEARER = re.compile(r"[!-~]+")  # what a header can hold; the issuer is stricter (RFC 6750 §2.1)
IGNORED_BY_PYTHON = ("SIGPIPE", "SIGXFSZ")  # a program that we execute would inherit that
LABELS = {
    "expires_at": "Expires",
    "issued_at": "Issued",
    "scope": "Scope",
    "client": "Client",
    "client_id": "Client id",
    "tenant_id": "Tenant id",
    "fingerprint": "Fingerprint",
    "version": "Version",
    "parameter": "Parameter",
}
LABEL_COLUMNS = 13


@dataclass(frozen=True, kw_only=True)
class TokenDescription:
    """What is known of a stored token; unknown fields are None.

    `in_ledger` tells whether the ledger's fingerprint is that of this token.
    """

    tenant: str
    parameter: str
    version: int | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    scope: str | None = None
    client: str | None = None
    client_id: str | None = None
    tenant_id: str | None = None
    fingerprint: str | None = None
    in_ledger: bool | None = None

    def is_well(self, now: datetime) -> bool:
        """Tell whether the token is valid, and the issuer has written it."""
        return not self.has_expired(now) and self.in_ledger is not False

    def has_expired(self, now: datetime) -> bool:
        """Tell whether the token is known to have expired."""
        return self.expires_at is not None and self.expires_at <= now

    def as_dict(self) -> dict[str, Any]:
        """Return what scripts read."""
        return plain(self)


def describe(
    tenant: str, parameter: str, *, stored: Stored | None, memory: Memory | None
) -> TokenDescription:
    """Combine what the ledger and the token's claims say; pure.

    `stored` and `memory` are None if they could not be read. The ledger counts only if its
    fingerprint is that of the token.
    """
    record = memory.records.get(tenant) if memory else None
    issued = record.issued if record else None
    same = issued if not stored or (issued and issued.fingerprint == stored.fingerprint) else None
    found = TokenDescription(tenant=tenant, parameter=parameter)
    if record and same:
        found = replace(
            found,
            version=same.version,
            issued_at=same.issued_at,
            expires_at=same.expires_at,
            scope=same.scope,
            client=record.client,
            fingerprint=same.fingerprint,
        )
    if not stored:
        return found
    claims = claims_of(stored.value)
    ends = [at for at in (found.expires_at, stored.expires_at) if at]
    return replace(
        found,
        version=stored.version,
        expires_at=min(ends, default=None),
        scope=_words(claims.get("scope")) or found.scope,
        client_id=_words(claims.get("client_id")),
        tenant_id=_words(claims.get("tenant_id")),
        fingerprint=stored.fingerprint,
        in_ledger=same is not None if memory else None,
    )


def _words(claim: object) -> str | None:
    """Return a claim as text: some servers write scopes as a list, against RFC 9068 §2.2.3."""
    words = claim if isinstance(claim, list) else [claim]
    return " ".join(one for one in words if isinstance(one, str) and one.isprintable()) or None


def look_up(stack: Stack, tenant: str) -> tuple[TokenDescription, Stored | None]:
    """Return what is known of a token, and the parameter's content, None where AWS denies it.

    Raises CommandFailed if there is no token, or neither it nor the ledger can be read.
    """
    denied: ClientError | None = None
    try:
        stored = read_token(stack, tenant)
    except ClientError as error:
        if not is_denied(error):
            raise
        stored, denied = None, error
    memory = _read_ledger(stack)
    record = memory.records.get(tenant) if memory else None
    if denied and not record:
        raise _denied(stack, tenant) from denied
    if not stored and not (denied and record and record.issued):
        raise no_token(tenant, record)
    return describe(tenant, parameter_of(stack, tenant), stored=stored, memory=memory), stored


def live_value(stack: Stack, found: TokenDescription, stored: Stored | None, now: datetime) -> str:
    """Return the token; raises CommandFailed if AWS denies it, or it has expired or is no token.

    If the ledger doesn't know it, a warning is printed.
    """
    if stored is None:
        raise _denied(stack, found.tenant)
    if found.has_expired(now):
        raise CommandFailed(_headline(found, now), _renewal(found.tenant), code=NOT_WELL)
    if not BEARER.fullmatch(stored.value):
        raise CommandFailed(
            f"{found.parameter} holds no token: no token has such characters",
            f"Something else has written it; `visma-tokens renew {found.tenant}` replaces it.",
            code=NOT_WELL,
        )
    if found.in_ledger is False:
        say(_warning(found))
    return stored.value


def _read_ledger(stack: Stack) -> Memory | None:
    try:
        return stack.read_ledger()
    except LedgerUnreadable:  # a consumer may not read it, and the token says most
        return None


def no_token(tenant: str, record: Record | None) -> CommandFailed:
    """Return the failure that there is no token, with the reason if the ledger knows it."""
    failure = record.failure if record else None
    if failure:
        recalled = IssuerError.recall(failure.reason, failure.detail, failure.code)
        return CommandFailed(f"There is no token of {tenant}: {failure.detail}", recalled.remedy)
    if record and record.issued:
        version = record.issued.version
        return CommandFailed(
            f"The token of {tenant} is gone, though the ledger knows it as version {version}",
            f"Run `visma-tokens renew {tenant}`.",
        )
    return CommandFailed(
        f"There is no token of {tenant}",
        "See `visma-tokens status`: is it configured, is it enabled, was it refused?",
    )


def _denied(stack: Stack, tenant: str) -> CommandFailed:
    return CommandFailed(
        f"AWS denies you the token of {tenant}",
        f"Attach {stack.outputs['ReadTokensPolicyArn']} to your role, or give another --profile.",
    )


def _renewal(tenant: str) -> str:
    return f"Run `visma-tokens renew {tenant}`; `visma-tokens status` says why it was not renewed."


def execute(command: str, token: str) -> NoReturn:
    """Replace this process by a shell command, with the token in its environment.

    So the exit code is the command's, and signals reach it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    for name in IGNORED_BY_PYTHON:
        if number := getattr(signal, name, None):
            signal.signal(number, signal.SIG_DFL)
    environment = {**callers_environment(), VARIABLE: token}
    try:
        os.execvpe("sh", ["sh", "-c", command], environment)  # noqa: S606, S607  what is asked for
    except OSError as error:
        raise CommandFailed(
            f"sh can't be run: {error.strerror}", "Check PATH, and how long the command is."
        ) from None


def print_token(
    stack: Stack, found: TokenDescription, stored: Stored | None, now: datetime
) -> None:
    """Print what is known of a token, but not the token."""
    console = out()
    expired = found.has_expired(now)
    console.print(_headline(found, now), style="red" if expired else "green")
    shown = found.as_dict()
    for name, label in LABELS.items():
        if shown[name] is not None:
            console.print(labelled(label, str(shown[name]), LABEL_COLUMNS, console))
    if expired:
        console.print(_renewal(found.tenant))
    if stored is None:
        policy = stack.outputs["ReadTokensPolicyArn"]
        text = f"From the ledger alone: AWS denies you the token, which {policy} would allow."
        console.print(text, style="yellow")
    if found.in_ledger is False:
        console.print(_warning(found), style="yellow")


def _warning(found: TokenDescription) -> str:
    """Return the warning for a token that the ledger does not know."""
    return (
        f"The ledger does not know it: something else has written {found.parameter}."
        f" `visma-tokens renew {found.tenant}` replaces it."
    )


def _headline(found: TokenDescription, now: datetime) -> str:
    if found.expires_at is None:
        return f"The token of {found.tenant} does not say when it expires"
    span = shown_span(abs(found.expires_at - now))
    if found.has_expired(now):
        return f"The token of {found.tenant} has expired {span} ago"
    return f"The token of {found.tenant} lives for {span}"
