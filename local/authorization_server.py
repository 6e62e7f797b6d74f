"""An authorization server on loopback that answers as Visma Connect does, built on Authlib."""

import secrets
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Error
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from authlib.oauth2.rfc6749.util import scope_to_list
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from cheroot.server import HTTPConnection
from cheroot.wsgi import Server
from flask import Blueprint, Flask, Response, request
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

SCOPES = (
    "vismanet_erp_service_api:read",
    "visma.net.erp.salesorder:read",
    "business-graphql-service-api:access-group-based",
)
STOP_SECONDS = 0.02
THREADS = 40  # more than a run's concurrency: a fault may block many of them
AUTH_METHODS = {"client_secret_post", "client_secret_basic"}


class InvalidTenantError(OAuth2Error):
    """Visma's own code: the tenant is unknown, or has not granted the application."""

    error = "invalid_tenant"
    status_code = 400


@dataclass
class Client(ClientMixin):
    """An application as the developer portal knows it, and the tenants that have granted it."""

    client_id: str
    client_secrets: set[str] = field(repr=False)
    scopes: tuple[str, ...] = SCOPES
    tenants: set[str] = field(default_factory=set)

    def check_client_secret(self, client_secret: str) -> bool:
        """Compare with each secret that the portal shows as active."""
        return client_secret in self.client_secrets

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        """Accept the methods that Visma Connect's metadata lists."""
        return endpoint == "token" and method in AUTH_METHODS

    def check_grant_type(self, grant_type: str) -> bool:
        """Accept client_credentials only."""
        return grant_type == "client_credentials"

    def get_client_id(self) -> str:
        """Return the client's identifier."""
        return self.client_id

    def get_allowed_scope(self, scope: Collection[str] | str) -> str:
        """Return the requested scopes that the application has; all it has if none is requested."""
        asked = scope_to_list(scope) or self.scopes
        return " ".join(one for one in asked if one in self.scopes)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An answer in place of a token; with `status` None, a token after `seconds`."""

    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Received:
    """A token request as it came in."""

    port: int
    headers: dict[str, str]
    body: bytes = field(repr=False)
    form: dict[str, str] = field(repr=False)


@cache
def _signing_key() -> RSAKey:
    """Return the key that signs tokens; it is made once, because that is slow."""
    return RSAKey.generate_key(2048)


class VismaConnect:
    """The server's state; tests and the demo change it while the server runs."""

    def __init__(self, *, lifetime: int = 3600) -> None:
        """Start without clients; `lifetime` of tokens is in seconds."""
        self.lifetime = lifetime
        self.clients: dict[str, Client] = {}
        self.faults: dict[str | None, Fault] = {}  # by tenant_id; None: everybody
        self.received: list[Received] = []
        self.limit: int | None = None  # requests, after which it answers 429
        self.url = ""
        self._key = _signing_key()

    @property
    def token_endpoint(self) -> str:
        """Return the URL to post to."""
        return f"{self.url}/connect/token"

    def add_client(
        self, client_id: str, client_secret: str, scopes: tuple[str, ...] = SCOPES
    ) -> Client:
        """Register an application."""
        client = Client(client_id, {client_secret}, scopes)
        self.clients[client_id] = client
        return client

    def fault_for(self, tenant_id: str | None) -> Fault:
        """Return the tenant's fault, else the one for all, else a Fault that does nothing."""
        if self.limit is not None and len(self.received) > self.limit:
            return Fault(status=429, headers={"Retry-After": "120"})
        return self.faults.get(tenant_id) or self.faults.get(None) or Fault()

    def access_token(self, *, client: ClientMixin, user: Any, scope: str, **_: object) -> str:  # noqa: ANN401  Authlib's
        """Return a signed JWT with the claims that Visma documents; `user` is the tenant."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": ["https://api.example"],
            "nbf": now,
            "exp": now + self.lifetime,
            "client_id": client.get_client_id(),
            "scope": scope.split(),
            "jti": secrets.token_hex(16),
        }
        if user:
            claims["tenant_id"] = user
        return self.sign(claims)

    def sign(self, claims: dict[str, Any]) -> str:
        """Return a JWT with these claims (RFC 9068)."""
        return jwt.encode({"alg": "RS256", "typ": "at+jwt"}, claims, self._key)

    @property
    def public_keys(self) -> dict[str, Any]:
        """Return what APIs check signatures with (RFC 7517 §5)."""
        return dict(KeySet([self._key]).as_dict(private=False))

    def claims(self, token: str) -> dict[str, Any]:
        """Return a token's claims; raises BadSignatureError for one that was not issued here."""
        return jwt.decode(token, self._key).claims


