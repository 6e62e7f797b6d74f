"""A plan brings the tenants in line with a file, and no tenant is without a document meanwhile."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.cli.conftest import PATH, Shelf, documents_of, refused
from tests.helpers.applying import DENIED, before, fail, make_stack
from tests.helpers.invoked import NOTHING, failed_run
from tests.helpers.tenants import A, Issuer
from visma_tokens_cli.apply import apply_plan, apply_tenants, render
from visma_tokens_cli.exit_codes import CANT, NOT_WELL, WELL
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.plan import ALONE, PACKED_BYTES, Action, Plan, plan
from visma_tokens_cli.store import Store
from visma_tokens_cli.tenants_file import read_file

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

B: dict[str, object] = {"scope": "b"}
SCOPE_WORDS = "scope must be a text: scopes with one space between them"
NAMES = ("acme", "globex", "hooli", "initech", "packed-001", "umbrella")
DOCUMENTS = st.fixed_dictionaries(
    {"scope": st.sampled_from(("", "a", "b"))},
    optional={
        "tenant_id": st.sampled_from(("1", "2")),
        "client": st.sampled_from(("default", "other")),
        "enabled": st.booleans(),
        "note": st.text(max_size=5),
    },
)
BROKEN: st.SearchStrategy[Any] = st.sampled_from(({"scope": "a", "scopes": "b"}, {}, [], None))


def pack(**tenants: object) -> str:
    return json.dumps({"tenants": tenants})


def after(texts: dict[str, str], planned: Plan, writes: int | None = None) -> dict[str, str]:
    """Return the texts after so many of the writes."""
    texts = dict(texts)
    for write in planned.writes[:writes]:
        name = write.name.removeprefix(f"{PATH}/")
        if write.text is None:
            del texts[name]
        else:
            texts[name] = write.text
    return texts


def documented(texts: dict[str, str]) -> dict[str, Any]:
    """Return each tenant's document, with what it means where it says nothing."""
    found = documents_of(texts)
    assert not any(error.code == "twice" for error in found.configuration.invalid.values())
    defaults = {"client": "default", "enabled": True}
    documents: dict[str, Any] = {}
    for name, text in texts.items():
        content = json.loads(text)
        documents |= content.get("tenants", {name: content})
    return {
        name: defaults | document if isinstance(document, dict) else document
        for name, document in documents.items()
    }


@st.composite
def configured(draw: st.DrawFn) -> dict[str, str]:
    """Return texts: some tenants have a parameter of their own, others are packed."""
    held = draw(st.dictionaries(st.sampled_from(NAMES), DOCUMENTS | BROKEN))
    homes = {name: draw(st.sampled_from((name, "many", "packed-002"))) for name in held}
    texts = {}
    for home in sorted(set(homes.values())):
        tenants = {name: held[name] for name in held if homes[name] == home}
        is_own = [*tenants] == [home] and isinstance(held[home], dict)
        content = held[home] if is_own else {"tenants": tenants}
        texts[home] = json.dumps(content, indent=draw(st.sampled_from((None, 2))))
    return texts


@given(configured(), st.dictionaries(st.sampled_from(NAMES), DOCUMENTS, min_size=1))
def test_who_is_and_will_be_configured_is_so_after_each_write(
    texts: dict[str, str], wanted: dict[str, dict[str, object]]
) -> None:
    try:
        planned = plan(documents_of(texts), wanted)
    except CommandFailed:
        assert wanted.keys() & texts.keys()  # a new one has the name of a packed parameter
        return

    for writes in range(len(planned.writes)):
        assert documented(after(texts, planned, writes)).keys() >= wanted.keys() & documented(texts)
    done = after(texts, planned)
    expected = {"client": "default", "enabled": True}
    assert documented(done) == {name: expected | one for name, one in wanted.items()}
    assert not documents_of(done).configuration.invalid
    assert not plan(documents_of(done), wanted).changes
    assert not plan(documents_of(done), wanted).writes


