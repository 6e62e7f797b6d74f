"""The template, read as text: what the emulator doesn't enforce is asserted here."""

import re
from typing import Any

import pytest
from cfnlint.decode import cfn_yaml

from tests.conftest import PROJECT
from token_issuer.settings import parse_settings

SSM = "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter"
TEMPLATE: Any = cfn_yaml.load(str(PROJECT / "template.yaml"))
RESOURCES = TEMPLATE["Resources"]
FUNCTION = RESOURCES["Function"]["Properties"]
OWN_KEY = {"Fn::GetAtt": ["TokenKey", "Arn"]}
KEY_IN_USE = {"Fn::If": ["HasTokenKeyArn", {"Ref": "TokenKeyArn"}, OWN_KEY]}
THROUGH_SSM_FOR_TOKENS = {
    "StringEquals": {"kms:ViaService": {"Fn::Sub": "ssm.${AWS::Region}.amazonaws.com"}},
    "StringLike": {
        "kms:EncryptionContext:PARAMETER_ARN": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"},
    },
}


def statements(policies: list[Any]) -> list[Any]:
    return [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]


def plain(statement: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in statement.items() if key not in {"Sid", "Effect"}}


def of_role(name: str) -> list[Any]:
    return [plain(one) for one in statements(RESOURCES[name]["Properties"]["Policies"])]


def test_the_parameters_and_outputs_are_the_contract() -> None:
    defaults = {name: one["Default"] for name, one in TEMPLATE["Parameters"].items()}

    assert defaults == {
        "TenantsPath": "/visma/tenants",
        "TokensPath": "/visma/tokens",
        "ClientSecretsPrefix": "visma/clients",
        "TokenEndpoint": "https://connect.visma.com/connect/token",
        "SchedulePeriodMinutes": 5,
        "ScheduleState": "ENABLED",
        "Concurrency": 8,
        "TokenKeyArn": "",
        "Architecture": "arm64",
        "LogRetentionDays": 30,
    }
    assert set(TEMPLATE["Outputs"]) == {
        "FunctionName",
        "TokenKeyArn",
        "ReadTokensPolicyArn",
        "LogGroupName",
        "Version",
    }


