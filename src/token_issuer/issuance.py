"""One tenant through the steps: ask, check, store."""

from collections.abc import Callable

from token_issuer.authorization_server import AccessToken
from token_issuer.credentials import ClientCredentials
from token_issuer.errors import IssuerError, Unexpected
from token_issuer.tenants import Tenant

type FetchToken = Callable[[Tenant, ClientCredentials], AccessToken]
type StoreToken = Callable[[str, AccessToken], None]


def issue_token(
    tenant: Tenant,
    credentials: ClientCredentials,
    *,
    fetch_token: FetchToken,
    store_token: StoreToken | None,
) -> AccessToken:
    """Fetch a checked token and store it, where there is a store; raises IssuerError only."""
    try:
        token = fetch_token(tenant, credentials)
        if store_token:
            store_token(tenant.name, token)
    except IssuerError:
        raise
    except Exception as error:  # noqa: BLE001  a defect that one tenant meets must not stop another
        # from None, and by name and place only: its text may quote a secret or a token
        raise Unexpected(_place(error)) from None
    return token


def _place(error: Exception) -> str:
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    if traceback is None:
        return type(error).__name__
    code = traceback.tb_frame.f_code
    return f"{type(error).__name__} in {code.co_name}, line {traceback.tb_lineno}"
