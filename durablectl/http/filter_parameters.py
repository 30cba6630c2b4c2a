"""The filters as parameters of a query string: made of their declaration, and read as the CLI reads its flags."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_type_hints

from fastapi import Query, Response

from durablectl.http.query_parameters import DURATION, STATUSES, pattern, query_list, query_text, split
from durablectl.http.schemas import NAME
from durablectl.model.filters import FILTERS, FilterDeclaration, FilterKind, parse_filters
from durablectl.model.kinds import WaitingFor

Route = Callable[..., Awaitable[Response]]

INDEXED = tuple(each.name for each in FILTERS if not each.reads_records)
"""The filters that the index answers."""


def with_filters(*names: str) -> Callable[[Route], Route]:
    """Add the filters of these names, all without any; the route gets ``filters: Filters`` instead of them.

    UsageError names the parameter that cannot be used.
    """
    declared = [each for each in FILTERS if not names or each.name in names]

    def decorate(route: Route) -> Route:
        own = get_type_hints(route, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(route).parameters.values():
            if parameter.name == "filters":
                parameters += [_parameter(each) for each in declared]
            else:
                parameters.append(parameter.replace(annotation=own[parameter.name]))

        @functools.wraps(route)
        async def wrapper(**arguments: Any) -> Response:
            given = {each.name: arguments.pop(each.name) for each in declared}
            texts = {name: split(value) if isinstance(value, list) else value for name, value in given.items()}
            return await route(filters=parse_filters(texts, _label), **arguments)

        wrapper.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what FastAPI reads
            [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters]
        )
        return wrapper

    return decorate


def _label(name: str) -> str:
    return f"parameter {name}"


def _parameter(each: FilterDeclaration) -> inspect.Parameter:
    return inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(each))


def _annotation(each: FilterDeclaration) -> Any:
    match each.kind:
        case FilterKind.STATUS:
            return Annotated[list[str] | None, query_list(each.description, [each.example], STATUSES)]
        case FilterKind.HANDLER:
            return Annotated[list[str] | None, query_list(each.description, [each.example], NAME)]
        case FilterKind.WAIT:
            return Annotated[list[str] | None, query_list(each.description, [each.example], "|".join(WaitingFor))]
        case FilterKind.TIME:
            return _time(each.description, each.example)
        case FilterKind.TEXT | FilterKind.CONDITION | FilterKind.STEP:
            extra = {"minLength": 1}
            query = Query(description=each.description, examples=[each.example], json_schema_extra=extra)
            return Annotated[str | None, query]
        case _:
            return Annotated[str | None, query_text(each.description, each.example)]


def _time(description: str, example: str) -> Any:
    about = f"{description} So long ago (`2h`, `1d12h`), a date, or RFC 3339; without a zone in that of the server."
    forms = [pattern(DURATION), {"format": "date"}, {"format": "date-time"}]
    shape = {"anyOf": [{"type": "string", **form} for form in forms]}
    return Annotated[str | None, Query(description=about, examples=[example], json_schema_extra=shape)]
