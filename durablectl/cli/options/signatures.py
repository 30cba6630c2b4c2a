"""Adding parameters to a command's signature, from which Typer makes its options."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar, get_type_hints

R = TypeVar("R")


def option(name: str, annotation: Any, default: object, info: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[annotation, info]
    )


def extend(
    function: Callable[..., R],
    provided: str,
    added: Sequence[inspect.Parameter],
    provide: Callable[[dict[str, Any]], dict[str, Any]],
) -> Callable[..., R]:
    """The function with the parameters ``added``, which gets what ``provide`` makes of them instead of ``provided``."""
    signature = inspect.signature(function)
    if provided not in signature.parameters:
        message = f"{function.__name__} has no parameter {provided!r}"
        raise TypeError(message)
    own = _evaluated(function, [p for p in signature.parameters.values() if p.name != provided])

    @functools.wraps(function)
    def wrapper(**arguments: Any) -> R:
        values = {parameter.name: arguments.pop(parameter.name, parameter.default) for parameter in added}
        return function(**arguments, **provide(values))

    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + list(added)
    wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    return wrapper


def _evaluated(function: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    """With annotations as objects: Typer looks names up in the module of the outermost function, which is this one."""
    names = inspect.unwrap(function).__globals__
    return [p.replace(annotation=_annotation(p.annotation, names)) for p in parameters]


def _annotation(annotation: Any, names: dict[str, Any]) -> Any:
    holder = types.FunctionType((lambda: None).__code__, {})
    holder.__annotations__ = {"it": annotation}
    try:
        return get_type_hints(holder, names, include_extras=True)["it"]
    except NameError:  # what another decorator provides may be imported for type checking only
        return annotation
