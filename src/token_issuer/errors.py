"""Every way to fail, who is hit by it, and what to do.

IssuerError
├── RunFailed                       the run: the handler raises
│   ├── SettingsInvalid
│   ├── EventInvalid
│   ├── TenantsUnreadable           only if there is no tenant in the ledger to serve
│   ├── TenantsGone
│   ├── LedgerUnreadable
│   └── RunCrashed
├── ClientFailed                    a client: the rest of its tenants is not tried in this run
│   ├── ClientSecretUnreadable
│   ├── ClientSecretInvalid
│   └── ClientRefused
├── TenantFailed                    one tenant, until somebody acts
│   ├── DocumentInvalid
│   ├── UnknownTenant
│   ├── TenantDisabled
│   └── Unexpected
├── TenantRefused                   one tenant, lasting: asked for ever less often without a token
│   ├── TokenRefused
│   ├── TokenInvalid
│   └── WrongTenant
├── EndpointFailed                  one tenant, passing: no OAuth answer was had
│   ├── EndpointUnavailable
│   └── AnswerInvalid
├── StoreFailed                     one tenant's token could not be written or deleted
│   ├── StoreUnavailable
│   ├── StoreDenied
│   └── ParameterUnwritable
├── Deferred                        one tenant's turn comes in the next run; it counts apart
│   ├── NoTimeLeft
│   ├── EndpointBreakerOpen
│   └── StoreBreakerOpen
├── PendingSecretKept               nobody: the current client secret serves on
│   ├── PendingSecretRefused
│   ├── PendingSecretInvalid
│   ├── PendingClientDiffers
│   ├── PendingSecretWithdrawn
│   └── PendingSecretUndecided
├── ClientSecretFallback            nobody: another version of the client secret serves
├── LedgerUnwritable                one tenant's token is right, and the ledger doesn't know it
├── TenantReassigned                nobody: a tenant's token is another company's from now on
├── TokensUnchecked                 nobody: the run goes on, and says so
└── EventUndelivered                nobody: likewise

The name of a class is the `reason` in reports and logs; docs/failures.md explains each.
"""

from typing import ClassVar, Self

from token_issuer.redaction import Quoted, quote

AGAIN = "The next run tries again."
LASTS = f"{AGAIN} If it lasts:"
HEALTH = (
    "If it lasts: look at the AWS Health Dashboard, and at the function's network if it is in a"
    " VPC."
)
ROLE = "Compare the function's role with template.yaml: it needs"
BUSY = f"{LASTS} something else in the account reads Parameter Store in a loop."
PORTAL = "the Visma developer portal"
ENDPOINT = "the template parameter TokenEndpoint"


class IssuerError(Exception):
    """A failure with its cause (`detail`) and what to do about it (`remedy`); neither is secret."""

    remedy: str = "Look the reason up in docs/failures.md."
    remedies: ClassVar[dict[str, str]] = {}

    def __init__(self, detail: str, *, code: Quoted | None = None) -> None:
        self.detail = detail
        super().__init__(self.detail)
        self.code = code
        self.remedy = self.remedies.get(code or "", type(self).remedy)

    @property
    def detail(self) -> Quoted:
        """Return the cause, escaped and cut: logs are UTF-8, and events take 256 KB."""
        return self._detail

    @detail.setter
    def detail(self, detail: str) -> None:
        self._detail = quote(detail)

    @classmethod
    def recall(cls, reason: str, detail: str, code: Quoted | None) -> Self:
        """Return the failure of that reason again; an unknown one is one of this class."""
        found = next((kind for kind in cls.kinds() if kind.__name__ == reason), cls)
        return found(detail, code=code)

    @classmethod
    def kinds(cls) -> list[type[Self]]:
        """Return all classes below this one."""
        below = [cls.__subclasses__(), *(kind.kinds() for kind in cls.__subclasses__())]
        return [kind for kinds in below for kind in kinds]

    @property
    def reason(self) -> str:
        """Return the name by which reports, logs and docs/failures.md know this failure."""
        return type(self).__name__

    @property
    def fields(self) -> dict[str, object]:
        """Return what lines, events and reports say of this failure."""
        return {"reason": self.reason, "detail": self.detail, "remedy": self.remedy}

    def __str__(self) -> str:
        """Return cause and remedy as one sentence each."""
        return f"{self.detail}. {self.remedy}"