@given(configured(), st.dictionaries(st.sampled_from(NAMES), DOCUMENTS, min_size=1), st.data())
def test_a_plan_after_an_interrupted_one_finishes_it(
    texts: dict[str, str], wanted: dict[str, dict[str, object]], data: st.DataObject
) -> None:
    try:
        planned = plan(documents_of(texts), wanted)
    except CommandFailed:
        return
    interrupted = after(texts, planned, data.draw(st.integers(0, len(planned.writes))))

    again = plan(documents_of(interrupted), wanted)

    assert after(interrupted, again) == after(texts, planned)


def test_many_are_packed_into_parameters_that_cost_nothing() -> None:
    wanted = {f"tenant-{number}": {"scope": "a"} for number in range(ALONE + 1)}

    planned = plan(documents_of({}), wanted)

    texts = after({}, planned)
    assert sorted(texts) == [f"packed-{number:03}" for number in range(1, len(texts) + 1)]
    assert all(len(text.encode()) <= PACKED_BYTES for text in texts.values())
    assert len(texts) <= 2 + sum(map(len, texts.values())) / PACKED_BYTES
    assert documented(texts).keys() == wanted.keys()


def test_few_have_a_parameter_each() -> None:
    wanted = {f"tenant-{number}": {"scope": "a"} for number in range(ALONE)}

    assert len(plan(documents_of({}), wanted).writes) == ALONE


def test_new_ones_go_where_there_is_room_and_nobody_moves() -> None:
    own = {f"tenant-{number}": json.dumps(A) for number in range(ALONE)}
    texts = own | {"packed-001": pack(acme=A), "packed-003": pack(globex=A), "mine": pack(hooli=A)}
    wanted = dict.fromkeys((*own, "acme", "globex", "hooli", "umbrella"), A)

    planned = plan(documents_of(texts), wanted)

    [write] = planned.writes
    assert (write.name, write.text) == (f"{PATH}/packed-001", pack(acme=A, umbrella=A))


def test_a_tenant_that_is_called_like_a_packed_parameter_keeps_its_own() -> None:
    own = {f"tenant-{number}": json.dumps(A) for number in range(ALONE)}
    texts = own | {"packed-001": json.dumps(A)}

    planned = plan(documents_of(texts), dict.fromkeys((*texts, "umbrella"), A))

    assert [one.name for one in planned.writes] == [f"{PATH}/packed-002"]


def test_a_long_note_is_alone_in_a_parameter() -> None:
    wanted: dict[str, dict[str, object]] = {f"t{number}": A for number in range(ALONE)}
    wanted["long"] = {"scope": "", "note": "n" * PACKED_BYTES}

    texts = after({}, plan(documents_of({}), wanted))

    assert [[*json.loads(one)["tenants"]] for one in texts.values() if "long" in one] == [["long"]]


def test_a_parameter_that_has_become_empty_is_deleted_last_if_it_is_ours() -> None:
    texts = {"many": pack(acme=A), "packed-001": pack(hooli=A), "packed-002": pack()}

    planned = plan(documents_of(texts), {"globex": A})

    assert after(texts, planned) == {"many": pack(), "globex": json.dumps(A)}
    assert [one.text is None for one in planned.writes] == [False, False, True, True]


def test_a_parameter_that_has_become_empty_is_filled_again() -> None:
    texts = {"packed-001": pack(gone=A)}
    wanted = {f"tenant-{number}": A for number in range(ALONE + 1)}

    assert "tenant-0" in after(texts, plan(documents_of(texts), wanted))["packed-001"]


def test_a_tenant_takes_nobodys_place() -> None:
    with refused(f"{PATH}/many holds other tenants"):
        plan(documents_of({"many": pack(acme=A)}), {"acme": A, "many": A})


def test_what_does_not_fit_is_refused_before_anything_is_written() -> None:
    texts = {"many": pack(acme=A | {"note": "n" * 8000}, globex=A)}
    wanted = {"acme": A | {"note": "n" * 8000}, "globex": A | {"note": "n" * 200}}

    with refused("many would have"):
        plan(documents_of(texts), wanted)


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        pytest.param({"acme": "{"}, "acme: it is not JSON", id="not JSON"),
        pytest.param({"old/acme": "{}"}, "not directly under", id="nested"),
        pytest.param({"acme": '{"scope": ""}', "many": pack(acme=A)}, "its own", id="twice"),
        pytest.param(
            {"many": '{"tenants": {"acme": {}, "acme": {}}}'}, "more than once", id="in one"
        ),
        pytest.param({"acme": "{}", "many": pack(acme={})}, "its own", id="twice and bad"),
    ],
)
def test_nothing_is_planned_where_it_cannot_be_told_who_is_configured(
    texts: dict[str, str], words: str
) -> None:
    with refused(words) as caught:
        plan(documents_of(texts), {"globex": A})

    assert caught.value.remedy


