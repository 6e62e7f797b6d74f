"""Secrets Manager → ClientCredentials, by version stage."""

from contextlib import suppress
from typing import TYPE_CHECKING

from token_issuer.clients.credentials import CURRENT, PENDING, ClientCredentials, parse_credentials
from token_issuer.errors import ClientSecretUnreadable, PendingSecretUndecided
from token_issuer.foreign_errors import AWS_ERRORS, aws_code
from token_issuer.redaction import Quoted, quote

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import DescribeSecretResponseTypeDef

MISSING = "ResourceNotFoundException"  # the secret, or a version with this stage
UNUSABLE = "InvalidRequestException"  # the secret, in the state that it is in


class ClientSecrets:
    """The secrets of clients, each `prefix/client`, with their versions."""

    def __init__(self, secretsmanager: "SecretsManagerClient", prefix: str) -> None:
        self._secretsmanager = secretsmanager
        self._prefix = prefix

    def read(self, client: str, stage: str = CURRENT) -> ClientCredentials:
        """Read a version of the secret `prefix/client`.

        Raises ClientSecretUnreadable or ClientSecretInvalid.
        """
        secret_id = f"{self._prefix}/{client}"
        try:
            answer = self._secretsmanager.get_secret_value(SecretId=secret_id, VersionStage=stage)
            text, version = answer.get("SecretString"), quote(str(answer["VersionId"]))
        except AWS_ERRORS as error:
            code = aws_code(error)
            if stage == CURRENT and code in {MISSING, UNUSABLE}:
                self._check_state(secret_id)
            raise _unreadable(f"Reading secret {secret_id}", code) from error
        return parse_credentials(secret_id, text, version)

    def stages(self, client: str) -> dict[str, str]:
        """Return by stage which version of a secret it is on; raises ClientSecretUnreadable."""
        secret_id = f"{self._prefix}/{client}"
        try:
            return _stages(self._secretsmanager.describe_secret(SecretId=secret_id))
        except AWS_ERRORS as error:
            what = f"Reading the versions of secret {secret_id}"
            raise _unreadable(what, aws_code(error)) from error

    def promote(self, client: str, pending: str, current: str) -> None:
        """Move AWSCURRENT from one version to another, which is pending no more.

        The first becomes AWSPREVIOUS by itself; another run may have moved it already. Raises
        PendingSecretUndecided or ClientSecretUnreadable.
        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html
        """
        secret_id = f"{self._prefix}/{client}"
        try:
            self._secretsmanager.update_secret_version_stage(
                SecretId=secret_id,
                VersionStage=CURRENT,
                MoveToVersionId=pending,
                RemoveFromVersionId=current,
            )
        except AWS_ERRORS as error:
            code = aws_code(error)
            is_elsewhere = code == "InvalidParameterException"  # than where it was
            if not is_elsewhere or self.stages(client).get(CURRENT) != pending:
                why = f"Promoting the pending version of secret {secret_id} failed: {code}"
                raise PendingSecretUndecided(why, code=code) from error
        self.unstage(client, pending)

    def unstage(self, client: str, version: str) -> None:
        """Remove AWSPENDING from what is or was current. If that fails, the next run does."""
        with suppress(*AWS_ERRORS):
            self._secretsmanager.update_secret_version_stage(
                SecretId=f"{self._prefix}/{client}",
                VersionStage=PENDING,
                RemoveFromVersionId=version,
            )

    def _check_state(self, secret_id: str) -> None:
        """Raise ClientSecretUnreadable if the secret is scheduled for deletion or has no value."""
        with suppress(*AWS_ERRORS):  # then there is none, or nothing is known of it
            answer = self._secretsmanager.describe_secret(SecretId=secret_id)
            if answer.get("DeletedDate"):
                why = f"Secret {secret_id} is scheduled for deletion"
                raise ClientSecretUnreadable(why, code=Quoted("ScheduledForDeletion"))
            if CURRENT not in _stages(answer):
                why = f"Secret {secret_id} has no value yet"
                raise ClientSecretUnreadable(why, code=Quoted("NoValue"))


def _unreadable(what: str, code: Quoted) -> ClientSecretUnreadable:
    return ClientSecretUnreadable(f"{what} failed: {code}", code=code)


def _stages(answer: "DescribeSecretResponseTypeDef") -> dict[str, str]:
    versions = answer.get("VersionIdsToStages", {})
    return {stage: quote(version) for version, stages in versions.items() for stage in stages}