class RunFailed(IssuerError):
    """Nobody is served by this run."""


class SettingsInvalid(RunFailed):
    """The function's environment can't be used."""

    remedy = "Correct the template parameter (TokensPath sets TOKENS_PATH), and deploy again."


class EventInvalid(RunFailed):
    """The function was invoked with an event that it doesn't know."""

    remedy = (
        'Send {}, {"tenants": ["acme"]}, {"force": true}, {"dry_run": true} or {"probe": "acme"};'
        " events/ has one of each."
    )


class TenantsUnreadable(RunFailed):
    """The tenant documents could not all be listed. The issuer serves the tenants in the ledger."""

    remedy = f"{AGAIN} {HEALTH}"
    remedies: ClassVar = {
        "AccessDeniedException": f"{ROLE} ssm:GetParametersByPath on the tenants path.",
        "ThrottlingException": BUSY,
    }


class TenantsGone(RunFailed):
    """There is no tenant document at all, while the ledger knows tokens that still live."""

    remedy = (
        "Compare the template parameter TenantsPath with where the documents are. If all tenants"
        " are to go: disable them first, or wait until their tokens have expired."
    )


class LedgerUnreadable(RunFailed):
    """The ledger could not be read, or the lease not taken."""

    remedy = f"{AGAIN} {HEALTH}"
    remedies: ClassVar = {
        "AccessDeniedException": f"{ROLE} the table of the output LedgerTableName.",
        "ResourceNotFoundException": (
            "The table of the output LedgerTableName is gone: delete its record from the stack or"
            " deploy the stack anew; the ledger is rebuilt by issuing every token once."
        ),
    }


class RunCrashed(RunFailed):
    """The run stopped with an error that the issuer has no name for: a defect of the issuer."""

    remedy = "Report it as a bug, with this detail. The last good tokens stay where they are."


class ClientFailed(IssuerError):
    """The rest of a client's tenants is not tried in this run."""


class ClientSecretUnreadable(ClientFailed):
    """Secrets Manager didn't give the client secret."""

    remedy = f"{AGAIN} {HEALTH}"
    remedies: ClassVar = {
        "ResourceNotFoundException": (
            "Create the secret, or correct `client` in the tenant documents."
        ),
        "NoValue": "Put the first value into the secret: visma-tokens secret stage --client NAME.",
        "ScheduledForDeletion": (
            "Restore the secret: aws secretsmanager restore-secret --secret-id NAME. If it is to"
            " go, name another `client` in the tenant documents first, or disable the tenants."
        ),
        "InvalidRequestException": (
            "Look at the state of the secret: aws secretsmanager describe-secret --secret-id NAME."
        ),
        "ThrottlingException": (
            f"{LASTS} something else in the account reads Secrets Manager in a loop."
        ),
        "DecryptionFailure": (
            "Enable the key that the secret is encrypted with, or cancel its deletion; its key"
            " policy must let the function's role decrypt."
        ),
        "AccessDeniedException": (
            "If the secret is encrypted with a key of your own, its key policy must let the"
            " function's role decrypt; else compare the role with template.yaml: it needs"
            " secretsmanager:DescribeSecret and secretsmanager:GetSecretValue below"
            " ClientSecretsPrefix."
        ),
    }


class ClientSecretInvalid(ClientFailed):
    """The secret's value is not a client secret document."""

    remedy = (
        'Store {"client_id": "…", "client_secret": "…"} in it, optionally with "auth_method":'
        ' "client_secret_post" or "client_secret_basic".'
    )


class ClientRefused(ClientFailed):
    """The authorization server doesn't accept the client's id and secret."""

    remedy = (
        f"Compare the client's secret with the application in {PORTAL}; a new client secret takes"
        " a minute or two to act."
    )


class TenantFailed(IssuerError):
    """One tenant is not served until somebody acts."""


class DocumentInvalid(TenantFailed):
    """A parameter under the tenants path can't be used, or some tenants in it can't."""

    remedy = (
        'Correct the parameter; a document is, for instance, {"tenant_id": "…", "scope": "…"}, and'
        " the README tells all of its members."
    )
    remedies: ClassVar = {
        "nested": "Put it directly under the tenants path, and delete this one.",
        "type": "Delete the parameter and put it again with --type String.",
        "twice": "Take the tenant out of all places but one.",
        "overridden": (
            "Take the tenant out of all places but its own parameter, and find out who put it there"
            " (CloudTrail, PutParameter)."
        ),
    }

    def __init__(self, detail: str, *, code: Quoted | None = None, parameter: str = "") -> None:
        super().__init__(detail, code=code)
        self.parameter = parameter


