"""``ctx.step`` and the compensations of ``ctx.defer``: a function of the app, executed in this process."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.step_operation import Failure, StepOperation, describe_failure
from durablectl.engine.operations.step_threads import run_in_thread
from durablectl.errors import UsageError
from durablectl.model.kinds import StepKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD, Payload
from durablectl.model.retry_policy import STEP_RETRY, Retry
from durablectl.model.values import encode_value, is_message, message_to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.replay.run import Run

_T = TypeVar("_T")


class FunctionStep(StepOperation[_T]):
    """A function, async or sync, whose result is recorded. ``timeout`` is in seconds per attempt."""

    __slots__ = ("_args", "_function", "_retry", "_timeout")

    def __init__(
        self,
        run: Run,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        name: str,
        *,
        retry: Retry | None = None,
        timeout: float | None = None,
        kind: StepKind = StepKind.STEP,
    ) -> None:
        super().__init__(run, kind, name)
        self._function = function
        self._args = args
        self._retry = retry or STEP_RETRY
        self._timeout = timeout

    def encode_request(self, number: int) -> tuple[Payload, list[type[Any]]]:
        what = f"an argument of step {number} {self.step_type!r}"
        if not self._args:
            return NO_PAYLOAD, []
        if len(self._args) == 1:
            only = self._args[0]
            return encode_value(only, what), [type(only)] if is_message(only) else []
        return encode_value([message_to_json(a) if is_message(a) else a for a in self._args], what), []

    async def attempt(self) -> Any:
        if self._timeout is None:
            return await self._call()
        async with asyncio.timeout(self._timeout):
            return await self._call()

    async def _call(self) -> Any:
        if not _is_coroutine_function(self._function):
            result = await run_in_thread(self._function, *self._args)
        else:
            result = self._function(*self._args)
        return await result if inspect.isawaitable(result) else result

    def failure(self, error: BaseException) -> Failure:
        if isinstance(error, TimeoutError) and not error.args and self._timeout is not None:
            return Failure(f"no result within {self._timeout:g} s", "TimeoutError", self._retry, ReasonCode.TIMED_OUT)
        return describe_failure(error, self._retry)


def compensation(run: Run, function: Callable[..., Any], args: tuple[Any, ...], name: str) -> FunctionStep[Any]:
    """The step that undoes something when the workflow is cancelled."""
    return FunctionStep(run, function, args, name, kind=StepKind.COMPENSATION)


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)  # most have one: looking there first is five times as fast
    return bool(code and code.co_flags & inspect.CO_COROUTINE) or inspect.iscoroutinefunction(function)


def step_name(function: Callable[..., Any], name: str | None) -> str:
    """The step's name; UsageError for one that is empty or holds control characters."""
    result = name if name is not None else getattr(function, "__name__", type(function).__name__)
    if not result or not result.isprintable() or len(result) > 256:  # noqa: PLR2004 - what fits on a line
        raise UsageError(f"The step name {json.dumps(result)} must be 1 to 256 printable characters.")
    return result
