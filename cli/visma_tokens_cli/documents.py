"""Tenant documents: edits that touch nothing else in a text, and reading and writing them."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from json.decoder import scanstring  # type: ignore[attr-defined]  # what `raw_decode` uses
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError

from token_issuer.errors import DocumentInvalid, IssuerError
from token_issuer.foreign_errors import aws_code
from token_issuer.limits.pacer import Pacer
from token_issuer.redaction import Quoted
from token_issuer.tenants.configuration import Configuration, parse_configuration
from token_issuer.tenants.parameters import list_parameters
from visma_tokens_cli.exit_codes import NOT_WELL, UNCHANGED
from visma_tokens_cli.failures import CommandFailed
from visma_tokens_cli.screen import say
from visma_tokens_cli.stack import Stack, reads

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

MOST_BYTES = 8192  # of an advanced parameter
WHITESPACE = re.compile(r"[ \t\n\r]*")  # RFC 8259 §2
DECODER = json.JSONDecoder()
OURS = re.compile(r".*/packed-[0-9]{3,}")  # the parameters that `apply` packs


# Texts; all of them are JSON objects, as `parse_configuration` has found


@dataclass(frozen=True, kw_only=True)
class Member:
    """Where a member of a JSON object is in its text; it `follows` a brace or a comma."""

    name: str
    follows: int
    begins: int
    value_begins: int
    ends: int


def members_of(text: str, begins: int = 0) -> list[Member]:
    """Find the members of the object that begins there."""
    follows = _skip(text, begins) + 1
    members = []
    while text[at := _skip(text, follows)] != "}":
        name, after_name = scanstring(text, at + 1)
        value_begins = _skip(text, _skip(text, after_name) + 1)  # behind the colon
        _, ends = DECODER.raw_decode(text, value_begins)
        members.append(
            Member(name=name, follows=follows, begins=at, value_begins=value_begins, ends=ends)
        )
        follows = _skip(text, ends)
        follows += text[follows] == ","
    return members


def put_member(text: str, name: str, value: str, begins: int = 0) -> str:
    """Replace the value of a member, or add it as the last one, in the manner of the last one."""
    members = members_of(text, begins)
    if found := _one(members, name):
        return text[: found.value_begins] + value + text[found.ends :]
    member = f"{to_json(name)}: {value}"
    if members:
        last = members[-1]
        gap = text[last.follows : last.begins] or " "
        return f"{text[: last.ends]},{gap}{member}{text[last.ends :]}"
    inside = _skip(text, begins) + 1
    gap = text[inside : _skip(text, inside)]
    return f"{text[:inside]}{gap}{member}{text[inside:]}"


def drop_member(text: str, name: str, begins: int = 0) -> str:
    """Take a member out with one comma, where it has one; without it the text stays as it is."""
    members = members_of(text, begins)
    found = _one(members, name)
    return text if found is None else _without(text, members, found)


def _without(text: str, members: list[Member], found: Member) -> str:
    number = members.index(found)
    later = members[number + 1 :]
    if number == 0:
        return text[: found.follows] + text[later[0].follows if later else found.ends :]
    return text[: found.follows - 1] + text[later[0].follows - 1 if later else found.ends :]


def packed_at(text: str) -> int | None:
    """Tell where the object with many tenants begins, None where the text is one tenant's own."""
    packed = _one(members_of(text), "tenants")
    return packed.value_begins if packed else None


def document_at(text: str, tenant: str) -> Member | None:
    """Find the tenant in a packed text; None where the text is his own; raises KeyError."""
    begins = packed_at(text)
    if begins is None:
        return None
    found = _one(members_of(text, begins), tenant)
    if found is None:
        raise KeyError(tenant)
    return found


def document_in(text: str, tenant: str) -> Any:  # noqa: ANN401  it may be no object
    """Return a tenant's document, as JSON has it."""
    found = document_at(text, tenant)
    return json.loads(text[found.value_begins : found.ends] if found else text)


def put_document(text: str, tenant: str, document: Mapping[str, object]) -> str:
    """Replace the whole document of a tenant, or add it to a packed text."""
    begins = packed_at(text)
    value = to_json(document)
    return value if begins is None else put_member(text, tenant, value, begins)


def drop_document(text: str, tenant: str) -> str | None:
    """Take the tenant out of a packed text, each time; None where the text is his own."""
    begins = packed_at(text)
    if begins is None:
        return None
    members = members_of(text, begins)
    while found := [one for one in members if one.name == tenant]:
        text = _without(text, members, found[-1])
        members = members_of(text, begins)
    return text


def switch_document(text: str, tenant: str, *, enabled: bool) -> str:
    """Turn a tenant on or off in each of his documents, which need not be good ones.

    One that is no object becomes one: `"enabled": false` counts whatever else is wrong.
    """
    begins = packed_at(text)
    packed = [] if begins is None else members_of(text, begins)
    places = [one.value_begins for one in packed if one.name == tenant]
    for place in reversed([0] if begins is None else places):
        text = _switch(text, place, to_json(enabled))
    return text


