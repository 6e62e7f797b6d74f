"""JSON of all kinds, as people and programs write it."""

import json
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

# letters that terminals obey, that stand for digits elsewhere, that UTF-8 can't spell
ODD_TEXTS = ["", " ", "\u001b[2J", "\u202eabc", "\u0660", "\ud83d", "\x00", "a" * 70, "é", "\n"]

texts = st.sampled_from(ODD_TEXTS) | st.text(st.characters(), max_size=20)
scalars = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1.5, 10**400, float("nan"), float("inf"), ""]),
    st.integers(),
    texts,
)
values: st.SearchStrategy[Any] = st.one_of(
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(texts, scalars, max_size=3),
    st.just([[[[{}]]]]),
)


def objects(known: dict[str, list[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects of which most members are as they should be, and some aren't."""
    members = st.lists(
        st.sampled_from(sorted(known)).flatmap(
            lambda name: st.tuples(st.just(name), st.sampled_from(known[name]) | values)
        ),
        max_size=len(known),
    )
    others = st.none() | st.tuples(texts, values)
    return st.builds(
        lambda some, other: dict([*some, *([other] if other else [])]), members, others
    )


def spelled(what: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Return the JSON of values: most of it whole, some of it broken or with a member twice."""

    def spell(value: Any, way: int, at: int) -> str:  # noqa: ANN401  of JSON
        text = json.dumps(value, ensure_ascii=way % 2 == 0)
        ways: dict[int, Callable[[], str]] = {
            10: lambda: text[: at % (len(text) + 1)],
            11: lambda: text.replace(":", ":" * (at % 3 + 1), 1),
            12: lambda: f"\ufeff{text}",
            13: lambda: text.replace("{", f"{{{text[1:-1]},", 1),  # each member twice
            14: lambda: "[" * at + text,
            15: lambda: text.replace("1", "1" * at * 5),
        }
        return ways.get(way, lambda: text)()

    return st.builds(spell, what, st.integers(0, 15), st.integers(0, 1500))
