"""Answers of AWS, which have the members and types of its API.

botocore trusts what it reads, and a proxy or a page to sign in may answer in AWS's place.
"""

from datetime import datetime
from typing import Any, NoReturn

from botocore.exceptions import BotoCoreError, ClientError
from botocore.model import ListShape, MapShape, Shape, StructureShape

from visma_tokens_cli.failures import CommandFailed

TYPES: dict[str, type | tuple[type, ...]] = {
    "boolean": bool,
    "double": (int, float),
    "float": (int, float),
    "integer": int,
    "list": list,
    "long": int,
    "map": dict,
    "string": str,
    "structure": dict,
    "timestamp": datetime,
}
DECODED = "policyDocumentType"  # of IAM, a text that botocore makes an object of


class NotOfAws(CommandFailed, ValueError):
    """The answer is not one that AWS's API describes."""

    def __init__(self) -> None:
        """Tell nothing of it, since it may hold anything."""
        super().__init__(
            "What answered is not AWS",
            "Check --endpoint-url, and whether a proxy or a sign-in page of the network answers.",
        )


class Answer(dict[str, Any]):
    """A structure of an answer, which says so where a member is missing."""

    def __missing__(self, name: str) -> NoReturn:
        """Raise NotOfAws."""
        raise NotOfAws


class Checked:
    """What a client of boto3 is given to have its answers looked at."""

    def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call AWS; raises NotOfAws where the answer can't be used."""
        client: Any = super()
        try:
            answer = client._make_api_call(operation_name, api_params)  # noqa: SLF001
        except ClientError as error:
            told: Any = error.response.get("Error", {})
            if told.get("Message") is None:  # AWS may say nothing, and in JSON that is null
                told["Message"] = ""
            if not all(isinstance(told.get(name), str) for name in ("Code", "Message")):
                raise NotOfAws from error
            raise
        except (BotoCoreError, CommandFailed):
            raise
        except Exception as error:  # botocore trusts answers, and breaks in many ways
            raise NotOfAws from error
        shape = self.meta.service_model.operation_model(operation_name).output_shape  # type: ignore[attr-defined]
        metadata = {"ResponseMetadata": answer.pop("ResponseMetadata", {})}
        return Answer(as_described(answer, shape) | metadata) if shape else answer | metadata


def check_answers(**creating: Any) -> None:  # noqa: ANN401  botocore's
    """Have the clients of a session checked (botocore's event `creating-client-class`)."""
    creating["base_classes"].insert(0, Checked)


def as_described(value: Any, shape: Shape) -> Any:  # noqa: ANN401  of as many types
    """Return a value whose structures tell of a member that is missing; raises NotOfAws."""
    kind: Any = object if shape.name == DECODED else TYPES.get(shape.type_name, object)
    if not isinstance(value, kind) or (kind is str and not _is_unicode(value)):
        raise NotOfAws
    if isinstance(shape, StructureShape):
        members = shape.members
        return Answer(
            (name, as_described(one, members[name]) if name in members else one)
            for name, one in value.items()
        )
    if isinstance(shape, ListShape):
        return [as_described(one, shape.member) for one in value]
    if isinstance(shape, MapShape):
        return {name: as_described(one, shape.value) for name, one in value.items()}
    return value


def _is_unicode(text: str) -> bool:
    """Tell whether it has no half of a character, as JSON may have: that can't be printed."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
