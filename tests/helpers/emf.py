"""Lines in CloudWatch's embedded metric format (EMF), read as CloudWatch does."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STATISTICS: dict[str, Callable[[list[float]], float]] = {"Minimum": min, "Maximum": max, "Sum": sum}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One number, at one time, of one metric."""

    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]
    at: datetime
    value: float


def read_samples(lines: Iterable[str]) -> Iterator[Sample]:
    """Yield what they say.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    for line in map(json.loads, lines):
        at = datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, UTC)
        for directive in line["_aws"]["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                for metric in directive["Metrics"]:
                    for value in line[metric["Name"]]:
                        yield Sample(
                            namespace=directive["Namespace"],
                            name=metric["Name"],
                            dimensions=frozenset((name, line[name]) for name in names),
                            at=at,
                            value=value,
                        )


def by_period(samples: Iterable[Sample], stat: str, period: timedelta) -> dict[datetime, float]:
    """Return the statistic of each period that has samples, by the period's begin."""
    values = defaultdict(list)
    for one in samples:
        epoch = datetime.fromtimestamp(0, UTC)
        values[epoch + (one.at - epoch) // period * period].append(one.value)
    return {begin: STATISTICS[stat](some) for begin, some in values.items()}
