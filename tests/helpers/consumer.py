"""What a service does with the reader, in the syntax of Python 3.10; run by test_installed.py."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from visma_tokens import NoSuchToken, TokenReader

tokens = TokenReader("/visma/tokens")
assert "requests" not in sys.modules
assert "httpx" not in sys.modules
tokens.prefetch(["acme", "globex"])
with ThreadPoolExecutor(20) as pool:
    assert set(pool.map(lambda _: tokens["acme"], range(100))) == {"one"}
assert asyncio.run(tokens.aread("globex")) == "two"
try:
    print(tokens["nobody"])
except NoSuchToken as error:
    print(error.tenant)

if os.environ.get("API"):
    import httpx
    import requests

    from visma_tokens.httpx import VismaToken
    from visma_tokens.requests import VismaToken as RequestsToken

    url = os.environ["API"]
    session = requests.Session()
    session.auth = RequestsToken("acme", tokens)
    print(session.get(url, timeout=10).status_code, session.post(url, data="x", timeout=10).text)
    session.close()

    async def get() -> int:
        async with httpx.AsyncClient(auth=VismaToken("acme")) as client:
            return (await client.get(url)).status_code

    with httpx.Client(auth=VismaToken("acme", tokens)) as client:
        print(client.post(url, content=b"x").status_code, asyncio.run(get()))
