"""Finds client secrets and access tokens in whatever was said."""

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

LENGTH = 12  # characters of a token's signature, or of a secret, that are a leak


def leaks(said: str, client_secrets: Iterable[str], access_tokens: Iterable[str]) -> set[str]:
    """Return what was found, in words that don't quote it."""
    found = set()
    letters = set(windows(bare(said)))
    for secret in client_secrets:
        found |= {f"client secret, {how}" for how, text in spellings(secret) if text in said}
        if not letters.isdisjoint(windows(bare(secret))):
            found.add("client secret, a part of its letters")
    words = set(windows(said))
    for token in access_tokens:
        if token in said:
            found.add("access token, whole")
        if not words.isdisjoint(windows(token.rsplit(".", 1)[-1])):
            found.add("access token, part of its signature")
    return found


def spellings(secret: str) -> Iterator[tuple[str, str]]:
    yield "as it is", secret
    yield "percent-encoded", quote(secret, safe="")
    yield "form-encoded", quote_plus(secret)
    yield "in base64", base64.b64encode(secret.encode()).decode()
    for client_id in ("default-id", "sales-id"):
        pair = f"{client_id}:{quote(secret, safe='')}"
        yield "in a Basic header", base64.b64encode(pair.encode()).decode()


def windows(text: str) -> Iterator[str]:
    for start in range(len(text) - LENGTH + 1):
        yield text[start : start + LENGTH]


def bare(text: str) -> str:
    """Return letters and digits only: quoting and escaping change the rest."""
    return re.sub(r"[\W_]", "", text).lower()
