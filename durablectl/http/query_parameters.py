"""How parameters are described and refused; a group of routes declares its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Path, Query, Request

from durablectl.errors import UsageError
from durablectl.http.schemas import NAME
from durablectl.model.filters import FILTERS
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPEATABLE = frozenset(each.name for each in FILTERS if each.is_repeatable)
DURATION = r"([1-9][0-9]{0,3}(ms|s|m|h|d|w))+"
STATUSES = "|".join([*Status, "active"])


def pattern(shape: str) -> dict[str, Any]:
    """For the description only: what does not fit is refused with a sentence of its own."""
    return {"pattern": f"^({shape})$"}


def query_text(description: str, example: str, shape: str = NAME) -> Any:
    return Query(description=description, examples=[example], json_schema_extra=pattern(shape))


def query_list(description: str, example: list[str], shape: str) -> Any:
    """A parameter that is repeated, or separated by commas; ``split`` reads it."""
    items = {"type": "string", **pattern(f"({shape})(,({shape}))*")}
    return Query(description=description, examples=[example], json_schema_extra={"items": items})


def split(values: list[str] | None) -> list[str]:
    """The values of such a parameter."""
    return [part for value in values or () for part in value.split(",")]


def path_part(description: str, example: str, shape: str = NAME) -> Any:
    return Path(description=description, examples=[example], json_schema_extra=pattern(shape))


InvocationId = Annotated[str, path_part("The id of a workflow.", "abc-123-def-456")]

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
