"""A change of one tenant leaves the others what they were."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.cli.conftest import PATH, refused
from visma_tokens_cli.contents import STANDARD_BYTES, Content, parse_content, to_json

NAME = f"{PATH}/many"
NEW = {"scope": "new"}
ON, OFF = '{"enabled": true}', '{"enabled": false}'
TWICE = '{"enabled": 1, "note": "n", "enabled": true}'
TWICE_OFF = '{"enabled": false, "note": "n", "enabled": false}'
CHANGES: dict[str, Callable[[Content], Content]] = {
    "put": lambda content: content.put("acme", NEW),
    "drop": lambda content: content.drop("acme"),
    "on": lambda content: content.switch("acme", enabled=True),
    "off": lambda content: content.switch("acme", enabled=False),
}
SPACE = st.text(" \t\n\r", max_size=3)
TEXTS = st.text(st.characters(exclude_categories=()))  # halves of a character too
NAMES = st.sampled_from(("acme", "globex", "hooli", "", "{{", "ø\ud800\xa0"))
NUMBERS = st.sampled_from(("1.0", "1e5", "-0.50", "1E-7", "9" * 30, "NaN", "-Infinity"))


@st.composite
def string(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXTS) -> str:
    """Return a string of JSON, in which characters may be escaped that need not be."""
    characters = (
        f"\\u{ord(one):04x}"
        if ord(one) < 0x10000 and draw(st.booleans())
        else json.dumps(one)[1:-1]
        for one in draw(texts)
    )
    return f'"{"".join(characters)}"'


@st.composite
def object_of(
    draw: st.DrawFn, names: st.SearchStrategy[str], values: st.SearchStrategy[str]
) -> str:
    """Return an object of JSON with any space in it, in which a name may be twice."""
    pairs = draw(st.lists(st.tuples(string(names), values), max_size=4))
    members = [f"{draw(SPACE)}{name}{draw(SPACE)}:{draw(SPACE)}{value}" for name, value in pairs]
    return f"{{{','.join(members)}{draw(SPACE)}}}"


DOCUMENTS = st.recursive(
    st.sampled_from(("null", "true", "false"))
    | NUMBERS
    | st.integers().map(str)
    | st.floats().map(json.dumps)
    | string(),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda some: f"[{','.join(some)}]")
        | object_of(st.sampled_from(("enabled", "scope", "note", "x")), inner)
    ),
    max_leaves=6,
)
PACKED = st.tuples(string(st.just("tenants")), object_of(NAMES, DOCUMENTS)).map(
    lambda member: f"{{{member[0]}:\t{member[1]} }}"
)


def siblings(text: str) -> list[Any]:
    """Return all that a text says of others: members in their order, numbers by their value."""
    _, [(_, (_, tenants))] = json.loads(
        text,
        object_pairs_hook=lambda pairs: ("object", pairs),
        parse_int=lambda literal: ("number", int(literal)),
        parse_float=lambda literal: ("number", Decimal(literal)),
        parse_constant=lambda literal: ("number", literal),
    )
    return [(name, document) for name, document in tenants if name != "acme"]


@given(text=PACKED, change=st.sampled_from([*CHANGES.values()]))
@example(text='{"tenants":{"a":{"x":1,"x":1.0,"x":true},"acme":0,"a":1}}', change=CHANGES["on"])
@example(text='{"tenants":{"acme":{},"a":"\\ud800","":1e3}}', change=CHANGES["off"])
def test_the_others_keep_their_values_and_their_order(
    text: str, change: Callable[[Content], Content]
) -> None:
    after = change(parse_content(NAME, text)).text()

    assert siblings(after) == siblings(text)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("literal", ["1e400", "1e-999", "0.1" + "0" * 20 + "1", "1e-" + "9" * 20])
def test_a_number_that_would_become_another_one_is_refused(
    change: Callable[[Content], Content], literal: str
) -> None:
    text = f'{{"tenants": {{"acme": {{}}, "globex": {{"note": [{literal}]}}}}}}'

    with refused(f"{NAME}: a number in it can't be kept") as caught:
        change(parse_content(NAME, text)).text()

    assert caught.value.remedy == "Correct the parameter: no member of a document is a number."


@pytest.mark.parametrize(
    ("change", "tenants"),
    [
        ("put", f'"acme": {to_json(NEW)}, "globex": {{}}, "acme": {to_json(NEW)}'),
        ("drop", '"globex": {}'),
        ("on", f'"acme": {TWICE.replace("1", "true")}, "globex": {{}}, "acme": {ON}'),
        ("off", f'"acme": {TWICE_OFF}, "globex": {{}}, "acme": {OFF}'),
    ],
)
def test_a_tenant_is_changed_wherever_it_is_in_it(change: str, tenants: str) -> None:
    text = f'{{"tenants": {{"acme": {TWICE}, "globex": {{}}, "acme": 7}}}}'

    after = CHANGES[change](parse_content(NAME, text)).text()

    assert after == f'{{"tenants": {{{tenants}}}}}'


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_who_is_not_in_it_yet_is_the_last_one(change: Callable[[Content], Content]) -> None:
    content = parse_content(NAME, '{"tenants": {"globex": {"scope": "b"}}}')

    others = [("globex", {"scope": "b"})]
    added = [("acme", NEW)] if change is CHANGES["put"] else []
    assert [*change(content).documents] == others + added


@pytest.mark.parametrize(
    ("document", "enabled"),
    [('{"enabled": true}', True), ("{}", True), ('{"enabled":false,"enabled":false}', False)],
)
def test_what_says_so_already_is_left_as_it_is(document: str, enabled: bool) -> None:  # noqa: FBT001
    content = parse_content(NAME, f'{{"tenants": {{"acme": {document}}}}}')

    assert content.switch("acme", enabled=enabled) is content


@pytest.mark.parametrize("document", ['{"enabled": 1}', '{"enabled": true, "enabled": 1}'])
def test_what_is_no_boolean_says_nothing(document: str) -> None:
    content = parse_content(NAME, document)

    assert json.loads(content.switch("many", enabled=True).text())["enabled"] is True


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param(
            '{"tenants": {"many": {"scope":  "x" , "note": "n"}, "b": {"scope": ""}}}',
            '{"tenants": {"many": {"scope": "y", "enabled": false}, "b": {"scope": ""}}}',
            id="packed",
        ),
        pytest.param(
            '{\n  "note": "n",\n  "scope": "x"\n}', '{"scope": "y", "enabled": false}', id="its own"
        ),
    ],
)
def test_members_of_a_tenant_are_set_and_the_others_stay(text: str, after: str) -> None:
    changes = {"note": None, "scope": "y", "enabled": False}

    assert parse_content(NAME, text).set_members("many", changes).text() == after


def test_a_tenant_has_a_line_where_there_are_lines() -> None:
    text = '{"tenants": {\n"globex": {"scope": "b",  "note": "n"},\n\n"hooli": {}}}'

    after = parse_content(NAME, text).put("acme", NEW).text()

    assert after.splitlines() == [
        '{"tenants": {',
        '"globex": {"scope": "b", "note": "n"},',
        '"hooli": {},',
        '"acme": {"scope": "new"}}}',
    ]


def test_what_fits_a_parameter_that_is_free_fits_it_after() -> None:
    tenants = {f"tenant-{number}": {"scope": "", "enabled": True} for number in range(102)}
    text = json.dumps({"tenants": tenants}, separators=(",", ":"))
    assert STANDARD_BYTES - 100 < len(text) < len(json.dumps({"tenants": tenants})) - 100

    after = parse_content(NAME, text).switch("tenant-0", enabled=False).text()

    assert after == text.replace("true", "false", 1)


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text('{}\\"a'), inner)))
def test_no_text_has_double_braces_or_what_is_not_unicode(value: object) -> None:
    text = to_json({"note": value, "{{": "\ud800"})

    assert "{{" not in text
    assert text.encode()
    assert text.isprintable()
    assert json.loads(text) == {"note": value, "{{": "\ud800"}


def test_a_note_stays_readable() -> None:
    assert to_json("Kjøpmann på\xa0Bislett") == '"Kjøpmann på\\u00a0Bislett"'
