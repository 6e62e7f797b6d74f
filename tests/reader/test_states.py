"""Whatever happens in whatever order: no token that is too old, no storm, no wrong reason."""

from contextlib import ExitStack

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from local.authorization_server import serving_wsgi
from tests.helpers.parameter_store import DENIED, NOW, Clock, ParameterStore, claims, jwt
from tests.reader.conftest import session
from visma_tokens import NoSuchToken, ReadDenied, TokenExpired, TokenReader

LONG_AGO = NOW - 1e6
SECONDS = st.sampled_from([0.5, 1, 5, 9, 10, 29, 30, 120, 269, 271, 300])
LIFETIMES = st.sampled_from([60, 400, 3600])


class Consuming(RuleBasedStateMachine):
    """A tenant's token is renewed, lost or out of reach, and read all the while."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock, self.store = Clock(), ParameterStore()
        url = self.stack.enter_context(serving_wsgi(self.store))
        self.tokens = TokenReader(session=session(), endpoint_url=url, now=self.clock)
        self.number = 0
        self.replaced_at: dict[str, float] = {}
        self.gone_at = self.denied_at = self.expired_at = LONG_AGO  # until when it was
        self.attempts: list[float] = []
        self.rereads: list[float] = []
        self.last = ""

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def begin(self) -> None:
        self.renew(3600)

    @rule(lifetime=LIFETIMES)
    def renew(self, lifetime: float) -> None:
        self.note()
        self.take_away()
        self.number += 1
        expires_at = self.clock.now + lifetime
        self.store.tokens["acme"] = jwt(expires_at=expires_at, number=self.number)

    @rule()
    def take_away(self) -> None:
        self.note()
        if token := self.store.tokens.pop("acme", None):
            self.replaced_at[token] = self.clock.now

    @rule()
    def deny(self) -> None:
        self.store.failure = DENIED

    @rule()
    def allow(self) -> None:
        self.note()
        self.store.failure = None

    @rule(seconds=SECONDS)
    def wait(self, seconds: float) -> None:
        self.note()
        self.clock.now += seconds

    def note(self) -> None:
        """Remember what is the case until now."""
        if self.store.failure:
            self.denied_at = self.clock.now
        elif not (token := self.store.tokens.get("acme")):
            self.gone_at = self.clock.now
        elif claims(token)["exp"] <= self.clock.now:
            self.expired_at = self.clock.now

    @rule()
    def look_up(self) -> None:
        self.note()
        now, before = self.clock.now, len(self.store.asked)
        try:
            token = self.tokens["acme"]
        except NoSuchToken:
            assert now - self.gone_at < 1
        except ReadDenied:
            assert now - self.denied_at < 1
        except TokenExpired:
            assert now - self.expired_at < 1
        else:
            assert claims(token)["exp"] > now
            if now - max(self.denied_at, self.expired_at) >= 10:  # seconds between attempts
                assert now - self.replaced_at.get(token, now) < 300
            self.last = token
        asked = len(self.store.asked) - before
        assert asked <= 1
        if asked and self.store.failure:
            assert not self.attempts or now - self.attempts[-1] >= 1
            self.attempts.append(now)

    @precondition(lambda self: self.last)
    @rule()
    def be_refused(self) -> None:
        self.note()
        now, before = self.clock.now, len(self.store.asked)

        newer = self.tokens.reread("acme", self.last)

        assert newer != self.last
        if newer is not None:
            assert claims(newer)["exp"] > now
            assert newer in {*self.replaced_at, self.store.tokens.get("acme")}
        asked = len(self.store.asked) - before
        assert asked <= 1
        if asked:
            assert not self.rereads or now - self.rereads[-1] >= 10
            self.rereads.append(now)


TestConsuming = Consuming.TestCase
TestConsuming.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True
)
