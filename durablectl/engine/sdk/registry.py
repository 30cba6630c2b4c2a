"""The decorators ``@workflow`` and ``@service``, and what they define."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, overload

from durablectl.errors import AppError, InvalidNameError
from durablectl.limits import checked_seconds
from durablectl.model.names import validate_app_handler, validate_new_name
from durablectl.model.values import parameter_message

if TYPE_CHECKING:
    from datetime import timedelta

Handler = Callable[..., Awaitable[Any]]
_C = TypeVar("_C", bound=type)


@dataclass(frozen=True)
class Workflow:
    """A workflow as defined by ``@workflow``; calling it calls the function."""

    name: str
    function: Handler
    takes_input: bool
    needs_input: bool
    input_type: type[Any] | None
    """The protobuf class with which the input is annotated, if it is one: JSON input is parsed into it."""
    timeout: float | None = None
    """Seconds from its first start until it fails by itself."""

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        return self.function(*args, **kwargs)


@dataclass(frozen=True)
class Method:
    """One endpoint of a service."""

    name: str
    attribute: str
    request_type: type[Any] | None


@dataclass(frozen=True)
class Service:
    """A class marked by ``@service``."""

    name: str
    version: str
    cls: type[Any]
    methods: list[Method] = field(default_factory=list)


@overload
def workflow(function: Handler, /) -> Workflow: ...


@overload
def workflow(*, name: str | None = None, timeout: float | timedelta | None = None) -> Callable[[Handler], Workflow]: ...


def workflow(
    function: Handler | None = None, /, *, name: str | None = None, timeout: float | timedelta | None = None
) -> Any:
    """Define a workflow: ``async def handler(ctx)`` or ``async def handler(ctx, input)``.

    The handler's name is the function's unless ``name`` is given. With ``timeout``, in seconds, it fails
    when it has not ended that long after its first start. Raises AppError for a function that cannot be one.
    """
    if function is None:
        return lambda decorated: _define(decorated, name, timeout)
    return _define(function, name, timeout)


def _define(function: Handler, name: str | None, timeout: float | timedelta | None) -> Workflow:
    handler = name if name is not None else getattr(function, "__name__", "")
    if not inspect.iscoroutinefunction(function):
        raise AppError(f"The workflow {handler!r} is not a coroutine: define it with `async def`.")
    try:
        validate_app_handler("handler name", handler)
    except InvalidNameError as error:
        raise _unregistrable("workflow", function.__qualname__, error) from error
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
    ]
    required = [parameter for parameter in positional if parameter.default is parameter.empty]
    if not positional or len(required) > 2:  # noqa: PLR2004 - ctx and one input
        raise AppError(
            f"The workflow {handler!r} takes {len(required)} parameters, not the context and at most one input.",
            hint="Put several values into one dict, list or protobuf message.",
        )
    return Workflow(
        name=handler,
        function=function,
        takes_input=len(positional) > 1,
        needs_input=len(required) > 1,
        input_type=parameter_message(function, 1),
        timeout=None if timeout is None else checked_seconds(timeout, f"The timeout of workflow {handler!r}"),
    )


def _unregistrable(what: str, name: str, error: InvalidNameError) -> AppError:
    return AppError(f"The {what} {name} cannot be registered: {error.message}", hint=error.hint)


SERVICE_ATTRIBUTE = "__durable_service__"


def service(name: str, *, version: str = "1.0.0") -> Callable[[_C], _C]:
    """Mark a class as a NATS micro service: each public ``async def method(self, request)`` is ``<name>.<method>``.

    ``version`` is the semantic version that ``nats micro ls`` shows. The class is made without arguments when hosted.
    """

    def mark(cls: _C) -> _C:
        try:
            validate_new_name("service name", name)
        except InvalidNameError as error:
            raise _unregistrable("service", cls.__qualname__, error) from error
        methods = [
            Method(attribute, attribute, parameter_message(function, 1))
            for attribute, function in vars(cls).items()
            if not attribute.startswith("_") and inspect.iscoroutinefunction(function)
        ]
        if not methods:
            raise AppError(f"The service {name!r} has no public `async def` method.")
        setattr(cls, SERVICE_ATTRIBUTE, Service(name, version, cls, methods))
        return cls

    return mark
