"""The alarms of the stack, and whether they reach somebody."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import batched

from token_issuer.foreign_errors import AWS_ERRORS
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.findings import DEPLOY, NAMED, Check, Finding, broken, unknown, well
from visma_tokens_cli.screen import counted, listed
from visma_tokens_cli.stack import Stack

HUNDRED = 100  # names that DescribeAlarms takes


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """An alarm of the stack, and the topics it notifies; no topics where it is turned off."""

    name: str
    topics: frozenset[str]
    is_raised: bool


def examine_alarms(stack: Stack) -> Finding:
    """Read the alarms of the stack, and who subscribes to their topics."""
    pages = (
        stack.aws.client("cloudformation")
        .get_paginator("list_stack_resources")
        .paginate(StackName=stack.name)
    )
    expected = [
        one["PhysicalResourceId"]
        for page in pages
        for one in page["StackResourceSummaries"]
        if one["ResourceType"] == "AWS::CloudWatch::Alarm" and "PhysicalResourceId" in one
    ]
    cloudwatch = stack.aws.client("cloudwatch")
    alarms = [
        Alarm(
            name=one["AlarmName"],
            topics=frozenset(
                one.get("AlarmActions", []) if one.get("ActionsEnabled", True) else []
            ),
            is_raised=one["StateValue"] == "ALARM",
        )
        for some in batched(expected, HUNDRED, strict=False)
        for one in cloudwatch.describe_alarms(AlarmNames=some)["MetricAlarms"]
    ]
    topics = {topic for one in alarms for topic in one.topics}
    return judge_alarms(expected, alarms, {topic: _confirmed(stack, topic) for topic in topics})


def _confirmed(stack: Stack, topic: str) -> int | None:
    """Return how many subscriptions of a topic are confirmed, None where AWS doesn't say."""
    try:
        topics = stack.aws.client("sns", region_name=topic.split(":")[3])
        attributes = topics.get_topic_attributes(TopicArn=topic)["Attributes"]
        return int(attributes["SubscriptionsConfirmed"])
    except (*AWS_ERRORS, CommandFailed):  # an action may be anything, and a count any text
        return None


def judge_alarms(
    expected: Collection[str], alarms: Sequence[Alarm], confirmed: Mapping[str, int | None]
) -> Finding:
    """Tell whether each alarm reaches a confirmed subscriber; a topic's ARN is the key.

    `confirmed` counts the subscriptions of each topic, None where they could not be read.
    """
    raised = sorted(one.name for one in alarms if one.is_raised)
    told = f"; raised: {listed(raised, NAMED)}" if raised else ""
    if not expected:
        return broken(Check.ALARMS, "the stack has none", f"{DEPLOY}, from this template.")
    if gone := sorted({*expected} - {one.name for one in alarms}):
        return broken(
            Check.ALARMS,
            f"gone: {listed(gone, NAMED)}{told}",
            "Deploy once with them taken out of template.yaml, then again with them in it.",
        )
    if mute := sorted(one.name for one in alarms if not one.topics):
        return broken(
            Check.ALARMS,
            f"off, or without a topic: {listed(mute, NAMED)}{told}",
            "Turn their actions on in CloudWatch, where somebody has turned them off.",
        )
    topics = sorted({topic for one in alarms for topic in one.topics})
    deaf = [_name(topic) for topic in topics if confirmed.get(topic) == 0]
    if deaf:
        return broken(
            Check.ALARMS,
            f"nobody is told: {listed(deaf, NAMED)} has no confirmed subscription{told}",
            "Subscribe somebody, who has to confirm: docs/operations.md.",
        )
    detail = f"{counted(len(alarms), 'alarm')} to {listed([*map(_name, topics)], NAMED)}{told}"
    if any(confirmed.get(topic) is None for topic in topics):
        return unknown(Check.ALARMS, f"{detail}; who is subscribed could not be looked at")
    return well(Check.ALARMS, detail)


def _name(arn: str) -> str:
    return arn.rsplit(":", 1)[-1]
