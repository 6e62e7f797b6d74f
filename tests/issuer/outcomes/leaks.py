"""Finds client secrets and access tokens in whatever was said."""

import base64
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

LENGTH = 12  # characters of a signature that are a leak


def leaks(said: str, client_secrets: Iterable[str], access_tokens: Iterable[str]) -> set[str]:
    """Return what was found, in words that don't quote it."""
    found = set()
    for secret in client_secrets:
        found |= {f"client secret, {how}" for how, text in spellings(secret) if text in said}
    words = {said[start : start + LENGTH] for start in range(len(said))}
    for token in access_tokens:
        if token in said:
            found.add("access token, whole")
        if not words.isdisjoint(pieces(token)):
            found.add("access token, part of its signature")
    return found


def spellings(secret: str) -> Iterator[tuple[str, str]]:
    yield "as it is", secret
    yield "percent-encoded", quote(secret, safe="")
    yield "form-encoded", quote_plus(secret)
    for client_id in ("default-id", "sales-id"):
        pair = f"{client_id}:{quote(secret, safe='')}"
        yield "in a Basic header", base64.b64encode(pair.encode()).decode()


def pieces(token: str) -> Iterator[str]:
    """Yield each run of characters of the signature, the last part of a JWT."""
    signature = token.rsplit(".", 1)[-1]
    for start in range(len(signature) - LENGTH + 1):
        yield signature[start : start + LENGTH]
