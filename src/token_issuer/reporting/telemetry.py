"""Log lines and metrics: all their names, and nothing secret."""

from collections import Counter
from datetime import datetime

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from token_issuer import errors
from token_issuer.redaction import outgoing, shown
from token_issuer.reporting.report import Report
from token_issuer.tenants.documents import Tenant
from token_issuer.tokens.access_token import AccessToken
from token_issuer.tokens.plan import Fresh, Leaving, Outcome, Removal
from token_issuer.tokens.renewal import Renewal

NAMESPACE = "TokenIssuer"


class Telemetry:
    """What the issuer says while it runs; messages are constant, the rest stands in fields."""

    def __init__(self, logger: Logger, stack: str) -> None:
        self._logger = logger
        self._stack = stack

    def run_started(self) -> None:
        """Say that a run begins; like each line, with the version that runs."""
        self._info("Run started")

    def outcome(self, outcome: Outcome, *, is_probe: bool) -> None:
        """Say what came of a tenant; what is deferred is said together, at the end."""
        decision, failure = outcome.decision, outcome.failure
        if outcome.reassigned and not is_probe:
            self._warn_of("Tenant reassigned", outcome.reassigned, tenant=decision.name)
        if outcome.token and isinstance(decision, Renewal):
            said = {} if is_probe else {"because": str(decision.reason)}
            message = "Token checked" if is_probe else "Token issued"
            self._token(message, decision.tenant, outcome.token, **said)
        elif failure and not isinstance(failure, errors.Deferred):
            self.token_failed(decision.name, failure)
        elif not failure and isinstance(decision, Removal) and decision.parameter:
            self._info("Token removed", tenant=decision.name, because=decision.because)

    def _token(self, message: str, tenant: Tenant, token: AccessToken, **fields: str) -> None:
        """Warn where the scope is narrower than asked for."""
        missing = set(tenant.scope.split()) - token.scope if token.scope is not None else set()
        fields |= {
            "tenant": tenant.name,
            "expires_at": shown(token.expires_at),
            "fingerprint": token.fingerprint,
        }
        if missing:
            narrowed = {"warning": "ScopeNarrowed", "scope_missing": " ".join(sorted(missing))}
            self._warning(message, **fields, **narrowed)
        else:
            self._info(message, **fields)

    def token_failed(self, subject: str, error: errors.IssuerError) -> None:
        """Say why a tenant, or a parameter that can't be read, was not served."""
        self._error("Token failed", tenant=subject, **error.fields)

    def run_failed(self, error: errors.IssuerError) -> None:
        """Say why nobody is served; the run's last line."""
        self._error("Run failed", **error.fields)

    def run_skipped(self) -> None:
        """Say that another full run is at work; the run's last line."""
        self._warning("Run skipped: another one is at work")

    def tokens_unchecked(self, error: errors.IssuerError) -> None:
        """Say that the run goes on without having looked at what is stored."""
        self._warn_of("Tokens unchecked", error)

    def secret_promoted(self, client: str, version: str, tenant: str) -> None:
        """Say that a pending client secret was proved for a tenant, and is the current one now."""
        self._info("Client secret promoted", client=client, secret_version=version, tenant=tenant)

    def secret_noticed(self, client: str, error: errors.IssuerError) -> None:
        """Say that a client secret needs attention, while tokens keep coming."""
        self._warn_of("Client secret noticed", error, client=client)

    def run_finished(self, report: Report, *, measured: bool) -> None:
        """Say what a run came to, in metrics too where it was a full one; its last line."""
        if short := report.too_short:
            fields = {"warning": "LifetimeTooShort", "tenants": len(short), "first": short[0]}
            self._warning("Lifetimes too short", **fields)
        if undelivered := report.undelivered:
            self._warn_of("Events undelivered", undelivered[0], events=len(undelivered))
        causes = {(one.reason, one.detail): one for one in report.deferred.values()}
        tenants = Counter((one.reason, one.detail) for one in report.deferred.values())
        for cause, error in causes.items():
            self._warn_of("Tenants deferred", error, tenants=tenants[cause])
        seconds = (report.finished_at - report.started_at).total_seconds()
        self._info(
            "Run finished",
            issued=report.issued,
            fresh=report.number_of(Fresh),
            failed=len(report.all_failures),
            deferred=len(report.deferred),
            removed=report.removed,
            soonest_expiry_seconds=report.soonest_expiry_seconds(),
            seconds=round(seconds, 3),
        )
        if measured:
            self._measure(report, seconds)
        if report.reassigned:  # in any run
            self._count(
                errors.TenantReassigned.__name__, len(report.reassigned), report.finished_at
            )

    def _info(self, message: str, **fields: object) -> None:
        self._logger.info(message, extra=outgoing(fields))

    def _warning(self, message: str, **fields: object) -> None:
        self._logger.warning(message, extra=outgoing(fields))

    def _warn_of(self, message: str, error: errors.IssuerError, **fields: object) -> None:
        reason, *others = error.fields.items()
        self._warning(message, **fields, warning=reason[1], **dict(others))

    def _error(self, message: str, **fields: object) -> None:
        self._logger.error(message, extra=outgoing(fields))

    def _measure(self, report: Report, seconds: float) -> None:
        """Write the metrics as of the run's end: a line of EMF, and one a reason of failures."""
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._stack)
        metrics.set_timestamp(report.finished_at)
        refused = sum(isinstance(one, errors.TenantRefused) for one in report.failing.values())
        for name, count in {
            "TokensIssued": report.issued,
            "TokensFresh": report.number_of(Fresh),
            "TokensFailed": len(report.all_failures),
            "TokensDeferred": len(report.deferred),
            "TokensRemoved": report.removed,
            "TenantsConfigured": sum(one.enabled for one in report.tenants.values()),
            "TenantsVanished": report.number_of(Leaving),
            "TenantsRefused": len(report.refused_now),  # in an outage, too
            "OwnFailures": len(report.all_failures) - refused,
            "DocumentsUnreadable": report.unreadable,
            "WritesThrottled": report.throttled,
            errors.ClientSecretFallback.__name__: 0,  # ends its alarm
            **Counter(one.reason for one in report.notices),
        }.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=count)
        for name, others in {
            "SoonestExpirySeconds": report.expired_and_refused,
            "SoonestOwnExpirySeconds": report.refused_now | report.doubtful,
        }.items():
            if (soonest := report.soonest_expiry_seconds(others)) is not None:
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
