"""The template, read as text: what the emulator doesn't enforce is asserted here."""

import re
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from tests.conftest import PROJECT
from tests.helpers.template import RESOURCES, TEMPLATE
from token_issuer.limits.deadline import REPORT, SERVE
from token_issuer.reporting.events import SOURCE
from token_issuer.settings import PATH, TOKEN_ENDPOINT, parse_settings

SSM = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter"
FUNCTION = RESOURCES["Function"]["Properties"]
OWN_KEY = {"Fn::GetAtt": ["TokenKey", "Arn"]}
KEY_IN_USE = {"Fn::If": ["HasTokenKeyArn", {"Ref": "TokenKeyArn"}, OWN_KEY]}
BOTH_KEYS = [
    OWN_KEY,
    {"Fn::If": ["HasTokenKeyArn", {"Ref": "TokenKeyArn"}, {"Ref": "AWS::NoValue"}]},
]
THROUGH_SSM_FOR_TOKENS = {
    "StringEquals": {"kms:ViaService": {"Fn::Sub": "ssm.${AWS::Region}.amazonaws.com"}},
    "StringLike": {
        "kms:EncryptionContext:PARAMETER_ARN": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"},
    },
}


def statements(policies: list[Any]) -> list[Any]:
    return [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]


def plain(statement: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in statement.items() if key != "Sid"}


def of_role(name: str) -> list[Any]:
    return [plain(one) for one in statements(RESOURCES[name]["Properties"]["Policies"])]


def test_the_parameters_and_outputs_are_the_contract() -> None:
    defaults = {name: one["Default"] for name, one in TEMPLATE["Parameters"].items()}

    assert defaults == {
        "TenantsPath": "/visma/tenants",
        "TokensPath": "/visma/tokens",
        "ClientSecretsPrefix": "visma/clients",
        "TokenEndpoint": "https://connect.visma.com/connect/token",
        "SchedulePeriodMinutes": "5",
        "ScheduleState": "ENABLED",
        "RenewAtFraction": 0.5,
        "WritesPerSecond": 2.4,
        "Concurrency": 8,
        "TokenKeyArn": "",
        "Architecture": "arm64",
        "LogRetentionDays": 30,
        "AlarmTopicArn": "",
        "PermissionsBoundaryArn": "",
    }
    assert set(TEMPLATE["Outputs"]) == {
        "FunctionName",
        "LedgerTableName",
        "TokenKeyArn",
        "ReadTokensPolicyArn",
        "AlarmTopicArn",
        "LogGroupName",
        "Version",
    }


def test_the_function_may_do_this_and_nothing_else() -> None:
    assert of_role("FunctionRole") == [
        {
            "Effect": "Allow",
            "Action": "ssm:GetParametersByPath",
            "Resource": {"Fn::Sub": f"{SSM}${{TenantsPath}}"},
        },
        {
            "Effect": "Allow",
            "Action": [
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
                ":secret:${ClientSecretsPrefix}/*"
            },
        },
        {
            "Effect": "Allow",
            "Action": ["ssm:PutParameter", "ssm:GetParameters", "ssm:DeleteParameters"],
            "Resource": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"},
        },
        {
            "Effect": "Allow",
            "Action": ["dynamodb:Scan", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            "Resource": {"Fn::GetAtt": ["Ledger", "Arn"]},
        },
        {
            "Effect": "Allow",
            "Action": ["kms:Encrypt", "kms:GenerateDataKey"],
            "Resource": BOTH_KEYS,
            "Condition": THROUGH_SSM_FOR_TOKENS,
        },
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": {"Fn::GetAtt": ["LogGroup", "Arn"]},
        },
        {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": {"Fn::GetAtt": ["FailedInvocations", "Arn"]},
        },
        {
            "Effect": "Allow",
            "Action": "events:PutEvents",
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}"
                ":event-bus/default"
            },
            "Condition": {"StringEquals": {"events:source": SOURCE}},
        },
    ]
    assert "ManagedPolicyArns" not in RESOURCES["FunctionRole"]["Properties"]
    assert "Policies" not in FUNCTION


def test_the_ledger_is_on_demand_encrypted_and_goes_with_the_stack() -> None:
    ledger = RESOURCES["Ledger"]

    assert ledger["Type"] == "AWS::DynamoDB::Table"
    assert (ledger["DeletionPolicy"], ledger["UpdateReplacePolicy"]) == ("Delete", "Delete")
    assert ledger["Properties"] == {
        "BillingMode": "PAY_PER_REQUEST",
        "SSESpecification": {"SSEEnabled": True},
        "AttributeDefinitions": [{"AttributeName": "key", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "key", "KeyType": "HASH"}],
    }
    assert FUNCTION["Environment"]["Variables"]["LEDGER_TABLE"] == {"Ref": "Ledger"}