def shown(planned: Plan, width: int) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(render(planned))
    return captured.get().splitlines()


def test_a_plan_reads_like_a_diff() -> None:
    texts = {
        "many": pack(acme=A, globex=B | {"note": "n"}, hooli={"scope": 1}),
        "initech": json.dumps(A),
    }
    wanted: dict[str, dict[str, object]] = {
        "acme": A | {"client": "default"},
        "globex": A | {"enabled": False},
        "hooli": A,
        "umbrella": {"tenant_id": "1", "scope": "[red]"},
    }

    assert shown(plan(documents_of(texts), wanted), 200) == [
        '~ globex  enabled true → false, scope "b" → "a", note "n" → none',
        f'~ hooli  (can\'t be used now: {PATH}/many, tenant hooli: {SCOPE_WORDS})  scope "a"',
        '+ umbrella  tenant_id "1", scope "[red]"',
        "- initech",
        "1 to add, 2 to change, 1 to remove, 1 unchanged; parameters to write: 3",
    ]


def test_of_thousands_to_add_the_others_are_not_lost_sight_of() -> None:
    texts = {"acme": json.dumps(A), "initech": json.dumps(A)}
    wanted = {f"new-{number:04}": A for number in range(3000)} | {"acme": B}

    lines = shown(plan(documents_of(texts), wanted), 80)

    assert len(lines) == 40 + 4
    assert [line for line in lines if line[0] != "+"][:2] == [
        '~ acme  scope "a" → "b"',
        "- initech",
    ]
    assert lines[-3:-1] == ["+ … and 2,960 more", "- initech"]
    assert lines[-1].startswith("3,000 to add, 1 to change, 1 to remove")


def test_writes_are_made_in_the_order_of_the_plan(store: Store, shelf: Shelf) -> None:
    shelf.put("acme", json.dumps(A))
    shelf.put("many", pack(globex=A, hooli=A))
    planned = plan(store.read(), {"globex": B, "umbrella": A})

    apply_plan(store, planned)

    assert [one.action for one in planned.changes] == [
        Action.CHANGE,
        Action.ADD,
        Action.REMOVE,
        Action.REMOVE,
    ]
    assert [one.name.removeprefix(f"{PATH}/") for one in planned.writes] == [
        "umbrella",
        "many",
        "acme",
    ]
    assert shelf.texts() == {"many": pack(globex=B), "umbrella": json.dumps(A)}


@pytest.fixture
def three(store: Store, shelf: Shelf) -> Plan:
    """Return a plan of three writes, of which that of hooli is the last."""
    names = ("acme", "globex", "hooli")
    for name in names:
        shelf.put(name, json.dumps(A))
    return plan(store.read(), dict.fromkeys(names, B))


TWO_OF_THREE = "2 of 3 parameters are written; run it again to finish"


def test_what_is_written_already_is_told_where_somebody_else_ends_it(
    three: Plan, store: Store, shelf: Shelf
) -> None:
    shelf.put("hooli", json.dumps(A | {"note": "theirs"}))
    theirs = f"{TWO_OF_THREE}: {PATH}/hooli was changed by somebody else"

    with refused(theirs, NOT_WELL) as caught:
        apply_plan(store, three)

    assert shelf.texts()["hooli"] == json.dumps(A | {"note": "theirs"})
    assert caught.value.remedy.startswith("Theirs stands")


def test_what_is_written_already_is_told_where_aws_ends_it(
    three: Plan, store: Store, ssm: "SSMClient"
) -> None:
    before(ssm, "PutParameter", None, None, fail(DENIED))

    with refused(f"{TWO_OF_THREE}: AWS denies you Put", CANT) as caught:
        apply_plan(store, three)

    assert caught.value.remedy.startswith("Use a role")


