"""What the streams of events take and hold, for the description of the API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Header, Query

from durablectl.http.schemas import failure
from durablectl.model.status import Status
from durablectl.query import DELETED

_Shape = dict[str, Any]

_STATUS = "|".join([*Status, "active", DELETED])
_NUMBER_PATTERN = {"pattern": "^[0-9]{1,18}$"}

LastEventId = Annotated[
    str | None,
    Header(
        description="The `id` of the last event that was read: goes on behind it, without a gap.",
        examples=["41"],
        json_schema_extra={**_NUMBER_PATTERN},
    ),
]
GivenEventId = Annotated[
    str | None,
    Query(
        alias="last_event_id",
        description="The same, for those who cannot send a header.",
        examples=["41"],
        json_schema_extra={**_NUMBER_PATTERN},
    ),
]
StatusOrDeleted = Annotated[
    list[str] | None,
    Query(
        description="Repeatable, or separated by commas; `active` stands for all that have not ended.",
        examples=[["failed", DELETED]],
        json_schema_extra={"items": {"type": "string", "pattern": f"^({_STATUS})(,({_STATUS}))*$"}},
    ),
]


def _object(**properties: _Shape) -> _Shape:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _shape(name: str) -> _Shape:
    return {"$ref": f"#/components/schemas/{name}"}


_TEXT: _Shape = {"type": "string"}
_NUMBER: _Shape = {"type": "integer"}
_ALWAYS = {
    "connection": _object(status={"type": "string", "enum": ["lost", "restored"]}),
    "error": _object(code=_TEXT, message=_TEXT, hint={"type": ["string", "null"]}),
}

OF_ONE = {
    "snapshot": _shape("Workflow"),
    "change": _shape("Workflow"),
    "end": _object(invocation_id=_TEXT, status=_TEXT, revision=_NUMBER),
    **_ALWAYS,
}
LISTED = {
    "snapshot": _object(workflows={"type": "array", "items": _shape("Row")}, total=_NUMBER),
    "change": {
        "description": "A row, whose status may be `deleted`; then handler is null where it is not known any more.",
        **_object(invocation_id=_TEXT, handler={"type": ["string", "null"]}, status=_TEXT, revision=_NUMBER),
    },
    **_ALWAYS,
}
_EXAMPLE = """\
retry: 2000

event: snapshot
id: 41
data: {}

event: change
id: 44
data: {}

: heartbeat

event: {}
data: {}

"""
_SNAPSHOTS = ('{"invocation_id":"abc-123","status":"running", ...}', '{"workflows":[ ... ],"total":2}')
_CHANGE = '{"invocation_id":"abc-123","status":"completed", ...}'
_ENDS = (
    ("end\nid: 44", '{"invocation_id":"abc-123","status":"completed","revision":44}'),
    ("connection", '{"status":"lost"}'),
)
_ABOUT = """Server-Sent Events. `x-events` describes the `data` of each, which is one line of JSON.

`connection` tells that the NATS server is out of reach, and that it is back; nothing is missed meanwhile. `error` is
the last event of a stream that cannot go on, with the code `too_slow` for a client that does not read fast enough.
"""


def streamed(events: dict[str, _Shape], *failures: int, can_be_over: bool = False) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that streams them."""
    which = 0 if events is OF_ONE else 1
    example = _EXAMPLE.format(_SNAPSHOTS[which], _CHANGE, *_ENDS[which])
    content = {"schema": _TEXT, "example": example, "x-events": events}
    answers: dict[int | str, dict[str, Any]] = {
        200: {"description": _ABOUT, "content": {"text/event-stream": content}},
        **{status: failure(status) for status in failures},
    }
    if can_be_over:
        answers[204] = {"description": f"{HTTPStatus.NO_CONTENT.phrase}: it had ended, and all of it was told."}
    return answers
