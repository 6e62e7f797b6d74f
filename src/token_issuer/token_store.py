"""AccessToken → Parameter Store."""

import re
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import ParameterUnwritable, StoreDenied, StoreFailed, StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

DENIED = {
    "AccessDeniedException",
    "InvalidKeyId",
    "ParameterLimitExceeded",
}
UNWRITABLE = {
    "HierarchyLevelLimitExceededException",
    "HierarchyTypeMismatchException",
    "ParameterMaxVersionLimitExceeded",
    "ParameterPatternMismatchException",
    "UnsupportedParameterType",
    "ValidationException",
}
KMS_ERROR = re.compile(r"Error Code: (\w+)")  # as Parameter Store passes it on


def store_token(name: str, token: AccessToken, *, ssm: "SSMClient", path: str, key_id: str) -> None:
    """Write the token as a new version of `path/name`, readable at once.

    Raises StoreUnavailable, StoreDenied or ParameterUnwritable; the previous version stays then.
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    """
    parameter = f"{path}/{name}"
    try:
        ssm.put_parameter(
            Name=parameter,
            Value=token.value,
            Type="SecureString",
            KeyId=key_id,  # left out, it silently becomes the account's default key
            Tier="Intelligent-Tiering",  # 4 KB for nothing, up to 8 KB where it must be
            Overwrite=True,
            Description=f"expires {token.expires_at:%Y-%m-%dT%H:%M:%SZ}",
        )
    except ClientError as error:
        # from None: a ValidationException quotes the value
        answer = error.response["Error"]
        raise _failure(parameter, answer["Code"], answer.get("Message", "")) from None
    except BotoCoreError as error:
        raise _failure(parameter, type(error).__name__, "") from None


def _failure(parameter: str, code: str, message: str) -> StoreFailed:
    detail = f"Writing {parameter} failed: {code}"
    if code == "InvalidKeyId" and (kms := KMS_ERROR.search(message)):
        detail = f"{detail}, {kms[1]}"  # a key that is disabled, gone, or soon to be
    if code in DENIED:
        return StoreDenied(detail, code=code)
    if code in UNWRITABLE:
        return ParameterUnwritable(detail, code=code)
    return StoreUnavailable(detail, code=code)
