"""What a run touches: one object for each outside thing, made in one place."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from token_issuer.clients.secrets_manager import ClientSecrets
from token_issuer.ledger.table import Ledger
from token_issuer.limits.deadline import KEEP, Deadline
from token_issuer.limits.pacer import Pacer
from token_issuer.reporting.events import Events
from token_issuer.reporting.telemetry import Telemetry
from token_issuer.settings import Settings
from token_issuer.tenants.parameters import TenantDocuments
from token_issuer.tokens.endpoint import TokenEndpoint
from token_issuer.tokens.store import TokenStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

READS_PER_SECOND = 8  # of the account's 40, which consumers need; jitter may make it 9


@dataclass(frozen=True, kw_only=True)
class Aws:
    """The clients of AWS's services; they are thread-safe."""

    ssm: "SSMClient"
    secretsmanager: "SecretsManagerClient"
    dynamodb: "DynamoDBClient"


@dataclass(frozen=True, kw_only=True)
class Outside:
    """Everything that a run touches; a test puts a fake in the place of any of them."""

    tenants: TenantDocuments
    secrets: ClientSecrets
    endpoint: TokenEndpoint
    tokens: TokenStore
    ledger: Ledger
    telemetry: Telemetry
    events: Events
    deadline: Deadline  # the only clock, and the only time budget
    settings: Settings


def open_outside(
    settings: Settings, aws: Aws, telemetry: Telemetry, events: Events, deadline: Deadline
) -> Outside:
    """Make the objects of one run; nothing is called yet."""
    reads = Pacer(READS_PER_SECOND, deadline, need=deadline.listing)
    writes = Pacer(settings.writes_per_second, deadline, need=KEEP)
    return Outside(
        tenants=TenantDocuments(aws.ssm, settings.tenants_path, reads),
        secrets=ClientSecrets(aws.secretsmanager, settings.client_secrets_prefix),
        endpoint=TokenEndpoint(settings.token_endpoint),
        tokens=TokenStore(aws.ssm, settings.token_key_arn, writes=writes, reads=reads),
        ledger=Ledger(aws.dynamodb, settings.ledger_table),
        telemetry=telemetry,
        events=events,
        deadline=deadline,
        settings=settings,
    )