class TenantGrant(ClientCredentialsGrant):
    """RFC 6749 §4.4 with Visma's tenant_id."""

    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post", "client_secret_basic")

    def validate_token_request(self) -> None:
        """Refuse a tenant that has not granted the application."""
        super().validate_token_request()
        tenant_id = self.request.form.get("tenant_id")
        client = self.request.client
        if tenant_id and isinstance(client, Client) and tenant_id not in client.tenants:
            raise InvalidTenantError("The tenant has not granted the application")

    def create_token_response(self) -> Any:  # noqa: ANN401  Authlib's
        """Issue the token for the tenant as Authlib's user; Authlib's own method passes none."""
        token = self.generate_token(
            user=self.request.form.get("tenant_id"),
            scope=self.request.form.get("scope"),
            include_refresh_token=False,
        )
        return 200, token, self.TOKEN_RESPONSE_HEADER


def make_app(visma_connect: VismaConnect) -> Flask:
    """Return the app: the token endpoint, the public keys, and /local for grants and faults."""
    app = Flask(__name__)
    server = AuthorizationServer(
        app, query_client=visma_connect.clients.get, save_token=lambda _token, _request: None
    )
    server.scopes_supported = list(SCOPES)
    server.register_token_generator(
        "default",
        BearerTokenGenerator(
            visma_connect.access_token, expires_generator=lambda *_: visma_connect.lifetime
        ),
    )
    server.register_grant(TenantGrant)

    @app.post("/connect/token")
    def token() -> Any:  # noqa: ANN401  what Authlib returns
        visma_connect.received.append(
            Received(
                port=int(request.environ["REMOTE_PORT"]),
                headers=dict(request.headers),
                body=request.get_data(cache=True),
                form=request.form.to_dict(),
            )
        )
        fault = visma_connect.fault_for(request.form.get("tenant_id"))
        time.sleep(fault.seconds)
        if fault.status is not None:
            return Response(fault.body, fault.status, fault.headers)
        return server.create_token_response()

    @app.get("/.well-known/openid-configuration/jwks")
    def keys() -> dict[str, Any]:
        return visma_connect.public_keys

    app.register_blueprint(_switches(visma_connect), url_prefix="/local")
    return app


def _switches(visma_connect: VismaConnect) -> Blueprint:
    switches = Blueprint("local", __name__)

    @switches.post("/grants/<tenant_id>")
    def grant(tenant_id: str) -> str:
        for client in visma_connect.clients.values():
            client.tenants.add(tenant_id)
        return "granted\n"

    @switches.delete("/grants/<tenant_id>")
    def withdraw(tenant_id: str) -> str:
        for client in visma_connect.clients.values():
            client.tenants.discard(tenant_id)
        return "withdrawn\n"

    @switches.post("/fault")
    def fail() -> str | tuple[str, int]:
        try:
            status = int(request.form["status"]) if "status" in request.form else None
            seconds = float(request.form.get("seconds", "0"))
        except ValueError:
            return "status and seconds must be numbers\n", 400
        body = request.form.get("body", "").encode()
        visma_connect.faults[None] = Fault(status=status, seconds=seconds, body=body)
        return f"every token request now takes {seconds} s and answers {status or 'well'}\n"

    @switches.delete("/fault")
    def mend() -> str:
        visma_connect.faults.clear()
        return "mended\n"

    return switches


class Connection(HTTPConnection):
    """A connection that ignores the error of flushing to a client that has hung up."""

    def close(self) -> None:
        """Close the connection, and discard what could not be sent."""
        super().close()
        with suppress(OSError, ValueError):
            self.wfile.close()


@contextmanager
def serving_wsgi(app: Any) -> Iterator[str]:  # noqa: ANN401  a WSGI application
    """Serve on a free port of loopback until the block ends, and give the URL."""
    server = Server(("127.0.0.1", 0), app, numthreads=THREADS)
    server.ConnectionClass = Connection
    server.keep_alive_conn_limit = THREADS  # else it closes some of them
    server.expiration_interval = STOP_SECONDS
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.bind_addr[1]}"
    finally:
        server.stop()
        thread.join()


@contextmanager
def serving[Kind: VismaConnect](visma_connect: Kind) -> Iterator[Kind]:
    """Serve it until the block ends; connections are kept open."""
    with serving_wsgi(make_app(visma_connect)) as url:
        visma_connect.url = url
        yield visma_connect
