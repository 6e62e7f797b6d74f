"""An API on loopback that checks tokens as Visma's APIs do: by signature, expiry and tenant."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import requests
from flask import Flask, Response, jsonify, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

TAKEN = "taken"
EXPIRED = "expired"
OTHERS = "of another tenant"
REVOKED = "revoked"
FOREIGN = "not by this authorization server"
UNAUTHORIZED = 401  # RFC 6750 §3.1
STATUS = {TAKEN: 200, OTHERS: 403}
TIMEOUT = (3.05, 10.0)  # seconds to connect, to answer


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call and the verdict on its token, without the token."""

    caller: str
    tenant_id: str
    verdict: str
    jti: str | None
    age: float  # of the token, in seconds
    left: float  # until it expires; negative once it has
    during: str  # what a test had broken at that time


class Api:
    """The API's state: it judges tokens and records each call."""

    def __init__(self, issuer: str, now: Callable[[], float] = time.time) -> None:
        """Keep the URL of the authorization server, `issuer`; the first call reads its keys."""
        self.issuer = issuer
        self.now = now
        self.url = ""
        self.calls: list[Call] = []
        self.revoked: set[str] = set()  # the `jti` of tokens to refuse
        self.during = ""  # what a test has broken now
        self._keys: KeySet | None = None

    def judge(self, token: str, *, caller: str, tenant_id: str) -> Call:
        """Decide whether a token is valid for a company now, and record the call."""
        now = self.now()
        try:
            claims = jwt.decode(token, self._read_keys(), algorithms=["RS256"]).claims
        except (JoseError, ValueError):
            claims = {}
        call = Call(
            caller=caller,
            tenant_id=tenant_id,
            verdict=self._verdict(claims, tenant_id, now),
            jti=claims.get("jti"),
            age=now - claims.get("nbf", now),
            left=claims.get("exp", now) - now,
            during=self.during,
        )
        self.calls.append(call)
        return call

    def _verdict(self, claims: dict[str, Any], tenant_id: str, now: float) -> str:
        if claims.get("iss") != self.issuer:
            return FOREIGN
        if claims["exp"] <= now:
            return EXPIRED
        if claims.get("tenant_id") != tenant_id:
            return OTHERS
        return REVOKED if claims["jti"] in self.revoked else TAKEN

    def _read_keys(self) -> KeySet:
        if self._keys is None:
            with requests.Session() as session:
                session.trust_env = False  # no proxy for loopback
                answer = session.get(
                    f"{self.issuer}/.well-known/openid-configuration/jwks", timeout=TIMEOUT
                )
            self._keys = KeySet.import_key_set(answer.json())
        return self._keys


def counts(calls: Iterable[Call]) -> dict[str, dict[str, int]]:
    """Return how many calls each caller made, by verdict."""
    counted: dict[str, Counter[str]] = {}
    for call in calls:
        counted.setdefault(call.caller, Counter())[call.verdict] += 1
    return {caller: dict(verdicts) for caller, verdicts in counted.items()}


def make_app(api: Api) -> Flask:
    """Return the app with /CALLER/companies/TENANT_ID/orders, and /counts by caller and verdict."""
    app = Flask(__name__)

    @app.get("/<caller>/companies/<tenant_id>/orders")
    def orders(caller: str, tenant_id: str) -> Response:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        call = api.judge(token if scheme == "Bearer" else "", caller=caller, tenant_id=tenant_id)
        status = STATUS.get(call.verdict, UNAUTHORIZED)
        answer = jsonify({"orders": []} if call.verdict == TAKEN else {"error": call.verdict})
        answer.status_code = status
        if status == UNAUTHORIZED:
            answer.headers["WWW-Authenticate"] = 'Bearer error="invalid_token"'
        return answer

    @app.get("/counts")
    def count() -> Response:
        return jsonify(counts(api.calls))

    return app
