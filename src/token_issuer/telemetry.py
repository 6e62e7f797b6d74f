"""Log lines: their messages, their fields and nothing secret."""

from aws_lambda_powertools import Logger

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import IssuerError
from token_issuer.tenants import Tenant


class Telemetry:
    """What the issuer says while it runs; messages are constant, the rest stands in fields."""

    def __init__(self, logger: Logger) -> None:
        """Take the logger that the handler has set up."""
        self._logger = logger

    def run_started(self) -> None:
        """Say that a run begins; like each line, with the version that runs."""
        self._logger.info("Run started")

    def token_issued(self, tenant: Tenant, token: AccessToken) -> None:
        """Say that a tenant has a new token."""
        self._token("Token issued", tenant, token)

    def token_checked(self, tenant: Tenant, token: AccessToken) -> None:
        """Say that a probe could have had a token."""
        self._token("Token checked", tenant, token)

    def _token(self, message: str, tenant: Tenant, token: AccessToken) -> None:
        """Warn where the scope is narrower than asked for."""
        missing = set(tenant.scope.split()) - token.scope if token.scope is not None else set()
        fields = {
            "tenant": tenant.name,
            "expires_at": f"{token.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            "fingerprint": token.fingerprint,
        }
        if missing:
            narrowed = {"warning": "ScopeNarrowed", "scope_missing": " ".join(sorted(missing))}
            self._logger.warning(message, extra=fields | narrowed)
        else:
            self._logger.info(message, extra=fields)

    def token_failed(self, subject: str, error: IssuerError) -> None:
        """Say why a tenant, or a parameter that can't be read, was not served."""
        self._logger.error(
            "Token failed",
            tenant=subject,
            reason=error.reason,
            detail=error.detail,
            remedy=error.remedy,
        )

    def run_failed(self, error: IssuerError) -> None:
        """Say why nobody is served; the run's last line."""
        self._logger.error(
            "Run failed", reason=error.reason, detail=error.detail, remedy=error.remedy
        )

    def run_finished(self, *, issued: int, failed: int, seconds: float) -> None:
        """Say what a run came to; its last line."""
        self._logger.info("Run finished", issued=issued, failed=failed, seconds=round(seconds, 3))