def test_the_scheduler_may_invoke_the_function_and_keep_what_failed() -> None:
    assert of_role("SchedulerRole") == [
        {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": {"Fn::GetAtt": ["Function", "Arn"]},
        },
        {
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": {"Fn::GetAtt": ["FailedInvocations", "Arn"]},
        },
    ]


def test_each_role_is_for_its_service_and_the_schedulers_for_this_account_only() -> None:
    trusts = {
        name: RESOURCES[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        for name in ("FunctionRole", "SchedulerRole")
    }

    assert trusts == {
        "FunctionRole": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
        "SchedulerRole": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "scheduler.amazonaws.com"},
                "Action": "sts:AssumeRole",
                "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
            }
        ],
    }


def test_consumers_may_read_tokens_with_the_old_key_and_the_new() -> None:
    policy = RESOURCES["ReadTokensPolicy"]["Properties"]

    assert [plain(one) for one in statements([policy])] == [
        {
            "Effect": "Allow",
            "Action": ["ssm:GetParameter", "ssm:GetParameters"],
            "Resource": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"},
        },
        {
            "Effect": "Allow",
            "Action": "kms:Decrypt",
            "Resource": BOTH_KEYS,
            "Condition": THROUGH_SSM_FOR_TOKENS,
        },
    ]


def test_the_key_outlives_the_stack() -> None:
    key = RESOURCES["TokenKey"]

    assert "Condition" not in key
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"] is True
    assert [plain(one) for one in key["Properties"]["KeyPolicy"]["Statement"]] == [
        {
            "Effect": "Allow",
            "Principal": {
                "AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"},
            },
            "Action": "kms:*",
            "Resource": "*",
        }
    ]
    assert RESOURCES["TokenKeyAlias"]["Properties"] == {
        "AliasName": {"Fn::Sub": "alias/${AWS::StackName}"},
        "TargetKeyId": {"Ref": "TokenKey"},
    }


def test_the_key_in_use_is_told_and_written_with_once_readers_may_decrypt_with_it() -> None:
    assert FUNCTION["Environment"]["Variables"]["TOKEN_KEY_ARN"] == KEY_IN_USE
    assert TEMPLATE["Outputs"]["TokenKeyArn"]["Value"] == KEY_IN_USE
    assert RESOURCES["Function"]["DependsOn"] == "ReadTokensPolicy"


def of_period(what: str) -> dict[str, Any]:
    return {"Fn::FindInMap": ["Period", {"Ref": "SchedulePeriodMinutes"}, what]}


def test_an_invocation_is_not_repeated_and_not_kept_longer_than_a_period() -> None:
    queue = {"Fn::GetAtt": ["FailedInvocations", "Arn"]}

    assert FUNCTION["EventInvokeConfig"] == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": of_period("Seconds"),
        "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": queue}},
    }
    assert FUNCTION["Events"]["Schedule"] == {
        "Type": "ScheduleV2",
        "Properties": {
            "OmitName": True,
            "ScheduleExpression": of_period("Expression"),
            "State": {"Ref": "ScheduleState"},
            "RoleArn": {"Fn::GetAtt": ["SchedulerRole", "Arn"]},
            "RetryPolicy": {
                "MaximumRetryAttempts": 3,
                "MaximumEventAgeInSeconds": of_period("Seconds"),
            },
            "DeadLetterConfig": {"Arn": queue},
        },
    }
    assert RESOURCES["FailedInvocations"]["Properties"]["SqsManagedSseEnabled"] is True


@pytest.mark.parametrize(
    "alarm", [name for name, one in RESOURCES.items() if one["Type"] == "AWS::CloudWatch::Alarm"]
)
def test_each_alarm_tells_when_it_fires_and_when_it_is_over(alarm: str) -> None:
    topic = {"Fn::If": ["MakesAlarmTopic", {"Ref": "AlarmTopic"}, {"Ref": "AlarmTopicArn"}]}
    properties = RESOURCES[alarm]["Properties"]

    assert (properties["AlarmActions"], properties["OKActions"]) == ([topic], [topic])
    assert TEMPLATE["Conditions"]["MakesAlarmTopic"] == {
        "Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]
    }
    assert RESOURCES["AlarmTopic"]["Condition"] == "MakesAlarmTopic"
    assert TEMPLATE["Outputs"]["AlarmTopicArn"]["Value"] == topic


NOT_STARTED_SECONDS = SERVE + REPORT  # at a run's end, in which no tenant is started


