"""Which alarms fire in which trouble, when, and when they recover: real runs in simulated time.

A span is in minutes since the event: when an alarm fires, and when it recovers. An event falls two
minutes after a tick, so that the next run comes three or four minutes later; and in the middle of
tokens' lives, of which the first are due at once.
"""

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from pathlib import Path

import pytest

from tests.helpers.cloudwatch import Fired, Metric, Metrics
from tests.helpers.emf import read_samples
from tests.helpers.installation import Installation, Span, minute, names, read_alarms
from tests.helpers.world import STACK
from token_issuer.clients.credentials import CURRENT, PREVIOUS
from token_issuer.reporting.telemetry import NAMESPACE

pytestmark = pytest.mark.long

EVENT = 122  # minutes
HOUR, DAY = 60, 1440


@pytest.fixture(scope="module")
def running() -> Installation:
    """Return one that has run for two hours."""
    running = Installation()
    running.run_until(EVENT)
    return running


@pytest.fixture
def installation(running: Installation) -> Installation:
    return deepcopy(running)


# Where the thresholds are

RUN = {"RunSeconds": 1}


@pytest.mark.parametrize(
    ("alarm", "measured", "fires"),
    [
        ("SoonestExpiryAlarm", {"SoonestOwnExpirySeconds": 599}, True),
        ("SoonestExpiryAlarm", {"SoonestOwnExpirySeconds": 600}, False),
        ("FullRunsAlarm", {"RunSeconds": 255}, False),
        ("FullRunsAlarm", {"RunSeconds": 255.1}, True),
        ("MassRefusalAlarm", RUN | {"TenantsRefused": 3, "TenantsConfigured": 30}, False),
        ("MassRefusalAlarm", RUN | {"TenantsRefused": 3, "TenantsConfigured": 29}, True),
        ("MassRefusalAlarm", RUN | {"TenantsRefused": 2, "TenantsConfigured": 3}, False),
        ("MassRefusalAlarm", RUN | {"TenantsRefused": 2, "TenantsConfigured": 2}, True),
    ],
)
def test_what_is_measured_for_seven_hours_fires_or_not(
    alarm: str, measured: dict[str, float], *, fires: bool
) -> None:
    metrics, [watched] = Metrics(), [one for one in read_alarms() if one.name == alarm]
    for name, value in measured.items():
        metric = Metric(NAMESPACE, name, frozenset({("service", STACK)}))
        for number in range(0, 7 * HOUR, 5):
            metrics.put(metric, value, minute(number))

    points = watched.points(metrics, minute(7 * HOUR).timestamp())

    assert watched.is_breached(points) is fires


# Nothing is wrong


@pytest.mark.parametrize("period", [1, 2, 5, 10, 15])
@pytest.mark.parametrize("delay", [0, 2])  # minutes, until a metric is seen
def test_in_healthy_hours_only_a_new_stack_fires_until_its_first_run_has_ended(
    period: int, delay: int
) -> None:
    installation = Installation(tenants=50, period=period, delay=timedelta(minutes=delay))
    installation.run_until(3 * HOUR)

    fired = installation.fired(begin=-10)

    assert fired == [Fired("NoRunAlarm", minute(-10), minute(1 + delay))]


def test_in_a_healthy_week_with_a_short_outage_each_day_none_fires() -> None:
    installation = Installation()
    outages = [minute(day * DAY + 67 * day) for day in range(1, 7)]
    installation.world.is_down = lambda at: any(
        begin <= at < begin + timedelta(minutes=9) for begin in outages
    )
    installation.run_until(7 * DAY)

    assert installation.alarms(since=0) == {}


# The authorization server


def outage(installation: Installation, minutes: int, *, begin: int = EVENT) -> None:
    """Have it, and three hours more."""
    installation.run_until(begin)
    installation.world.is_down = lambda at: minute(begin) <= at < minute(begin + minutes)
    installation.run_until(begin + minutes + 3 * HOUR)


@pytest.mark.parametrize(
    ("minutes", "spans"),
    [
        pytest.param(15, {"FailuresAlarm": (17, 19)}, id="three runs that fail"),
        pytest.param(12, {}, id="two are no alarm"),
    ],
)
def test_an_outage(minutes: int, spans: dict[str, Span], installation: Installation) -> None:
    outage(installation, minutes)

    assert installation.alarms(since=EVENT) == spans


def test_an_outage_while_refused_tenants_wait(installation: Installation) -> None:
    installation.world.refused = set(names(9))
    installation.run_until(EVENT + 2 * HOUR)
    installation.world.is_down = lambda at: minute(EVENT + 2 * HOUR) <= at
    installation.run_until(EVENT + 3 * HOUR)

    assert installation.alarms(since=EVENT + 2 * HOUR) == {
        "FailuresAlarm": (17, None),
        "SoonestExpiryAlarm": (24, None),
        "RefusedTenantsAlarm": (-56, None),
    }


def test_a_short_outage_does_not_hide_a_revoked_tenant(installation: Installation) -> None:
    installation.world.refused = {"t0007"}
    begin = EVENT + 2 * HOUR

    outage(installation, 12, begin=begin)

    assert installation.alarms(since=begin) == {"RefusedTenantsAlarm": (-30, None)}