def test_the_function_may_do_this_and_nothing_else() -> None:
    assert of_role("FunctionRole") == [
        {
            "Action": "ssm:GetParametersByPath",
            "Resource": {"Fn::Sub": f"{SSM}${{TenantsPath}}"},
        },
        {
            "Action": "secretsmanager:GetSecretValue",
            "Resource": {
                "Fn::Sub": "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}"
                ":secret:${ClientSecretsPrefix}/*"
            },
        },
        {"Action": "ssm:PutParameter", "Resource": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"}},
        {
            "Action": ["kms:Encrypt", "kms:GenerateDataKey"],
            "Resource": KEY_IN_USE,
            "Condition": THROUGH_SSM_FOR_TOKENS,
        },
        {
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
            "Resource": {"Fn::GetAtt": ["LogGroup", "Arn"]},
        },
        {"Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["FailedInvocations", "Arn"]}},
    ]
    assert "ManagedPolicyArns" not in RESOURCES["FunctionRole"]["Properties"]
    assert "Policies" not in FUNCTION


def test_the_scheduler_may_invoke_the_function_for_this_account_only() -> None:
    [trust] = RESOURCES["SchedulerRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]

    assert of_role("SchedulerRole") == [
        {"Action": "lambda:InvokeFunction", "Resource": {"Fn::GetAtt": ["Function", "Arn"]}},
        {"Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["FailedInvocations", "Arn"]}},
    ]
    assert trust["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}


def test_consumers_may_read_tokens_with_the_old_key_and_the_new() -> None:
    policy = RESOURCES["ReadTokensPolicy"]["Properties"]

    assert [plain(one) for one in statements([policy])] == [
        {
            "Action": ["ssm:GetParameter", "ssm:GetParameters"],
            "Resource": {"Fn::Sub": f"{SSM}${{TokensPath}}/*"},
        },
        {
            "Action": "kms:Decrypt",
            "Resource": [
                OWN_KEY,
                {"Fn::If": ["HasTokenKeyArn", {"Ref": "TokenKeyArn"}, {"Ref": "AWS::NoValue"}]},
            ],
            "Condition": THROUGH_SSM_FOR_TOKENS,
        },
    ]


def test_nothing_is_denied_or_allowed_by_surprise() -> None:
    roles = [one for one in RESOURCES.values() if one["Type"] == "AWS::IAM::Role"]
    policies = [policy for role in roles for policy in role["Properties"]["Policies"]]

    effects = {one["Effect"] for one in statements(policies)}

    assert effects == {"Allow"}
    assert len(roles) == 2


def test_the_key_outlives_the_stack() -> None:
    key = RESOURCES["TokenKey"]

    assert "Condition" not in key
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"] is True
    assert RESOURCES["TokenKeyAlias"]["Properties"] == {
        "AliasName": {"Fn::Sub": "alias/${AWS::StackName}"},
        "TargetKeyId": {"Ref": "TokenKey"},
    }


def test_the_key_in_use_is_written_with_and_told() -> None:
    assert FUNCTION["Environment"]["Variables"]["TOKEN_KEY_ARN"] == KEY_IN_USE
    assert TEMPLATE["Outputs"]["TokenKeyArn"]["Value"] == KEY_IN_USE


def test_an_invocation_is_not_repeated_and_not_kept_longer_than_a_period() -> None:
    seconds = {"Fn::FindInMap": ["Period", {"Ref": "SchedulePeriodMinutes"}, "Seconds"]}
    schedule = FUNCTION["Events"]["Schedule"]["Properties"]
    queue = {"Fn::GetAtt": ["FailedInvocations", "Arn"]}

    assert FUNCTION["EventInvokeConfig"] == {
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": seconds,
        "DestinationConfig": {"OnFailure": {"Type": "SQS", "Destination": queue}},
    }
    assert schedule["RetryPolicy"]["MaximumEventAgeInSeconds"] == seconds
    assert schedule["DeadLetterConfig"] == {"Arn": queue}
    assert schedule["OmitName"] is True


@pytest.mark.parametrize("minutes", [1, 2, 5, 10, 15])
def test_each_period_has_its_expression_and_time_out(minutes: int) -> None:
    period = TEMPLATE["Mappings"]["Period"][str(minutes)]

    assert minutes in TEMPLATE["Parameters"]["SchedulePeriodMinutes"]["AllowedValues"]
    assert period == {
        "Expression": f"rate({minutes} minute{'s' if minutes > 1 else ''})",
        "Seconds": minutes * 60,
        "Timeout": minutes * 60 - 10,
    }


def test_the_function_runs_as_designed() -> None:
    assert FUNCTION["Runtime"] == "python3.13"
    assert FUNCTION["Handler"] == "token_issuer.handler.lambda_handler"
    assert FUNCTION["CodeUri"] == "src/"
    assert FUNCTION["Architectures"] == [{"Ref": "Architecture"}]
    assert FUNCTION["LoggingConfig"]["LogGroup"] == {"Ref": "LogGroup"}
    assert RESOURCES["LogGroup"]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_environment_of_the_template_is_what_the_function_reads() -> None:
    values = {
        name: TEMPLATE["Parameters"].get(value.get("Ref", ""), {}).get("Default")
        for name, value in FUNCTION["Environment"]["Variables"].items()
    }
    values |= {"TOKEN_KEY_ARN": "arn:aws:kms:eu-north-1:123456789012:key/0d4e"}
    values |= {"VERSION": TEMPLATE["Mappings"]["Release"]["This"]["Version"]}

    settings = parse_settings({name: str(value) for name, value in values.items()})

    assert settings.tokens_path == "/visma/tokens"
    assert set(values) == set(re.findall(r'"([A-Z_]{6,})"', source("settings.py"))) - {"https"}


def test_no_parameter_takes_a_secret() -> None:
    names = " ".join(TEMPLATE["Parameters"]).replace("ClientSecretsPrefix", "")

    assert "Secret" not in names
    assert "AWS::SecretsManager::Secret" not in {one["Type"] for one in RESOURCES.values()}


def test_the_version_is_the_newest_of_the_changelog() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text()

    [newest, *_] = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", changelog, re.MULTILINE)

    assert TEMPLATE["Mappings"]["Release"]["This"]["Version"] == newest


def source(name: str) -> str:
    return (PROJECT / "src/token_issuer" / name).read_text()
