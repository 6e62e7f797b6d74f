"""Edits of texts leave everything else as it is, byte for byte."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from token_issuer.errors import DocumentInvalid
from visma_tokens_cli.documents import (
    document_in,
    drop_document,
    drop_member,
    edit_document,
    put_document,
    put_member,
    to_json,
)

SPACE = st.text(" \t\n\r", max_size=3)
NEW = {"scope": "new"}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True, kw_only=True)
class Written:
    """A member as somebody has written it: spaces, name and value, spaces."""

    name: str
    before: str
    middle: str
    value: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.before}{self.middle}{self.value}{self.after}"


@st.composite
def written(draw: st.DrawFn, name: str) -> Written:
    characters = (
        f"\\u{ord(one):04x}"
        if ord(one) < 0x10000 and draw(st.booleans())
        else json.dumps(one)[1:-1]
        for one in name
    )
    value = json.dumps(
        draw(VALUES), ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from((None, 2)))
    )
    return Written(
        name=name,
        before=draw(SPACE),
        middle=f'"{"".join(characters)}"{draw(SPACE)}:{draw(SPACE)}',
        value=value,
        after=draw(SPACE),
    )


@st.composite
def packed(draw: st.DrawFn) -> tuple[str, list[Written], str]:
    """Return head, members and tail of the text of a packed parameter."""
    names = draw(st.lists(st.text().filter(lambda name: name != "new"), unique=True, max_size=4))
    [tenants] = [draw(written("tenants"))]
    head = f"{draw(SPACE)}{{{tenants.before}{tenants.middle}{{"
    tail = f"}}{tenants.after}}}{draw(SPACE)}"
    return head, [draw(written(name)) for name in names], tail


def joined(members: list[Written]) -> str:
    return ",".join(one.text for one in members)


@given(packed())
def test_a_tenant_is_added_behind_the_last_one(text: tuple[str, list[Written], str]) -> None:
    head, members, tail = text
    before = f"{head}{joined(members)}{tail}"

    after = put_document(before, "new", NEW)

    kept = joined(members)[: -len(members[-1].after) or None] if members else ""
    assert after.startswith(f"{head}{kept}")
    assert after.endswith(f"{members[-1].after if members else ''}{tail}")
    tenants = json.loads(before)["tenants"]
    assert list(json.loads(after)["tenants"].items()) == [*tenants.items(), ("new", NEW)]
    assert len(after) <= len(before) + len(', "new": {"scope": "new"}') + 3
    assert drop_document(after, "new") == before


@given(packed(), st.data())
def test_a_tenant_is_taken_out_with_one_comma(
    text: tuple[str, list[Written], str], data: st.DataObject
) -> None:
    head, members, tail = text
    names = [one.name for one in members]
    name = data.draw(st.sampled_from([*names, "new"]))
    end = members[-1].after if names[-1:] == [name] else ""

    after = drop_document(f"{head}{joined(members)}{tail}", name)

    assert after == f"{head}{joined([one for one in members if one.name != name])}{end}{tail}"


@given(packed(), st.data())
def test_a_tenant_is_replaced_where_it_is(
    text: tuple[str, list[Written], str], data: st.DataObject
) -> None:
    head, members, tail = text
    if not members:
        return
    number = data.draw(st.integers(0, len(members) - 1))
    one = members[number]
    texts = [member.text for member in members]
    texts[number] = f'{one.before}{one.middle}{{"scope": "new"}}{one.after}'

    after = put_document(f"{head}{joined(members)}{tail}", one.name, NEW)

    assert after == f"{head}{','.join(texts)}{tail}"
    assert document_in(after, one.name) == NEW


@pytest.mark.parametrize(
    ("text", "after"),
    [
        pytest.param(
            '{"tenants": {"a": {"scope":  "x" , "note": "n"}, "b": {"scope": ""}}}',
            '{"tenants": {"a": {"scope":  "y", "enabled": false }, "b": {"scope": ""}}}',
            id="packed",
        ),
        pytest.param(
            '{\n  "note": "n",\n  "scope": "x"\n}',
            '{\n  "scope": "y",\n  "enabled": false\n}',
            id="its own",
        ),
        pytest.param('{"scope": "x"}', '{"scope": "y", "enabled": false}', id="one member"),
    ],
)
def test_members_of_a_tenant_are_set_and_the_others_stay(text: str, after: str) -> None:
    changes = {"note": None, "scope": "y", "enabled": False}

    assert edit_document(text, "a", changes) == after


def test_new_members_are_written_as_the_last_one_is() -> None:
    assert put_member('{\n  "a": 1\n}', "b", "2") == '{\n  "a": 1,\n  "b": 2\n}'
    assert put_member('{"a": 1}', "b", "2") == '{"a": 1, "b": 2}'
    assert put_member("{\n}", "b", "2") == '{\n"b": 2\n}'
    assert put_member("{}", "b", "2") == '{"b": 2}'


@pytest.mark.parametrize(
    "text", ['{"a": 1, "b": 2, "a": 3}', r'{"a": 1, "\u0061": 1}'], ids=["plain", "escaped"]
)
def test_a_name_that_is_in_it_twice_is_refused(text: str) -> None:
    with pytest.raises(DocumentInvalid, match="a is in it twice"):
        put_member(text, "a", "4")
    with pytest.raises(DocumentInvalid, match="a is in it twice"):
        drop_member(text, "a")


@given(st.recursive(st.text(), lambda inner: st.dictionaries(st.text('{}\\"a'), inner)))
def test_no_text_has_double_braces_or_what_is_not_unicode(value: object) -> None:
    text = to_json({"note": value, "{{": "\ud800"})

    assert "{{" not in text
    assert text.encode()
    assert json.loads(text) == {"note": value, "{{": "\ud800"}


def test_a_note_stays_readable() -> None:
    assert to_json("Kjøpmann på Bislett") == '"Kjøpmann på Bislett"'