class UnknownTenant(TenantFailed):
    """The event names a tenant that isn't configured."""

    remedy = "Check the spelling, or add the tenant's document under the tenants path."


class TenantDisabled(TenantFailed):
    """The event names a tenant whose document says `"enabled": false`."""

    remedy = "Enable the tenant in its document, or leave it out of the event."


class Unexpected(TenantFailed):
    """The issuer met something that it has no name for: a defect of the issuer."""

    remedy = "Report it as a bug, with this detail; the other tenants are served."


class TenantRefused(IssuerError):
    """The authorization server gives one tenant no token that can be used."""

    remedy = "Ask Visma what this error means, with tenant_id and scope of the tenant document."


class TokenRefused(TenantRefused):
    """The authorization server refuses a token for this tenant."""

    remedies: ClassVar = {
        "invalid_tenant": (
            "Check that tenant_id is the company's, and ask the tenant's administrator to grant"
            " the application (a grant takes 10 to 15 minutes to act)."
        ),
        "invalid_request": (
            f"Compare tenant_id and scope in the tenant document with {PORTAL}; if they agree, ask"
            " Visma."
        ),
        "invalid_scope": f"Compare `scope` with the scopes of the application in {PORTAL}.",
        "unauthorized_client": (
            f"The application must be a service integration (client_credentials) in {PORTAL}."
        ),
        "unsupported_grant_type": (
            f"Check that {ENDPOINT} is Visma Connect's: it must know client_credentials."
        ),
    }


class TokenInvalid(TenantRefused):
    """The authorization server issued a token that can't be used."""

    remedy = "Nothing was stored, and it is tried again. If it lasts: ask Visma."


class WrongTenant(TenantRefused):
    """The token is another tenant's or another client's."""

    remedy = (
        "Nothing was stored. Compare tenant_id in the tenant document, and the application that its"
        f" client is, with {PORTAL}; if they agree, look for a gateway or a cache in front of the"
        " token endpoint, and ask Visma."
    )


class EndpointFailed(IssuerError):
    """No OAuth answer was had for one tenant; the next run tries again."""

    def __init__(
        self,
        detail: str,
        *,
        code: Quoted | None = None,
        retry_after: float | None = None,
        is_timeout: bool = False,
    ) -> None:
        super().__init__(detail, code=code)
        self.retry_after = retry_after
        self.is_timeout = is_timeout


class EndpointUnavailable(EndpointFailed):
    """The token endpoint didn't answer, or said that it can't now."""

    remedy = (
        f"{LASTS} look at Visma's status page and at {ENDPOINT}; if it lasts for one tenant alone,"
        " ask Visma."
    )
    remedies: ClassVar = {
        "SSLCertVerificationError": (
            f"Check the host in {ENDPOINT}; if it is right, tell Visma: the certificate has"
            " expired, or somebody listens in between."
        ),
        "gaierror": (
            f"The host's name has no address, or the look-up takes too long: check {ENDPOINT}, and"
            " the function's network if it is in a VPC."
        ),
        "429": f"{LASTS} ask Visma how many token requests your application may send.",
    }


class AnswerInvalid(EndpointFailed):
    """The token endpoint's answer is no usable OAuth answer."""

    remedy = f"{LASTS} check that {ENDPOINT} is a token endpoint, then ask Visma."


class StoreFailed(IssuerError):
    """A token could not be written, and the previous one stays; or it could not be deleted."""


class StoreUnavailable(StoreFailed):
    """Parameter Store didn't take the token now."""

    remedy = f"{AGAIN} {HEALTH}"
    remedies: ClassVar = {
        "ThrottlingException": (
            f"{LASTS} raise the account's Parameter Store throughput, or have fewer others write in"
            " this account and Region."
        ),
        "TooManyUpdates": f"{LASTS} something else writes this parameter; stop it.",
    }


class StoreDenied(StoreFailed):
    """The function may not write the parameter, or not with this key, or there is no room."""

    remedy = "Compare the function's role and the key's policy with template.yaml."
    remedies: ClassVar = {
        "InvalidKeyId": (
            "Enable the key of the output TokenKeyArn, or cancel its deletion; if it is gone,"
            " deploy the stack with another TokenKeyArn."
        ),
        "ParameterLimitExceeded": "Delete unused parameters, or ask AWS for a higher limit.",
    }


