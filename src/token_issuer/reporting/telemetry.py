"""What a run says: its report, log lines, metrics and events, all their names, nothing secret."""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from token_issuer.errors import (
    ClientSecretFallback,
    EventUndelivered,
    IssuerError,
    TenantReassigned,
    TenantRefused,
)
from token_issuer.limits.breaker import Breaker
from token_issuer.redaction import outgoing
from token_issuer.reporting.report import Report
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken

NAMESPACE = "TokenIssuer"
UNDELIVERED = 5  # events in a row, after which the others of a run would cost their time in vain


class Telemetry:
    """What the issuer says while it runs; messages are constant, the rest stands in fields.

    Events are for whoever acts upon them: docs/operations.md.
    """

    def __init__(
        self,
        logger: Logger,
        stack: str,
        put_event: Callable[[str, Mapping[str, object]], None],
    ) -> None:
        """Take the logger, the stack that metrics are of, and how to put an event."""
        self._logger = logger
        self._stack = stack
        self._put_event = put_event
        self._undelivered: list[EventUndelivered] = []
        self._reassigned: list[str] = []
        self._breaker = Breaker(UNDELIVERED)

    def run_started(self) -> None:
        """Say that a run begins; like each line, with the version that runs."""
        self._info("Run started")

    def token_issued(self, tenant: Tenant, token: AccessToken, *, because: str) -> None:
        """Say that a tenant has a new token."""
        self._token("Token issued", tenant, token, because=because)

    def token_checked(self, tenant: Tenant, token: AccessToken) -> None:
        """Say that a probe could have had a token."""
        self._token("Token checked", tenant, token)

    def _token(self, message: str, tenant: Tenant, token: AccessToken, **fields: str) -> None:
        """Warn where the scope is narrower than asked for."""
        missing = set(tenant.scope.split()) - token.scope if token.scope is not None else set()
        fields |= {
            "tenant": tenant.name,
            "expires_at": _shown(token.expires_at),
            "fingerprint": token.fingerprint,
        }
        if missing:
            narrowed = {"warning": "ScopeNarrowed", "scope_missing": " ".join(sorted(missing))}
            self._warning(message, **fields, **narrowed)
        else:
            self._info(message, **fields)

    def token_failing(
        self, tenant: Tenant, error: IssuerError, expires_at: datetime | None
    ) -> bool:
        """Tell of a lasting failure, and until when there is a token; return if it was heard."""
        return self._event(
            "Token Issuance Failing",
            tenant=tenant.name,
            client=tenant.client,
            reason=error.reason,
            code=error.code,
            detail=error.detail,
            remedy=error.remedy,
            token_expires_at=expires_at and _shown(expires_at),
        )

    def token_recovered(self, tenant: Tenant, token: AccessToken) -> bool:
        """Tell that a tenant whose failing was told of has a new token."""
        return self._event(
            "Token Issuance Recovered",
            tenant=tenant.name,
            client=tenant.client,
            token_expires_at=_shown(token.expires_at),
        )

    def secret_refused(self, client: str, error: IssuerError) -> bool:
        """Tell that a version of a client's secret, or all of them, is refused."""
        return self._event(
            "Client Secret Refused",
            client=client,
            reason=error.reason,
            detail=error.detail,
            remedy=error.remedy,
        )

    def _event(self, kind: str, **detail: object) -> bool:
        """Put it, unless several in a row could not be."""
        if self._breaker.is_open:
            self._undelivered.append(self._undelivered[0])
            return False
        try:
            self._put_event(kind, outgoing({"stack": self._stack, **detail}))
        except EventUndelivered as error:
            self._undelivered.append(error)
            self._breaker.failed()
            return False
        self._breaker.worked()
        return True

    def token_failed(self, subject: str, error: IssuerError) -> None:
        """Say why a tenant, or a parameter that can't be read, was not served."""
        self._error(
            "Token failed",
            tenant=subject,
            reason=error.reason,
            detail=error.detail,
            remedy=error.remedy,
        )

    def run_failed(self, error: IssuerError) -> None:
        """Say why nobody is served; the run's last line."""
        self._error("Run failed", reason=error.reason, detail=error.detail, remedy=error.remedy)

    def run_skipped(self) -> None:
        """Say that another full run is at work; the run's last line."""
        self._warning("Run skipped: another one is at work")

    def tenant_reassigned(self, tenant: Tenant, error: TenantReassigned) -> bool:
        """Say that a tenant's token is another owner's from now on; return if it was heard."""
        self._reassigned.append(tenant.name)
        fields = {"tenant": tenant.name, "detail": error.detail, "remedy": error.remedy}
        self._warning("Tenant reassigned", **fields, warning=error.reason)
        return self._event("Tenant Reassigned", client=tenant.client, **fields)

    def tokens_unchecked(self, error: IssuerError) -> None:
        """Say that the run goes on without having looked at what is stored."""
        self._warning(
            "Tokens unchecked",
            warning=error.reason,
            detail=error.detail,
            remedy=error.remedy,
        )

    def secret_promoted(self, client: str, version: str, tenant: str) -> None:
        """Say that a pending client secret was proved for a tenant, and is the current one now."""
        fields = {"client": client, "secret_version": version, "tenant": tenant}
        self._info("Client secret promoted", **fields)
        self._event("Client Secret Promoted", **fields)

    def secret_noticed(self, client: str, error: IssuerError) -> None:
        """Say that a client secret needs attention, while tokens keep coming."""
        self._warning(
            "Client secret noticed",
            client=client,
            warning=error.reason,
            detail=error.detail,
            remedy=error.remedy,
        )

    def token_removed(self, tenant: str, *, because: str) -> None:
        """Say that a tenant has no token any more."""
        self._info("Token removed", tenant=tenant, because=because)
        self._event("Token Removed", tenant=tenant, because=because)

    def run_finished(self, report: Report, *, measured: bool) -> None:
        """Say what a run came to, in metrics too where it was a full one; its last line."""
        if report.too_short:
            self._warning(
                "Lifetimes too short",
                warning="LifetimeTooShort",
                tenants=len(report.too_short),
                first=report.too_short[0],
            )
        if self._undelivered:
            first = self._undelivered[0]
            self._warning(
                "Events undelivered",
                warning=first.reason,
                events=len(self._undelivered),
                detail=first.detail,
                remedy=first.remedy,
            )
        causes = ((one.reason, one.detail, one.remedy) for one in report.deferred.values())
        for (reason, detail, remedy), tenants in Counter(causes).items():
            self._warning(
                "Tenants deferred", warning=reason, tenants=tenants, detail=detail, remedy=remedy
            )
        seconds = (report.finished_at - report.started_at).total_seconds()
        self._info(
            "Run finished",
            issued=report.issued,
            fresh=report.fresh,
            failed=len(report.all_failures),
            deferred=len(report.deferred),
            removed=report.removed,
            soonest_expiry_seconds=report.soonest_expiry_seconds,
            seconds=round(seconds, 3),
        )
        if measured:
            self._measure(report, seconds)
        if self._reassigned:  # in any run
            self._count(TenantReassigned.__name__, len(self._reassigned), report.finished_at)

    def _info(self, message: str, **fields: object) -> None:
        self._logger.info(message, extra=outgoing(fields))

    def _warning(self, message: str, **fields: object) -> None:
        self._logger.warning(message, extra=outgoing(fields))

    def _error(self, message: str, **fields: object) -> None:
        self._logger.error(message, extra=outgoing(fields))

    def _measure(self, report: Report, seconds: float) -> None:
        """Write the metrics as of the run's end: a line of EMF, and one a reason of failures."""
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._stack)
        metrics.set_timestamp(report.finished_at)
        refused = sum(isinstance(one, TenantRefused) for one in report.failures.values())
        for name, count in {
            "TokensIssued": report.issued,
            "TokensFresh": report.fresh,
            "TokensFailed": len(report.all_failures),
            "TokensDeferred": len(report.deferred),
            "TokensRemoved": report.removed,
            "TenantsConfigured": report.configured,
            "TenantsVanished": report.vanished,
            "TenantsRefused": len(report.refused_now),  # in an outage, too
            "OwnFailures": len(report.all_failures) - refused,
            "DocumentsUnreadable": report.unreadable,
            "WritesThrottled": report.throttled,
            ClientSecretFallback.__name__: 0,  # its alarm ends with the first run without one
            **Counter(one.reason for one in report.notices),
        }.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        for name, others in {
            "SoonestExpirySeconds": report.expired_and_refused,
            "SoonestOwnExpirySeconds": report.refused_now | report.doubtful,
        }.items():
            if (soonest := report.soonest_expiry_seconds_without(others)) is not None:
                metrics.add_metric(name=name, unit=MetricUnit.Seconds, value=soonest)
        if (pace := report.writes_per_second) is not None:
            metrics.add_metric(name="WritesPerSecond", unit=MetricUnit.CountPerSecond, value=pace)
        metrics.add_metric(name="RunSeconds", unit=MetricUnit.Seconds, value=round(seconds, 3))
        metrics.flush_metrics()
        for reason, count in Counter(one.reason for _, one in report.all_failures).items():
            self._count("TokensFailed", count, report.finished_at, reason=reason)

    def _count(self, name: str, count: int, at: datetime, **dimensions: str) -> None:
        """Write a line of EMF with one metric."""
        with single_metric(
            name=name,
            unit=MetricUnit.Count,
            value=count,
            namespace=NAMESPACE,
            default_dimensions={"service": self._stack, **dimensions},
        ) as metric:
            metric.set_timestamp(at)


def _shown(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"
