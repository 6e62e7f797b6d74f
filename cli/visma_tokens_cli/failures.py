"""What the command can't do: the cause, and the remedy."""

import re

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

from token_issuer.errors import IssuerError, aws_code
from visma_tokens_cli.options import CANT
from visma_tokens_cli.screen import say

SIGN_IN = "Sign in again (aws sso login, for instance), or give another --profile."
REMEDIES: dict[str, str] = {
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "InvalidClientTokenId",
            "NoCredentialsError",
            "SSOTokenLoadError",
            "TokenRetrievalError",
            "UnauthorizedSSOTokenError",
            "UnrecognizedClientException",
        ),
        SIGN_IN,
    ),
    "NoRegionError": "Give --region, or set AWS_REGION.",
    "ProfileNotFound": "Give --profile as `aws configure list-profiles` shows it.",
    "EndpointConnectionError": "Check --region, --endpoint-url and the network.",
    "InvalidRegionError": "Check --region.",
}
DENIED = re.compile(r"AccessDenied|AccessDeniedException|UnauthorizedOperation|AuthorizationError")


class CommandFailed(Exception):
    """The command can't do its work; neither cause nor remedy is secret."""

    def __init__(self, detail: str, remedy: str, *, code: int = CANT) -> None:
        """Take the cause, what to do about it, and the exit code."""
        super().__init__(detail)
        self.detail = detail
        self.remedy = remedy
        self.code = code


def print_failure(error: Exception) -> int:
    """Print what happened and what to do about it, and return the exit code.

    Raises what is no failure of AWS, of the function, or of this command.
    """
    if isinstance(error, ClientError | BotoCoreError | IssuerError):
        error = explain(error)
    if not isinstance(error, CommandFailed):
        raise error
    say(f"{error.detail}.", style="bold red")
    if error.remedy:
        say(error.remedy)
    return error.code


def explain(error: ClientError | BotoCoreError | IssuerError) -> CommandFailed:
    """Return a failure of AWS, or of what the command shares with the function, as ours."""
    cause = error.__cause__ if isinstance(error, IssuerError) else error
    if not isinstance(cause, ClientError | BotoCoreError):
        remedy = error.remedy if isinstance(error, IssuerError) else ""
        return CommandFailed(str(getattr(error, "detail", error)), remedy)
    code = aws_code(cause)
    if isinstance(cause, ClientError):
        operation = cause.operation_name
        if DENIED.fullmatch(code):
            return CommandFailed(
                f"AWS denies you {operation}",
                "Use a role that may do it, or give another --profile.",
            )
        detail = f"{operation} failed: {code}"
    elif isinstance(cause, NoCredentialsError):
        detail = "There are no AWS credentials"
    elif isinstance(cause, NoRegionError):
        detail = "No AWS Region is chosen"
    elif isinstance(cause, ProfileNotFound):
        detail = str(cause)
    else:
        detail = f"AWS could not be reached: {code}"
    return CommandFailed(
        detail, REMEDIES.get(code, "Try again; if it lasts, see the AWS Health Dashboard.")
    )
