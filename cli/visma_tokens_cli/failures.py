"""Failures of the command, each with its cause and remedy."""

import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from token_issuer.errors import IssuerError, LedgerUnreadable, StoreDenied
from token_issuer.foreign_errors import aws_code
from token_issuer.limits.pacer import FIRST_SERVER_ERROR
from token_issuer.redaction import quote
from visma_tokens_cli.exit_codes import CANT, DEFECT, NOT_WELL, UNCHANGED
from visma_tokens_cli.screen import print_json, say

SIGN_IN = "Sign in again (aws sso login, for instance), or give another --profile."
CLOCK = "Check this machine's clock, then the credentials."
LATER = "Try again in a minute; if it lasts, see the AWS Health Dashboard."
REMEDIES: dict[str, str] = {
    **dict.fromkeys(
        (
            "CredentialRetrievalError",
            "ExpiredToken",
            "ExpiredTokenException",
            "ForbiddenException",  # of SSO
            "InvalidClientTokenId",
            "NoCredentialsError",
            "PartialCredentialsError",
            "SSOTokenLoadError",
            "TokenRetrievalError",
            "UnauthorizedException",  # of SSO
            "UnauthorizedSSOTokenError",
            "UnrecognizedClientException",
        ),
        SIGN_IN,
    ),
    **dict.fromkeys(
        (
            "InvalidSignatureException",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "SignatureDoesNotMatch",
        ),
        CLOCK,
    ),
    "ProxyConnectionError": "Check the proxy in HTTPS_PROXY, or name AWS in NO_PROXY.",
    "SSLError": "Check this machine's clock, and AWS_CA_BUNDLE where a proxy of the network has a"
    " certificate of its own.",
    "NoRegionError": "Give --region, or set AWS_REGION.",
    "ParameterLimitExceeded": "Pack tenants, as `visma-tokens apply` does above 500,"
    " or ask AWS for a higher limit of parameters.",
    "ProfileNotFound": "Give --profile as `aws configure list-profiles` shows it.",
    "InvalidRegionError": "Check --region.",
    **dict.fromkeys(
        ("EncryptionFailure", "DecryptionFailure"),
        "The secret's KMS key can't be used: enable it, or cancel its deletion.",
    ),
    "LimitExceededException": "A quota of the service is used up: ask AWS for a higher one.",
    "InvalidKeyId": StoreDenied.remedies["InvalidKeyId"],
}
DENIED = re.compile(r"AccessDenied|AccessDeniedException|UnauthorizedOperation|AuthorizationError")
MOST_CHARACTERS = 2000  # of a cause, and of a remedy: AWS's texts may be long
BUSY = {
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TooManyRequestsException",
    "TooManyUpdates",
}
QUOTED_REQUEST = "security-token"  # in messages in which AWS quotes a request with a bad signature
QUOTING = {"CreateSecret", "PutSecretValue"}  # AWS's messages may quote their parameters


class CommandFailed(Exception):
    """The command can't do its work; neither `detail` nor `remedy` is secret."""

    def __init__(self, detail: str | Sequence[str], remedy: str, *, code: int = CANT) -> None:
        """Escape and cut the texts; several causes in `detail` become one a line."""
        causes = [detail] if isinstance(detail, str) else detail
        self.detail: str = "\n".join(quote(cause, MOST_CHARACTERS) for cause in causes)
        self.remedy: str = quote(remedy, MOST_CHARACTERS)
        self.code = code
        super().__init__(self.detail)


FAILURES = (BotoCoreError, ClientError, CommandFailed, IssuerError)
type Failure = BotoCoreError | ClientError | CommandFailed | IssuerError


def print_failure(error: Exception, *, as_json: bool) -> int:
    """Print what happened and what to do about it, and return the exit code.

    An error that is neither an OSError nor one of FAILURES is a defect: it prints a traceback.
    """
    if isinstance(error, FAILURES):
        error = explain(error)
    elif isinstance(error, OSError):
        error = CommandFailed(f"It could not be read or written: {error.strerror or error}", "")
    if not isinstance(error, CommandFailed):
        say("".join(traceback.format_exception(error)))  # without values
        say("That is a defect of visma-tokens; please report it with what is above.")
        return DEFECT
    if as_json:
        print_json({"error": {"detail": error.detail, "remedy": error.remedy}})
    say(f"{error.detail.rstrip('.')}.", style="bold red")
    if error.remedy:
        say(error.remedy)
    return error.code


def explain(error: Failure) -> CommandFailed:
    """Return any failure as CommandFailed, with the remedy for its cause."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, ClientError | BotoCoreError | CommandFailed):
        cause = cause.__cause__
    if isinstance(cause, CommandFailed):
        return cause
    if not isinstance(cause, ClientError | BotoCoreError):
        remedy = error.remedy if isinstance(error, IssuerError) else ""
        return CommandFailed(str(getattr(error, "detail", error)), remedy)
    code = aws_code(cause)
    if isinstance(cause, ClientError):
        told = _of_aws(cause, code)
        if isinstance(error, LedgerUnreadable) and code == "ResourceNotFoundException":
            told.remedy = error.remedies[code]
        return told
    if isinstance(cause, BotoConnectionError | HTTPClientError):
        return CommandFailed(
            f"AWS could not be reached: {code}",
            REMEDIES.get(code, "Check --region, --endpoint-url and the network."),
        )
    words = {
        "NoCredentialsError": "There are no AWS credentials",
        "NoRegionError": "No AWS Region is chosen",
    }
    return CommandFailed(
        words.get(code, str(cause)), REMEDIES.get(code, "Correct this, then try again.")
    )


def _of_aws(error: ClientError, code: str) -> CommandFailed:
    operation = error.operation_name
    message = error.response["Error"].get("Message", "")
    if operation in QUOTING or QUOTED_REQUEST in message.lower():
        message = ""
    says = f": {message}" if message else ""
    if DENIED.fullmatch(code):
        return CommandFailed(
            f"AWS denies you {operation}{says}",
            "Use a role that may do it, or give another --profile.",
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_passing = status >= FIRST_SERVER_ERROR or "Throttl" in code or code in BUSY
    otherwise = LATER if is_passing else "Correct this, then try again."
    return CommandFailed(f"{operation} failed: {code}{says}", REMEDIES.get(code, otherwise))


def answer_unless[T](call: Callable[[], T], *codes: str) -> T | None:
    """Return AWS's answer, or None if AWS answers with one of these error codes."""
    try:
        return call()
    except ClientError as error:
        if aws_code(error) in codes:
            return None
        raise


def unchanged(error: IssuerError) -> CommandFailed:
    """Return a failure of the command that refuses to change anything, because of `error`."""
    return CommandFailed(error.detail, error.remedy, code=UNCHANGED)


def is_denied(error: ClientError) -> bool:
    """Tell whether AWS denied the operator the call."""
    return bool(DENIED.fullmatch(aws_code(error)))


@contextmanager
def telling(words: Callable[[], str]) -> Iterator[None]:
    """If the block fails or is interrupted, say what was done so far, unless `words` gives ""."""
    try:
        yield
    except KeyboardInterrupt:
        if done := words():
            say(f"{done}.")
        raise
    except FAILURES as error:
        if not (done := words()):
            raise
        failure = explain(error)
        code = NOT_WELL if failure.code == UNCHANGED else failure.code
        raise CommandFailed(f"{done}: {failure.detail}", failure.remedy, code=code) from error