def _switch(text: str, begins: int, value: str) -> str:
    if text[_skip(text, begins)] != "{":
        _, ends = DECODER.raw_decode(text, begins)
        return f'{text[:begins]}{{"enabled": {value}}}{text[ends:]}'
    found = [one for one in members_of(text, begins) if one.name == "enabled"]
    for one in reversed(found):
        text = text[: one.value_begins] + value + text[one.ends :]
    return text if found or value == "true" else put_member(text, "enabled", value, begins)


def is_spare(name: str, text: str) -> bool:
    """Tell whether a parameter is one of those that `apply` packs, and nobody is in it any more."""
    begins = packed_at(text)
    return begins is not None and not members_of(text, begins) and bool(OURS.fullmatch(name))


def edit_document(text: str, tenant: str, members: Mapping[str, object]) -> str:
    """Set members of a tenant's document; None takes one out."""
    found = document_at(text, tenant)
    begins = found.value_begins if found else 0
    for name, value in members.items():
        text = (
            drop_member(text, name, begins)
            if value is None
            else put_member(text, name, to_json(value), begins)
        )
    return text


def to_json(value: object) -> str:
    """Return JSON that people can read, and that Parameter Store takes.

    It refuses values in double braces, which JSON has only in texts:
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html
    """
    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value)
    return text.replace("{{", "{\\u007b")


def check_size(name: str, text: str) -> None:
    """Raise CommandFailed where a text is too long for a parameter."""
    size = len(text.encode())
    if size > MOST_BYTES:
        raise CommandFailed(
            f"{name} would have {size:,} bytes, and a parameter holds {MOST_BYTES:,}",
            "Shorten its notes, or remove some of its tenants and add them again.",
            code=UNCHANGED,
        )


def _skip(text: str, at: int) -> int:
    match = WHITESPACE.match(text, at)
    assert match  # noqa: S101  it matches nothing too
    return match.end()


def _one(members: list[Member], name: str) -> Member | None:
    found = [one for one in members if one.name == name]
    if len(found) > 1:
        raise DocumentInvalid(f"{name} is in it twice", code=Quoted("twice"))
    return found[0] if found else None


# Parameters


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter as it was read."""

    name: str
    text: str
    version: int


@dataclass(frozen=True, kw_only=True)
class Documents:
    """All parameters by name, who is in which, and what the function makes of them."""

    parameters: dict[str, Parameter]
    homes: dict[str, list[Parameter]]
    configuration: Configuration

    @property
    def path(self) -> str:
        """Return the path that they are below."""
        return self.configuration.path

    def home(self, tenant: str) -> Parameter | None:
        """Return the parameter that a tenant is in; raises CommandFailed where none can be told."""
        homes = self.homes.get(tenant, [])
        error = self.configuration.invalid.get(tenant)
        if error and len(homes) > 1:
            raise CommandFailed(error.detail, error.remedy, code=UNCHANGED)
        if not homes:
            self.refuse_unreadable()
        return homes[0] if homes else None

    def places(self, tenant: str) -> list[Parameter]:
        """Return each parameter that a tenant is in, his own first; raises CommandFailed for none.

        His own is one of them though nobody can tell what is in it.
        """
        own = self.parameters.get(f"{self.path}/{tenant}")
        found = {one.name: one for one in self.homes.get(tenant, [])}
        if own and (own.name in found or own.name in self.configuration.invalid):
            found = {own.name: own} | found
        if not found:
            self.refuse_unreadable()
            raise CommandFailed(
                f"Tenant {tenant} is not configured",
                "See `visma-tokens status` for who is.",
                code=UNCHANGED,
            )
        return [*found.values()]

    @property
    def unreadable(self) -> dict[str, IssuerError]:
        """Return the parameters of whom it can't be told who is in them, and why."""
        invalid = self.configuration.invalid
        return {name: error for name, error in invalid.items() if name in self.parameters}

    def refuse_unreadable(self) -> None:
        """Raise CommandFailed where it can't be told who is in a parameter."""
        for error in self.unreadable.values():
            raise CommandFailed(error.detail, error.remedy, code=UNCHANGED)

    def own_place(self, tenant: str) -> str:
        """Return the name of a parameter for this tenant alone; raises CommandFailed if taken."""
        name = f"{self.path}/{tenant}"
        if name in self.parameters:
            raise CommandFailed(
                f"{name} holds other tenants", "Choose another name.", code=UNCHANGED
            )
        return name


def parse_documents(found: "Iterable[ParameterTypeDef]", path: str) -> Documents:
    """Sort parameters into who is where; those in one that can't be used are nowhere."""
    found = [*found]
    configuration = parse_configuration(found, path, {})
    parameters = {
        one["Name"]: Parameter(name=one["Name"], text=one["Value"], version=one["Version"])
        for one in found
    }
    homes: dict[str, list[Parameter]] = {}
    for name, parameter in parameters.items():
        if name not in configuration.invalid:
            for tenant in _tenants(name.removeprefix(f"{path}/"), parameter.text):
                homes.setdefault(tenant, []).append(parameter)
    return Documents(parameters=parameters, homes=homes, configuration=configuration)


