"""Secrets Manager → ClientCredentials, by version stage."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from token_issuer.errors import (
    AWS_ERRORS,
    ClientSecretInvalid,
    ClientSecretUnreadable,
    PendingSecretUndecided,
    aws_code,
)
from token_issuer.redaction import Quoted, quote

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

MEMBERS = {"client_id", "client_secret", "auth_method"}
MISSING = "ResourceNotFoundException"  # the secret, or a version with this stage
UNUSABLE = "InvalidRequestException"  # the secret, in the state that it is in
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
AUTH_METHODS = ("client_secret_post", "client_secret_basic")  # the first is the default


@dataclass(frozen=True, kw_only=True)
class ClientCredentials:
    """How a client authenticates at the token endpoint (RFC 6749 §2.3.1).

    `version` is that of the secret in Secrets Manager.
    """

    client_id: str
    client_secret: str = field(repr=False)
    auth_method: str
    version: str


def read_credentials(
    secretsmanager: "SecretsManagerClient", prefix: str, client: str, stage: str = CURRENT
) -> ClientCredentials:
    """Read a version of the secret `prefix/client`.

    Raises ClientSecretUnreadable or ClientSecretInvalid.
    """
    secret_id = f"{prefix}/{client}"
    try:
        answer = secretsmanager.get_secret_value(SecretId=secret_id, VersionStage=stage)
        text, version = answer.get("SecretString"), quote(str(answer["VersionId"]))
    except AWS_ERRORS as error:
        code = aws_code(error)
        if stage == CURRENT and code in {MISSING, UNUSABLE}:
            _check_state(secretsmanager, secret_id)
        raise _unreadable(f"Reading secret {secret_id}", code) from error
    return parse_credentials(secret_id, text, version)


def _check_state(secretsmanager: "SecretsManagerClient", secret_id: str) -> None:
    """Raise ClientSecretUnreadable if the secret is scheduled for deletion or has no value."""
    with suppress(*AWS_ERRORS):  # then there is none, or nothing is known of it
        answer = secretsmanager.describe_secret(SecretId=secret_id)
        if answer.get("DeletedDate"):
            raise ClientSecretUnreadable(
                f"Secret {secret_id} is scheduled for deletion", code=Quoted("ScheduledForDeletion")
            )
        if CURRENT not in _stages(answer):
            raise ClientSecretUnreadable(
                f"Secret {secret_id} has no value yet", code=Quoted("NoValue")
            )


def read_stages(secretsmanager: "SecretsManagerClient", prefix: str, client: str) -> dict[str, str]:
    """Return by stage which version of a secret it is on; raises ClientSecretUnreadable."""
    secret_id = f"{prefix}/{client}"
    try:
        return _stages(secretsmanager.describe_secret(SecretId=secret_id))
    except AWS_ERRORS as error:
        raise _unreadable(f"Reading the versions of secret {secret_id}", aws_code(error)) from error


def _unreadable(what: str, code: Quoted) -> ClientSecretUnreadable:
    return ClientSecretUnreadable(f"{what} failed: {code}", code=code)


def _stages(answer: "DescribeSecretResponseTypeDef") -> dict[str, str]:
    versions = answer.get("VersionIdsToStages", {})
    return {stage: quote(version) for version, stages in versions.items() for stage in stages}


def promote(
    secretsmanager: "SecretsManagerClient",
    prefix: str,
    client: str,
    pending: str,
    current: str,
) -> None:
    """Move AWSCURRENT from one version to another, which is pending no more.

    The first becomes AWSPREVIOUS by itself; another run may have moved it already. Raises
    PendingSecretUndecided or ClientSecretUnreadable.
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
    """
    secret_id = f"{prefix}/{client}"
    try:
        secretsmanager.update_secret_version_stage(
            SecretId=secret_id,
            VersionStage=CURRENT,
            MoveToVersionId=pending,
            RemoveFromVersionId=current,
        )
    except AWS_ERRORS as error:
        code = aws_code(error)
        is_elsewhere = code == "InvalidParameterException"  # than where it was
        if not is_elsewhere or read_stages(secretsmanager, prefix, client).get(CURRENT) != pending:
            raise PendingSecretUndecided(
                f"Promoting the pending version of secret {secret_id} failed: {code}", code=code
            ) from error
    unstage(secretsmanager, prefix, client, pending)


def unstage(secretsmanager: "SecretsManagerClient", prefix: str, client: str, version: str) -> None:
    """Take AWSPENDING off a version that is or was current; if it can't be, the next run does."""
    with suppress(*AWS_ERRORS):
        secretsmanager.update_secret_version_stage(
            SecretId=f"{prefix}/{client}", VersionStage=PENDING, RemoveFromVersionId=version
        )


def parse_credentials(secret_id: str, text: object, version: str) -> ClientCredentials:
    """Check the text of a version of a secret; raises ClientSecretInvalid, which quotes nothing."""
    if not isinstance(text, str):
        raise ClientSecretInvalid(f"Secret {secret_id} is binary, not text")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        # from None: a JSONDecodeError carries the whole document
        raise ClientSecretInvalid(f"Secret {secret_id} is not JSON") from None
    if not isinstance(document, dict):
        raise ClientSecretInvalid(f"Secret {secret_id} is not a JSON object")
    if document.keys() - MEMBERS:
        # not named: the secret itself may stand where a member's name should
        raise ClientSecretInvalid(f"Secret {secret_id} has other members than it may have")
    for member in ("client_id", "client_secret"):
        if not isinstance(document.get(member), str) or not document[member]:
            raise ClientSecretInvalid(
                f"Secret {secret_id}: {member} is missing, empty or not a text"
            )
        if not _is_unicode(document[member]):
            raise ClientSecretInvalid(
                f"Secret {secret_id}: {member} has an incomplete Unicode character"
            )
    auth_method = document.get("auth_method", AUTH_METHODS[0])
    if auth_method not in AUTH_METHODS:
        methods = " or ".join(AUTH_METHODS)
        raise ClientSecretInvalid(f"Secret {secret_id}: auth_method must be {methods}")
    return ClientCredentials(
        client_id=document["client_id"],
        client_secret=document["client_secret"],
        auth_method=auth_method,
        version=version,
    )


def _is_unicode(text: str) -> bool:
    """Tell lone surrogates, which JSON can spell and UTF-8 can't (RFC 8259 §8.2)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
