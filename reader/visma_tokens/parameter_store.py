"""Parameter Store → StoredToken, or why there is none."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from visma_tokens.errors import NoSuchToken, ReadDenied, ReadFailed, TokenError, TokenUnusable

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

FAR_FUTURE = 1e11  # seconds since the epoch: the year 5138
TEN = 10  # names that GetParameters takes
CONFIG = Config(
    connect_timeout=2,  # seconds
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=50,  # of tenants that are read side by side
    user_agent_extra="visma-tokens",
)
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
DENIED = {
    "AccessDenied",
    "AccessDeniedException",
    "InvalidKeyId",  # disabled, or being deleted
}
CREDENTIALS = {
    "CredentialRetrievalError",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "NoCredentialsError",
    "PartialCredentialsError",
    "SSOTokenLoadError",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "UnrecognizedClientException",
}
NOT_FOUND = (
    "Is the tenant configured, has Visma refused it? `visma-tokens status` tells;"
    " else check path, Region and account"
)
ATTACH = (
    "Attach the policy in the output ReadTokensPolicyArn of the issuer's stack to this role;"
    " if it has it, look at the key with `visma-tokens doctor`"
)
SIGN_IN = "Give this process AWS credentials that are valid, and check its clock"
MEND_SETTINGS = "Mend this process's AWS settings: AWS_DEFAULT_REGION, AWS_PROFILE and the like"
OUT_OF_REACH = "Check Region, network and VPC endpoint"
THROTTLED = (
    "Read less often: keep one TokenReader per process; or turn on Parameter Store's"
    " higher throughput"
)
LATER = "Try again; if it lasts, see the AWS Health Dashboard"
OVERWRITTEN = "Somebody has overwritten it; the issuer's next run writes it anew"


@dataclass(frozen=True)
class StoredToken:
    """A bearer token; `expires_at` in seconds since the epoch, None where it is no JWT."""

    value: str = field(repr=False)
    expires_at: float | None


Outcome = StoredToken | TokenError


def connect(session: boto3.Session | None, endpoint_url: str | None) -> "SSMClient":
    """Return a client with time-outs and repeats stated, at most some 25 seconds together."""
    return (session or boto3.Session()).client("ssm", endpoint_url=endpoint_url, config=CONFIG)


def read_tokens(
    tenants: Sequence[str], *, path: str, client: Callable[[], "SSMClient"]
) -> dict[str, Outcome]:
    """Read up to ten in one request; errors are returned, so that no frame of theirs has a token.

    Where one of several is denied, all are: they are read one by one then.
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
    """
    names = {f"{path}/{tenant}": tenant for tenant in tenants}
    try:
        found = _read(list(names), client())
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in DENIED and len(tenants) > 1:
            one_by_one = (read_tokens([tenant], path=path, client=client) for tenant in tenants)
            return {tenant: outcome for one in one_by_one for tenant, outcome in one.items()}
        return {tenant: _refusal(tenant, name, code, error) for name, tenant in names.items()}
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
        return {tenant: _failure(tenant, error) for tenant in tenants}
    return {
        tenant: _parse(tenant, name, found[name])
        if name in found
        else NoSuchToken(
            tenant, f"there is no parameter {name} in {client().meta.region_name}", NOT_FOUND
        )
        for name, tenant in names.items()
    }


def _read(names: list[str], ssm: "SSMClient") -> dict[str, str]:
    """Return the values of those that are there."""
    if len(names) > 1:
        answers = ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"]
        return {one["Name"]: one["Value"] for one in answers}
    try:  # a role may have this permission for a single parameter
        answer = ssm.get_parameter(Name=names[0], WithDecryption=True)
    except ssm.exceptions.ParameterNotFound:
        return {}
    return {names[0]: answer["Parameter"]["Value"]}


def _refusal(tenant: str, name: str, code: str, error: ClientError) -> TokenError:
    """Return what an answer of AWS that is an error means."""
    says = error.response["Error"].get("Message") or code
    failure: TokenError
    if code in DENIED:
        failure = ReadDenied(tenant, f"AWS denies reading {name}: {says.rstrip('.')}", ATTACH)
    else:
        remedy = SIGN_IN if code in CREDENTIALS else THROTTLED if "Throttl" in code else LATER
        failure = ReadFailed(tenant, f"reading {name} failed: {code}: {says.rstrip('.')}", remedy)
    failure.__cause__ = error
    return failure


def _failure(tenant: str, error: BotoCoreError | ValueError) -> TokenError:
    """Return what it means that AWS gave no answer."""
    if isinstance(error, BotoConnectionError | HTTPClientError):
        remedy = OUT_OF_REACH
    else:
        remedy = SIGN_IN if type(error).__name__ in CREDENTIALS else MEND_SETTINGS
    says = str(error).rstrip(".")
    failure = ReadFailed(tenant, f"Parameter Store can't be asked: {says}", remedy)
    failure.__cause__ = error
    return failure


def _parse(tenant: str, name: str, value: str) -> Outcome:
    if not BEARER_TOKEN.fullmatch(value):  # would be quoted by whoever refuses it as a header
        return TokenUnusable(tenant, f"what {name} holds is no access token", OVERWRITTEN)
    return StoredToken(value, expires_at=_expiry(value))


def _expiry(token: str) -> float | None:
    """Return the `exp` of a JWT, unverified (RFC 7519 §4.1.4): seconds since the epoch."""
    try:
        _, claims, _ = token.split(".")
        exp = float(json.loads(base64.urlsafe_b64decode(claims + "=="))["exp"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
    return exp if 0 <= exp < FAR_FUTURE else None  # nor is what is no number (NaN)
