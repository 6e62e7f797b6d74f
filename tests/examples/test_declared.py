"""What examples/ declares, held against the contract: names, documents, policies, ages."""

import json
import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import boto3
import hcl2
import pytest
import yaml
from botocore.validate import ParamValidator
from cfnlint.decode import cfn_yaml

from local.authorization_server import SCOPES
from tests.conftest import PROJECT
from token_issuer.tenants.documents import Tenant, check_document

EXAMPLES = PROJECT / "examples"
KUBERNETES = EXAMPLES / "kubernetes/external-secret.yaml"
ISSUER: Any = cfn_yaml.load(str(PROJECT / "template.yaml"))
SAM: Any = cfn_yaml.load(str(EXAMPLES / "lambda/template.yaml"))
TENANTS_PATH = ISSUER["Parameters"]["TenantsPath"]["Default"]
TOKEN = f"{ISSUER['Parameters']['TokensPath']['Default']}/acme"
OUTPUT = "ReadTokensPolicyArn"
CACHE_SECONDS = 300
PLAIN = hcl2.SerializationOptions(
    strip_string_quotes=True, explicit_blocks=False, with_comments=False
)


def terraform() -> dict[str, Any]:
    """Return resources and data sources by type."""
    parsed = hcl2.loads((EXAMPLES / "terraform/main.tf").read_text(), serialization_options=PLAIN)
    return {
        kind: one for each in (*parsed["resource"], *parsed["data"]) for kind, one in each.items()
    }


def encoded(expression: str) -> dict[str, Any]:
    """Return what Terraform's jsonencode(…) is given."""
    inner = expression.removeprefix("${jsonencode(").removesuffix(")}")
    parsed = hcl2.loads(f"it = {inner}\n", serialization_options=PLAIN)
    content: dict[str, Any] = parsed["it"]
    return content


def kubernetes() -> dict[str, Any]:
    documents = yaml.safe_load_all(KUBERNETES.read_text())
    return {document["kind"]: document for document in documents}


def declared_by_terraform() -> tuple[str, str]:
    parameter = terraform()["aws_ssm_parameter"]["tenant"]
    assert parameter["type"] == "String"
    document = encoded(parameter["value"])
    assert document.pop("tenant_id") == "${var.tenant_id}"
    return parameter["name"], json.dumps(document | {"tenant_id": str(uuid4())})


def declared_by_sam() -> tuple[str, str]:
    values = {
        "Tenant": "acme",
        "TenantId": str(uuid4()),
        "Scope": SAM["Parameters"]["Scope"]["Default"],
        "AWS::StackName": "orders",
    }
    properties = SAM["Resources"]["TenantDocument"]["Properties"]
    assert properties["Type"] == "String"
    name, text = (
        re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], properties[member]["Fn::Sub"])
        for member in ("Name", "Value")
    )
    return name, text


@pytest.mark.parametrize("declared", [declared_by_terraform, declared_by_sam])
def test_the_tenant_is_one_that_the_issuer_takes(declared: Callable[[], tuple[str, str]]) -> None:
    name, text = declared()

    tenant = check_document("acme", text, name)

    assert name == f"{TENANTS_PATH}/acme"
    assert isinstance(tenant, Tenant)
    assert tenant.scope == SCOPES[0]
    assert tenant.enabled


def test_the_policy_that_is_attached_is_the_issuers_output() -> None:
    declared = terraform()
    stack = declared["aws_cloudformation_stack"]["issuer"]["name"]
    attached = declared["aws_iam_role_policy_attachment"]["read_tokens"]

    assert OUTPUT in ISSUER["Outputs"]
    assert stack == "token-issuer"
    assert attached["policy_arn"] == (
        f'${{data.aws_cloudformation_stack.issuer.outputs["{OUTPUT}"]}}'
    )
    assert attached["role"] == "${aws_iam_role.orders.name}"
    assert SAM["Resources"]["CallApi"]["Properties"]["Policies"] == [{"Ref": OUTPUT}]


def test_the_lambda_function_is_told_its_tenant_and_caches_for_five_minutes_at_most() -> None:
    cache = SAM["Parameters"]["CacheSeconds"]
    variables = SAM["Resources"]["CallApi"]["Properties"]["Environment"]["Variables"]

    assert cache["Default"] == cache["MaxValue"] == CACHE_SECONDS
    assert variables == {
        "API": {"Ref": "Api"},
        "CACHE_SECONDS": {"Ref": "CacheSeconds"},
        "TENANT": {"Ref": "Tenant"},
        "TZ": "UTC",
    }


