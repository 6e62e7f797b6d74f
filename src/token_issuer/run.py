"""One run: read the tenants, issue a token for each, report."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from token_issuer.authorization_server import AccessToken
from token_issuer.errors import DocumentInvalid, IssuerError, TenantDisabled, UnknownTenant
from token_issuer.invocation import Invocation
from token_issuer.telemetry import Telemetry
from token_issuer.tenants import Configuration, Tenant

FAILURES_SHOWN = 100

type IssueTokens = Callable[[Iterable[Tenant]], Iterator[tuple[Tenant, AccessToken | IssuerError]]]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run came to; failures are keyed by tenant, or by a parameter that can't be read."""

    issued: int
    failures: dict[str, IssuerError]

    def as_dict(self) -> dict[str, Any]:
        """Return the function's answer: exact counts, and the first of the failures."""
        shown = list(self.failures.items())[:FAILURES_SHOWN]
        return {
            "issued": self.issued,
            "failed": len(self.failures),
            "failures": [
                {
                    "tenant": subject,
                    "reason": error.reason,
                    "detail": error.detail,
                    "remedy": error.remedy,
                }
                for subject, error in shown
            ],
        }


def run(
    invocation: Invocation,
    *,
    read_tenants: Callable[[], Configuration],
    issue_tokens: IssueTokens,
    telemetry: Telemetry,
) -> Report:
    """Serve the tenants that the invocation asks for; raises RunFailed when nobody can be."""
    started = time.monotonic()
    issued = 0
    tenants, failures = select_tenants(read_tenants(), invocation)
    for subject, error in failures.items():
        telemetry.token_failed(subject, error)
    for tenant, outcome in issue_tokens([] if invocation.dry_run else tenants):
        if isinstance(outcome, IssuerError):
            failures[tenant.name] = outcome
            telemetry.token_failed(tenant.name, outcome)
        elif invocation.probe:
            telemetry.token_checked(tenant, outcome)
        else:
            issued += 1
            telemetry.token_issued(tenant, outcome)
    telemetry.run_finished(issued=issued, failed=len(failures), seconds=time.monotonic() - started)
    return Report(issued=issued, failures=failures)


def select_tenants(
    configuration: Configuration, invocation: Invocation
) -> tuple[list[Tenant], dict[str, IssuerError]]:
    """Return the tenants to serve, and why others that were asked for can't be."""
    if invocation.tenants is None:
        enabled = [tenant for tenant in configuration.tenants.values() if tenant.enabled]
        return enabled, dict(configuration.invalid)
    tenants: list[Tenant] = []
    failures: dict[str, IssuerError] = {}
    for name in invocation.tenants:
        tenant = configuration.tenants.get(name)
        if tenant is None:
            failures[name] = _why_unknown(name, configuration.invalid)
        elif tenant.enabled or invocation.probe:
            tenants.append(tenant)
        else:
            failures[name] = TenantDisabled(f"Tenant {name} is disabled in its document")
    return tenants, failures


def _why_unknown(name: str, invalid: dict[str, DocumentInvalid]) -> IssuerError:
    for subject, error in invalid.items():
        if subject == name or subject.endswith(f"/{name}"):
            return error
    unread = f"; it may be in one of {len(invalid)} that can't be used" if invalid else ""
    return UnknownTenant(f"No tenant document configures {name}{unread}")