class Store:
    """The tenant documents in Parameter Store."""

    def __init__(self, ssm: "SSMClient", path: str, *, reads: Pacer, writes: Pacer) -> None:
        """Take the path that they are below, and the paces."""
        self._ssm = ssm
        self._path = path
        self._reads = reads
        self._writes = writes

    def read(self) -> Documents:
        """Read all of them; raises TenantsUnreadable."""
        return parse_documents(
            list_parameters(self._ssm, self._path, pacer=self._reads), self._path
        )

    def create(self, name: str, text: str) -> None:
        """Make a parameter; raises CommandFailed where there is one of that name."""
        try:
            self._put(name, text, overwrite=False)
        except ClientError as error:
            if aws_code(error) != "ParameterAlreadyExists":
                raise
            found = self._get(name)
            if found and found.text == text:  # a call that had worked was made again
                return
            raise _changed(name) from None

    def overwrite(self, parameter: Parameter, text: str) -> None:
        """Put a text in place of the one that was read; raises CommandFailed where it has changed.

        PutParameter has no condition. So the version is read right before; and the version that it
        answers with tells of another write in between, whose text is then put back. What remains:
        for that moment a run may read ours, and if we are killed in it, ours stays; and who writes
        without a look, at any time, overwrites us.
        """
        name = parameter.name
        self._compare(parameter)
        version = self._put(name, text, overwrite=True)
        if version <= parameter.version:  # it was deleted in between, and is made anew
            self.delete(Parameter(name=name, text=text, version=version))
            raise _changed(name)
        self._put_back(name, parameter.version, text, version)

    def delete(self, parameter: Parameter) -> None:
        """Delete what was read; raises CommandFailed where it has changed.

        DeleteParameter has no condition, and takes the history with it: a write between our look
        and our call, some hundredths of a second, is lost.
        """
        self._compare(parameter)
        with suppress(self._ssm.exceptions.ParameterNotFound):  # a call that had worked
            self._writes.send(partial(self._ssm.delete_parameter, Name=parameter.name))

    def _compare(self, parameter: Parameter) -> None:
        if self._get(parameter.name) != parameter:
            raise _changed(parameter.name)

    def _put_back(self, name: str, before: int, ours: str, version: int) -> None:
        """Put back what others wrote between those versions; raises CommandFailed where they did.

        Whatever ends it early, it is told which version of theirs is not put back.
        """
        first, theirs = version, version - 1
        try:
            while other := self._overwritten(name, before, version, ours):
                theirs = other.version
                self._compare(Parameter(name=name, text=ours, version=version))
                before, ours = version, other.text
                version = self._put(name, other.text, overwrite=True)
                theirs = version - 1
        except Exception as error:
            raise _lost(name, theirs) from error
        except BaseException:
            lost = _lost(name, theirs)
            say(f"{lost.detail}. {lost.remedy}")
            raise
        if version > first:
            raise _changed(name)

    def _overwritten(self, name: str, before: int, version: int, ours: str) -> Parameter | None:
        """Return the newest version between those two that isn't ours, made by a repeated call."""
        for number in range(version - 1, before, -1):
            found = self._get(f"{name}:{number}")
            if found and found.text != ours:
                return found
        return None

    def _get(self, name: str) -> Parameter | None:
        try:
            answer = self._reads.send(partial(self._ssm.get_parameter, Name=name))
        except (
            self._ssm.exceptions.ParameterNotFound,
            self._ssm.exceptions.ParameterVersionNotFound,
        ):
            return None
        found = answer["Parameter"]
        return Parameter(name=found["Name"], text=found["Value"], version=found["Version"])

    def _put(self, name: str, text: str, *, overwrite: bool) -> int:
        check_size(name, text)
        put = partial(self._ssm.put_parameter, Name=name, Value=text, Type="String")
        # what fits a standard parameter stays one, which is free
        answer = self._writes.send(partial(put, Tier="Intelligent-Tiering", Overwrite=overwrite))
        return answer["Version"]


def open_store(stack: Stack) -> Store:
    """Return the tenant documents of a stack."""
    once = Config(retries={"total_max_attempts": 1})  # the pacer repeats
    return Store(
        stack.aws.client("ssm", config=once),
        stack.settings.tenants_path,
        reads=reads(),
        writes=stack.writes(),
    )


def _tenants(name: str, text: str) -> Iterator[str]:
    begins = packed_at(text)
    if begins is None:
        yield name
    else:
        yield from (one.name for one in members_of(text, begins))


def _changed(name: str) -> CommandFailed:
    return CommandFailed(
        f"{name} was changed by somebody else meanwhile",
        "Theirs stands. Look at it, and run the command again.",
        code=UNCHANGED,
    )


def _lost(name: str, version: int) -> CommandFailed:
    return CommandFailed(
        f"{name} is being changed by others: their version {version} was overwritten",
        f"Look at it (aws ssm get-parameter --name {name}:{version}), and put it back by hand.",
        code=NOT_WELL,
    )