@pytest.mark.parametrize("written", [2, 0])
def test_what_is_written_already_is_told_where_it_is_interrupted(
    written: int, three: Plan, store: Store, ssm: "SSMClient", capsys: pytest.CaptureFixture[str]
) -> None:
    before(ssm, "PutParameter", *[None] * written, fail(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        apply_plan(store, three)

    assert capsys.readouterr().err == (f"{TWO_OF_THREE}.\n" if written else "")


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"issued": 1}, WELL), ({"deferred": 1}, NOT_WELL), ({"skipped": True}, NOT_WELL)],
    ids=["well", "deferred", "skipped"],
)
def test_it_is_well_where_the_run_is(
    changes: dict[str, object], code: int, issuer: Issuer, shelf: Shelf
) -> None:
    issuer.answers = [NOTHING | changes]

    found = apply_tenants(
        make_stack(), {"acme": A}, dry_run=False, yes=True, renew=True, as_json=False
    )

    assert found == code
    assert shelf.texts() == {"acme": json.dumps(A)}


def test_a_run_that_fails_leaves_all_written_and_says_so(issuer: Issuer, shelf: Shelf) -> None:
    issuer.answers = [failed_run("LedgerUnreadable", "no ledger")]

    with pytest.raises(CommandFailed, match="All is written; tokens were not issued: The run f"):
        apply_tenants(make_stack(), {"acme": A}, dry_run=False, yes=True, renew=True, as_json=True)

    assert shelf.texts() == {"acme": json.dumps(A)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tenants.toml", '[tenants.acme]\ntenant_id = "1"\nscope = "a"\n'),
        ("TENANTS.TOML", '[tenants.acme]\ntenant_id = "1"\nscope = "a"\n'),
        ("tenants.json", '\ufeff{"tenants": {"acme": {"tenant_id": "1", "scope": "a"}}}'),
    ],
    ids=["TOML", "TOML in capitals", "JSON"],
)
def test_a_file_is_read(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(text)

    assert read_file(file) == {"acme": {"tenant_id": "1", "scope": "a"}}


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("t.toml", "[tenants.acme]\nscope = 1\n[tenants.b]\nscop = 2",
         f"t.toml, tenant acme: {SCOPE_WORDS}\nt.toml, tenant b: unknown members: scop"),
        ("t.toml", "[tenants.acme]\nscope = 2026-01-01", "t.toml, tenant acme: scope must be"),
        ("t.toml", "[tenants.acme\n", "t.toml: it is not TOML: Expected ']'"),
        ("t.toml", "[tenants.a]\n[tenants.a]", "t.toml: it is not TOML: Cannot declare"),
        ("t.toml", '[acme]\nscope = ""', "t.toml: tenants is missing"),
        ("t.toml", "tenants = 1", "t.toml: tenants must be one object"),
        ("t.toml", "[tenants]", "t.toml: there are no tenants in it"),
        ("t.toml", '[tenants."a b"]\nscope = ""', "t.toml, tenant a b: the name must be 1 to 64"),
        ("t.json", '{"tenants": {\n"acme": }}', "t.json: it is not JSON: Expecting value: line 2"),
        ("t.json", '{"tenants": {"a": {"scope": ""}, "a": {"scope": ""}}}', "tenant a is in"),
        ("t.json", '{"tenants": {"a": {"scope": ""}}, "x": 1}', "t.json: unknown members beside"),
        ("t.json", '{"tenants": {"a": {"scope": "", "scop": ""}}}', "a: unknown members: scop"),
        ("t.json", "[]", "t.json: it is not a JSON object"),
        ("t.json", "[" * 100_000, "t.json: it is nested too deeply"),
        ("t.json", "\udcff", "t.json: it is not UTF-8: byte 0"),
    ],
)  # fmt: skip
def test_an_invalid_file_is_refused_with_member_and_place(
    name: str, text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / name
    file.write_bytes(text.encode(errors="surrogateescape"))

    with refused() as caught:
        read_file(file)

    assert complaint in caught.value.detail
    assert caught.value.remedy == "Correct the file; nothing was changed."
