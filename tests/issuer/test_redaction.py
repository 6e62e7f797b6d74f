"""What may be shown of another party's text: printable, short, and nothing of a secret."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_issuer.redaction import PIECE, Quoted, outgoing, quote, scrub

TEXTS = st.text(st.characters(), max_size=80)  # half characters too
SECRETS = st.text(st.sampled_from(string.ascii_letters + string.digits), min_size=PIECE)


@given(text=TEXTS, length=st.integers(1, 60))
def test_a_quotation_prints_and_is_no_longer_than_it_may_be(text: str, length: int) -> None:
    quoted = quote(text, length)

    assert quoted.isprintable()
    assert len(quoted) <= length
    assert quote(quoted, length) == quoted
    quoted.encode()


@given(text=TEXTS.filter(str.isprintable))
def test_what_prints_stays_as_it_is(text: str) -> None:
    assert quote(text, 80) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("a\x1b[2Jb", r"a\x1b[2Jb", id="an escape of a terminal"),
        pytest.param("a\nb\rc\x00", r"a\nb\rc\x00", id="control characters"),
        pytest.param("acme\u202etxt", r"acme\u202etxt", id="a mark from right to left"),
        pytest.param("a\u2028b\u200b", r"a\u2028b\u200b", id="a line separator and no width"),
        pytest.param("\ud83d", r"\ud83d", id="half a character"),
        pytest.param("blåbær 😀", "blåbær 😀", id="letters of other languages"),
    ],
)
def test_characters_that_a_terminal_obeys_are_escaped(text: str, shown: str) -> None:
    assert quote(text) == shown


@given(secret=SECRETS, before=TEXTS, after=TEXTS, data=st.data())
def test_no_twelve_letters_of_a_secret_are_shown(
    secret: str, before: str, after: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(secret) - PIECE))
    piece = secret[start : start + PIECE]

    shown = scrub(f"{before} {piece} {after}", [secret], 500)

    assert shown == "[withheld: it quotes a secret]"


@pytest.mark.parametrize("start", range(4))
def test_neither_the_first_nor_the_last_letters_of_a_secret_are_shown(start: int) -> None:
    secret = "onlyplainletter"

    assert scrub(secret[start : start + PIECE], [secret], 500).startswith("[withheld")


def test_fewer_letters_than_that_may_be_anybodys() -> None:
    assert scrub("plain", ["onlyplainletters"], 500) == "plain"


def test_a_short_secret_is_withheld_whole() -> None:
    assert scrub("got hunter", ["hunter"], 500).startswith("[withheld")


TENANT_ID = "0b9c1f4e-52e0-46c7-b684-df894d4b8a5b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("got 115 51 99, 114 51", "got 115 51 99, […] […]", id="its bytes"),
        pytest.param("[115, 51, 99, 114, 51]", "[…] 51, 99, 114, […]", id="its bytes as a list"),
        pytest.param(f"token {TENANT_ID[::-1]}", "token […]", id="a UUID"),
        pytest.param("thisisatokenoflettersalone", "[…]", id="a long word"),
        pytest.param("a-b-c-d-e-f-g-h", "[…]", id="a word of many parts"),
        pytest.param(f"'{TENANT_ID.upper()}'.", f"'{TENANT_ID.upper()}'.", id="a word we know"),
        pytest.param(
            "error 7000 in 15 minutes: 401", "error 7000 in 15 minutes: 401", id="numbers"
        ),
        pytest.param(
            "business-graphql-service-api:access-group-based",
            "business-graphql-service-api:access-group-based",
            id="a scope",
        ),
    ],
)
def test_words_that_may_be_somebodys_token_or_secret_are_not_shown(text: str, shown: str) -> None:
    assert scrub(text, [], 500, TENANT_ID) == shown


@given(text=TEXTS, secret=SECRETS)
def test_what_is_scrubbed_prints_and_is_cut(text: str, secret: str) -> None:
    shown = scrub(text, [secret], 40)

    assert isinstance(shown, Quoted)
    assert shown.isprintable()
    assert len(shown) <= 40


def test_the_texts_of_a_line_are_quoted_and_nothing_else_is_changed() -> None:
    fields = outgoing({"detail": "a\nb" * 1000, "tenants": 3, "code": None})

    assert isinstance(fields["detail"], Quoted)
    assert len(fields["detail"]) == 500
    assert fields | {"detail": ""} == {"detail": "", "tenants": 3, "code": None}
