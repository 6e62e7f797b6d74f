"""Client secrets, after the tokens: prove, promote, record."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from token_issuer import errors
from token_issuer.clients import rollover
from token_issuer.clients.rollover import Keep, Promoted, Prove, Withdraw
from token_issuer.clients.secrets_manager import MISSING
from token_issuer.clients.versions import ClientSecret, SecretsInUse
from token_issuer.facts import Facts
from token_issuer.foreign_errors import failure_of
from token_issuer.ledger.records import ClientRecord, Pending
from token_issuer.limits.deadline import ASK, PROMOTE, RECORD
from token_issuer.outside import Outside
from token_issuer.tokens.oauth import fetch_token


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """What became of a client's secret; of `refusals` an event tells, once a day."""

    record: ClientRecord
    promoted: Promoted | None = None
    notices: list[errors.IssuerError] = field(default_factory=list)
    refusals: list[errors.IssuerError] = field(default_factory=list)


def prove(facts: Facts, secrets: SecretsInUse, outside: Outside) -> Iterator[Concluded]:
    """Yield what became of each client's secret; a probe changes and records nothing.

    After the tokens, so as not to hold them up; what was tried longest ago comes first.
    """
    records = facts.memory.clients
    clients = {one.client for one in facts.tenants}
    known = [records.get(name) or ClientRecord(client=name) for name in sorted(clients)]
    for record in sorted(known, key=_tried_at):
        try:
            concluded = _conclude(record, secrets.of(record.client), facts, outside)
            if concluded.record != record and not facts.invocation.probe:
                concluded.notices.extend(_record(concluded.record, outside))
        except Exception as error:  # noqa: BLE001  a defect that one client meets stops nothing
            concluded = Concluded(record=record, notices=[failure_of(error)])
        yield concluded
    if facts.whole:
        for name in records.keys() - clients:
            forgotten = ClientRecord(client=name)
            yield Concluded(record=forgotten, notices=_record(forgotten, outside))


def _tried_at(record: ClientRecord) -> float:
    return record.pending.tried_at.timestamp() if record.pending else 0.0


def _conclude(
    record: ClientRecord, secret: ClientSecret, facts: Facts, outside: Outside
) -> Concluded:
    now, client = outside.deadline.now(), record.client
    pending: Pending | None = record.pending
    notice: errors.PendingSecretKept | None = None
    promoted = None
    if client in facts.stages and not facts.invocation.probe:
        match rollover.decide(record, secret, facts, now):
            case Keep(pending=pending, notice=notice):
                pass
            case Withdraw() as withdrawal:
                pending, notice = None, _withdraw(client, withdrawal, outside)
            case proof:
                pending, notice, promoted = _prove(proof, secret, outside)
    stages = facts.stages.get(client, {})
    fallback = None if promoted else rollover.fallback_of(record.fallback, secret, stages, now)
    told = [one for one in (notice, fallback and rollover.notice_of(fallback)) if one]
    refusals: list[errors.IssuerError] = [
        one for one in (secret.closed, *told) if isinstance(one, rollover.REFUSED)
    ]
    lasting = rollover.lasting_reasons(secret, refusals, pending, promoted=promoted is not None)
    return Concluded(
        record=ClientRecord(
            client=client,
            pending=pending,
            fallback=fallback,
            told_at={reason: at for reason, at in record.told_at.items() if reason in lasting},
        ),
        promoted=promoted,
        notices=[*told],
        refusals=refusals,
    )


def _withdraw(
    client: str, withdrawal: Withdraw, outside: Outside
) -> errors.PendingSecretKept | None:
    if not outside.deadline.has(RECORD):
        return None  # the next run does
    outside.secrets.unstage(client, withdrawal.version)
    return withdrawal.notice


def _prove(
    proof: Prove, secret: ClientSecret, outside: Outside
) -> tuple[Pending | None, errors.PendingSecretKept | None, Promoted | None]:
    """Return what is still pending, why, or what was promoted."""
    version, asked, deadline = proof.version, False, outside.deadline
    try:
        deadline.require(PROMOTE)  # its application may have to be read, too
        credentials = secret.read_pending()
        version = credentials.version  # which may have been staged a moment ago
        proved_for = secret.proved_for(version)
        if not proved_for:
            _may_ask(secret, version, outside)
            asked = True
            fetch_token(proof.tenant, credentials, post=outside.endpoint.post, now=deadline.now)
        deadline.require(PROMOTE)  # to move two stages, and to look where they are
        outside.secrets.promote(secret.client, version, proof.current)
    except errors.IssuerError as error:
        if isinstance(error, errors.ClientSecretUnreadable) and error.code == MISSING:
            # another run has promoted it, or somebody has taken it back
            return None, None, None
        failure = rollover.why_kept(error, proof.tenant if asked else None)
    else:
        return None, None, Promoted(version=version, tenant=proved_for or proof.tenant.name)
    tried = proof.tenant.name if asked else proof.last.tried if proof.last else None
    pending = rollover.still_pending(
        version,
        failure,
        last=proof.last,
        tried=tried,
        now=deadline.now(),
        settings=outside.settings,
    )
    return pending, failure, None


def _may_ask(secret: ClientSecret, version: str, outside: Outside) -> None:
    """Raise where a version is known to be refused, or nothing is to be asked for."""
    if refusal := secret.refusal_of(version):
        raise refusal
    if secret.closed:
        why = f"Nothing more is asked for with client {secret.client} in this run"
        raise errors.PendingSecretUndecided(why)
    outside.deadline.require(ASK)


def _record(record: ClientRecord, outside: Outside) -> list[errors.IssuerError]:
    """Record it; return why it could not be. Without time, the next run does."""
    if not outside.deadline.has(RECORD):
        return []
    try:
        outside.ledger.record_client(record)
    except Exception as error:  # noqa: BLE001  what one client meets stops nothing
        return [failure_of(error)]
    return []
