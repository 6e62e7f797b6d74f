"""Environment → Settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from token_issuer.errors import SettingsInvalid

# PATH and TOKEN_ENDPOINT are the AllowedPatterns of template.yaml, too.
# AWS reserves names that begin with aws or ssm; with the tenant's name, a parameter's has 15 levels
# at most, and 1,011 characters with its ARN:
# https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
PATH = re.compile(r"(?!/[aA][wW][sS]|/[sS][sS][mM]|.{801})(/[A-Za-z0-9_.-]+){1,14}")
PATH_RULE = (
    "it must begin with a slash and not end with one, have at most 14 levels and 800 characters of"
    " A-Za-z0-9_.- and not begin with /aws or /ssm, which AWS reserves"
)
PREFIX = re.compile(r"[A-Za-z0-9_.+=@-]+(/[A-Za-z0-9_.+=@-]+)*")
NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
TOKEN_ENDPOINT = re.compile(
    r"(https://(?![^/?:]{254})([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?"  # RFC 1035 §2.3.4
    r"|https://\[[0-9A-Fa-f:.]+\]|http://(127\.0\.0\.1|localhost|\[::1\]))"
    r'(:[1-9][0-9]{0,4})?([/?][!"$-~]*)?'
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What template.yaml decides; paths and prefix have no slash at their end."""

    tenants_path: str
    tokens_path: str
    client_secrets_prefix: str
    token_endpoint: str
    token_key_arn: str
    ledger_table: str
    period: timedelta
    renew_at_fraction: float  # of a token's lifetime
    writes_per_second: float
    concurrency: int

    def token_parameter(self, tenant: str) -> str:
        """Return the name of the parameter that holds a tenant's token."""
        return f"{self.tokens_path}/{tenant}"


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Check the function's environment; raises SettingsInvalid naming the first bad variable."""

    def text(name: str, pattern: re.Pattern[str], rule: str = "") -> str:
        value = environment.get(name, "")
        if not pattern.fullmatch(value):
            rule = rule or f"it must match {pattern.pattern}"
            raise SettingsInvalid(f"{name} is {value!r}: {rule}")
        return value

    def number(name: str, least: float, most: float) -> float:
        value = float(text(name, NUMBER))
        if not least <= value <= most:
            raise SettingsInvalid(f"{name} is {value}, which is not between {least} and {most}")
        return value

    tenants_path = text("TENANTS_PATH", PATH, PATH_RULE)
    tokens_path = text("TOKENS_PATH", PATH, PATH_RULE)
    if f"{tenants_path}/".startswith(f"{tokens_path}/") or f"{tokens_path}/".startswith(
        f"{tenants_path}/"
    ):
        raise SettingsInvalid(
            f"TENANTS_PATH {tenants_path} and TOKENS_PATH {tokens_path} lie in one another"
        )
    return Settings(
        tenants_path=tenants_path,
        tokens_path=tokens_path,
        client_secrets_prefix=text("CLIENT_SECRETS_PREFIX", PREFIX),
        token_endpoint=_token_endpoint(environment.get("TOKEN_ENDPOINT", "")),
        token_key_arn=text("TOKEN_KEY_ARN", re.compile(r"arn:\S+")),
        ledger_table=text("LEDGER_TABLE", re.compile(r"[A-Za-z0-9_.-]{3,255}")),
        period=timedelta(minutes=int(text("SCHEDULE_PERIOD_MINUTES", re.compile(r"[1-9]\d?")))),
        renew_at_fraction=number("RENEW_AT_FRACTION", 0.2, 0.9),
        writes_per_second=number("WRITES_PER_SECOND", 0.1, 1000),
        concurrency=int(text("CONCURRENCY", re.compile(r"[1-9]\d?"))),
    )


def _token_endpoint(url: str) -> str:
    """Return the URL, which is not quoted where it is refused: a password may be in it."""
    try:
        urlsplit(url).port  # noqa: B018  reading it checks it, and a literal IPv6 address
    except ValueError:
        url = ""
    if not TOKEN_ENDPOINT.fullmatch(url):
        raise SettingsInvalid(
            "TOKEN_ENDPOINT (the template parameter TokenEndpoint) must be an https URL with the"
            " name of a host in ASCII, without a user or a fragment; plain http is for loopback"
        )
    return url
