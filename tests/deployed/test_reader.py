"""The Python reader against the deployed stack: what its policy lets it read, and what not."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from local.aws import REGION, Account
from local.demo import TENANTS, Local
from tests.helpers.command import credentials_of
from tests.helpers.parameter_store import Clock, claims
from visma_tokens import ReadDenied, TokenReader

REMEDY = "Attach the policy in the output ReadTokensPolicyArn of the issuer's stack to this role"


@dataclass
class Service:
    """A service with a role of its own, and the reader in it."""

    account: Account
    policy_arn: str
    session: boto3.Session
    clock: Clock
    tokens: TokenReader

    def attach(self) -> None:
        self.account.iam.attach_role_policy(RoleName="service", PolicyArn=self.policy_arn)

    def detach(self) -> None:
        self.account.iam.detach_role_policy(RoleName="service", PolicyArn=self.policy_arn)


@pytest.fixture
def service(account: Account, local: Local) -> Iterator[Service]:
    policy_arn = local.stack.outputs["ReadTokensPolicyArn"]
    arn = account.make_role("service", policy_arn=policy_arn)
    keys: dict[str, Any] = {name.lower(): key for name, key in credentials_of(account, arn).items()}
    session = boto3.Session(**keys, region_name=REGION)
    clock = Clock(time.time())
    tokens = TokenReader(session=session, endpoint_url=account.endpoint, now=clock)
    yield Service(account, policy_arn, session, clock, tokens)
    account.iam.detach_role_policy(RoleName="service", PolicyArn=policy_arn)
    account.iam.delete_role(RoleName="service")


def test_a_service_with_the_policy_reads_the_tokens(service: Service) -> None:
    service.tokens.prefetch(["acme", "globex"])  # one by one: MiniStack denies GetParameters

    read = {name: claims(service.tokens[name])["tenant_id"] for name in ("acme", "globex")}

    assert read == {name: TENANTS[name] for name in ("acme", "globex")}


def test_without_the_policy_it_is_denied_and_says_which_one_is_missing(service: Service) -> None:
    service.detach()

    with pytest.raises(ReadDenied) as caught:
        service.tokens["acme"]

    service.attach()
    service.clock.now += 2
    assert "/visma/tokens/acme" in caught.value.detail
    assert caught.value.remedy.startswith(REMEDY)
    assert claims(service.tokens["acme"])["tenant_id"] == TENANTS["acme"]


def test_the_policy_is_for_tokens_only(service: Service) -> None:
    elsewhere = TokenReader(
        "/visma/tenants", session=service.session, endpoint_url=service.account.endpoint
    )

    with pytest.raises(ReadDenied):
        elsewhere["acme"]


def test_who_loses_the_policy_is_served_from_the_cache_and_told(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    token = service.tokens["acme"]
    service.detach()
    with caplog.at_level(logging.WARNING, "visma_tokens"):
        service.clock.now += 301
        first = service.tokens["acme"]
        service.clock.now += 301
        second = service.tokens["acme"]

    service.attach()
    assert first == second == token
    [record] = caplog.records
    assert "AWS denies reading /visma/tokens/acme" in record.getMessage()
