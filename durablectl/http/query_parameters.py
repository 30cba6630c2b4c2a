"""What a query string may say, read as the CLI reads its filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel

from durablectl.errors import UsageError
from durablectl.http.schemas import NAME, Row, Workflow
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.status import Status as Status_
from durablectl.model.user_input import parse_past_time
from durablectl.query import Filters

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_PAGE = 1000
_TIMES = ("since", "until", "created_since", "created_until")
_REPEATABLE = frozenset({"status", "handler"})
_DURATION = r"([1-9][0-9]{0,3}(ms|s|m|h|d|w))+"
_STATUS = "|".join([*Status_, "active"])


def _pattern(pattern: str) -> dict[str, Any]:
    """For the description only: what does not fit is refused with a sentence of its own."""
    return {"pattern": f"^({pattern})$"}


def _listed(pattern: str) -> dict[str, Any]:
    return {"items": {"type": "string", **_pattern(f"({pattern})(,({pattern}))*")}}


def _time(description: str, example: str) -> Any:
    about = f"{description} So long ago (`2h`, `1d12h`), a date, or RFC 3339; without a zone in that of the server."
    forms = [_pattern(_DURATION), {"format": "date"}, {"format": "date-time"}]
    shape = {"anyOf": [{"type": "string", **form} for form in forms]}
    return Annotated[str | None, Query(description=about, examples=[example], json_schema_extra=shape)]


def _optional(description: str, example: str, pattern: str = NAME) -> Any:
    extra = _pattern(pattern)
    return Annotated[str | None, Query(description=description, examples=[example], json_schema_extra=extra)]


def _fields(shape: type[BaseModel], example: str) -> Any:
    names = "|".join(shape.model_fields)
    about = "Only these fields of a workflow, separated by commas."
    return _optional(about, example, f"({names})(,({names}))*")


def _path(description: str, example: str, pattern: str = NAME) -> Any:
    return Annotated[str, Path(description=description, examples=[example], json_schema_extra=_pattern(pattern))]


InvocationId = _path("The id of a workflow.", "abc-123-def-456")
HandlerName = _path("The name of a handler.", "async_workflow")
SignalName = _path("The name of the signal.", "note")
AwakeableId = _path(
    "The id of an awakeable, which `waiting_for` of its workflow shows.",
    "abc-123-def-456.approval",
    rf"{NAME}\.{NAME}(\.[0-9]{{1,9}})?",
)
Status = Annotated[
    list[str] | None,
    Query(
        description="Repeatable, or separated by commas; `active` stands for all that have not ended.",
        examples=[["failed"]],
        json_schema_extra=_listed(_STATUS),
    ),
]
Handler = Annotated[
    list[str] | None,
    Query(description="Repeatable, or separated by commas.", examples=[["checkout"]], json_schema_extra=_listed(NAME)),
]
PartitionKey = _optional("Only this partition key.", "user-001")
Since = _time("Last changed at this time or later.", "2h")
Until = _time("Last changed before this time.", "2026-11-22T12:00:00Z")
CreatedSince = _time("Created at this time or later.", "2026-11-22")
CreatedUntil = _time("Created before this time.", "1d12h")
ErrorText = Annotated[
    str | None,
    Query(
        description="Failed with an error that holds this, whatever the case.",
        examples=["card declined"],
        json_schema_extra={"minLength": 1},
    ),
]
Parent = _optional("Only the children of this workflow.", "abc-123")
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.", examples=[50])]
Offset = Annotated[
    int, Query(ge=0, le=10_000_000, description="How many to leave out at the beginning.", examples=[100])
]
Cursor = Annotated[
    str,
    Query(
        description="`next_cursor` of the page before.",
        examples=["LTE3NjM4MDQ4MDAwMDAwMDB-YWJjLTEyMw"],
        json_schema_extra=_pattern("[A-Za-z0-9_-]*"),
    ),
]
OldestFirst = Annotated[bool, Query(description="Instead of the newest first.", examples=[False])]
RowFields = _fields(Row, "invocation_id,status")
WorkflowFields = _fields(Workflow, "status,journal")
Steps = _optional(
    "The part of the journal: `0:50`, `-10:`, `:` for all, or one number. The last 50 without it.",
    "0:50",
    "-?[0-9]{1,9}|(-?[0-9]{1,9})?:(-?[0-9]{1,9})?",
)
IfNoneMatch = Annotated[str, Header(description="An `ETag` that is known: 304 if it is still so.", examples=['"41-3"'])]
IfMatch = Annotated[
    str | None,
    Header(
        description="Do it to this revision only: an `ETag`, or a revision. 412 if it has changed since.",
        examples=['"41-3"'],
        json_schema_extra=_pattern(r'\*|(W/)?"?[1-9][0-9]{0,18}(-[0-9]+)?"?'),
    ),
]
Delay = _optional("Start after this: `90s`, `2h`, `3d`.", "90s", _DURATION)
At = Annotated[
    str | None,
    Query(
        description="Start at this time: RFC 3339, or a date.",
        examples=["2026-11-22T12:00:00Z"],
        json_schema_extra={"anyOf": [{"type": "string", "format": each} for each in ("date", "date-time")]},
    ),
]
NewId = _optional("The invocation id; one is made without it.", "order-17")
NewPartitionKey = _optional("Its partition key.", "user-001")
IdempotencyKey = Annotated[
    str | None,
    Header(
        description="Sent again with the same key, it starts nothing, and answers the same; 409 with another input.",
        examples=["3f0e6a52"],
        json_schema_extra=_pattern("[!-~]{1,255}"),
    ),
]
Reason = Annotated[
    str, Query(max_length=2000, description="Kept, and shown everywhere.", examples=["waiting for the bank"])
]


def filters(**given: str | list[str] | None) -> Filters:
    """UsageError names the parameter that cannot be used."""
    now = SYSTEM_CLOCK.now()
    times: dict[str, int] = {}
    others: dict[str, str] = {}
    for name, value in given.items():
        if value is None or isinstance(value, list):
            continue
        if not value:
            raise UsageError(f"The parameter {name} is empty.", hint="Leave it out to match everything.")
        if name in _TIMES:
            times[name] = parse_past_time(value, f"parameter {name}", now)
        else:
            others[name] = value
    for first, second in (_TIMES[:2], _TIMES[2:]):
        if first in times and second in times and times[first] >= times[second]:
            raise UsageError(f"The parameter {first} is not before the parameter {second}.")
    return Filters.parse(many(given.get("status")), many(given.get("handler")), **times, **others)  # type: ignore[arg-type]


def many(values: str | list[str] | None) -> list[str]:
    """The values of a parameter that is repeated, or separated by commas."""
    return [part for value in values or () for part in value.split(",")] if isinstance(values, list) else []


def chosen(fields: str | None, shape: type[BaseModel]) -> list[str]:
    """The fields that an answer is to have, all without ``fields``. UsageError lists those that there are."""
    if fields is None:
        return list(shape.model_fields)
    names = [name.strip() for name in fields.split(",")]
    unknown = [name for name in names if name not in shape.model_fields]
    if unknown:
        raise UsageError(
            f"The parameter fields cannot be used: there is no field {unknown[0]!r}.",
            hint=f"The fields are {', '.join(shape.model_fields)}.",
        )
    return names


_REASONS = {
    "int_parsing": "{input!r} is not a whole number",
    "int_parsing_size": "it has too many digits",
    "bool_parsing": "{input!r} is neither true nor false",
    "greater_than_equal": "{input} is less than {ge}",
    "less_than_equal": "{input} is more than {le}",
    "string_too_long": "it has more than {max_length} characters",
}


def sentence(problem: Mapping[str, Any]) -> str:
    """What pydantic says of a parameter, in our words."""
    place, *names = (str(part) for part in problem["loc"])
    what = {"query": "parameter", "header": "header", "path": "path part"}.get(place, place)
    given = str(problem.get("input"))[:80]
    reason = _REASONS.get(problem["type"], problem["msg"]).format(**{**problem.get("ctx", {}), "input": given})
    return f"The {what} {' '.join(names)} cannot be used: {reason}."


def refuse_unknown(request: Request) -> None:
    """UsageError for a parameter that does not exist, or is there twice: a mistyped filter would match everything."""
    names = [field.alias for field in request.scope["route"].dependant.query_params]
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in names:
            hint = f"The parameters are {', '.join(names)}." if names else "It takes none."
            raise UsageError(f"There is no parameter {name!r} here.", hint=hint)
        if name in seen and name not in _REPEATABLE:
            raise UsageError(f"The parameter {name} was given twice.", hint="Give it once.")
        seen.add(name)


ONLY_KNOWN = [Depends(refuse_unknown)]
