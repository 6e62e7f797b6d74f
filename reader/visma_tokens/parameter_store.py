"""Parameter Store → StoredToken, or why there is none."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from visma_tokens.errors import NoSuchToken, ReadDenied, ReadFailed, TokenError, TokenUnusable
from visma_tokens.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

TEN = 10  # names that GetParameters takes
FAR_FUTURE = 1e11  # seconds since the epoch: the year 5138
SERVER_ERROR = 500
JWT_PARTS = 3
OURS = {"GetParameter", "GetParameters"}  # what IAM may deny beside these is for credentials
PATIENT = Config(
    connect_timeout=2,  # seconds
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=50,  # of tenants that are read side by side
    user_agent_extra="visma-tokens",
)
BRIEF = PATIENT.merge(
    Config(
        connect_timeout=1,
        read_timeout=2,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
)
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
DENIED = {"AccessDenied", "AccessDeniedException"}
THROTTLED = re.compile("Throttl|RequestLimit|TooManyRequests")
CREDENTIALS = re.compile(
    "Credential|ExpiredToken|InvalidClientTokenId|Signature|SSO|AuthenticationToken|TokenRetrieval"
    "|RequestExpired|UnrecognizedClient|OptInRequired|MetadataRetrieval"
)
NOT_FOUND = (
    "Is the tenant configured, has Visma refused it? The issuer's command `visma-tokens status`"
    " tells; else check path, Region and account"
)
ATTACH = (
    "Attach the policy in the output ReadTokensPolicyArn of the issuer's stack to this role, or one"
    " for this tenant; if it has it, look at the key with the issuer's command"
    " `visma-tokens doctor`"
)
ENABLE = "The key is disabled or to be deleted: the issuer's command `visma-tokens doctor` tells"
SIGN_IN = "Give this process AWS credentials that are valid, and check its clock"
MEND_SETTINGS = "Mend this process's AWS settings: Region, profile, credentials, endpoint"
OUT_OF_REACH = "Check Region, network, proxy, CA bundle and VPC endpoint"
READ_LESS = (
    "Read less often: keep one TokenReader per process; or turn on Parameter Store's"
    " higher throughput"
)
MEND = "Mend what AWS says there"
LATER = "Try again; if it lasts, see the AWS Health Dashboard"
OVERWRITTEN = "Somebody has overwritten it; the issuer's next run writes it anew"


@dataclass(frozen=True)
class StoredToken:
    """A bearer token; `expires_at` in seconds since the epoch, None where it can't be told."""

    value: Secret
    expires_at: float | None


Outcome = StoredToken | TokenError


def connect(
    session: boto3.Session | None, endpoint_url: str | None, *, is_brief: bool
) -> "SSMClient":
    """Return a client that takes some 25 seconds at most for a read, or some 7 if brief."""
    session = session or boto3.DEFAULT_SESSION or boto3.Session()
    config = BRIEF if is_brief else PATIENT
    return session.client("ssm", endpoint_url=endpoint_url, config=config)


def read_tokens(
    tenants: Sequence[str], *, path: str, client: Callable[[], "SSMClient"]
) -> dict[str, Outcome]:
    """Read up to ten in one request; errors are returned, so that no frame of theirs has a token.

    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameters.html
    """
    names = {f"{path}/{tenant}": tenant for tenant in tenants}
    try:
        ssm = client()
        found = _read(list(names), ssm)
    except ClientError as error:
        return {tenant: _refusal(tenant, name, error) for name, tenant in names.items()}
    except Exception as error:  # noqa: BLE001  credentials come from files, commands and URLs
        return {tenant: _failure(tenant, error) for tenant in tenants}
    region = ssm.meta.region_name
    return {
        tenant: _parse(tenant, name, found[name])
        if name in found
        else NoSuchToken(tenant, f"there is no parameter {name} in {region}", NOT_FOUND)
        for name, tenant in names.items()
    }


def _read(names: list[str], ssm: "SSMClient") -> dict[str, Secret]:
    """Return the values of those that are there."""
    if len(names) > 1:
        return _values(ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"])
    try:  # a role may have this permission for a single parameter
        return _values([ssm.get_parameter(Name=names[0], WithDecryption=True)["Parameter"]])
    except ssm.exceptions.ParameterNotFound:
        return {}


def _values(parameters: "Sequence[ParameterTypeDef]") -> dict[str, Secret]:
    """Return them by name, and take them out of the answer, which a frame may show."""
    return {one["Name"]: Secret(one.pop("Value")) for one in parameters}


def _refusal(tenant: str, name: str, error: ClientError) -> TokenError:
    """Return what an answer of AWS that is an error means."""
    code, operation = error.response["Error"]["Code"], error.operation_name
    says = (error.response["Error"].get("Message") or code).rstrip(".")
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", SERVER_ERROR)
    failure: TokenError
    if operation not in OURS:
        failure = ReadFailed(tenant, f"{operation} failed: {code}: {says}", SIGN_IN)
    elif code in DENIED:
        failure = ReadDenied(tenant, f"AWS denies reading {name}: {says}", ATTACH)
    elif code == "InvalidKeyId":
        failure = ReadDenied(tenant, f"AWS can't decrypt {name}: {says}", ENABLE)
    else:
        remedies = ((THROTTLED, READ_LESS), (CREDENTIALS, SIGN_IN))
        otherwise = LATER if status >= SERVER_ERROR else MEND
        remedy = next((one for codes, one in remedies if codes.search(code)), otherwise)
        failure = ReadFailed(tenant, f"reading {name} failed: {code}: {says}", remedy)
    failure.__cause__ = error
    return failure


def _failure(tenant: str, error: Exception) -> TokenError:
    """Return what it means that AWS gave no answer that can be used."""
    kind = type(error).__name__
    if isinstance(error, BotoConnectionError | HTTPClientError):
        remedy = OUT_OF_REACH
    else:
        remedy = SIGN_IN if CREDENTIALS.search(kind) else MEND_SETTINGS
    # neither text nor cause where they may quote headers, or an answer and with it a token
    is_plain = isinstance(error, BotoCoreError | OSError) or type(error) is ValueError
    if type(error) is HTTPClientError or not is_plain:
        return ReadFailed(tenant, f"Parameter Store can't be asked: {kind}", remedy)
    detail = f"Parameter Store can't be asked: {str(error).rstrip('.')}"
    failure = ReadFailed(tenant, detail, remedy)
    failure.__cause__ = error
    return failure


def _parse(tenant: str, name: str, value: Secret) -> Outcome:
    if not BEARER_TOKEN.fullmatch(value):  # would be quoted by whoever refuses it as a header
        return TokenUnusable(tenant, f"what {name} holds is no access token", OVERWRITTEN)
    return StoredToken(value, expires_at=_expiry(value))


def _expiry(token: str) -> float | None:
    """Return the `exp` of a JWT, unverified (RFC 7519 §4.1.4): seconds since the epoch."""
    try:
        parts = [*map(Secret, token.split("."))]
        exp = float(json.loads(base64.urlsafe_b64decode(parts[1] + "=="))["exp"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
    is_jwt = len(parts) == JWT_PARTS and 0 <= exp < FAR_FUTURE  # and a number at all (NaN)
    return exp if is_jwt else None