def test_each_period_has_its_expression_and_time_out() -> None:
    allowed = TEMPLATE["Parameters"]["SchedulePeriodMinutes"]["AllowedValues"]

    assert allowed == ["1", "2", "5", "10", "15"]  # texts: the keys of a mapping are no numbers
    assert TEMPLATE["Mappings"]["Period"] == {
        minutes: {
            "Expression": f"rate({minutes} minute{'' if minutes == '1' else 's'})",
            "Seconds": int(minutes) * 60,
            "Timeout": int(minutes) * 60 - 10,
            "Full": int(minutes) * 60 - 10 - NOT_STARTED_SECONDS - 2,  # for a turn
            "Two": (2 * int(minutes) + 5) * 60,
            "Three": (3 * int(minutes) + 3) * 60,
            "Failing": {"10": 25, "15": 35}.get(minutes, 3 * int(minutes) + 3) * 60,
        }
        for minutes in allowed
    }


@pytest.mark.parametrize(
    ("parameter", "pattern"),
    [("TenantsPath", PATH), ("TokensPath", PATH), ("TokenEndpoint", TOKEN_ENDPOINT)],
)
def test_the_template_refuses_what_the_function_refuses(
    parameter: str, pattern: re.Pattern[str]
) -> None:
    """A value that cannot work is refused before it is deployed; test_settings.py has which."""
    assert TEMPLATE["Parameters"][parameter]["AllowedPattern"] == pattern.pattern


def test_the_function_runs_as_designed() -> None:
    assert FUNCTION["Runtime"] == "python3.13"
    assert FUNCTION["Handler"] == "token_issuer.handler.lambda_handler"
    assert FUNCTION["CodeUri"] == "src/"
    assert FUNCTION["Architectures"] == [{"Ref": "Architecture"}]
    assert FUNCTION["Timeout"] == of_period("Timeout")
    assert FUNCTION["Role"] == {"Fn::GetAtt": ["FunctionRole", "Arn"]}
    assert FUNCTION["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "LogGroup"}}
    assert RESOURCES["LogGroup"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_environment_of_the_template_is_what_the_function_reads() -> None:
    values = {
        name: TEMPLATE["Parameters"].get(value.get("Ref", ""), {}).get("Default")
        for name, value in FUNCTION["Environment"]["Variables"].items()
    }
    values |= {"TOKEN_KEY_ARN": "arn:aws:kms:eu-north-1:123456789012:key/0d4e"}
    values |= {"LEDGER_TABLE": "stack-Ledger-8Q1Z0", "STACK_NAME": "stack"}
    values |= {"VERSION": TEMPLATE["Mappings"]["Release"]["This"]["Version"]}

    settings = parse_settings({name: str(value) for name, value in values.items()})

    assert settings.tokens_path == "/visma/tokens"
    read = re.findall(r'"([A-Z_]{6,})"', source("settings.py") + source("handler.py"))
    assert set(values) == set(read)


def test_no_parameter_takes_a_secret() -> None:
    names = " ".join(TEMPLATE["Parameters"]).replace("ClientSecretsPrefix", "")

    assert "Secret" not in names
    assert "AWS::SecretsManager::Secret" not in {one["Type"] for one in RESOURCES.values()}


def test_the_version_is_the_newest_of_the_changelog() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text()

    [newest, *_] = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)

    assert TEMPLATE["Mappings"]["Release"]["This"]["Version"] == newest


MADE_BY_SAM = {
    "AWS::Serverless::Function": [
        "AWS::Lambda::Function",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Scheduler::Schedule",
    ]
}


def test_the_stacks_tags_reach_all_but_these() -> None:
    """CloudFormation gives them to each resource whose type takes tags; none of these does."""
    types = {
        made for one in RESOURCES.values() for made in MADE_BY_SAM.get(one["Type"], [one["Type"]])
    }

    assert {name for name in types if not takes_tags(name)} == {
        "AWS::IAM::ManagedPolicy",
        "AWS::KMS::Alias",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Logs::QueryDefinition",
        "AWS::Scheduler::Schedule",
    }
    assert {
        one["Type"] for one in RESOURCES.values() if one["Type"].startswith("AWS::Serverless::")
    } == set(MADE_BY_SAM)


def takes_tags(type_name: str) -> bool:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("eu-north-1", type_name).schema
    taggable: bool = schema["tagging"]["taggable"]
    return taggable


def test_each_role_has_the_permissions_boundary_if_there_is_one() -> None:
    boundary = {
        "Fn::If": [
            "HasPermissionsBoundary",
            {"Ref": "PermissionsBoundaryArn"},
            {"Ref": "AWS::NoValue"},
        ]
    }

    boundaries = {
        name: one["Properties"].get("PermissionsBoundary")
        for name, one in RESOURCES.items()
        if one["Type"] == "AWS::IAM::Role"
    }

    assert boundaries == {"FunctionRole": boundary, "SchedulerRole": boundary}
    assert FUNCTION["Role"] == {"Fn::GetAtt": ["FunctionRole", "Arn"]}  # else SAM makes one


def source(name: str) -> str:
    return (PROJECT / "src/token_issuer" / name).read_text()
