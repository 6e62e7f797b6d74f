"""What AWS and defects raise → what may be shown of it."""

import re
from pathlib import PurePath
from traceback import walk_tb

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import IssuerError, Unexpected
from token_issuer.redaction import Quoted, quote

# what a call of AWS raises: botocore trusts answers, and a proxy may answer in the place of AWS
AWS_ERRORS = (
    ClientError,
    BotoCoreError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


# what AWS calls failures, 50 letters at most, and a status; anything else may be a secret
AWS_CODE = re.compile(r"(?!.{81})(EC2)?[A-Za-z]+([.:][A-Za-z]+)*|[0-9]{3}")


def known_code(code: object) -> Quoted:
    """Return what AWS calls a failure, where that can be no secret."""
    is_one = isinstance(code, str) and AWS_CODE.fullmatch(code)
    return quote(str(code) if is_one else "MalformedAnswer")


def aws_code(error: Exception) -> Quoted:
    """Return what AWS calls a failure, or botocore where no answer came that can be used."""
    code: object = type(error).__name__ if isinstance(error, BotoCoreError) else None
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
    return known_code(code)


def name_and_place(defect: Exception) -> str:
    """Return what is safe to show of a defect: its text may quote a secret."""
    *_, (code, line) = (
        (frame.f_code, line)
        for frame, line in walk_tb(defect.__traceback__)
        if frame.f_globals["__name__"].startswith(__package__)
    )
    return f"{type(defect).__name__} in {PurePath(code.co_filename).name}, line {line}"


def failure_of(error: Exception) -> IssuerError:
    """Return a failure as it is, and anything else as a defect that shows no text of it."""
    return error if isinstance(error, IssuerError) else Unexpected(name_and_place(error))
