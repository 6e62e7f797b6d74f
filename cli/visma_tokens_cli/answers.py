"""Check that answers of AWS have the members and types that its API describes.

botocore doesn't check them, and a proxy or a sign-in page may answer in place of AWS.
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
DECODED = "policyDocumentType"  # a string in IAM's API, which botocore parses into an object


class NotOfAws(CommandFailed, ValueError):
    """The answer is not one that AWS's API describes."""

    def __init__(self) -> None:
        """Quote nothing of the answer, which may hold anything."""
        super().__init__(
            "What answered is not AWS",
            "Check --endpoint-url, and whether a proxy or a sign-in page of the network answers.",
        )


class Answer(dict[str, Any]):
    """A structure of an answer; reading a member that is missing raises NotOfAws."""

    def __missing__(self, name: str) -> NoReturn:
        """Raise NotOfAws."""
        raise NotOfAws


class Checked:
    """A base class for the clients of boto3, which checks each answer."""

    def _make_api_call(self, operation_name: str, api_params: dict[str, Any]) -> Any:  # noqa: ANN401
        """Call AWS, and check the answer; raises NotOfAws where it is not as described."""
        client: Any = super()
        try:
            answer = client._make_api_call(operation_name, api_params)  # noqa: SLF001
        except ClientError as error:
            told: Any = error.response.get("Error", {})
            if told.get("Message") is None:  # AWS may leave it out, or send null
                told["Message"] = ""
            if not all(isinstance(told.get(name), str) for name in ("Code", "Message")):
                raise NotOfAws from error
            raise
        except (BotoCoreError, CommandFailed):
            raise
        except Exception as error:  # botocore raises anything for an odd answer
            raise NotOfAws from error
        shape = self.meta.service_model.operation_model(operation_name).output_shape  # type: ignore[attr-defined]
        metadata = {"ResponseMetadata": answer.pop("ResponseMetadata", {})}
        return Answer(as_described(answer, shape) | metadata) if shape else answer | metadata


def check_answers(**creating: Any) -> None:  # noqa: ANN401  botocore's
    """Add the check to a session's clients (botocore's event `creating-client-class`)."""
    creating["base_classes"].insert(0, Checked)


def as_described(value: Any, shape: Shape) -> Any:  # noqa: ANN401  of as many types
    """Return a value with its structures as Answer; raises NotOfAws where a type is wrong."""
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
    """Tell whether a text has no lone surrogate: JSON allows them, and printing them fails."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
