"""Whose token it is, where the token itself does not say so."""

from collections.abc import Iterable

from token_issuer.errors import WrongTenant
from token_issuer.ledger.records import Record
from token_issuer.names import comparable
from token_issuer.tenants.documents import Tenant
from token_issuer.tenants.recall import last_tenant
from token_issuer.tokens.access_token import AccessToken


class Ownership:
    """Who each known token was issued for, and who asks for which company; thread-safe.

    An opaque token names nobody. One that the ledger knows for another tenant_id, or that another
    tenant got in this run, is an answer to another request.
    """

    def __init__(self, records: Iterable[Record], tenants: Iterable[Tenant] = ()) -> None:
        self._recorded = {one.issued.fingerprint: one for one in records if one.issued}
        self._owners: dict[str, Tenant] = {}
        self._companies = {comparable(one.tenant_id): one.name for one in tenants if one.tenant_id}

    def check(self, token: AccessToken, tenant: Tenant) -> None:
        """Claim the token for the tenant; raises WrongTenant where it is somebody else's."""
        if token.names_tenant:
            return
        if token.company in self._companies:  # and this tenant asks for none
            raise WrongTenant(
                f"The token is for the tenant_id of {self._companies[token.company]}; the document"
                f" of {tenant.name} has none"
            )
        known = self._owner_in_ledger(token) or tenant
        owner = self._owners.setdefault(token.fingerprint, known)
        if not owner.owner.is_same(tenant.owner):
            why = f"The token is the one that was issued to {owner.name}, for {owner.owner}"
            raise WrongTenant(why)

    def _owner_in_ledger(self, token: AccessToken) -> Tenant | None:
        record = self._recorded.get(token.fingerprint)
        return last_tenant(record) if record else None
