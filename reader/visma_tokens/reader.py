"""Tenant → access token: read, cached, and read anew by whoever asks when it is time."""

import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

import boto3

from visma_tokens.errors import NoSuchToken, ReadFailed, TokenError, TokenExpired
from visma_tokens.parameter_store import TEN, Outcome, StoredToken, connect, read_tokens

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

PATH = "/visma/tokens"
CACHE_SECONDS = 300.0  # the issuer promises that a token lives longer when it is read
EARLIER = 0.1  # of that time: one who asks reads anew then, while others are served
PAUSE_SECONDS = 10.0  # between reads after 401s, and between attempts in an outage
FAILED_SECONDS = 1.0  # for which a failure is remembered
PATHS = re.compile(r"(/[A-Za-z0-9_.-]+)+")
NAMES = re.compile(r"[A-Za-z0-9_.-]{1,64}")
NEVER = float("-inf")
INTERRUPTED = "the thread that read it was interrupted"
NO_THREAD = "no thread could be started to read it"
NAMES_ARE = "Names are 1 to 64 of A-Za-z0-9_.-"
NOT_RENEWED = (
    "The issuer has stopped, or Visma refuses the tenant: `visma-tokens status` tells;"
    " else check that clock"
)

NONE_IS_NEWER = (
    "None is newer: has the tenant's document the scope that the API wants, and the company's"
    " tenant_id rather than the customer's?"
)

_log = logging.getLogger("visma_tokens")


class Tokens(Protocol):
    """Where tokens come from: a TokenReader; in tests, a dictionary."""

    def __getitem__(self, tenant: str, /) -> str:
        """Return the tenant's token."""
        ...


@dataclass(frozen=True)
class _Cached:
    """Times are seconds since the epoch, of the wall clock: Lambda's freeze stops the others."""

    token: StoredToken
    read_at: float
    renew_at: float  # from then on, one who asks reads anew
    deadline: float  # from then on, the others wait for that one
    dies_at: float

    def serves(self, now: float, *, is_renewed: bool) -> bool:
        """Tell whether it does for now; not where it was read in the future: the clock was set."""
        return self.read_at <= now < (self.deadline if is_renewed else self.renew_at)

    def prolonged(self, now: float) -> "_Cached":
        """Return the same for as long as it lives, with a pause before the next attempt."""
        renew_at, read_at = min(now + PAUSE_SECONDS, self.dies_at), min(self.read_at, now)
        return replace(self, read_at=read_at, renew_at=renew_at, deadline=self.dies_at)


class _Flight(Future["_Cached | TokenError"]):
    """A read under way, for whoever wants that tenant's token."""

    def __init__(self, tenant: str, begun_at: float, kept: _Cached | None = None) -> None:
        super().__init__()
        self.tenant = tenant
        self.begun_at = begun_at
        self.landed_at = begun_at
        self.kept = kept  # what is served if it fails
        self.set_running_or_notify_cancel()  # so that a task that is cancelled doesn't cancel it

    def is_recent(self, now: float) -> bool:
        """Tell whether a failure need not be tried again yet."""
        return 0 <= now - self.landed_at < FAILED_SECONDS

    def land(self, outcome: "_Cached | TokenError") -> "_Flight":
        """Let all go on who wait for it."""
        self.set_result(outcome)
        return self

    def token(self) -> str:
        """Wait for it."""
        landed = self.result()
        if isinstance(landed, TokenError):
            raise landed.again()
        return landed.token.value


