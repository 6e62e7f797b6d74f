"""Calculate what tenants cost a month from the calls that were counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from token_issuer.tokens.renewal import TURN_SECONDS

DAYS = 30
TICKS = DAYS * 24 * 12  # in a month, one every five minutes
MEMORY_GB = 0.5  # of the function, as template.yaml has it
METRICS = 16  # in template.yaml's namespace when nothing fails
ALARM_METRICS = 15  # watched by template.yaml's alarms
DEFAULT_PACE, HIGHER_PACE = 2.4, 8.0  # writes a second
DEFAULT_TENANTS = 3000  # the most that the default throughput is recommended for
PAGE = 10  # the most parameters that one read returns

# US dollars, us-east-1, list prices of 2026 without free tiers; https://aws.amazon.com/pricing
GB_SECOND = 0.0000133334  # Lambda on arm64
INVOCATION = 0.20 / 1e6
SCHEDULED = 1.00 / 1e6
READ_UNIT = 0.125 / 1e6  # DynamoDB on demand: 4 KB, consistent
WRITE_UNIT = 0.625 / 1e6  # 1 KB
KMS_REQUEST, KMS_KEY = 0.03 / 1e4, 1.00
SECRET_REQUEST, SECRET = 0.05 / 1e4, 0.40
LOG_GB = 0.50
METRIC = 0.30
ALARM_METRIC = 0.10
DASHBOARD = 3.00
INTERACTION = 0.05 / 1e4  # for each parameter of each call, with higher throughput


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the benchmark counted with so many tenants; a tick is a run with no tenant due."""

    tenants: int
    writes_per_token: float  # to Parameter Store; each makes one KMS request
    ledger_writes_per_token: float
    log_bytes_per_token: float
    tick_seconds: float
    ledger_writes_per_tick: float
    ledger_bytes_per_tenant: float
    parameter_reads_per_tick: float
    secret_reads_per_run: float
    log_bytes_per_tick: float

    @property
    def tokens(self) -> float:
        """Return how many tokens are issued in a month."""
        return self.tenants * DAYS * 86_400 / TURN_SECONDS

    @property
    def is_higher(self) -> bool:
        """Tell whether so many tenants need higher throughput."""
        return self.tenants > DEFAULT_TENANTS

    @property
    def writes_per_second(self) -> float:
        """Return the recommended WritesPerSecond for so many tenants."""
        return HIGHER_PACE if self.is_higher else DEFAULT_PACE

    @property
    def ledger_units(self) -> float:
        """Return how many units of 4 KB a run reads from the ledger."""
        return self.ledger_bytes_per_tenant * self.tenants / 4096

    @property
    def parameters_read(self) -> float:
        """Return how many parameters a run reads at most."""
        return PAGE * self.parameter_reads_per_tick

    @property
    def log_gigabytes(self) -> float:
        """Return the gigabytes that are logged in a month."""
        return (self.tokens * self.log_bytes_per_token + TICKS * self.log_bytes_per_tick) / 1e9


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the bill: its formula, and the dollars for each number of tenants."""

    what: str
    arithmetic: str
    dollars: tuple[float, ...]


def quantities(counted: Sequence[Counted]) -> Iterator[tuple[str, list[str]]]:
    """Yield the quantities of the bill, each as a name and a text for each number of tenants."""
    yield "tokens: tenants × 2,592,000 s ÷ 1,770 s", [f"{one.tokens:,.0f}" for one in counted]
    yield "writes a second", [f"{one.writes_per_second:g}" for one in counted]
    yield "seconds of a run without them", [f"{one.tick_seconds:.1f}" for one in counted]
    yield "units of 4 KB of the ledger", [f"{one.ledger_units:,.0f}" for one in counted]
    yield "parameters read by a run", [f"{one.parameters_read:,.0f}" for one in counted]
    yield "GB of log lines", [f"{one.log_gigabytes:.2f}" for one in counted]


def bill(counted: Sequence[Counted]) -> Iterator[Line]:
    """Yield the lines of a month's bill."""
    first = counted[0]
    yield Line(
        what="Lambda, Scheduler",
        arithmetic=f"(tokens ÷ writes a second + {TICKS:,} runs × seconds) × {MEMORY_GB:g} GB ×"
        f" ${GB_SECOND:.10f} + {TICKS:,} × ${(INVOCATION + SCHEDULED) * 1e6:.2f}/million",
        dollars=tuple(
            (one.tokens / one.writes_per_second + TICKS * one.tick_seconds) * MEMORY_GB * GB_SECOND
            + TICKS * (INVOCATION + SCHEDULED)
            for one in counted
        ),
    )
    yield Line(
        what="DynamoDB",
        arithmetic=f"{TICKS:,} runs × units × ${READ_UNIT * 1e6:g}/million + (tokens ×"
        f" {first.ledger_writes_per_token:g} + {TICKS:,} runs ×"
        f" {first.ledger_writes_per_tick:g}) × ${WRITE_UNIT * 1e6:g}/million",
        dollars=tuple(
            TICKS * one.ledger_units * READ_UNIT
            + one.tokens * one.ledger_writes_per_token * WRITE_UNIT
            + TICKS * one.ledger_writes_per_tick * WRITE_UNIT
            for one in counted
        ),
    )
    yield Line(
        what="KMS",
        arithmetic=f"one key ${KMS_KEY:.2f} + tokens × {first.writes_per_token:g} ×"
        f" ${KMS_REQUEST * 1e4:g}/10,000",
        dollars=tuple(KMS_KEY + one.tokens * one.writes_per_token * KMS_REQUEST for one in counted),
    )
    yield Line(
        what="Secrets Manager",
        arithmetic=f"one secret ${SECRET:.2f} + {TICKS:,} runs × {first.secret_reads_per_run:g} ×"
        f" ${SECRET_REQUEST * 1e4:g}/10,000",
        dollars=tuple(
            SECRET + TICKS * one.secret_reads_per_run * SECRET_REQUEST for one in counted
        ),
    )
    yield Line(
        what="CloudWatch",
        arithmetic=f"GB × ${LOG_GB:.2f} + {METRICS} metrics × ${METRIC:.2f} + alarms on"
        f" {ALARM_METRICS} × ${ALARM_METRIC:.2f} + a dashboard ${DASHBOARD:.2f}",
        dollars=tuple(
            one.log_gigabytes * LOG_GB + METRICS * METRIC + ALARM_METRICS * ALARM_METRIC + DASHBOARD
            for one in counted
        ),
    )
    yield Line(
        what="Parameter Store",
        arithmetic=f"over {DEFAULT_TENANTS:,} tenants, with higher throughput: (tokens ×"
        f" {first.writes_per_token:g} + {TICKS:,} runs × parameters) ×"
        f" ${INTERACTION * 1e4:g}/10,000",
        dollars=tuple(
            (one.tokens * one.writes_per_token + TICKS * one.parameters_read) * INTERACTION
            if one.is_higher
            else 0.0
            for one in counted
        ),
    )
