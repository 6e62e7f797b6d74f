"""Read tokens from Parameter Store; failures are returned as TokenError."""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from urllib3.util import parse_url

from visma_tokens.errors import (
    NoSuchToken,
    ReadDenied,
    ReadFailed,
    TokenError,
    TokenUnusable,
    printable,
)
from visma_tokens.secret import Secret

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

TEN = 10  # names that GetParameters takes
LOOPBACK = {"127.0.0.1", "[::1]", "localhost"}
FAR_FUTURE = 1e11  # seconds since the epoch: the year 5138
FIRST_SERVER_ERROR = 500
JWT_PARTS = 3
OURS = {"GetParameter", "GetParameters"}  # other operations are the SDK's, to get credentials
PATIENT = Config(
    connect_timeout=2,  # seconds
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=50,  # for tenants that are read at the same time
    user_agent_extra="visma-tokens",
)
BRIEF = PATIENT.merge(
    Config(
        connect_timeout=1,
        read_timeout=2,
        retries={"mode": "standard", "total_max_attempts": 2},
    )
)
WITHOUT_PROXY = Config(proxies={})  # with None, botocore uses the environment's
BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
DENIED = {"AccessDenied", "AccessDeniedException"}
THROTTLED = re.compile("Throttl|RequestLimit|TooManyRequests")
QUOTED_REQUEST = "security-token"  # is in AWS's messages that quote a badly signed request
USER = re.compile(r"//[^\s\"']*@")  # and a password, in a URL
CREDENTIALS = re.compile(
    "Credential|ExpiredToken|InvalidClientTokenId|Signature|SSO|AuthenticationToken|TokenRetrieval"
    "|RequestExpired|UnrecognizedClient|OptInRequired|MetadataRetrieval|^Login|RefreshWithMFA"
)
# the text of botocore's RuntimeError
STILL_EXPIRED = "Credentials were refreshed, but the refreshed credentials are still expired."
# botocore's methods that find keys once, and always those of the same profile
FOUND_ONCE = {"boto-config", "config-file", "custom-process", "env", "shared-credentials-file"}
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
CLEAR_TEXT = (
    "the endpoint is not https, so a token would be sent in clear text; plain http is for loopback"
)
OVERWRITTEN = "Somebody has overwritten it; the issuer's next run writes it anew"


@dataclass(frozen=True)
class StoredToken:
    """A bearer token; `expires_at` in seconds since the epoch, None if the token doesn't say it."""

    value: Secret
    expires_at: float | None


Found = StoredToken | TokenError


def connect(
    session: boto3.Session | None,
    endpoint_url: str | None,
    *,
    credentials: Credentials | None,
    is_brief: bool,
) -> "SSMClient":
    """Return a client whose reads take at most some 25 seconds, or some 7 if `is_brief`.

    `credentials` are used in place of the session's. Raises ValueError for an endpoint that would
    get the token in clear text.
    """
    session = session or boto3.DEFAULT_SESSION or boto3.Session()
    keys = credentials and credentials.get_frozen_credentials()

    def make(config: Config) -> "SSMClient":
        return session.client(
            "ssm",
            endpoint_url=endpoint_url,
            config=config,
            aws_access_key_id=keys.access_key if keys else None,
            aws_secret_access_key=keys.secret_key if keys else None,
            aws_session_token=keys.token if keys else None,
        )

    config = BRIEF if is_brief else PATIENT
    client = make(config)
    endpoint = parse_url(client.meta.endpoint_url)  # as botocore parses it to send
    if endpoint.host in LOOPBACK:
        return make(config.merge(WITHOUT_PROXY))
    if endpoint.scheme != "https":
        raise ValueError(CLEAR_TEXT)
    return client


def found_anew(session: boto3.Session, *, is_given: bool) -> Credentials | None:
    """Return the keys that a new session would find; None if they may be somebody else's.

    A session keeps the keys that it has found, even if the file has new ones. This function doesn't
    change the session. It returns None for other kinds of credentials, which renew themselves or
    are set by the program, and for a given session with keys from the environment, which may
    have other keys by now that are meant for the next session.
    """
    try:
        kept = session.get_credentials()
        if type(kept) is not Credentials or kept.method not in FOUND_ONCE:
            return None
        if is_given and kept.method == "env":
            return None
        core = session._session  # noqa: SLF001  boto3 doesn't look for credentials twice
        found = core.get_component("credential_provider").load_credentials()
    except Exception:  # noqa: BLE001  credentials come from files, commands and URLs
        return None  # the next look-up tries again, and reports it
    is_alike = type(found) is Credentials and found.method == kept.method
    return found if is_alike else None


