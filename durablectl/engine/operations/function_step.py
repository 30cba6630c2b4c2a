"""What a step does when it is tried once: call a service, or run a function."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from durablectl.engine.operations.step_threads import run_in_thread
from durablectl.errors import ConnectionFailedError, InvalidValueError, TerminalError, UsageError
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.retry_policy import STEP_RETRY, TRANSPORT_RETRY, Retry
from durablectl.model.text import message_of
from durablectl.model.values import decode_value, encode_value, is_message, message_to_json, parse_message
from durablectl.storage.connection import micro_services

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.storage.connection.store import Store

DEFAULT_CALL_SECONDS = 30.0

inside_step: contextvars.ContextVar[bool] = contextvars.ContextVar("durablectl_inside_step", default=False)


class Failure(NamedTuple):
    """Why an attempt failed and whether, and after which rule, there is another."""

    message: str
    error_type: str
    retry: Retry
    terminal: bool


class Attempt(Protocol):
    """One kind of step."""

    kind: str
    step_type: str

    def request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        """The recorded request and the message types in it; InvalidValueError when it cannot be recorded."""
        ...

    async def run(self) -> Any: ...

    def failure(self, error: BaseException) -> Failure: ...


class TransportError(Exception):
    """No service answered: nothing is known to have failed."""


class ServiceError(Exception):
    """A service answered with the micro protocol's error headers."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_terminal(self) -> bool:
        """4xx, as in HTTP: the request is at fault, and asking again will not mend it."""
        return len(self.code) == 3 and self.code.startswith("4")  # noqa: PLR2004 - three digits


class Call:
    """A request to a NATS micro service."""

    kind = "call"

    def __init__(
        self,
        store: Store,
        subject: str,
        value: Any,
        response_type: type[Any] | None,
        *,
        retry: Retry | None,
        timeout: float | None,
    ) -> None:
        self.step_type = subject
        self._store = store
        self._value = value
        self._response_type = response_type
        self._retry = retry
        self._timeout = DEFAULT_CALL_SECONDS if timeout is None else timeout
        self._payload = NO_PAYLOAD

    def request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        self._payload = encode_value(self._value, f"the request of step {number} {self.step_type!r}")
        return self._payload, [type(self._value)] if is_message(self._value) else []

    async def run(self) -> Any:
        content_type = micro_services.PROTOBUF if self._payload.type_name else micro_services.JSON
        reply = await micro_services.call(self._store, self.step_type, self._payload.data, content_type, self._timeout)
        if reply is None:
            raise TransportError("no service answers")
        if reply.error_code or reply.error:
            raise ServiceError(reply.error_code, reply.error or f"error {reply.error_code}")
        return self._decode(reply)

    def _decode(self, reply: micro_services.Reply) -> Any:
        if self._response_type is None:
            if reply.content_type == micro_services.PROTOBUF:
                raise InvalidValueError(
                    f"{self.step_type} answered with a protobuf message.",
                    hint="Name its class as the response type of ctx.call.",
                )
            return decode_value(Payload(reply.data))
        if reply.content_type == micro_services.JSON:
            return parse_message(decode_value(Payload(reply.data)), self._response_type)
        return decode_value(Payload(reply.data, self._response_type.DESCRIPTOR.full_name), self._response_type)

    def failure(self, error: BaseException) -> Failure:
        if isinstance(error, (TransportError, TimeoutError, ConnectionFailedError)):
            message = str(error) if isinstance(error, TransportError) else f"no answer within {self._timeout:g} s"
            return Failure(message, "Unavailable", self._retry or TRANSPORT_RETRY, terminal=False)
        if isinstance(error, ServiceError):
            return Failure(
                message_of(error), f"ServiceError {error.code}", self._retry or STEP_RETRY, error.is_terminal
            )
        return describe(error, self._retry or STEP_RETRY)


class Local:
    """A function of the app, run in this process."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        *,
        retry: Retry | None,
        timeout: float | None,
        kind: str = "step",
    ) -> None:
        self.kind = kind
        self.step_type = name
        self._function = function
        self._args = args
        self._retry = retry or STEP_RETRY
        self._timeout = timeout

    def request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        what = f"an argument of step {number} {self.step_type!r}"
        if not self._args:
            return NO_PAYLOAD, []
        if len(self._args) == 1:
            only = self._args[0]
            return encode_value(only, what), [type(only)] if is_message(only) else []
        return encode_value([message_to_json(a) if is_message(a) else a for a in self._args], what), []

    async def run(self) -> Any:
        token = inside_step.set(True)
        try:
            if self._timeout is None:
                return await self._call()
            async with asyncio.timeout(self._timeout):
                return await self._call()
        finally:
            inside_step.reset(token)

    async def _call(self) -> Any:
        if not _is_coroutine_function(self._function):
            result = await run_in_thread(self._function, *self._args)
        else:
            result = self._function(*self._args)
        return await result if inspect.isawaitable(result) else result

    def failure(self, error: BaseException) -> Failure:
        if isinstance(error, TimeoutError) and not error.args and self._timeout is not None:
            return Failure(f"no result within {self._timeout:g} s", "TimeoutError", self._retry, terminal=False)
        return describe(error, self._retry)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)  # most have one: looking there first is five times as fast
    return bool(code and code.co_flags & inspect.CO_COROUTINE) or inspect.iscoroutinefunction(function)


def describe(error: BaseException, retry: Retry) -> Failure:
    """An error that the step itself raised; what no second attempt can mend is terminal."""
    terminal = isinstance(error, (TerminalError, InvalidValueError, UsageError))
    return Failure(message_of(error), type(error).__name__, retry, terminal)


def step_name(function: Callable[..., Any], name: str | None) -> str:
    """The step's name; UsageError for one that is empty or holds control characters."""
    result = name if name is not None else getattr(function, "__name__", type(function).__name__)
    if not result or not result.isprintable() or len(result) > 256:  # noqa: PLR2004 - what fits on a line
        raise UsageError(f"The step name {json.dumps(result)} must be 1 to 256 printable characters.")
    return result
