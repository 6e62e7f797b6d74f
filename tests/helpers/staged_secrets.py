"""The secret of a client without Secrets Manager: versions by stage, and what becomes of them."""

from tests.helpers.account import NO_VERSION, credentials
from token_issuer.clients.credentials import CURRENT, ClientCredentials
from token_issuer.clients.secrets_manager import ClientSecrets

type Version = str | ClientCredentials | Exception


class StagedSecrets(ClientSecrets):
    """Where a stage has several versions, each reading takes one, and the last one stays."""

    def __init__(self, **versions: Version | list[Version]) -> None:
        self.versions: dict[str, Version | list[Version]] = dict(versions)
        self.reads: list[str] = []
        self.promotion: Exception | None = None  # is raised
        self.promoted: list[tuple[str, str, str]] = []  # client, pending and current version
        self.unstaged: list[str] = []

    def read(self, client: str, stage: str = CURRENT) -> ClientCredentials:
        assert client
        self.reads.append(stage)
        found = self.versions.get(stage, NO_VERSION)
        if isinstance(found, list):
            found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        return credentials(found) if isinstance(found, str) else found

    def promote(self, client: str, pending: str, current: str) -> None:
        if self.promotion:
            raise self.promotion
        self.promoted.append((client, pending, current))

    def unstage(self, client: str, version: str) -> None:
        assert client
        self.unstaged.append(version)
