"""AccessToken → Parameter Store."""

import re
from collections.abc import Collection
from functools import partial
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from token_issuer import errors
from token_issuer.foreign_errors import AWS_ERRORS, aws_code
from token_issuer.limits.pacer import Pacer
from token_issuer.redaction import Quoted, shown
from token_issuer.tokens.access_token import AccessToken

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient


READING = "Reading the versions of tokens"
NAMES_AT_ONCE = 10  # names that Parameter Store takes in one request
DENIED = {"AccessDeniedException", "InvalidKeyId", "ParameterLimitExceeded"}
UNWRITABLE = {
    "HierarchyLevelLimitExceededException",
    "HierarchyTypeMismatchException",
    "ParameterMaxVersionLimitExceeded",
    "ParameterPatternMismatchException",
    "UnsupportedParameterType",
    "ValidationException",
}
KMS_ERROR = re.compile(r"Error Code: ([A-Za-z]{1,50})\b")  # as Parameter Store passes it on


class TokenStore:
    """The parameters that hold tokens; each call is made in its turn."""

    def __init__(self, ssm: "SSMClient", key_id: str, *, writes: Pacer, reads: Pacer) -> None:
        self._ssm = ssm
        self._key_id = key_id
        self.writes = writes
        self._reads = reads

    def put(self, parameter: str, token: AccessToken) -> int:
        """Write the token to its parameter, and return the new version.

        Raises StoreUnavailable, StoreDenied, ParameterUnwritable or NoTimeLeft; the previous
        version stays then.
        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
        """
        put = partial(
            self._ssm.put_parameter,
            Name=parameter,
            Value=token.value,
            Type="SecureString",
            KeyId=self._key_id,  # left out, it silently becomes the account's default key
            Tier="Intelligent-Tiering",  # 4 KB for nothing, up to 8 KB where it must be
            Overwrite=True,
            Description=f"expires {shown(token.expires_at)}",
        )
        try:
            return int(self.writes.send(put)["Version"])
        except AWS_ERRORS as error:
            # from None: a ValidationException quotes the value
            message = (
                error.response["Error"].get("Message") if isinstance(error, ClientError) else ""
            )
            raise _failure(f"Writing {parameter}", aws_code(error), str(message)) from None

    def versions(self, parameters: Collection[str]) -> dict[str, int]:
        """Return the version of each parameter that is there; the tokens are not decrypted.

        Ten a request; raises TokensUnchecked.
        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
        """
        versions: dict[str, int] = {}
        try:
            for names in batched(parameters, NAMES_AT_ONCE, strict=False):
                get = partial(self._ssm.get_parameters, Names=list(names), WithDecryption=False)
                answer = self._reads.send(get)
                versions |= {one["Name"]: one["Version"] for one in answer.get("Parameters", [])}
        except errors.NoTimeLeft as error:
            raise errors.TokensUnchecked(f"{READING}: {error.detail}") from None
        except AWS_ERRORS as error:
            code = aws_code(error)
            raise errors.TokensUnchecked(f"{READING} failed: {code}", code=code) from None
        return versions

    def delete(self, parameters: Collection[str]) -> dict[str, errors.IssuerError]:
        """Delete parameters; return why some could not be. One that isn't there is no failure.

        Ten a request.
        https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_DeleteParameters.html
        """
        failures: dict[str, errors.IssuerError] = {}
        for names in batched(parameters, NAMES_AT_ONCE, strict=False):
            try:
                answer = self.writes.send(partial(self._ssm.delete_parameters, Names=list(names)))
                gone = {*answer.get("DeletedParameters", []), *answer.get("InvalidParameters", [])}
            except errors.NoTimeLeft as error:
                failures |= dict.fromkeys(names, error)
            except AWS_ERRORS as error:
                code = aws_code(error)
                failures |= {name: _failure(f"Deleting {name}", code, "") for name in names}
            else:
                failures |= {
                    name: _failure(f"Deleting {name}", Quoted("it is still there"), "")
                    for name in names
                    if name not in gone
                }
        return failures


def _failure(what: str, code: Quoted, message: str) -> errors.StoreFailed:
    detail = f"{what} failed: {code}"
    if code == "InvalidKeyId" and (kms := KMS_ERROR.search(message)):
        detail = f"{detail}, {kms[1]}"  # a key that is disabled, gone, or soon to be
    if code in DENIED:
        return errors.StoreDenied(detail, code=code)
    if code in UNWRITABLE:
        return errors.ParameterUnwritable(detail, code=code)
    return errors.StoreUnavailable(detail, code=code)
