"""Look up access tokens by tenant; a look-up reads from Parameter Store when the cache is old."""

import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import TYPE_CHECKING, Protocol

import boto3

from visma_tokens.cache import MOST_SECONDS, CachedToken, keep
from visma_tokens.errors import NoSuchToken, ReadDenied, ReadFailed, TokenError
from visma_tokens.flight import Failure, Flight
from visma_tokens.outage import FIRST_PAUSE, NEVER, Outage, pause
from visma_tokens.parameter_store import (
    TEN,
    Found,
    connect,
    found_anew,
    lacks_credentials,
    read_tokens,
)
from visma_tokens.secret import Secret

if TYPE_CHECKING:
    from botocore.credentials import Credentials
    from mypy_boto3_ssm import SSMClient

PATH = "/visma/tokens"
REREAD_SECONDS = 10.0  # between reads after 401s
FLIGHT_SECONDS = 60.0  # after which callers stop waiting for a read
MANY = 1000  # failures that are remembered, at most
PATHS = re.compile(r"(/[A-Za-z0-9_.-]+)+")
NAME_CHARACTERS, SHOWN_CHARACTERS = 64, 12  # in a name at most; shown of a longer text
NAMES = re.compile(rf"[A-Za-z0-9_.-]{{1,{NAME_CHARACTERS}}}")
INTERRUPTED = "the read was interrupted"
LATE = f"the read took more than {FLIGHT_SECONDS:g} s"
NO_LOOP = "Tasks read tokens on asyncio only: elsewhere, look the token up in a thread"
NAMES_ARE = "Names are 1 to 64 of A-Za-z0-9_.-"
SERVING = "Serving the cached token of %s, which lives for another %.0f s: %s. %s"
REFUSED = (
    "An API refuses the token of %s, and none is newer: has the tenant's document the scope that"
    " the API wants, and the company's tenant_id rather than the customer's?"
)

_log = logging.getLogger("visma_tokens")


class Tokens(Protocol):
    """A source of tokens by tenant: a TokenReader, or a dictionary in tests."""

    def __getitem__(self, tenant: str, /) -> str:
        """Return the tenant's token."""
        ...


