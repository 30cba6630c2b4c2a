"""What a query string may say, read as the CLI reads its filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Query, Request

from durablectl.errors import UsageError
from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.durations import past
from durablectl.query import Filters

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_PAGE = 1000
_TIME = "So long ago (`2h`, `3d`), a date, or RFC 3339."
_TIMES = ("since", "until", "created_since", "created_until")

Status = Annotated[
    list[str] | None,
    Query(
        description="Repeatable, or separated by commas; `active` stands for all that have not ended.",
        examples=["failed"],
    ),
]
Handler = Annotated[list[str] | None, Query(description="Repeatable, or separated by commas.", examples=["checkout"])]
PartitionKey = Annotated[str | None, Query(description="Only this partition key.")]
Since = Annotated[str | None, Query(description=f"Last changed at this time or later. {_TIME}", examples=["2h"])]
Until = Annotated[str | None, Query(description=f"Last changed before this time. {_TIME}")]
CreatedSince = Annotated[str | None, Query(description=f"Created at this time or later. {_TIME}")]
CreatedUntil = Annotated[str | None, Query(description=f"Created before this time. {_TIME}")]
ErrorText = Annotated[str | None, Query(description="Failed with an error that holds this, whatever the case.")]
Parent = Annotated[str | None, Query(description="Only the children of this workflow.")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, le=10_000_000, description="How many to leave out at the beginning.")]
Cursor = Annotated[str, Query(description="`next_cursor` of the page before.")]
OldestFirst = Annotated[bool, Query(description="Instead of the newest first.")]
Fields = Annotated[
    str | None,
    Query(description="Only these fields of a workflow, separated by commas.", examples=["invocation_id,status"]),
]
Steps = Annotated[
    str,
    Query(
        description="The part of the journal: `0:50`, `-10:`, `:` for all, or one number. The last 50 without it.",
        pattern=r"^(-?\d{1,9})?(:(-?\d{1,9})?)?$",
        examples=["0:50"],
    ),
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
            times[name] = past(value, f"parameter {name}", now)
        else:
            others[name] = value
    for first, second in (_TIMES[:2], _TIMES[2:]):
        if first in times and second in times and times[first] >= times[second]:
            raise UsageError(f"The parameter {first} is not before the parameter {second}.")
    return Filters.parse(_many(given.get("status")), _many(given.get("handler")), **times, **others)  # type: ignore[arg-type]


def _many(values: str | list[str] | None) -> list[str]:
    return [part for value in values or () for part in value.split(",")] if isinstance(values, list) else []


def picked(workflow: Mapping[str, Any], fields: str | None) -> dict[str, Any]:
    """Only these fields of an object. UsageError lists those that there are."""
    if fields is None:
        return dict(workflow)
    wanted = [name.strip() for name in fields.split(",")]
    unknown = [name for name in wanted if name not in workflow]
    if unknown:
        raise UsageError(
            f"The parameter fields cannot be used: there is no field {unknown[0]!r}.",
            hint=f"The fields are {', '.join(workflow)}.",
        )
    return {name: workflow[name] for name in wanted}


def refuse_unknown(request: Request) -> None:
    """UsageError for a parameter that does not exist: ignored, a mistyped filter would match everything."""
    names = [field.alias for field in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in names:
            hint = f"The parameters are {', '.join(names)}." if names else "It takes none."
            raise UsageError(f"There is no parameter {name!r} here.", hint=hint)


ONLY_KNOWN = [Depends(refuse_unknown)]
