"""`visma-tokens doctor` and `token` from the wheel, against the deployed stack."""

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from local.aws import Account
from local.demo import NOT_GRANTED, TENANTS, Local
from tests.conftest import PROJECT
from tests.deployed.conftest import Invoke, configure, spare_client, turn_schedule
from tests.helpers.command import FIND, Command, Done, credentials_for

MALFORMED = '{"Kq7zR2pXw9-Lm4Tb8YcH6v": "Lm4Tb8YcH6v-Kq7zR2pXw9"}'

type Silent = Callable[..., Done]


@pytest.fixture
def tokens(account: Account) -> dict[str, str]:
    names = [f"/visma/tokens/{name}" for name in TENANTS if name != NOT_GRANTED]
    found = account.ssm.get_parameters(Names=names, WithDecryption=True)["Parameters"]
    return {one["Name"].rsplit("/", 1)[-1]: one["Value"] for one in found}


@pytest.fixture
def silent(command: Command, tokens: dict[str, str]) -> Silent:
    """Run it, and see that no part of a token is printed."""

    def run(*arguments: str, **variables: str) -> Done:
        done = command(*arguments, **variables)
        parts = [part for token in tokens.values() for part in token.split(".")[1:]]
        assert len(parts) == 6
        assert not [part for part in parts if part in done.out + done.err]
        return done

    return run


@pytest.fixture
def subscribed(account: Account, local: Local) -> Iterator[None]:
    answer = account.sns.subscribe(
        TopicArn=local.stack.outputs["AlarmTopicArn"],
        Protocol="sqs",
        Endpoint="arn:aws:sqs:eu-north-1:000000000000:night",
    )
    yield
    account.sns.unsubscribe(SubscriptionArn=answer["SubscriptionArn"])


@pytest.fixture
def schedule_on(account: Account) -> Iterator[None]:
    turn_schedule(account, "ENABLED")
    yield
    turn_schedule(account, "DISABLED")


@pytest.fixture
def malformed(account: Account) -> Iterator[None]:
    """Configure a tenant of a client whose secret is malformed; no run meets it."""
    with spare_client(account, MALFORMED):
        configure(account, "spare", '{"scope": "", "client": "spare"}')
        yield
        account.ssm.delete_parameter(Name="/visma/tenants/spare")


@pytest.fixture
def denied(account: Account) -> Iterator[dict[str, str]]:
    """Return the credentials of who may find the stack and read its ledger, and nothing else."""
    with credentials_for(account, [*FIND, "dynamodb:Scan"]) as credentials:
        yield credentials


# doctor


@pytest.mark.usefixtures("subscribed", "schedule_on")
def test_all_is_well_where_all_is_well(silent: Silent, invoke: Invoke) -> None:
    invoke({})

    done = silent("doctor", "--json")

    found = {one["check"]: one for one in json.loads(done.out)}
    assert {name: one["detail"] for name, one in found.items() if one["state"] != "well"} == {}
    assert list(found) == [
        *("stack", "role", "schedule", "last run", "client secret", "token endpoint"),
        *("token request", "key", "stored token", "ledger", "alarms", "quota"),
    ]
    shown = (PROJECT / "README.md").read_text().partition("$ visma-tokens doctor")[2]
    assert re.findall(r"^[✓✗] (.+?)  ", shown, re.MULTILINE) == list(found)
    assert found["token request"]["detail"] == "a token could be had for acme"
    assert done.code == 0


@pytest.mark.usefixtures("malformed")
def test_what_is_broken_is_told_with_its_remedy(silent: Silent) -> None:
    done = silent("doctor", NOT_GRANTED)

    lines = done.out.splitlines()
    below = {line[2:16].strip(): after.strip() for line, after in pairwise(lines) if line[0] == "✗"}
    assert below["schedule"].startswith("Enable it in EventBridge Scheduler")
    assert below["client secret"].startswith('Store {"client_id": "…", "client_secret": "…"} in it')
    assert "grant the application" in below["token request"]
    assert below["stored token"].startswith("Run `visma-tokens renew initech`")
    assert below["alarms"].startswith("Subscribe somebody")
    well = [line[2:16].strip() for line in lines if line[0] == "✓"]
    assert {"client secret", "token endpoint", "key", "ledger"} <= {*well}
    assert not any(part in done.out for part in ("Kq7zR2pXw9", "Lm4Tb8YcH6v"))
    assert done.code == 1


def test_what_is_denied_is_said_and_not_broken(silent: Silent, denied: dict[str, str]) -> None:
    done = silent("doctor", "acme", "--json", **denied)

    found = {one["check"]: one for one in json.loads(done.out)}
    well = {name for name, one in found.items() if one["state"] == "well"}
    assert well == {"stack"}
    assert {one["state"] for name, one in found.items() if name not in well} == {"unknown"}
    assert found["key"]["detail"].startswith("AWS denies you DescribeKey: ")
    assert done.code == 3


# token


def test_what_is_known_of_a_token_is_shown(silent: Silent) -> None:
    done = silent("token", "acme")

    first, *lines = done.out.splitlines()
    shown = {line[:13].strip(): line[13:] for line in lines}
    assert first.startswith("The token of acme lives for ")
    assert shown["Tenant id"] == TENANTS["acme"]
    assert (shown["Client"], shown["Client id"]) == ("default", "demoapp")
    assert shown["Parameter"] == "/visma/tokens/acme"
    assert len(shown["Fingerprint"]) == 16
    assert done.code == 0


def test_show_prints_the_token_and_nothing_else(command: Command, tokens: dict[str, str]) -> None:
    done = command("token", "acme", "--show")

    assert (done.out, done.err, done.code) == (f"{tokens['acme']}\n", "", 0)


def test_json_has_the_token_where_show_asks_for_it(
    command: Command, silent: Silent, tokens: dict[str, str]
) -> None:
    bare = json.loads(silent("token", "acme", "--json").out)
    shown = json.loads(command("token", "acme", "--json", "--show").out)

    assert "token" not in bare
    assert shown == bare | {"token": tokens["acme"]}


def test_a_command_has_the_token_in_its_environment(silent: Silent, tokens: dict[str, str]) -> None:
    done = silent("token", "acme", "--exec", 'echo "${#VISMA_TOKEN}"; exit 7')

    assert (done.out, done.err, done.code) == (f"{len(tokens['acme'])}\n", "", 7)


def test_a_tenant_without_token_says_why(silent: Silent) -> None:
    done = silent("token", NOT_GRANTED, "--show")

    assert done.err.startswith("There is no token of initech: invalid_tenant: ")
    assert "grant the application" in done.err
    assert (done.out, done.code) == ("", 3)


def test_who_may_not_read_it_is_told_which_policy_lets_them(
    silent: Silent, denied: dict[str, str], local: Local
) -> None:
    policy = local.stack.outputs["ReadTokensPolicyArn"]

    told, shown = silent("token", "acme", **denied), silent("token", "acme", "--show", **denied)

    assert "Fingerprint" in told.out
    assert f"AWS denies you the token, which {policy} would allow" in told.out
    assert (told.code, shown.code, shown.out) == (0, 3, "")
    assert f"Attach {policy} to your role" in shown.err
