"""What 1,000 tenants cost a month, from the calls that were counted."""

from collections.abc import Iterator
from dataclasses import dataclass

DAYS = 30
TICKS = DAYS * 24 * 12  # of a month, one every five minutes
BETWEEN = 1770  # seconds from one token of a tenant to the next (DESIGN.md, "Scale")
MEMORY_GB = 0.5  # of the function, as template.yaml has it
METRICS = 13  # that template.yaml's namespace has when nothing fails
KILO = 1000  # tenants
WRITES_PER_SECOND = 2.4

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
HIGHER_THROUGHPUT_CALL = 0.05 / 1e4  # of Parameter Store, where it is switched on


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the bench counted, of 1,000 tenants; a tick is a run in which nobody is due."""

    writes_per_token: float  # of Parameter Store, each of which asks KMS once
    ledger_writes_per_token: float
    log_bytes_per_token: float
    tick_seconds: float
    ledger_writes_per_tick: float
    ledger_bytes_per_tenant: float
    parameter_reads_per_tick: float
    secret_reads_per_run: float
    log_bytes_per_tick: float


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the bill, with its arithmetic."""

    what: str
    arithmetic: str
    dollars: float


def bill(counted: Counted) -> Iterator[Line]:
    """Yield the lines of a month's bill."""
    tokens = KILO * DAYS * 86_400 / BETWEEN
    busy, idle = tokens / WRITES_PER_SECOND, TICKS * counted.tick_seconds
    yield Line(
        what="Lambda",
        arithmetic=f"({tokens:,.0f} tokens ÷ {WRITES_PER_SECOND:g}/s + {TICKS:,} runs ×"
        f" {counted.tick_seconds:.1f} s) × {MEMORY_GB:g} GB × ${GB_SECOND:.10f} + {TICKS:,} ×"
        f" ${(INVOCATION + SCHEDULED) * 1e6:.2f}/million",
        dollars=(busy + idle) * MEMORY_GB * GB_SECOND + TICKS * (INVOCATION + SCHEDULED),
    )
    units = counted.ledger_bytes_per_tenant * KILO / 4096
    yield Line(
        what="DynamoDB, read",
        arithmetic=f"{TICKS:,} runs × {units:,.0f} units of 4 KB × ${READ_UNIT * 1e6:g}/million",
        dollars=TICKS * units * READ_UNIT,
    )
    writes = tokens * counted.ledger_writes_per_token + TICKS * counted.ledger_writes_per_tick
    yield Line(
        what="DynamoDB, written",
        arithmetic=f"({tokens:,.0f} tokens × {counted.ledger_writes_per_token:.2f} + {TICKS:,} runs"
        f" × {counted.ledger_writes_per_tick:.0f}) × ${WRITE_UNIT * 1e6:g}/million",
        dollars=writes * WRITE_UNIT,
    )
    yield Line(
        what="KMS",
        arithmetic=f"one key ${KMS_KEY:.2f} + {tokens:,.0f} tokens ×"
        f" {counted.writes_per_token:.2f} × ${KMS_REQUEST * 1e4:g}/10,000",
        dollars=KMS_KEY + tokens * counted.writes_per_token * KMS_REQUEST,
    )
    yield Line(
        what="Secrets Manager",
        arithmetic=f"one secret ${SECRET:.2f} + {TICKS:,} runs ×"
        f" {counted.secret_reads_per_run:.0f} × ${SECRET_REQUEST * 1e4:g}/10,000",
        dollars=SECRET + TICKS * counted.secret_reads_per_run * SECRET_REQUEST,
    )
    gigabytes = (tokens * counted.log_bytes_per_token + TICKS * counted.log_bytes_per_tick) / 1e9
    yield Line(
        what="CloudWatch",
        arithmetic=f"{gigabytes:.2f} GB of log lines × ${LOG_GB:.2f} + {METRICS} metrics ×"
        f" ${METRIC:.2f}",
        dollars=gigabytes * LOG_GB + METRICS * METRIC,
    )
    yield Line(
        what="Parameter Store",
        arithmetic="nothing: standard parameters of up to 4 KB, default throughput"
        f" (higher throughput: {tokens * counted.writes_per_token:,.0f} writes + {TICKS:,} runs ×"
        f" {counted.parameter_reads_per_tick:.0f} reads, ${HIGHER_THROUGHPUT_CALL * 1e4:g}/10,000)",
        dollars=0.0,
    )