def test_terraforms_role_is_for_lambda() -> None:
    role = encoded(terraform()["aws_iam_role"]["orders"]["assume_role_policy"])

    [statement] = role["Statement"]
    assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert statement["Action"] == "sts:AssumeRole"


def test_no_terraform_reads_a_token_into_its_state() -> None:
    text = (EXAMPLES / "terraform/main.tf").read_text()

    assert 'data "aws_ssm_parameter' not in text
    assert TOKEN.rpartition("/")[0] not in text


def test_a_kubernetes_secret_is_younger_than_five_minutes() -> None:
    declared = kubernetes()
    secret, store = declared["ExternalSecret"]["spec"], declared["SecretStore"]["spec"]
    minutes = re.fullmatch(r"(\d+)m", secret["refreshInterval"])
    kubelet_minutes = 2  # its sync period is one by default, and its cache lags behind

    assert minutes
    assert (int(minutes[1]) + kubelet_minutes) * 60 <= CACHE_SECONDS
    assert secret.get("refreshPolicy", "Periodic") == "Periodic"
    assert [one["remoteRef"] for one in secret["data"]] == [{"key": TOKEN}]
    assert secret["secretStoreRef"]["name"] == declared["SecretStore"]["metadata"]["name"]
    for kind in ("ExternalSecret", "SecretStore"):
        assert declared[kind]["apiVersion"] == "external-secrets.io/v1"
    account = declared["ServiceAccount"]["metadata"]
    assert store["provider"]["aws"] == {
        "service": "ParameterStore",
        "region": "eu-north-1",
        "auth": {"jwt": {"serviceAccountRef": {"name": account["name"]}}},
    }
    role_arn = account["annotations"]["eks.amazonaws.com/role-arn"]
    assert re.fullmatch(r"arn:aws:iam::\d{12}:role/\w+", role_arn)


def test_a_pod_has_the_token_in_a_file_that_is_updated() -> None:
    declared = kubernetes()
    pod = declared["Deployment"]["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [mount] = container["volumeMounts"]

    assert volume["secret"]["secretName"] == declared["ExternalSecret"]["spec"]["target"]["name"]
    assert mount["name"] == volume["name"]
    assert mount.keys() == {"name", "mountPath", "readOnly"}  # no subPath
    assert container.keys() == {"name", "image", "volumeMounts"}  # no env, no envFrom
    [told] = re.findall(r"image: .+ # reads (\S+) for each call", KUBERNETES.read_text())
    [key] = [one["secretKey"] for one in declared["ExternalSecret"]["spec"]["data"]]
    assert f"{mount['mountPath']}/{key}" == told
    labels = declared["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert declared["Deployment"]["spec"]["selector"]["matchLabels"] == labels


def test_an_ecs_job_that_is_given_a_token_ends_while_it_is_good() -> None:
    task = json.loads((EXAMPLES / "ecs/job.json").read_text())
    operation = boto3.client("ecs", region_name="eu-north-1").meta.service_model.operation_model(
        "RegisterTaskDefinition"
    )
    report = ParamValidator().validate(task, operation.input_shape)
    [container] = task["containerDefinitions"]
    [secret] = container["secrets"]

    assert not report.has_errors(), report.generate_report()
    assert secret["valueFrom"].endswith(f":parameter{TOKEN}")
    told = re.fullmatch(r"timeout --kill-after=(\d+) (\d+) /job", " ".join(container["command"]))
    assert told
    assert int(told[1]) + int(told[2]) <= CACHE_SECONDS - 120  # which the image may take to come
    assert "executionRoleArn" in task
    assert (task["requiresCompatibilities"], task["networkMode"]) == (["FARGATE"], "awsvpc")


def test_the_policy_for_one_tenant_is_the_issuers_narrowed_to_its_token() -> None:
    policy = json.loads((EXAMPLES / "one-tenant/policy.json").read_text())
    read, decrypt = policy["Statement"]
    issuers = ISSUER["Resources"]["ReadTokensPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    all_read, all_decrypt = issuers
    arn = f"arn:aws:ssm:REGION:ACCOUNT:parameter{TOKEN}"

    assert read["Action"] == all_read["Action"] == ["ssm:GetParameter", "ssm:GetParameters"]
    assert read["Resource"] == arn
    assert decrypt["Action"] == all_decrypt["Action"] == "kms:Decrypt"
    assert decrypt["Resource"] == "TOKEN_KEY_ARN"
    assert decrypt["Condition"] == {
        "StringEquals": {
            "kms:ViaService": "ssm.REGION.amazonaws.com",
            "kms:EncryptionContext:PARAMETER_ARN": arn,
        }
    }
    assert "*" not in json.dumps(policy)