class TokenReader:
    """Access tokens by tenant, as in `TokenReader("/visma/tokens")["acme"]`.

    Looked up like a dictionary, which does in its place in tests. It can't be walked through:
    what prints mappings (Sentry, pytest) would read and print every token.

    Keep one per process; threads, asyncio tasks and forked processes may share it. Look-ups raise
    NoSuchToken, TokenExpired, TokenUnusable, ReadDenied or ReadFailed.
    """

    __iter__ = None  # else iter() would look up 0, 1, 2 …

    def __init__(
        self,
        path: str = PATH,
        *,
        cache_seconds: float = CACHE_SECONDS,
        session: boto3.Session | None = None,
        endpoint_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Take the stack's TokensPath; no request is made. `now` is in seconds since the epoch.

        Raises ValueError for a path that is none, and for more than 300 `cache_seconds`.
        """
        if not PATHS.fullmatch(path):
            raise ValueError(f"{path!r} is no path of parameters, such as {PATH}")
        if not 0 < cache_seconds <= CACHE_SECONDS:
            raise ValueError(f"cache_seconds is {cache_seconds}, and not in (0, {CACHE_SECONDS:g}]")
        self._path = path
        self._cache_seconds = cache_seconds
        self._session = session
        self._endpoint_url = endpoint_url
        self._now = now
        self._cache: dict[str, _Cached] = {}
        self._failed: dict[str, _Flight] = {}
        self._reread_at: dict[str, float] = {}
        self._told: set[str] = set()  # tenants whose trouble is in the log
        self._start_anew()
        _readers.add(self)

    def _start_anew(self) -> None:
        """Leave locks, reads under way and connections to the parent of a forked process."""
        self._lock = threading.Lock()  # held for a few look-ups in dictionaries, never for a read
        self._connecting = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._ssm: SSMClient | None = None

    def __repr__(self) -> str:
        """Show the path only."""
        return f"TokenReader({self._path!r})"

    def __getitem__(self, tenant: str) -> str:
        """Return the token, from the cache or from Parameter Store."""
        if token := self._cached(tenant):
            return token
        flight, is_mine = self._claim(tenant)
        if is_mine:
            self._fly([flight])
        return flight.token()

    async def aread(self, tenant: str) -> str:
        """Do the same without blocking asyncio's loop; a thread lives for as long as the read."""
        if token := self._cached(tenant):
            return token
        flight, is_mine = self._claim(tenant)
        await self._landing(flight, is_mine=is_mine)
        return flight.token()

    def prefetch(self, tenants: Iterable[str]) -> None:
        """Read those that the cache lacks, ten in a request; the look-up tells who failed."""
        flights: list[_Flight] = []
        for tenant in dict.fromkeys(tenants):
            if self._cached(tenant):
                continue
            flight, is_mine = self._claim(tenant)
            if is_mine:
                flights.append(flight)
            if len(flights) == TEN:
                self._fly(flights)
                flights = []
        if flights:
            self._fly(flights)

    def reread(self, tenant: str, refused: str) -> str | None:
        """Return the token to repeat a call with that an API answered with 401; None: don't.

        Parameter Store is read past the cache, once in ten seconds for a tenant. Failures are
        for the next look-up to tell.
        """
        claim = self._claim_past(tenant, refused)
        if claim is None:
            return None
        flight, is_mine = claim
        if is_mine:
            self._fly([flight])
        return _newer(flight, refused, is_mine=is_mine)

    async def areread(self, tenant: str, refused: str) -> str | None:
        """Do the same without blocking asyncio's loop."""
        claim = self._claim_past(tenant, refused)
        if claim is None:
            return None
        flight, is_mine = claim
        await self._landing(flight, is_mine=is_mine)
        return _newer(flight, refused, is_mine=is_mine)

    def _cached(self, tenant: str) -> str | None:
        """Return the token where nobody need be asked."""
        kept = self._cache.get(tenant)
        if kept is not None and kept.serves(self._now(), is_renewed=False):
            return kept.token.value
        return None

    def _claim(self, tenant: str) -> tuple[_Flight, bool]:
        """Return a read to wait for, and whether the caller is the one to do it."""
        now = self._now()
        if not NAMES.fullmatch(tenant):
            error = NoSuchToken(tenant, "that is no tenant's name", NAMES_ARE)
            return _Flight(tenant, now).land(error), False
        with self._lock:
            kept = self._cache.get(tenant)
            flight = self._flights.get(tenant)
            if kept is not None and kept.serves(now, is_renewed=flight is not None):
                return _Flight(tenant, now).land(kept), False
            failed = self._failed.get(tenant)
            if flight is None and failed is not None and failed.is_recent(now):
                flight = failed
            if flight is not None:
                return flight, False
            return self._take_off(tenant, now, kept), True

    def _claim_past(self, tenant: str, refused: str) -> tuple[_Flight, bool] | None:
        """Do the same after a 401; None where it is too early to read again."""
        now = self._now()
        with self._lock:
            kept = self._cache.get(tenant)
            if kept is not None and kept.token.value != refused and now < kept.dies_at:
                return _Flight(tenant, now).land(kept), False
            flight = self._flights.get(tenant)
            if flight is None and 0 <= now - self._reread_at.get(tenant, NEVER) < PAUSE_SECONDS:
                return None
            self._cache.pop(tenant, None)
            if flight is not None:
                return flight, False
            self._reread_at[tenant] = now
            return self._take_off(tenant, now, kept), True

    def _take_off(self, tenant: str, now: float, kept: _Cached | None) -> _Flight:
        flight = self._flights[tenant] = _Flight(tenant, now, kept)
        return flight

    def _fly(self, flights: list[_Flight]) -> None:
        """Read them in one request, and land all of them whatever happens."""
        found: dict[str, Outcome] = {}
        try:
            tenants = [flight.tenant for flight in flights]
            found = read_tokens(tenants, path=self._path, client=self._client)
        finally:
            for flight in flights:
                interrupted = ReadFailed(flight.tenant, INTERRUPTED, "Try again")
                self._land(flight, found.get(flight.tenant, interrupted))

    def _client(self) -> "SSMClient":
        with self._connecting:
            if self._ssm is None:
                self._ssm = connect(self._session, self._endpoint_url)
            return self._ssm

    def _land(self, flight: _Flight, found: Outcome) -> None:
        """Keep what was found, or what there was before, and tell those who wait."""
        now, tenant = self._now(), flight.tenant
        flight.landed_at = now
        landed: _Cached | TokenError
        if isinstance(found, TokenError):
            landed = found
        elif found.expires_at is not None and found.expires_at <= now:
            landed = _expired(tenant, found.expires_at, now)
        else:
            landed = _kept(found, flight.begun_at, self._cache_seconds)
        trouble = None
        with self._lock:
            if isinstance(landed, _Cached):
                self._told.discard(tenant)
            elif flight.kept and now < flight.kept.dies_at and not isinstance(landed, NoSuchToken):
                if tenant not in self._told:
                    self._told.add(tenant)
                    trouble = landed
                landed = flight.kept.prolonged(now)
            if isinstance(landed, _Cached):
                self._cache[tenant] = landed
            else:
                self._cache.pop(tenant, None)
                recent = ((name, one) for name, one in self._failed.items() if one.is_recent(now))
                self._failed = dict(recent) | {tenant: flight}
            if self._flights.get(tenant) is flight:  # not in a child of the process it began in
                del self._flights[tenant]
        flight.land(landed)
        if trouble is not None:
            _log.warning("Serving the cached token while it is valid. %s", trouble)

    async def _landing(self, flight: _Flight, *, is_mine: bool) -> None:
        """Wait for it on asyncio's loop."""
        import asyncio  # noqa: PLC0415  who has a loop has paid for it

        if is_mine:
            # not the loop's own executor, whose few threads slow tenants would take
            thread = threading.Thread(target=self._fly, args=([flight],), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads, or the interpreter ends
                self._land(
                    flight, ReadFailed(flight.tenant, NO_THREAD, "Run fewer in this process")
                )
        await asyncio.wrap_future(flight)


def _newer(flight: _Flight, refused: str, *, is_mine: bool) -> str | None:
    """Wait for a read after a 401, and return what it found if that is another token."""
    landed = flight.result()
    if isinstance(landed, TokenError):
        return None
    if landed.token.value != refused:
        return landed.token.value
    was_read = flight.kept is None or landed.token is not flight.kept.token
    if is_mine and was_read:
        _log.warning("An API refuses the token of %s. %s", flight.tenant, NONE_IS_NEWER)
    return None


def _kept(token: StoredToken, read_at: float, cache_seconds: float) -> _Cached:
    deadline = read_at + cache_seconds
    dies_at = deadline if token.expires_at is None else token.expires_at
    deadline = min(deadline, dies_at)
    renew_at = deadline - EARLIER * (deadline - read_at)
    return _Cached(token, read_at, renew_at, deadline, dies_at)


def _expired(tenant: str, at: float, now: float) -> TokenExpired:
    when = f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    ago = f"{now - at:.0f} s ago by this machine's clock"
    return TokenExpired(tenant, f"the one that is stored expired on {when}, {ago}", NOT_RENEWED)


_readers: "weakref.WeakSet[TokenReader]" = weakref.WeakSet()


def _start_anew() -> None:
    for reader in _readers:
        reader._start_anew()  # noqa: SLF001  as its __init__ does


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_start_anew)
