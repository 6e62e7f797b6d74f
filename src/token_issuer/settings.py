"""Environment → Settings."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from token_issuer.errors import SettingsInvalid

PATH = re.compile(r"(/[A-Za-z0-9_.-]+)+")
PREFIX = re.compile(r"[A-Za-z0-9_.+=@-]+(/[A-Za-z0-9_.+=@-]+)*")
NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


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


def parse_settings(environment: Mapping[str, str]) -> Settings:
    """Check the function's environment; raises SettingsInvalid naming the first bad variable."""

    def text(name: str, pattern: re.Pattern[str]) -> str:
        value = environment.get(name, "")
        if not pattern.fullmatch(value):
            raise SettingsInvalid(f"{name} is {value!r}, which doesn't match {pattern.pattern}")
        return value

    def number(name: str, least: float, most: float) -> float:
        value = float(text(name, NUMBER))
        if not least <= value <= most:
            raise SettingsInvalid(f"{name} is {value}, which is not between {least} and {most}")
        return value

    tenants_path, tokens_path = text("TENANTS_PATH", PATH), text("TOKENS_PATH", PATH)
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
    """Return an absolute https URL; plain http only to loopback, since the secret travels in it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  reading it is what checks it
    except ValueError:
        parts = urlsplit("")
    if not parts.hostname or parts.username is not None or parts.fragment:
        raise SettingsInvalid("TOKEN_ENDPOINT is not a URL of a token endpoint")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise SettingsInvalid(f"TOKEN_ENDPOINT must be https, it is {parts.scheme or 'neither'}")
    return url
