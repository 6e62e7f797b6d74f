"""What a run came to: counts, failures, and what a dry run plans."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from token_issuer import errors
from token_issuer.facts import Facts
from token_issuer.redaction import quote
from token_issuer.settings import Settings
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.invocation import Invocation
from token_issuer.tokens.plan import Decision, Fresh, Leaving, Outcome, Removal, Waiting
from token_issuer.tokens.renewal import Renewal, is_too_short

FAILURES_SHOWN, FAILURES_BYTES = 100, 250_000
PLANNED_SHOWN, PLANNED_BYTES = 1000, 700_000  # Lambda takes 6 MB in all
ALIKE_SHOWN = 3  # of one parameter's failures


PLANNED = (Removal, Leaving, Renewal, errors.IssuerError, Waiting, Fresh)  # the order of a dry run


@dataclass(kw_only=True)
class Report:
    """What a run came to; failures are keyed by tenant, or by a parameter that can't be read.

    Those of `unserved` were known before anybody was asked; a tenant may be in both, since it goes
    on with the values of its last token. `waiting` are refusals of earlier runs, again.
    `notices` are of client secrets, and hit nobody by themselves.
    `expiries` are those of the tokens of configured, enabled tenants. Before this run, `refused`
    had no token and a refusal, and the last attempt of `doubtful` was refused.
    """

    started_at: datetime
    finished_at: datetime
    skipped: bool = False
    decisions: Sequence[Decision] = ()
    invocation: Invocation = field(default_factory=Invocation)
    tenants: Mapping[str, Tenant] = field(default_factory=dict)  # that are configured
    unreadable: int = 0  # documents
    issued: int = 0
    removed: int = 0
    unserved: dict[str, errors.IssuerError] = field(default_factory=dict)
    failures: dict[str, errors.IssuerError] = field(default_factory=dict)
    deferred: dict[str, errors.Deferred] = field(default_factory=dict)
    expiries: dict[str, datetime] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    doubtful: frozenset[str] = frozenset()
    throttled: int = 0
    writes_per_second: float | None = None
    notices: list[errors.IssuerError] = field(default_factory=list)
    undelivered: list[errors.IssuerError] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)
    reassigned: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, decisions: Sequence[Decision], facts: Facts) -> Self:
        """Return what is known before anybody is asked."""
        configured = facts.configuration.tenants
        served = [
            one
            for name, one in facts.memory.records.items()
            if name in configured and configured[name].enabled
        ]
        refusals = {kind.__name__ for kind in errors.TenantRefused.kinds()}
        return cls(
            started_at=facts.at,
            finished_at=facts.at,  # until it has
            decisions=decisions,
            invocation=facts.invocation,
            tenants=configured,
            unreadable=len(facts.configuration.invalid),
            unserved=facts.failures,
            expiries={one.tenant: one.issued.expires_at for one in served if one.issued},
            refused=frozenset(one.tenant for one in served if one.failure and one.failure.refusals),
            doubtful=frozenset(
                one.tenant for one in served if one.failure and one.failure.reason in refusals
            ),
        )

    def count(self, outcome: Outcome, *, settings: Settings) -> None:
        """Count what came of a decision."""
        name, token = outcome.decision.name, outcome.token
        if outcome.reassigned and not self.invocation.probe:
            self.reassigned.append(name)
        if isinstance(outcome.failure, errors.Deferred):
            self.deferred[name] = outcome.failure
        elif outcome.failure:
            self.failures[name] = outcome.failure
        elif isinstance(outcome.decision, Removal):
            self.removed += outcome.decision.parameter is not None
        elif token and not self.invocation.probe:
            self.issued += 1
            self.expiries[name] = token.expires_at
            if is_too_short(token, settings):
                self.too_short.append(name)

    def number_of(self, kind: type[Decision]) -> int:
        """Return how many decisions of a kind there are."""
        return sum(isinstance(one, kind) for one in self.decisions)

    @property
    def waiting(self) -> dict[str, errors.IssuerError]:
        """Return the failures of tenants that are not asked for yet."""
        return {one.name: one.failure for one in self.decisions if isinstance(one, Waiting)}

    @property
    def failing(self) -> dict[str, errors.IssuerError]:
        """Return why tenants have failed; those that are not asked for yet come last."""
        return self.failures | self.waiting

    @property
    def planned(self) -> list[tuple[str, str, str]]:
        """Return tenant, action and reason, as a dry run reports them: what changes comes first."""
        rows: dict[type, list[tuple[str, str, str]]] = {kind: [] for kind in PLANNED}
        for one in self.decisions:
            rows[type(one)].append((one.name, one.action, one.because))
        for name, error in few_of_each(self.unserved):
            rows[errors.IssuerError].append((name, "fail", error.detail))
        return [row for some in rows.values() for row in some]

    @property
    def all_failures(self) -> list[tuple[str, errors.IssuerError]]:
        """Return what went wrong, and what is wrong with documents or the event."""
        return [*self.failing.items(), *self.unserved.items()]

    @property
    def told_failures(self) -> list[tuple[str, errors.IssuerError]]:
        """Return all failures, but a few of each parameter's, and how many more there are.

        Of those that were asked for, a few of each parameter come first, so that none hides others.
        """
        ranks: Counter[str] = Counter()
        few: list[tuple[str, errors.IssuerError]] = []
        more: list[tuple[str, errors.IssuerError]] = []
        for subject, error in self.failing.items():
            tenant = self.tenants.get(subject)
            home = tenant.document if tenant else subject
            ranks[home] += 1
            (few if ranks[home] <= ALIKE_SHOWN else more).append((subject, error))
        return [*few, *more, *few_of_each(self.unserved)]

    @property
    def refused_now(self) -> frozenset[str]:
        """Return who is refused in this run, or was and has had no token nor another answer."""
        refused = {
            name for name, one in self.failing.items() if isinstance(one, errors.TenantRefused)
        }
        return frozenset(refused | self._without_token(self.refused))

    @property
    def expired_and_refused(self) -> frozenset[str]:
        """Return whose token has expired since it is lastingly refused."""
        return self._without_token(self.refused_now)

    def _without_token(self, names: frozenset[str]) -> frozenset[str]:
        now = self.finished_at
        return frozenset(name for name in names if self.expiries.get(name, now) <= now)

    def soonest_expiry_seconds(self, without: Collection[str] = ()) -> int | None:
        """Return how long the shortest-lived token still lives; negative when it has expired."""
        ends = [end for name, end in self.expiries.items() if name not in without]
        return int((min(ends) - self.finished_at).total_seconds()) if ends else None

    def as_dict(self) -> dict[str, Any]:
        """Return the function's answer: exact counts, and the first of the failures."""
        answer: dict[str, Any] = {
            "issued": self.issued,
            "fresh": self.number_of(Fresh),
            "failed": len(self.all_failures),
            "deferred": len(self.deferred),
            "removed": self.removed,
            "soonest_expiry_seconds": self.soonest_expiry_seconds(),
            "failures": _fitting(
                (
                    {"tenant": quote(subject), **error.fields}
                    for subject, error in self.told_failures[:FAILURES_SHOWN]
                ),
                FAILURES_BYTES,
            ),
        }
        if self.invocation.dry_run:
            planned = self.planned
            answer["planned"] = _fitting(
                (
                    {"tenant": quote(tenant), "action": action, "because": quote(because)}
                    for tenant, action, because in planned[:PLANNED_SHOWN]
                ),
                PLANNED_BYTES,
            )
            if more := len(planned) - len(answer["planned"]):
                answer["planned_more"] = more
        return answer | ({"skipped": True} if self.skipped else {})


def few_of_each(failures: Mapping[str, errors.IssuerError]) -> list[tuple[str, errors.IssuerError]]:
    """Return three of each parameter's failures, and one that counts the others."""
    told: list[tuple[str, errors.IssuerError]] = []
    counts: Counter[str] = Counter()
    for subject, error in failures.items():
        parameter = error.parameter if isinstance(error, errors.DocumentInvalid) else ""
        counts[parameter] += 1
        if not parameter or counts[parameter] <= ALIKE_SHOWN:
            told.append((subject, error))
    for parameter, count in counts.items():
        if parameter and count > ALIKE_SHOWN:
            why = f"{parameter}: {count - ALIKE_SHOWN} more tenants in it have errors"
            told.append((parameter, errors.DocumentInvalid(why, parameter=parameter)))
    return told


def _fitting(rows: Iterable[dict[str, object]], most: int) -> list[dict[str, object]]:
    """Return the first rows that have so many bytes, however they are encoded."""
    fitting = []
    for row in rows:
        most -= len(json.dumps(row))
        if most < 0:
            break
        fitting.append(row)
    return fitting