@pytest.mark.parametrize("minutes", [28, 45, 120])
@pytest.mark.parametrize(("refused", "mass"), [(1, False), (60, True)])
def test_refusals_are_told_of_through_an_outage(
    minutes: int, refused: int, *, mass: bool, installation: Installation
) -> None:
    installation.world.refused = set(names(refused))

    outage(installation, minutes, begin=EVENT + 3 * HOUR)

    alarms = installation.alarms(since=EVENT)

    assert alarms["RefusedTenantsAlarm"][1] is None
    assert alarms.get("MassRefusalAlarm", (0, 0))[1] == (None if mass else 0)


def test_a_revoked_tenant_beside_another_failure_is_no_token_of_ours_that_expires(
    installation: Installation,
) -> None:
    installation.world.documents["/visma/tenants/typo"] = "{"
    installation.world.refused = {"t0007"}
    installation.run_until(EVENT + 2 * HOUR)

    fired = {"FailuresAlarm", "DocumentsAlarm", "RefusedTenantsAlarm"}
    assert installation.alarms(since=EVENT).keys() == fired


def test_one_run_that_fails_is_no_alarm_where_it_is_the_only_one(
    installation: Installation,
) -> None:
    fresh = Installation()
    fresh.world.is_down = lambda at: at < minute(4)
    fresh.run_until(HOUR)
    installation.is_scheduled = False
    installation.run_until(EVENT + HOUR)
    installation.is_scheduled = True
    installation.world.is_down = lambda at: at < minute(EVENT + HOUR + 5)
    installation.run_until(EVENT + 2 * HOUR)

    assert fresh.alarms(since=0) == {}
    assert installation.alarms(since=EVENT).keys() == {"NoRunAlarm", "SoonestExpiryAlarm"}


@pytest.mark.parametrize("period", [1, 2, 5, 10, 15])
def test_an_outage_is_told_of_before_tokens_have_ended(period: int) -> None:
    installation = Installation(tenants=60, period=period)
    installation.run_until(EVENT)

    outage(installation, 2 * HOUR)

    lines = installation.world.metrics.getvalue().splitlines()
    ended = [
        one.at
        for one in read_samples(lines)
        if one.name == "SoonestExpirySeconds" and one.value <= 0
    ]
    told = installation.alarms(since=EVENT)["FailuresAlarm"][0]
    assert minute(EVENT + told) < ended[0]


# The schedule


def dead_schedule(installation: Installation) -> None:
    installation.is_scheduled = False
    installation.run_until(EVENT + 2 * HOUR)
    installation.is_scheduled = True
    installation.run_until(EVENT + 4 * HOUR)


@pytest.mark.parametrize(
    ("period", "spans"),
    [
        (1, {"NoRunAlarm": (7, 122), "SoonestExpiryAlarm": (122, 132)}),  # four runs to catch up
        (2, {"NoRunAlarm": (8, 122), "SoonestExpiryAlarm": (122, 131)}),
        (5, {"NoRunAlarm": (14, 126)}),
        (10, {"NoRunAlarm": (25, 131)}),
        (15, {"NoRunAlarm": (36, 135)}),
    ],
)
def test_a_dead_schedule(period: int, spans: dict[str, object]) -> None:
    installation = Installation(period=period)
    installation.run_until(EVENT)

    dead_schedule(installation)

    assert installation.alarms(since=EVENT) == spans


# Troubles that last


def two_hours_of_outage(installation: Installation) -> None:
    outage(installation, 2 * HOUR)


def half_an_hour_of_runs_that_serve_nobody(installation: Installation) -> None:
    world = installation.world
    documents = dict(world.documents)
    world.documents.clear()  # a wrong path, for instance
    installation.run_until(EVENT + 30)
    world.documents |= documents
    installation.run_until(EVENT + HOUR)
    installation.purge_queue()
    installation.run_until(EVENT + 2 * HOUR)


def refuse(installation: Installation, tenants: int) -> None:
    """For four hours; who has no token waits for up to twelve periods then."""
    installation.world.refused = set(names(tenants))
    installation.run_until(EVENT + 4 * HOUR)
    installation.world.refused = ()
    installation.run_until(EVENT + 9 * HOUR)


def one_revoked_tenant(installation: Installation) -> None:
    refuse(installation, 1)


