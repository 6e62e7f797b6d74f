"""Call an API for the tenant in TENANT, with a token that Powertools reads and caches."""

import logging
import os
import re
from typing import Any

import requests
from aws_lambda_powertools.utilities.parameters import SSMProvider
from aws_lambda_powertools.utilities.parameters.exceptions import GetParameterError
from botocore.config import Config
from urllib3.util import parse_url

API = os.environ["API"]
TOKEN = f"/visma/tokens/{os.environ['TENANT']}"
CACHE_SECONDS = int(os.environ["CACHE_SECONDS"])  # 300 at most
TIMEOUT = (5, 30)  # seconds to connect, to answer
NO_PROXY = {"http": ""}  # plain http is for loopback

config = Config(
    connect_timeout=3,  # seconds
    read_timeout=5,
    # reads share a quota with everybody in the account, so some are throttled
    retries={"mode": "standard", "total_max_attempts": 5},
)
ssm = SSMProvider(boto_config=config)
endpoint = parse_url(ssm.client.meta.endpoint_url)
if endpoint.scheme != "https":
    if endpoint.host not in {"127.0.0.1", "localhost"}:
        raise RuntimeError("AWS_ENDPOINT_URL is not https, so a token would be sent in clear text")
    ssm = SSMProvider(boto_config=config.merge(Config(proxies={})))
refused = ""  # the token that the API refused while nobody had another


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Call the path in the event, as in `{"path": "/orders/1"}`."""
    if not event["path"].startswith("/"):
        raise ValueError(f"a path starts with /: {event['path']}")
    return {"status": call(event["path"]).status_code, "path": event["path"]}


def call(path: str) -> requests.Response:
    """Call the API; after a 401, once more if Parameter Store has another token than the cache."""
    global refused  # noqa: PLW0603  kept from one invocation to the next
    token = read_token()
    answer = get(path, token)
    if answer.status_code != requests.codes.unauthorized or token == refused:
        return answer
    try:
        newer = read_token(force_fetch=True)
    except (GetParameterError, ValueError) as error:
        logging.warning("The token could not be read anew: %s", error)  # noqa: LOG015  Lambda's
        return answer
    if newer != token:
        return get(path, newer)
    refused = token
    return answer


def read_token(*, force_fetch: bool = False) -> str:
    """Read the token, from the cache unless `force_fetch`; raises ValueError if it is none."""
    token = str(ssm.get(TOKEN, decrypt=True, max_age=CACHE_SECONDS, force_fetch=force_fetch))
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):  # RFC 6750 §2.1
        raise ValueError(f"{TOKEN} holds no access token")  # requests would quote it
    return token


def get(path: str, token: str) -> requests.Response:
    """Get a path of the API."""

    def bearer(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    # by `auth`, because a ~/.netrc would replace a header
    return requests.get(
        API + path, auth=bearer, timeout=TIMEOUT, allow_redirects=False, proxies=NO_PROXY
    )
