"""Text of another party → Quoted: the part of it that may be shown, stored and sent."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from string import punctuation

DETAIL_CHARACTERS = 500  # of a failure's detail, in logs, events, the ledger and the report
PIECE = 12  # letters and digits of a secret that are not shown
NO_LETTER = re.compile(r"[\W_]")
READ_CHARACTERS = 1000  # of a text of theirs: nobody is shown what comes after them
WITHHELD = "[withheld: it quotes a secret]"
# letters as people write them (scopes too), a short number, or a few signs
PLAIN_WORD = re.compile(
    r"[\"'(]*([A-Za-z]?[a-z]{1,20}([._:/'-][a-z]{1,20}){0,6}|[A-Z]{1,5}|(?P<number>[0-9]{1,4}))"
    r"[\"').,:;!?]*|[!-/:-@\[-`{-~]{1,5}"
)
MOST_NUMBERS = 3  # of a text: more could be the characters of a secret


class Quoted(str):
    """Text that `quote` or `scrub` has made printable and short, or that is known to be so."""

    __slots__ = ()


def quote(text: str, length: int = DETAIL_CHARACTERS) -> Quoted:
    """Return text, escaped and cut; what was quoted before stays as it is."""
    if not text.isprintable():
        text = "".join(map(_escaped, text[: length + 1]))
    return Quoted(text if len(text) <= length else f"{text[: length - 1]}…")


def shown(time: datetime) -> Quoted:
    """Return a time for people, in UTC."""
    return Quoted(f"{time:%Y-%m-%dT%H:%M:%SZ}")


def outgoing(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a line or an event, each text of them quoted."""
    return {name: quote(one) if isinstance(one, str) else one for name, one in fields.items()}


def _escaped(character: str) -> str:
    r"""Return `\x1b` for an escape: a terminal obeys some characters, and UTF-8 has no halves."""
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def scrub(text: str, secrets: Iterable[str], length: int, known: str = "") -> Quoted:
    """Return the words of a server that can be no secret, and none of them where they quote one."""
    text = text[:READ_CHARACTERS]
    return Quoted(WITHHELD) if quotes_secret(text, secrets) else plain_words(text, length, known)


def plain_words(text: str, length: int, known: str = "") -> Quoted:
    """Return the words that can be no secret, and a mark in place of each other word.

    `known` is a word that may be shown too.
    """
    words, numbers = [], 0
    for word in text.split():
        plain = PLAIN_WORD.fullmatch(word)
        numbers += bool(plain and plain["number"])
        is_shown = plain and (not plain["number"] or numbers <= MOST_NUMBERS)
        if is_shown or (known and word.strip(punctuation).lower() == known.lower()):
            words.append(word)
        else:
            words.append("[…]")
    return quote(" ".join(words), length)


def quotes_secret(text: str, secrets: Iterable[str]) -> bool:
    """Return True if a secret, or 12 letters of one, are in the text, however it is spelled."""
    bare = _bare(text)
    return any(
        secret in text or any(piece in bare for piece in _pieces(_bare(secret)))
        for secret in secrets
    )


def _pieces(bare: str) -> Iterator[str]:
    """Yield each run of 12 characters, or the whole where it is shorter."""
    for start in range(max(1, len(bare) - PIECE + 1) if bare else 0):
        yield bare[start : start + PIECE]


def _bare(text: str) -> str:
    """Return letters and digits only, in lower case: quoting and escaping change the rest."""
    return NO_LETTER.sub("", text).lower()
