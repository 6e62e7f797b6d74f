"""Events → the account's default EventBridge bus."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from token_issuer.errors import EventUndelivered
from token_issuer.foreign_errors import aws_code, known_code, name_and_place
from token_issuer.redaction import Quoted, quote

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


SOURCE = "token-issuer"


class EventBus:
    """Puts events; thread-safe."""

    def __init__(self, make_client: "Callable[[], EventBridgeClient]") -> None:
        """Take how to make the client, which most runs don't need: a cold start is shorter."""
        self._make_client = cache(make_client)
        self._making = Lock()  # making clients is not thread-safe

    def put(self, kind: str, detail: Mapping[str, object]) -> None:
        """Put one event of a kind (`detail-type`); raises EventUndelivered.

        A refused entry is no error of the call:
        https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
        """
        try:
            text = json.dumps(detail)
            with self._making:
                client = self._make_client()
            [answer] = client.put_events(
                Entries=[{"Source": SOURCE, "DetailType": kind, "Detail": text}]
            )["Entries"]
            refused_with = answer.get("ErrorCode")
        except (ClientError, BotoCoreError) as error:
            raise _undelivered(kind, aws_code(error)) from error
        except Exception as error:  # a defect here must not keep a token from being recorded
            raise _undelivered(kind, quote(name_and_place(error))) from error
        if refused_with:
            raise _undelivered(kind, known_code(refused_with))


def _undelivered(kind: str, code: Quoted) -> EventUndelivered:
    return EventUndelivered(f"Putting {kind} failed: {code}", code=code)
