"""What a run says: its report, log lines, metrics and events, all their names, nothing secret."""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import (
    ClientSecretFallback,
    Deferred,
    DocumentInvalid,
    EventUndelivered,
    IssuerError,
    TenantReassigned,
    TenantRefused,
)
from token_issuer.pacing import Breaker
from token_issuer.redaction import outgoing, quote
from token_issuer.tenants import Tenant

FAILURES_SHOWN, FAILURES_BYTES = 100, 250_000
PLANNED_SHOWN, PLANNED_BYTES = 1000, 700_000  # Lambda takes 6 MB in all
ALIKE_SHOWN = 3  # of one parameter's failures
NAMESPACE = "TokenIssuer"
UNDELIVERED = 5  # events in a row, after which the others of a run would cost their time in vain


@dataclass(kw_only=True)
class Report:
    """What a run came to; failures are keyed by tenant, or by a parameter that can't be read.

    Those of `unserved` were known before anybody was asked; a tenant may be in both, since it goes
    on with its last good document.
    `notices` are of client secrets, and hit nobody by themselves.
    `expiries` are those of the tokens of configured, enabled tenants. Before this run, `refused`
    had no token and a refusal, and the last attempt of `doubtful` was refused.
    """

    started_at: datetime
    finished_at: datetime
    skipped: bool = False
    issued: int = 0
    fresh: int = 0
    removed: int = 0
    configured: int = 0
    vanished: int = 0
    unreadable: int = 0
    unserved: dict[str, IssuerError] = field(default_factory=dict)
    failures: dict[str, IssuerError] = field(default_factory=dict)
    deferred: dict[str, Deferred] = field(default_factory=dict)
    expiries: dict[str, datetime] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    throttled: int = 0
    writes_per_second: float | None = None
    notices: list[IssuerError] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    planned: list[tuple[str, str, str]] | None = None  # tenant, action, because
    homes: Mapping[str, str] = field(default_factory=dict)  # parameters by tenant

    @property
    def all_failures(self) -> list[tuple[str, IssuerError]]:
        """Return what went wrong, and what is wrong with documents or the event."""
        return [*self.failures.items(), *self.unserved.items()]

    @property
    def told_failures(self) -> list[tuple[str, IssuerError]]:
        """Return all failures, but a few of each parameter's, and how many more there are.

        Of those that were asked for, a few of each parameter come first, so that none hides others.
        """
        ranks: Counter[str] = Counter()
        few: list[tuple[str, IssuerError]] = []
        more: list[tuple[str, IssuerError]] = []
        for subject, error in self.failures.items():
            home = self.homes.get(subject, subject)
            ranks[home] += 1
            (few if ranks[home] <= ALIKE_SHOWN else more).append((subject, error))
        return [*few, *more, *few_of_each(self.unserved)]

    @property
    def soonest_expiry_seconds(self) -> int | None:
        """Return how long the shortest-lived token still lives; negative when it has expired."""
        return self._seconds_to(self.expiries)

    @property
    def refused_now(self) -> frozenset[str]:
        """Return who is refused in this run, or was and has had no token nor another answer."""
        return frozenset(
            name for name, one in self.failures.items() if isinstance(one, TenantRefused)
        ) | {
            name
            for name in self.refused
            if self.expiries.get(name, self.finished_at) <= self.finished_at
        }

    @property
    def expired_and_refused(self) -> frozenset[str]:
        """Return whose token has expired since it is lastingly refused."""
        return frozenset(
            name
            for name in self.refused_now
            if self.expiries.get(name, self.finished_at) <= self.finished_at
        )

    def soonest_expiry_seconds_without(self, others: Collection[str]) -> int | None:
        """Return how long the shortest-lived token still lives, without those of others."""
        return self._seconds_to(
            {name: end for name, end in self.expiries.items() if name not in others}
        )

    def _seconds_to(self, expiries: dict[str, datetime]) -> int | None:
        if not expiries:
            return None
        return int((min(expiries.values()) - self.finished_at).total_seconds())

    def as_dict(self) -> dict[str, Any]:
        """Return the function's answer: exact counts, and the first of the failures."""
        answer: dict[str, Any] = {
            "issued": self.issued,
            "fresh": self.fresh,
            "failed": len(self.all_failures),
            "deferred": len(self.deferred),
            "removed": self.removed,
            "soonest_expiry_seconds": self.soonest_expiry_seconds,
            "failures": _fitting(
                (
                    {
                        "tenant": quote(subject),
                        "reason": error.reason,
                        "detail": error.detail,
                        "remedy": error.remedy,
                    }
                    for subject, error in self.told_failures[:FAILURES_SHOWN]
                ),
                FAILURES_BYTES,
            ),
        }
        if self.planned is not None:
            answer["planned"] = _fitting(
                (
                    {"tenant": quote(tenant), "action": action, "because": quote(because)}
                    for tenant, action, because in self.planned[:PLANNED_SHOWN]
                ),
                PLANNED_BYTES,
            )
            if more := len(self.planned) - len(answer["planned"]):
                answer["planned_more"] = more
        return answer | ({"skipped": True} if self.skipped else {})


def few_of_each(failures: Mapping[str, IssuerError]) -> list[tuple[str, IssuerError]]:
    """Return three of each parameter's failures, and one that counts the others."""
    told: list[tuple[str, IssuerError]] = []
    counts: Counter[str] = Counter()
    for subject, error in failures.items():
        parameter = error.parameter if isinstance(error, DocumentInvalid) else ""
        counts[parameter] += 1
        if not parameter or counts[parameter] <= ALIKE_SHOWN:
            told.append((subject, error))
    for parameter, count in counts.items():
        if parameter and count > ALIKE_SHOWN:
            why = f"{parameter}: {count - ALIKE_SHOWN} more tenants in it have errors"
            told.append((parameter, DocumentInvalid(why, parameter=parameter)))
    return told


def _fitting(rows: Iterable[dict[str, str]], most: int) -> list[dict[str, str]]:
    """Return the first rows that have so many bytes, however they are encoded."""
    fitting = []
    for row in rows:
        most -= len(json.dumps(row))
        if most < 0:
            break
        fitting.append(row)
    return fitting


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
