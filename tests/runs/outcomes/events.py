"""Events that nobody understands, or that name tenants that can't be served."""

import json
from dataclasses import replace

from tests.conftest import PROJECT
from tests.helpers.scene import ALL, Case, Scene, hitting, raising

SCHEDULED = json.loads((PROJECT / "events/scheduled.json").read_text())


def refused(words: str, event: object, detail: str) -> Case:
    return replace(raising(words, Scene.leave, "EventInvalid", detail), event=event)


def unknown(words: str, event: object, kept: frozenset[str]) -> Case:
    detail = "No tenant document configures initech"
    case = hitting(kept, words, Scene.leave, "UnknownTenant", detail, named=["initech"])
    return replace(case, event=event)


EVENTS = [
    refused("not an object", ["acme"], "is not a JSON object"),
    refused("null", None, "is not a JSON object"),
    refused("an unknown member", {"tenant": "acme"}, "unknown members: tenant"),
    refused("a scheduled event with a member more", SCHEDULED | {"retry": 1}, "members: account"),
    refused("another service's event", {"source": "aws.s3"}, "unknown members: source"),
    refused("half a scheduled event", {"detail-type": "Scheduled Event"}, "members: detail-type"),
    refused("half a character as a name", {"tenants": ["\ud83d"]}, '"tenants" is not a list'),
    refused("half a character as a member", {"\ud83d": 1}, "unknown members: \\ud83d"),
    refused("an empty name", {"tenants": [""]}, '"tenants" is not a list'),
    refused("tenants as null", {"tenants": None}, '"tenants" is not a list'),
    refused("dry_run as a number", {"dry_run": 1}, '"dry_run" is not true or false'),
    refused("force as a word", {"force": "yes"}, '"force" is not true or false'),
    refused("tenants as a text", {"tenants": "acme"}, '"tenants" is not a list'),
    refused("no tenants", {"tenants": []}, '"tenants" is not a list of one or more'),
    refused("a tenant that is a number", {"tenants": ["acme", 7]}, '"tenants" is not a list'),
    refused("dry_run as a word", {"dry_run": "yes"}, '"dry_run" is not true or false'),
    refused("probe as a list", {"probe": ["acme"]}, '"probe" is not the name'),
    refused("probe of nobody", {"probe": ""}, '"probe" is not the name'),
    refused(
        "probe with tenants", {"probe": "acme", "tenants": ["acme"]}, '"probe" can\'t be combined'
    ),
    refused("probe with dry_run", {"probe": "acme", "dry_run": True}, "can't be combined"),
    unknown("a tenant that isn't configured", {"tenants": ["initech", "acme"]}, ALL - {"acme"}),
    unknown("a probe of one that isn't configured", {"probe": "initech"}, ALL),
]