def read_tokens(
    tenants: Sequence[str], *, path: str, client: Callable[[], "SSMClient"]
) -> dict[str, Found]:
    """Read up to ten tokens in one request; errors are returned, so that no traceback has a token.

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


def lacks_credentials(found: dict[str, Found]) -> bool:
    """Tell whether other credentials might help."""
    return any(isinstance(one, ReadFailed) and one.remedy == SIGN_IN for one in found.values())


def _read(names: list[str], ssm: "SSMClient") -> dict[str, Secret]:
    """Return the values of the parameters that exist, by name."""
    if len(names) > 1:
        return _values(ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"])
    try:  # a role for one tenant may have only this permission
        return _values([ssm.get_parameter(Name=names[0], WithDecryption=True)["Parameter"]])
    except ssm.exceptions.ParameterNotFound:
        return {}


def _values(parameters: "Sequence[ParameterTypeDef]") -> dict[str, Secret]:
    """Return values by name, and remove them from the answer, which a traceback may show."""
    return {one["Name"]: Secret(one.pop("Value")) for one in parameters}


def _refusal(tenant: str, name: str, error: ClientError) -> TokenError:
    """Return the TokenError for an error that AWS answered with."""
    code, operation = error.response["Error"]["Code"], error.operation_name
    says = (error.response["Error"].get("Message") or code).rstrip(".")
    if QUOTED_REQUEST in says.lower():
        says = code
        error.args = (code,)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", FIRST_SERVER_ERROR)
    failure: TokenError
    if operation not in OURS:
        failure = ReadFailed(tenant, f"{operation} failed: {code}: {says}", SIGN_IN)
    elif code in DENIED:
        failure = ReadDenied(tenant, f"AWS denies reading {name}: {says}", ATTACH)
    elif code == "InvalidKeyId":
        failure = ReadDenied(tenant, f"AWS can't decrypt {name}: {says}", ENABLE)
    else:
        remedies = ((THROTTLED, READ_LESS), (CREDENTIALS, SIGN_IN))
        otherwise = LATER if status >= FIRST_SERVER_ERROR else MEND
        remedy = next((one for codes, one in remedies if codes.search(code)), otherwise)
        failure = ReadFailed(tenant, f"reading {name} failed: {code}: {says}", remedy)
    return _because_of(error, failure)


def _failure(tenant: str, error: Exception) -> TokenError:
    """Return the TokenError for a request without a usable answer of AWS."""
    kind = type(error).__name__
    is_expired = str(error) == STILL_EXPIRED
    if isinstance(error, BotoConnectionError | HTTPClientError):
        remedy = OUT_OF_REACH
    else:
        remedy = SIGN_IN if is_expired or CREDENTIALS.search(kind) else MEND_SETTINGS
    # text and cause of other errors may quote headers, or an answer with a token
    is_known = is_expired or type(error) is ValueError
    is_plain = is_known or isinstance(error, BotoCoreError | OSError)
    if type(error) is HTTPClientError or not is_plain:
        return ReadFailed(tenant, f"Parameter Store can't be asked: {kind}", remedy)
    if USER.search(str(error)):
        error.args = (USER.sub("//", str(error)),)
    detail = f"Parameter Store can't be asked: {str(error).rstrip('.')}"
    return _because_of(error, ReadFailed(tenant, detail, remedy))


def _because_of(error: Exception, failure: TokenError) -> TokenError:
    """Set the cause, escaped, because tracebacks print it too."""
    if not str(error).isprintable():
        error.args = (printable(str(error)),)
    failure.__cause__ = error
    return failure


def _parse(tenant: str, name: str, value: Secret) -> Found:
    if not BEARER_TOKEN.fullmatch(value):  # HTTP libraries would quote it in their error
        return TokenUnusable(tenant, f"what {name} holds is no access token", OVERWRITTEN)
    return StoredToken(value, expires_at=_expiry(value))


def _expiry(token: str) -> float | None:
    """Return the `exp` of a JWT, unverified (RFC 7519 §4.1.4): seconds since the epoch."""
    try:
        parts = [*map(Secret, token.split("."))]
        exp = float(json.loads(base64.urlsafe_b64decode(parts[1] + "=="))["exp"])
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
        return None
    is_jwt = len(parts) == JWT_PARTS and 0 <= exp < FAR_FUTURE  # False for NaN too
    return exp if is_jwt else None