class TokenReader:
    """Access tokens by tenant, as in `TokenReader("/visma/tokens")["acme"]`.

    A look-up is as in a dictionary, which can replace it in tests. It can't be iterated: programs
    that print mappings (Sentry, pytest) would read and print every token.

    Keep one per process; threads, asyncio tasks and forked processes may share it. Look-ups raise
    NoSuchToken, TokenExpired, TokenUnusable, ReadDenied or ReadFailed.
    """

    __iter__ = None  # otherwise iter() would look up 0, 1, 2 …

    def __init__(
        self,
        path: str = PATH,
        *,
        cache_seconds: float = MOST_SECONDS,
        session: boto3.Session | None = None,
        endpoint_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Read tokens below `path`, the stack's TokensPath; this makes no request yet.

        `cache_seconds` are 300 at most; `now` returns seconds since the epoch. Raises ValueError
        for another `path` or `cache_seconds`.
        """
        if not PATHS.fullmatch(path):
            raise ValueError(f"{path!r} is no path such as {PATH}, which ends without a slash")
        if not 0 < cache_seconds <= MOST_SECONDS:
            raise ValueError(f"cache_seconds is {cache_seconds}, and not in (0, {MOST_SECONDS:g}]")
        self._path = path
        self._cache_seconds = cache_seconds
        is_plain = type(self) is TokenReader and session is None and now is time.time
        self._settings = (path, cache_seconds, endpoint_url) if is_plain else None
        self._session = session
        self._endpoint_url = endpoint_url
        self._now = now
        self._cache: dict[str, CachedToken] = {}
        self._reread_at: dict[str, float] = {}
        self._troubles: dict[str, int] = {}  # failed reads in a row, of tenants with a cached token
        self._refused: set[str] = set()  # tenants with the warning REFUSED in the log
        self._start_anew()
        _readers.add(self)

    def _start_anew(self) -> None:
        """Make new locks and connections; after a fork, the old ones are the parent's."""
        self._lock = threading.RLock()  # held while dictionaries are used, never during a read
        self._connecting = threading.Lock()
        self._clients: dict[bool, SSMClient] = {}
        self._credentials: Credentials | None = None  # used if the session's are old
        self._unconnected: tuple[float, Exception] | None = None
        self._flights: dict[str, Flight] = {}
        self._failed: dict[str, Failure] = {}
        self._outage = Outage()

    def __repr__(self) -> str:
        """Show the path only."""
        return f"TokenReader({self._path!r})"

    def __copy__(self) -> "TokenReader":
        """Return itself, so that copies share one cache."""
        return self

    def __deepcopy__(self, _: object) -> "TokenReader":
        """Return itself."""
        return self

    def __reduce__(self) -> tuple[Callable[..., "TokenReader"], tuple[object, ...]]:
        """Pickle the settings, never a token; unpickling returns the process's shared reader.

        Raises TypeError for a reader with a session or a clock of its own.
        """
        if self._settings is None:
            raise TypeError(
                "A TokenReader with its own session or clock can't be pickled: make one in the"
                " other process"
            )
        return shared, self._settings

    def __getitem__(self, tenant: str) -> str:
        """Return the token, from the cache or from Parameter Store."""
        return self._cached(tenant) or self._read(partial(self._claim, tenant)).token()

    async def aread(self, tenant: str) -> str:
        """Do the same without blocking asyncio's loop; a read takes place in its own thread."""
        return self._cached(tenant) or (await self._aread(partial(self._claim, tenant))).token()

    def get(self, tenant: str, default: str | None = None) -> str | None:
        """Return the token, or `default` instead of NoSuchToken; other TokenErrors are raised."""
        try:
            return self[tenant]
        except NoSuchToken:
            return default

    def __contains__(self, tenant: str) -> bool:
        """Tell whether there is a token, by reading it; raises TokenErrors as `get` does."""
        return self.get(tenant) is not None

    def prefetch(self, tenants: Iterable[str]) -> None:
        """Read tokens that are not cached, ten in a request; failures come with the look-ups."""
        if isinstance(tenants, str):
            raise TypeError(f"prefetch takes several names, such as [{tenants!r}]")
        wanted = [tenant for tenant in dict.fromkeys(tenants) if not self._cached(tenant)]
        for start in range(0, len(wanted), TEN):
            flight = self._read(partial(self._claim_all, wanted[start : start + TEN]))
            if isinstance(flight.result(), ReadFailed):  # the next request would fail too
                return

    async def aprefetch(self, tenants: Iterable[str]) -> None:
        """Do the same without blocking asyncio's loop, in a thread of its own."""
        import asyncio  # noqa: PLC0415  a program with a loop has imported it

        if not _is_asyncio():
            raise RuntimeError(NO_LOOP)
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()

        def fetch() -> None:
            try:
                self.prefetch(tenants)
            except BaseException as error:  # noqa: BLE001  raised where it is awaited
                done.set_exception(error)
            else:
                done.set_result(None)

        threading.Thread(target=fetch, daemon=True).start()
        await asyncio.wrap_future(done)

    def reread(self, tenant: str, refused: str) -> str | None:
        """Return another token for a call that an API answered with 401, None if there is none.

        It is read from Parameter Store past the cache, at most every ten seconds for a tenant. A
        failure is raised by the next look-up, not here.
        """
        refused = Secret(refused)
        return self._other(self._read(partial(self._claim_past, tenant, refused)), refused)

    async def areread(self, tenant: str, refused: str) -> str | None:
        """Do the same without blocking asyncio's loop."""
        refused = Secret(refused)
        return self._other(await self._aread(partial(self._claim_past, tenant, refused)), refused)

    def _cached(self, tenant: str) -> Secret | None:
        """Return the cached token if no read is due."""
        kept = self._cache.get(tenant)
        if kept is not None and kept.is_served(self._now(), is_renewed=False):
            return kept.token.value
        return None

    def _read(self, claim: Callable[[list[Flight]], Flight]) -> Flight:
        """Claim, make our own reads, and wait; whatever happens, no other caller waits forever."""
        ours: list[Flight] = []
        try:
            flight = claim(ours)
            self._fly(ours)
        finally:
            self._give_up(ours)
        try:
            flight.result(FLIGHT_SECONDS)
        except FutureTimeoutError:
            self._give_up([flight], LATE)
        return flight

    async def _aread(self, claim: Callable[[list[Flight]], Flight]) -> Flight:
        """Do the same on asyncio's loop; our own reads are made in a thread."""
        import asyncio  # noqa: PLC0415

        if not _is_asyncio():
            raise RuntimeError(NO_LOOP)
        ours: list[Flight] = []

        def fly() -> None:
            try:
                self._fly(ours)
            finally:
                self._give_up(ours)

        try:  # not in the loop's executor: slow reads would block its few threads
            flight = claim(ours)
            if ours:
                threading.Thread(target=fly, daemon=True).start()
        except RuntimeError:
            self._give_up(ours, "no thread could be started to read it")
        except BaseException:
            self._give_up(ours)
            raise
        await asyncio.wait([asyncio.wrap_future(flight)], timeout=FLIGHT_SECONDS)
        self._give_up([flight], LATE)
        return flight

    def _claim(self, tenant: str, ours: list[Flight]) -> Flight:
        """Return a read to wait for; if it is added to `ours`, the caller must make it."""
        if not _is_name(tenant):
            name = _shown(tenant)
            return Flight(name, NEVER).land(NoSuchToken(name, "no tenant is called so", NAMES_ARE))
        with self._lock:
            now = self._now()
            kept, flight = self._cache.get(tenant), self._under_way(tenant)
            until = self._outage.holds_back(now)
            if kept is not None and now < kept.dies_at and until is not None:
                kept = self._cache[tenant] = kept.prolonged(now, until)
            if kept is not None and kept.is_served(now, is_renewed=flight is not None):
                return Flight(tenant, now).land(kept)
            failed = self._failed.get(tenant)
            if flight is None and failed is not None and failed.is_recent(now):
                return Flight(tenant, now).land(failed.error)
            return flight or self._take_off(tenant, now, kept, ours)

    def _claim_all(self, tenants: list[str], ours: list[Flight]) -> Flight:
        """Do the same for several tenants, and return the first read."""
        first, *_ = [self._claim(tenant, ours) for tenant in tenants]
        return first

    def _claim_past(self, tenant: str, refused: Secret, ours: list[Flight]) -> Flight:
        """Do the same after a 401: past the cache, unless that has another token already."""
        with self._lock:
            now = self._now()
            kept, flight = self._cache.get(tenant), self._under_way(tenant)
            if kept is not None and kept.dies_at <= now:
                kept = None
            is_newer = kept is not None and kept.token.value != refused
            since = now - self._reread_at.get(tenant, NEVER)
            is_early = flight is None and 0 <= since < REREAD_SECONDS
            if is_newer or is_early or not _is_name(tenant):
                return Flight(tenant, now).land(kept or NoSuchToken(tenant, "not read again", ""))
            self._cache.pop(tenant, None)
            if flight is None:
                self._reread_at[tenant] = now
            return flight or self._take_off(tenant, now, kept, ours)

    def _under_way(self, tenant: str) -> Flight | None:
        flight = self._flights.get(tenant)
        return None if flight is None or flight.done() else flight

    def _take_off(
        self, tenant: str, now: float, kept: CachedToken | None, ours: list[Flight]
    ) -> Flight:
        flight = Flight(tenant, now, kept)
        ours.append(flight)
        self._flights[tenant] = flight
        if flight.alternative(now):
            self._outage.begin_attempt(now)
        return flight

    def _fly(self, flights: list[Flight]) -> None:
        """Make reads in one request, and land them."""
        if not flights:
            return
        now = self._now()
        is_brief = all(flight.alternative(now) for flight in flights)
        tenants = [flight.tenant for flight in flights]
        client = partial(self._client, is_brief=is_brief)
        clients = self._clients
        try:
            found = read_tokens(tenants, path=self._path, client=client)
            if lacks_credentials(found) and self._sign_in_anew(clients):
                found = read_tokens(tenants, path=self._path, client=client)
        except BaseException:
            self._clients = {}  # their locks may stay held
            raise
        if len(flights) > 1 and all(isinstance(one, ReadDenied) for one in found.values()):
            for flight in flights:  # AWS denies a request if it denies one of its names
                self._fly([flight])
            return
        for warning in [self._land(flight, found[flight.tenant]) for flight in flights]:
            if warning:
                _log.warning(*warning)

    def _client(self, *, is_brief: bool) -> "SSMClient":
        """Return one of two clients: the brief one is for tenants with a cached token to serve."""
        with self._connecting:
            clients = self._clients  # another thread may replace them
            if is_brief not in clients:
                if self._unconnected and 0 <= self._now() - self._unconnected[0] < 1:
                    # raised to a thread that waited for the lock meanwhile
                    raise self._unconnected[1].with_traceback(None)
                try:
                    clients[is_brief] = connect(
                        self._session,
                        self._endpoint_url,
                        credentials=self._credentials,
                        is_brief=is_brief,
                    )
                except Exception as error:
                    self._unconnected = (self._now(), error)
                    raise
            return clients[is_brief]

    def _sign_in_anew(self, clients: "dict[bool, SSMClient]") -> bool:
        """Drop these clients, and tell whether new ones may have other credentials."""
        with self._connecting:
            if self._clients is not clients:  # another thread has dropped them
                return True
            self._clients = {}
            session = self._session or boto3.DEFAULT_SESSION
            if session is None:  # the next client gets a new one
                return True
            self._credentials = found_anew(session, is_given=self._session is not None)
            return self._credentials is not None

    def _give_up(self, flights: list[Flight], why: str = INTERRUPTED) -> None:
        """End reads that have no outcome, for their callers; that says nothing of the tokens."""
        for flight in flights:
            if not flight.done():
                with self._lock:
                    self._leave(flight)
                error = ReadFailed(flight.tenant, why, "Try again")
                flight.land(flight.alternative(self._now()) or error)

    def _leave(self, flight: Flight) -> None:
        if self._flights.get(flight.tenant) is flight:
            del self._flights[flight.tenant]

    def _land(self, flight: Flight, found: Found) -> tuple[object, ...]:
        """Cache what was found, give it to the callers that wait, and return a warning to log."""
        outcome: CachedToken | TokenError = ReadFailed(flight.tenant, INTERRUPTED, "Try again")
        warning: tuple[object, ...] = ()
        try:
            with self._lock:
                outcome, warning = self._outcome(flight, found, self._now())
        finally:
            flight.land(outcome)
        return warning

    def _outcome(
        self, flight: Flight, found: Found, now: float
    ) -> tuple[CachedToken | TokenError, tuple[object, ...]]:
        """Return the outcome of a read, and a warning to log; the caller holds the lock.

        If the read failed, the cached token is served, with one warning for each tenant.
        """
        tenant, kept = flight.tenant, flight.alternative(now)
        outcome = (
            found
            if isinstance(found, TokenError)
            else keep(found, tenant, read_at=flight.begun_at, now=now, seconds=self._cache_seconds)
        )
        if self._flights.get(tenant) is not flight:  # given up; others have read since
            return outcome, ()
        del self._flights[tenant]
        if kept is not None:
            self._outage.note(tenant, now, is_down=isinstance(outcome, ReadFailed))
        if isinstance(outcome, CachedToken):
            flight.was_read = True
            self._failed.pop(tenant, None)
            self._troubles.pop(tenant, None)
            self._cache[tenant] = outcome
            return outcome, ()
        if kept is None or isinstance(outcome, NoSuchToken):
            self._cache.pop(tenant, None)
            self._remember(tenant, outcome, now)
            return outcome, ()
        troubles = self._troubles[tenant] = self._troubles.get(tenant, 0) + 1
        held_back = self._outage.holds_back(now)
        # in an outage, try after the others: they may succeed if only this tenant fails
        until = now + pause(troubles) if held_back is None else held_back + FIRST_PAUSE
        kept = self._cache[tenant] = kept.prolonged(now, until)
        if troubles > 1:
            return kept, ()
        return kept, (SERVING, tenant, kept.dies_at - now, outcome.detail, outcome.remedy)

    def _remember(self, tenant: str, error: TokenError, now: float) -> None:
        before = self._failed.get(tenant)
        count = 1 if before is None or before.is_forgotten(now) else before.count + 1
        if len(self._failed) >= MANY:
            self._failed.clear()
        self._failed[tenant] = Failure(error, now, count)

    def _other(self, flight: Flight, refused: Secret) -> str | None:
        """Return the token that a read after a 401 has found, if it is another one."""
        outcome = flight.result()
        if isinstance(outcome, TokenError):
            return None
        if outcome.token.value != refused:
            self._refused.discard(flight.tenant)
            return outcome.token.value
        if flight.was_read and flight.tenant not in self._refused:
            self._refused.add(flight.tenant)
            _log.warning(REFUSED, flight.tenant)
        return None


def _is_asyncio() -> bool:
    """Tell whether asyncio runs this code, rather than trio or no loop."""
    import asyncio  # noqa: PLC0415

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _is_name(tenant: object) -> bool:
    if not isinstance(tenant, str) or isinstance(tenant, Secret):  # a Secret is a token
        return False
    return NAMES.fullmatch(tenant) is not None


def _shown(tenant: object) -> str:
    """Return what to print of an invalid name; nothing of it if it may be a token, or hold one."""
    if isinstance(tenant, Secret):
        return repr(tenant)
    if not isinstance(tenant, str):
        return "None" if tenant is None else f"a {type(tenant).__name__}"
    return tenant if len(tenant) <= NAME_CHARACTERS else f"{tenant[:SHOWN_CHARACTERS]}…"


_shared: dict[tuple[object, ...], TokenReader] = {}


def shared(
    path: str = PATH, cache_seconds: float = MOST_SECONDS, endpoint_url: str | None = None
) -> TokenReader:
    """Return the process's one reader with these settings, so that its callers share a cache."""
    settings = (path, cache_seconds, endpoint_url)
    if settings not in _shared:
        reader = TokenReader(path, cache_seconds=cache_seconds, endpoint_url=endpoint_url)
        _shared.setdefault(settings, reader)  # another thread may have been faster
    return _shared[settings]


_readers: "weakref.WeakSet[TokenReader]" = weakref.WeakSet()


def _after_fork() -> None:
    for reader in _readers:
        reader._start_anew()  # noqa: SLF001  as its __init__ does


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
