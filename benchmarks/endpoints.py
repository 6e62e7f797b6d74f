"""A token endpoint and AWS APIs on loopback, with latency and a write quota; each is a process.

`python -m benchmarks.endpoints token|aws SETTINGS` prints its URL, and serves until it is killed.
GET / returns the calls as JSON.
"""

import argparse
import asyncio
import base64
import json
import re
import secrets
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs
from uuid import NAMESPACE_DNS, uuid5

import uvicorn

CLIENT = {"client_id": "bench-client", "client_secret": "not-a-real-secret"}
SCOPE = "vismanet_erp_service_api:read"
TENANTS_PATH = "/visma/tenants"
LIFETIME = 3600  # seconds
SIGNATURE_BYTES = 256  # RS256
PAGE_PARAMETERS = 10
PAGE_BYTES = 1 << 20  # of a Scan
FOR_EVER = 3600.0  # seconds

type Receive = Callable[[], Awaitable[dict[str, Any]]]
type Send = Callable[[dict[str, Any]], Awaitable[None]]
type Item = dict[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of both endpoints; with `quota` None, writes are never throttled."""

    tenants: int
    packed: int = 75  # tenants in one parameter, which makes 8 KB
    token_seconds: float = 0.0
    aws_seconds: float = 0.0
    hanging_every: int = 0  # one in so many tenants gets no answer; 0: all get one
    quota: float | None = None  # writes a second, and the size of the token bucket

    @property
    def names(self) -> list[str]:
        """Return the tenants' names."""
        return [f"t{number:05}" for number in range(self.tenants)]

    @property
    def hanging(self) -> set[str]:
        """Return the names of the tenants that get no answer, the first after half of `every`."""
        every = self.hanging_every
        return set(self.names[every // 2 :: every]) if every else set()

    def as_json(self) -> str:
        """Return the settings as the command line expects them."""
        return json.dumps(asdict(self))


def tenant_id(name: str) -> str:
    """Return a UUID that depends on the tenant's name only."""
    return str(uuid5(NAMESPACE_DNS, name))


class Refused(Exception):
    """An answer of an AWS API that is an error; `code` is AWS's."""

    def __init__(self, code: str) -> None:
        self.code = code


@dataclass
class Endpoint(ABC):
    """Base of both endpoints; `calls` has operation, monotonic time, outcome and answer's bytes."""

    settings: Settings
    calls: list[tuple[str, float, str, int]] = field(default_factory=list)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request (ASGI 3)."""
        body = b""
        while (event := await receive()).get("more_body") or event.get("body"):
            body += event["body"]
            if not event.get("more_body"):
                break
        if scope["method"] == "GET":
            status, answer = 200, json.dumps(self.calls)
        else:
            status, answer = await self.answer(dict(scope["headers"]), body)
        headers = [(b"content-type", b"application/x-amz-json-1.1")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.encode()})

    @abstractmethod
    async def answer(self, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, str]:
        """Return the status and the body of an answer."""


class TokenEndpoint(Endpoint):
    """Answers each tenant with a token, but for the hanging ones, which get no answer."""

    def __init__(self, settings: Settings) -> None:
        """Compute the tenant_ids that get no answer."""
        super().__init__(settings)
        self._hanging = {tenant_id(name) for name in settings.hanging}
        self._head = _part({"alg": "RS256", "kid": secrets.token_hex(20), "typ": "at+jwt"})

    async def answer(self, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, str]:
        """Return a token after `token_seconds` (RFC 6749 §5.1)."""
        del headers
        asked_for = parse_qs(body.decode())["tenant_id"][0]
        hangs = asked_for in self._hanging
        self.calls.append(("token", time.monotonic(), "hangs" if hangs else "ok", 0))
        await asyncio.sleep(FOR_EVER if hangs else self.settings.token_seconds)
        claims = {
            "iss": "https://connect.visma.com",
            "aud": ["https://api.example"],
            "nbf": int(time.time()),
            "exp": int(time.time()) + LIFETIME,
            "client_id": CLIENT["client_id"],
            "tenant_id": asked_for,
            "scope": [SCOPE],
            "jti": secrets.token_hex(16),
        }
        signature = base64.urlsafe_b64encode(secrets.token_bytes(SIGNATURE_BYTES)).rstrip(b"=")
        token = f"{self._head}.{_part(claims)}.{signature.decode()}"
        members = {"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"}
        return 200, json.dumps(members | {"scope": SCOPE})


def _part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class Aws(Endpoint):
    """Parameter Store, Secrets Manager and DynamoDB, as far as the issuer calls them.

    The conditions of writes are not checked, because only one run writes at a time.
    """

    def __init__(self, settings: Settings) -> None:
        """Make the packed documents of all tenants, and fill the token bucket."""
        super().__init__(settings)
        names, packed = settings.names, settings.packed
        self._documents = [
            _document(number // packed, names[number : number + packed])
            for number in range(0, len(names), packed)
        ]
        self._versions: dict[str, int] = {}
        self._items: dict[str, Item] = {}
        self._saved = settings.quota or 0.0
        self._saved_at = time.monotonic()

    async def answer(self, headers: Mapping[bytes, bytes], body: bytes) -> tuple[int, str]:
        """Return the operation's answer after `aws_seconds`."""
        operation = headers[b"x-amz-target"].decode().rpartition(".")[2]
        at = time.monotonic()
        await asyncio.sleep(self.settings.aws_seconds)
        try:
            answer = getattr(self, f"_{operation}")(json.loads(body))
        except Refused as refused:
            self.calls.append((operation, at, refused.code, 0))
            return 400, json.dumps({"__type": refused.code, "message": "Rate exceeded"})
        text = json.dumps(answer)
        self.calls.append((operation, at, "ok", len(text)))
        return 200, text

    def _PutParameter(self, request: dict[str, Any]) -> object:  # noqa: N802  as AWS names them
        self._take_from_quota()
        version = self._versions[request["Name"]] = self._versions.get(request["Name"], 0) + 1
        return {"Version": version, "Tier": "Standard"}

    def _take_from_quota(self) -> None:
        """Remove one write from the token bucket; raises Refused if it is empty."""
        quota, now = self.settings.quota, time.monotonic()
        if quota is None:
            return
        self._saved = min(quota, self._saved + (now - self._saved_at) * quota)
        self._saved_at = now
        if self._saved < 1:
            raise Refused("ThrottlingException")
        self._saved -= 1

    def _GetParametersByPath(self, request: dict[str, Any]) -> object:  # noqa: N802
        first = int(request.get("NextToken", 0))
        after = first + PAGE_PARAMETERS
        more = {"NextToken": str(after)} if after < len(self._documents) else {}
        return {"Parameters": self._documents[first:after]} | more

    def _GetParameter(self, request: dict[str, Any]) -> object:  # noqa: N802
        return {"Parameter": _parameter(request["Name"], secrets.token_hex(450), 1)}

    def _GetParameters(self, request: dict[str, Any]) -> object:  # noqa: N802
        there = [name for name in request["Names"] if name in self._versions]
        value = secrets.token_hex(450)  # as long as an encrypted token
        return {
            "Parameters": [_parameter(name, value, self._versions[name]) for name in there],
            "InvalidParameters": sorted(set(request["Names"]) - set(there)),
        }

    def _GetSecretValue(self, request: dict[str, Any]) -> object:  # noqa: N802
        return {"Name": request["SecretId"], "VersionId": "1", "SecretString": json.dumps(CLIENT)}

    def _DescribeSecret(self, request: dict[str, Any]) -> object:  # noqa: N802
        return {"Name": request["SecretId"], "VersionIdsToStages": {"1": ["AWSCURRENT"]}}

    def _Scan(self, request: dict[str, Any]) -> object:  # noqa: N802
        keys = list(self._items)
        start = request.get("ExclusiveStartKey")
        first = keys.index(start["key"]["S"]) + 1 if start else 0
        page: list[Item] = []
        size = 0
        for key in keys[first:]:
            page.append(self._items[key])
            size += _size(self._items[key])
            if size >= PAGE_BYTES:
                break
        answer: dict[str, Any] = {"Items": page, "Count": len(page), "ScannedCount": len(page)}
        if first + len(page) < len(keys):
            answer["LastEvaluatedKey"] = {"key": page[-1]["key"]}
        return answer

    def _UpdateItem(self, request: dict[str, Any]) -> object:  # noqa: N802
        key, update = request["Key"]["key"]["S"], request["UpdateExpression"]
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        item = self._items.setdefault(key, {"key": {"S": key}})
        setting, _, removing = update.partition("REMOVE ")
        for name, value in re.findall(r"(#\w+) = (:\w+)", setting):
            item[names[name]] = values[value]
        for name in re.findall(r"#\w+", removing):
            item.pop(names[name], None)
        return {}

    def _DeleteItem(self, request: dict[str, Any]) -> object:  # noqa: N802
        self._items.pop(request["Key"]["key"]["S"], None)
        return {}


def _document(number: int, names: list[str]) -> dict[str, Any]:
    tenants = {name: {"tenant_id": tenant_id(name), "scope": SCOPE} for name in names}
    text = json.dumps({"tenants": tenants}, separators=(",", ":"))
    return _parameter(f"{TENANTS_PATH}/packed-{number}", text, 1, kind="String")


def _parameter(
    name: str, value: str, version: int, *, kind: str = "SecureString"
) -> dict[str, Any]:
    return {
        "ARN": f"arn:aws:ssm:eu-north-1:123456789012:parameter{name}",
        "DataType": "text",
        "LastModifiedDate": 1795478400.0,
        "Name": name,
        "Type": kind,
        "Value": value,
        "Version": version,
    }


def _size(value: Any) -> int:  # noqa: ANN401  an item, or a part of one
    """Return the size in bytes of names and values, about as DynamoDB counts it."""
    if isinstance(value, dict):
        return sum(len(name) + _size(part) for name, part in value.items())
    return len(str(value).encode())


def main() -> None:
    """Serve one of the two endpoints until the process is killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.endpoints", description=__doc__)
    parser.add_argument("kind", choices=("token", "aws"))
    parser.add_argument("settings", type=json.loads, help='JSON, for instance {"tenants": 600}')
    arguments = parser.parse_args()
    kind = TokenEndpoint if arguments.kind == "token" else Aws
    config = uvicorn.Config(
        kind(Settings(**arguments.settings)),
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=0,
        timeout_keep_alive=600,  # seconds; longer than a run waits between calls
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)  # noqa: T201  its answer
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
