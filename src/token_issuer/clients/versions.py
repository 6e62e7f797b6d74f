"""The versions of a client's secret in one run: where one is refused, another serves."""

from token_issuer import errors
from token_issuer.clients.credentials import CURRENT, PENDING, PREVIOUS, ClientCredentials
from token_issuer.clients.secrets_manager import MISSING, ClientSecrets
from token_issuer.foreign_errors import name_and_place

CANDIDATES = (  # stages, in the order in which their versions are tried
    CURRENT,
    CURRENT,  # read again when it is refused: it may have moved meanwhile
    PENDING,
    PREVIOUS,
)
MOST_REFUSALS = 3  # of a client in a run, whatever the number of its tenants


class ClientSecret:
    """The current version, and those that serve in its place.

    One tenant at a time moves it on; once a version works, many may ask with it. A version is read
    once, the current one again when it is refused.
    """

    def __init__(self, client: str, secrets: ClientSecrets) -> None:
        self.client = client
        self.stage, self.version = CURRENT, ""  # of what is or was in use
        self.works = False  # what is in use
        self.failure: errors.ClientFailed | None = None  # of the current version
        self.closed: errors.IssuerError | None = None  # why nothing more is asked for
        self.token_for: str | None = None  # the tenant that had one last
        self._secrets = secrets
        self._untried = list(CANDIDATES)
        self._in_use: ClientCredentials | None = None
        self._found: dict[str, ClientCredentials | errors.ClientFailed] = {}
        self._refused: dict[str, errors.ClientRefused] = {}

    def choose(self) -> ClientCredentials:
        """Return the version to ask with, which may have to be read; raises ClientFailed."""
        return self._in_use or self._next()

    def refuse(self, credentials: ClientCredentials, error: errors.ClientRefused) -> None:
        """Mark the version in use as refused."""
        self._refused[credentials.version] = error
        self._in_use = None
        self.failure = self.failure or error

    def worked(self, tenant: str | None) -> None:
        """Mark the version in use as accepted, and as proved if a tenant had a token with it."""
        self.works = True
        self.token_for = tenant or self.token_for

    def close(self, why: errors.IssuerError) -> None:
        """Ask for nothing more in this run; what is refused after all works no more."""
        self.closed = why
        self.works = self.works and not isinstance(why, errors.ClientFailed)

    def refusal_of(self, version: str) -> errors.ClientRefused | None:
        """Return how a version was refused in this run."""
        return self._refused.get(version)

    def proved_for(self, version: str) -> str | None:
        """Return the tenant that a version has had a token for in this run, if it works still."""
        return self.token_for if self.works and self.version == version else None

    def read_pending(self) -> ClientCredentials:
        """Read the pending version.

        Raises ClientFailed, and PendingClientDiffers where it isn't the same application's.
        """
        credentials = self._read(PENDING)
        if not self._is_ours(credentials):
            why = f"The pending secret of client {self.client} has another client_id"
            raise errors.PendingClientDiffers(why)
        return credentials

    def _next(self) -> ClientCredentials:
        passed_over: list[str] = []
        while self._untried and len(self._refused) < MOST_REFUSALS:
            stage = self._untried.pop(0)
            try:
                found = self._read(stage, again=stage == CURRENT)
                is_ours = stage == CURRENT or self._is_ours(found)
            except (errors.ClientSecretInvalid, errors.ClientSecretUnreadable) as error:
                self._pass_over(stage, error, passed_over)
                continue
            if is_ours and found.version not in self._refused:
                self._in_use, self.stage, self.version = found, stage, found.version
                return found
        why = self.failure or errors.ClientSecretUnreadable(
            f"Client {self.client} has no version to try"
        )
        of_current = 1 if isinstance(why, errors.ClientRefused) else 0
        if len(self._refused) > of_current:
            passed_over.insert(0, "no other version of its secret works")
        if passed_over:
            why = type(why)("; ".join([why.detail, *passed_over]), code=why.code)
        raise why

    def _pass_over(
        self,
        stage: str,
        error: errors.ClientSecretInvalid | errors.ClientSecretUnreadable,
        told: list[str],
    ) -> None:
        """Go on without a version; raise where the current one may be well."""
        if isinstance(error, errors.ClientSecretUnreadable) and not self.failure:
            raise error
        if stage == CURRENT and isinstance(error, errors.ClientSecretInvalid):
            self.failure = self.failure or error
        elif error.code != MISSING:
            told.append(error.detail)

    def _read(self, stage: str, *, again: bool = False) -> ClientCredentials:
        found = self._found.get(stage)
        if again or not found:
            was_read, found = found, self._outcome_of_reading(stage)
            if not (was_read and isinstance(found, errors.ClientSecretUnreadable)):
                self._found[stage] = found
        if isinstance(found, errors.ClientFailed):
            raise found
        return found

    def _outcome_of_reading(self, stage: str) -> ClientCredentials | errors.ClientFailed:
        try:
            return self._secrets.read(self.client, stage)
        except errors.ClientFailed as error:
            return error
        except Exception as error:  # noqa: BLE001  each tenant would meet a defect here anew
            why = f"Reading the secret of client {self.client} failed: {name_and_place(error)}"
            return errors.ClientSecretUnreadable(why)

    def _is_ours(self, found: ClientCredentials) -> bool:
        """Tell whether a version is of the same application as the current one.

        Where that is malformed, as the previous one; any is where there is no such version.
        """
        for stage in (CURRENT, PREVIOUS):
            try:
                return self._read(stage).client_id == found.client_id
            except errors.ClientSecretInvalid:
                continue
            except errors.ClientSecretUnreadable as error:
                if error.code != MISSING:
                    raise
        return True


class SecretsInUse:
    """Each client's secret in one run, always the same one."""

    def __init__(self, secrets: ClientSecrets) -> None:
        self._secrets = secrets
        self._by_client: dict[str, ClientSecret] = {}

    def of(self, client: str) -> ClientSecret:
        """Return a client's secret."""
        return self._by_client.setdefault(client, ClientSecret(client, self._secrets))