def a_third_of_the_tenants_refused(installation: Installation) -> None:
    refuse(installation, installation.tenants // 3)


def a_quarter_of_the_tenants_vanishes(installation: Installation) -> None:
    installation.world.configure(names(installation.tenants * 3 // 4))
    installation.run_until(EVENT + 3 * HOUR)


def a_document_with_a_typo(installation: Installation) -> None:
    installation.world.documents["/visma/tenants/typo"] = "{"
    installation.run_until(EVENT + 3 * HOUR)
    del installation.world.documents["/visma/tenants/typo"]
    installation.run_until(EVENT + 4 * HOUR)


def a_client_secret_that_is_refused_and_the_previous_one_serves(installation: Installation) -> None:
    world = installation.world
    world.secrets, world.dead_secret = {CURRENT: "v2", PREVIOUS: "v1"}, "v2"
    installation.run_until(EVENT + HOUR)
    world.dead_secret = ""
    installation.run_until(EVENT + 3 * HOUR)


TROUBLES: list[tuple[Callable[[Installation], None], dict[str, Span]]] = [
    (two_hours_of_outage, {"FailuresAlarm": (17, 126), "SoonestExpiryAlarm": (29, 134)}),
    (
        half_an_hour_of_runs_that_serve_nobody,
        {"RunRaisedAlarm": (4, 44), "FailedInvocationsAlarm": (5, 78), "NoRunAlarm": (14, 36)},
    ),
    (one_revoked_tenant, {"RefusedTenantsAlarm": (90, 279)}),
    (
        a_third_of_the_tenants_refused,
        {"MassRefusalAlarm": (34, 255), "RefusedTenantsAlarm": (64, 324)},
    ),
    (a_quarter_of_the_tenants_vanishes, {"VanishedAlarm": (17, 60)}),
    (a_document_with_a_typo, {"FailuresAlarm": (17, 184), "DocumentsAlarm": (59, 184)}),
    (
        a_client_secret_that_is_refused_and_the_previous_one_serves,
        {"SecretFallbackAlarm": (4, 75)},
    ),
]


@pytest.mark.parametrize(("trouble", "spans"), TROUBLES, ids=[one.__name__ for one, _ in TROUBLES])
def test_a_trouble_that_lasts_fires_once(
    trouble: Callable[[Installation], None], spans: dict[str, Span], installation: Installation
) -> None:
    trouble(installation)

    assert installation.alarms(since=EVENT) == spans


@pytest.mark.parametrize("period", [1, 2, 5, 10, 15])
@pytest.mark.parametrize(("trouble", "spans"), TROUBLES, ids=[one.__name__ for one, _ in TROUBLES])
def test_it_fires_once_at_any_period_however_late_ticks_and_metrics_are(
    trouble: Callable[[Installation], None], spans: dict[str, Span], period: int
) -> None:
    installation = Installation(tenants=60, period=period, seed=period)
    installation.run_until(EVENT)

    trouble(installation)

    for delay in range(3):
        installation.delay = timedelta(minutes=delay)
        assert installation.alarms(since=EVENT).keys() == spans.keys()


# Tenants


def test_one_revoked_tenant_of_three() -> None:
    installation = Installation(tenants=3)
    installation.run_until(EVENT)

    one_revoked_tenant(installation)

    assert installation.alarms(since=EVENT) == {"RefusedTenantsAlarm": (89, 279)}


def test_where_all_are_refused_it_is_not_the_customers_however_few_they_are() -> None:
    installation = Installation(tenants=2)
    installation.run_until(EVENT)
    installation.world.refused = set(names(2))
    installation.run_until(EVENT + 2 * HOUR)

    spans = {"MassRefusalAlarm": (39, None), "RefusedTenantsAlarm": (89, None)}
    assert installation.alarms(since=EVENT) == spans


def test_a_tenant_that_was_never_granted_is_told_of_after_an_hour() -> None:
    installation = Installation()
    installation.world.refused = {"t0007"}
    installation.run_until(3 * HOUR)

    assert installation.alarms(since=0) == {"RefusedTenantsAlarm": (62, None)}


# The quota


def test_thousands_of_tenants_beyond_the_quota_until_it_is_raised() -> None:
    installation = Installation(tenants=3000)
    for hour in range(10):  # 2.4 a second are enough for 4,200
        installation.world.configure(names(3000 + 300 * hour))
        installation.run_until((hour + 1) * HOUR)
    installation.allow_writes(8, quota=10)
    installation.run_until(14 * HOUR)

    assert installation.alarms(since=0) == {"FullRunsAlarm": (575, 608)}


def test_slowly_more_tenants_than_can_be_written() -> None:
    installation = Installation(tenants=1600)  # one a second is enough for 1,750
    installation.allow_writes(1, quota=1.25)
    for hour in range(36):  # a sixteenth more in a day
        installation.world.configure(names(1600 + 4 * hour))
        installation.run_until((hour + 1) * HOUR)

    assert installation.alarms(since=0) == {"FullRunsAlarm": (1360, None)}


# The template


def test_each_alarm_fires_in_a_test_of_this_file() -> None:
    tests = Path(__file__).read_text()

    assert not [one.name for one in read_alarms() if f'"{one.name}": (' not in tests]


@pytest.mark.parametrize("period", [1, 2, 5, 10, 15])
def test_cloudwatch_would_take_each_alarm(period: int) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html"""
    for alarm in read_alarms(period):
        days = 7 if alarm.period >= 3600 else 1
        assert alarm.period % 60 == 0
        assert alarm.period * alarm.evaluated <= days * 86_400
        assert 1 <= alarm.to_alarm <= alarm.evaluated
        # a tick may be late, and a run fill its period, and a metric be late: in less, none is seen
        assert alarm.period >= (2 * period + 3) * 60 or alarm.evaluated > 1