class ParameterUnwritable(StoreFailed):
    """One token parameter can't be overwritten."""

    remedy = "Compare TokensPath and the tenant's name with Parameter Store's rules for names."
    remedies: ClassVar = {
        "HierarchyTypeMismatchException": "Delete the parameter: the next run makes it anew.",
        "UnsupportedParameterType": "Delete the parameter: the next run makes it anew.",
        "ParameterMaxVersionLimitExceeded": (
            "Take the label off the parameter's oldest version: aws ssm get-parameter-history shows"
            " it, aws ssm unlabel-parameter-version takes it off."
        ),
    }


class Deferred(IssuerError):
    """Nothing is wrong with the tenant: the next run begins with the most urgent."""


class NoTimeLeft(Deferred):
    """The run had no time left for a tenant, or for another step."""

    remedy = (
        "The next run begins with the most urgent. If it lasts: raise WritesPerSecond to 80 % of"
        " what Parameter Store lets the account write, or move tenants to another account or"
        " Region."
    )

    def __init__(self) -> None:
        super().__init__("The run had no time left")


class EndpointBreakerOpen(Deferred):
    """Five of the client's tenants in a row had no OAuth answer, or it wants to be left alone."""

    remedy = f"{LASTS} look at Visma's status page, and at the failure that it names."


class StoreBreakerOpen(Deferred):
    """Several tokens in a row could not be stored, so no more are asked for."""

    remedy = f"{AGAIN} Follow the remedy of the failure that it names."


class PendingSecretKept(IssuerError):
    """A client secret that is staged as AWSPENDING isn't used: the current one serves on."""


class PendingSecretRefused(PendingSecretKept):
    """The authorization server doesn't accept the pending client secret."""

    remedy = (
        "A new client secret takes a minute or two to act, and it is tried again. If it lasts:"
        f" stage the secret again as {PORTAL} shows it."
    )


class PendingSecretInvalid(PendingSecretKept):
    """The pending version is not a client secret document."""

    remedy = f"Stage it again. {ClientSecretInvalid.remedy}"


class PendingClientDiffers(PendingSecretKept):
    """The pending version has another client_id than the current one."""

    remedy = (
        "A new application is a new client name: store it as a secret of its own, and name that as"
        " `client` in the tenant documents. To give up the pending version: take AWSPENDING off."
    )


class PendingSecretWithdrawn(PendingSecretKept):
    """The pending version has been current before, so AWSPENDING was taken off it."""

    remedy = "To go back to it, move AWSCURRENT to it: docs/failures.md says how."


class PendingSecretUndecided(PendingSecretKept):
    """Whether the pending client secret is good could not be told, or it could not be promoted."""

    remedy = f"{LASTS} follow the remedy of the failure that it names."
    remedies: ClassVar = {
        "AccessDeniedException": (
            f"{ROLE} secretsmanager:UpdateSecretVersionStage below ClientSecretsPrefix."
        )
    }


class ClientSecretFallback(IssuerError):
    """The current client secret is refused or malformed, and another version of it still works."""

    remedy = f"Stage a secret that {PORTAL} shows as active, before the other version ends too."


class LedgerUnwritable(IssuerError):
    """The ledger did not take what was done."""

    remedy = f"Nothing is lost: the next run does it again. {HEALTH}"


class TenantReassigned(IssuerError):
    """A token is requested for another tenant_id or, without one, another client than before."""

    remedy = (
        "If you changed tenant_id or client: nothing. Otherwise, find out who changed the parameter"
        " (CloudTrail, PutParameter), and disable the tenant."
    )


class TokensUnchecked(IssuerError):
    """The stored tokens could not be compared with the ledger in this run."""

    remedy = f"{AGAIN} {HEALTH}"
    remedies: ClassVar = {
        "AccessDeniedException": f"{ROLE} ssm:GetParameters below the tokens path.",
        "ThrottlingException": BUSY,
    }


class EventUndelivered(IssuerError):
    """EventBridge did not take an event."""

    remedy = f"What fails is told of again at its next attempt. {HEALTH}"
    remedies: ClassVar = {
        "AccessDeniedException": f"{ROLE} events:PutEvents on the default event bus."
    }
