"""A tenant that is in several parameters is turned off, on and removed, and the issuer obeys."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli.conftest import PATH, Shelf, documents_of, refused
from tests.helpers.any_parameters import (
    ALL_PARAMETERS,
    KNOWN,
    NAMES,
    Parameters,
    issued_for,
    listed,
)
from tests.helpers.invoked import NOTHING
from tests.helpers.tenants import OFF, ON, Issuer, add, disable, enable, remove
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.documents import Tenant
from visma_tokens_cli.documents import MOST_BYTES, parse_documents
from visma_tokens_cli.exit_codes import NOT_WELL, WELL
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.tenant import Writes, plan_removal, plan_switch


def pack(**texts: str) -> str:
    return f'{{"tenants": {{{", ".join(f"{json.dumps(n)}: {t}" for n, t in texts.items())}}}}}'


def configured(shelf: Shelf) -> Configuration:
    """Return what the issuer makes of it, where the tenant had a token from a packed one."""
    texts = [(name, (text, "String")) for name, text in shelf.texts().items()]
    return parse_configuration(
        listed(dict(texts)), PATH, {"acme": issued_for("acme", f"{PATH}/many")}
    )


SEVERAL = {
    "its own and a packed one": {"acme": ON, "many": pack(acme=ON, globex=ON)},
    "its own, and packed ones that disable": {"acme": ON, "many": pack(acme=OFF)},
    "two packed ones": {"many": pack(acme=ON, globex=ON), "more": pack(acme=ON)},
    "three packed ones": {
        "many": pack(acme=ON),
        "more": pack(acme=ON),
        "packed-001": pack(acme=ON),
    },
    "one, twice": {"many": f'{{"tenants": {{"acme": {ON}, "globex": {ON}, "acme": {ON}}}}}'},
    "its own, packed, twice": {"acme": f'{{"tenants": {{"acme": {ON}, "acme": {ON}}}}}'},
    "its own with an unknown member": {"acme": '{"scop": "a"}', "many": pack(acme=ON)},
    "a packed one that is no object": {"many": pack(globex=ON, acme="7")},
    "a packed one with enabled twice": {"many": pack(acme='{"enabled": false, "enabled": true}')},
}


@pytest.mark.parametrize("texts", SEVERAL.values(), ids=SEVERAL)
def test_disable_disables_wherever_the_tenant_is(
    texts: dict[str, str], issuer: Issuer, shelf: Shelf
) -> None:
    shelf.put_all(texts)
    issuer.answers = [NOTHING]

    assert disable() == WELL

    acme = configured(shelf).tenants.get("acme")
    assert acme is None or not acme.enabled
    for name in texts.keys() - {"acme"}:  # whichever decides once the others are gone
        shelf.delete(name) if shelf.texts().keys() - {name} else None
        acme = configured(shelf).tenants.get("acme")
        assert acme is None or not acme.enabled


@pytest.mark.parametrize("texts", SEVERAL.values(), ids=SEVERAL)
def test_remove_takes_the_tenant_out_wherever_it_is(texts: dict[str, str], shelf: Shelf) -> None:
    shelf.put_all(texts)

    assert remove("acme") == WELL

    assert "acme" not in configured(shelf).tenants
    assert '"acme"' not in "".join(shelf.texts().values())
    assert ("globex" in configured(shelf).tenants) is ("globex" in str(texts))


def test_disable_writes_nothing_else(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", f" {ON}\n")
    shelf.put("many", f'{{"tenants": {{"acme" : {ON}, "globex":{ON}, "acme":7}} }}')
    issuer.answers = [NOTHING]

    assert disable() == WELL

    assert shelf.texts() == {
        "acme": OFF,
        "many": f'{{"tenants": {{"acme": {OFF}, "globex": {ON}, "acme": {{"enabled": false}}}}}}',
    }


def test_enable_writes_to_the_tenants_own_parameter_only(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", OFF)
    shelf.put("many", pack(acme=OFF))

    assert enable(issuer) == WELL

    assert shelf.texts() == {"acme": ON, "many": pack(acme=OFF)}
    assert configured(shelf).tenants["acme"].enabled


def test_enable_turns_a_tenant_on_in_each_of_two_packed_parameters(
    issuer: Issuer, shelf: Shelf
) -> None:
    shelf.put("many", pack(acme=OFF))
    shelf.put("more", pack(acme=OFF))

    assert enable(issuer) == WELL

    assert configured(shelf).tenants["acme"].enabled


@pytest.mark.parametrize(
    "texts",
    [
        pytest.param({"acme": '{"scop": "", "enabled": false}', "many": pack(acme=ON)}, id="bad"),
        pytest.param({"acme": "{", "many": pack(acme=ON)}, id="not JSON"),
        pytest.param({"many": f'{{"tenants": {{"acme": {OFF}, "acme": {OFF}}}}}'}, id="twice"),
    ],
)
def test_enable_changes_nothing_where_it_would_not_do(
    texts: dict[str, str], issuer: Issuer, shelf: Shelf
) -> None:
    shelf.put_all(texts)

    with refused() as caught:
        enable(issuer)

    assert caught.value.remedy
    assert shelf.texts() == texts
    assert issuer.sent == []


@pytest.mark.parametrize("texts", SEVERAL.values(), ids=SEVERAL)
def test_add_says_where_a_tenant_is(texts: dict[str, str], issuer: Issuer, shelf: Shelf) -> None:
    shelf.put_all(texts)

    with pytest.raises(CommandFailed, match="acme is configured already, in ") as caught:
        add(issuer)

    assert all(f"{PATH}/{name}" in caught.value.detail for name in texts)
    assert shelf.texts() == texts


def test_a_parameter_that_cannot_be_read_is_not_overwritten(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", "{")
    shelf.put("many", pack(acme=ON))

    with refused(f"{PATH}/acme: it is not JSON"):
        disable()

    assert shelf.texts() == {"acme": "{", "many": pack(acme=ON)}
    assert issuer.sent == []


def test_remove_deletes_the_tenants_own_parameter_though_it_cannot_be_read(shelf: Shelf) -> None:
    shelf.put("acme", "{")
    shelf.put("many", pack(acme=ON, globex=ON))

    assert remove("acme") == WELL

    assert shelf.texts() == {"many": pack(globex=ON)}


def test_remove_deletes_nothing_that_others_may_be_in(shelf: Shelf) -> None:
    shelf.put("acme", '{"tenants": {"globex": {"scope": ""}}')

    with pytest.raises(CommandFailed, match=f"{PATH}/acme: it is not JSON"):
        remove("acme")

    assert "acme" in shelf.texts()


def test_remove_says_where_the_tenant_may_still_be(
    shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.put("acme", ON)
    shelf.put("many", "{")

    assert remove("acme") == NOT_WELL

    assert shelf.texts() == {"many": "{"}
    assert f"acme is in this parameter too. {PATH}/many: it is not JSON" in capsys.readouterr().err


def test_the_parameter_that_decides_is_removed_last() -> None:
    texts = {name: pack(acme=ON, globex=ON) for name in ("many", "more")} | {"acme": ON}

    planned = plan_removal(documents_of(texts), "acme")

    assert [place.name for place, _ in planned] == [
        f"{PATH}/{one}" for one in ("more", "many", "acme")
    ]


def test_what_is_done_is_told_where_the_rest_fails(issuer: Issuer, shelf: Shelf) -> None:
    shelf.put("acme", ON)
    full = pack(acme='{"scope": ""}', globex='{"scope": "", "note": "n"}')
    full = full.replace('"n"', f'"{"n" * (MOST_BYTES - len(full) - 1)}"')
    shelf.put("many", full)

    with refused(code=NOT_WELL) as caught:
        disable()

    assert caught.value.detail.startswith(
        f"acme is disabled, in {PATH}/acme: {PATH}/many would have"
    )
    assert shelf.texts() == {"acme": OFF, "many": full}
    assert issuer.sent == []


# Whatever there is


def write(parameters: Parameters, planned: Writes) -> Parameters:
    after = dict(parameters)
    for place, text in planned:
        name = place.name.removeprefix(f"{PATH}/")
        if text is None:
            del after[name]
        else:
            after[name] = (text, after[name][1])
    return after


def documents(parameters: Parameters) -> Any:  # noqa: ANN401  as read
    return parse_documents(
        [one | {"Version": 1} for one in listed(parameters)],
        PATH,
    )


whatever_there_is = given(name=st.sampled_from(NAMES[:6]), parameters=ALL_PARAMETERS, known=KNOWN)


@settings(max_examples=300)
@whatever_there_is
def test_who_is_disabled_is_disabled_whatever_there_is(
    name: str, parameters: Parameters, known: dict[str, Tenant]
) -> None:
    try:
        planned = plan_switch(documents(parameters), name, enabled=False)
    except CommandFailed:
        return  # which says so

    after = parse_configuration(listed(write(parameters, planned)), PATH, known)

    assert name not in after.tenants or not after.tenants[name].enabled


@settings(max_examples=300)
@whatever_there_is
def test_who_is_removed_is_gone_whatever_there_is(
    name: str, parameters: Parameters, known: dict[str, Tenant]
) -> None:
    found = documents(parameters)
    try:
        planned = plan_removal(found, name)
    except CommandFailed:
        return  # which says so

    after = write(parameters, planned)

    unread = found.unreadable.keys() - {place.name for place, _ in planned}
    tenants = parse_configuration(listed(after), PATH, known).tenants
    assert name not in tenants or {tenants[name].document, f"{PATH}/{name}"} & unread
    others = parse_configuration(listed(parameters), PATH, {}).tenants.keys() - {name}
    assert others <= parse_configuration(listed(after), PATH, {}).tenants.keys()
