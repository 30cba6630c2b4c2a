"""The awaitables that a handler gets from its context."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durablectl.engine.halt import Halt
from durablectl.errors import StepError, UsageError
from durablectl.model.values import decode_value

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from durablectl.engine.attempts import Attempt
    from durablectl.engine.run import Run
    from durablectl.model.records import JournalEntry

_T = TypeVar("_T")
_NOT_BEGUN = -1


class Step(Generic[_T]):
    """A step that starts when it is awaited, alone or by ``ctx.gather``; its number is given at that moment."""

    __slots__ = ("_attempt", "_entry", "_number", "_response_type", "_run")

    def __init__(self, run: Run, attempt: Attempt, response_type: type[_T] | None) -> None:
        self._run = run
        self._attempt = attempt
        self._response_type = response_type
        self._number = _NOT_BEGUN
        self._entry: JournalEntry | None = None

    def begin(self) -> bool:
        """Take a number; True when the journal has the result already."""
        if self._number != _NOT_BEGUN:
            raise UsageError(
                f"The step {self._attempt.step_type!r} was awaited twice.", hint="Keep its result, or make a new step."
            )
        self._number, self._entry = self._run.begin(self._attempt)
        return self._entry is not None

    async def finish(self) -> _T:
        """The recorded result, or that of running the step now. Raises StepError when it failed for good."""
        entry = self._entry
        if entry is None:
            result: _T = await self._run.perform(self._number, self._attempt)
            return result
        self._run.consume(entry)
        if entry.error:
            raise step_error(entry)
        recorded: _T = decode_value(entry.response, self._response_type)
        return recorded

    def __await__(self) -> Generator[Any, None, _T]:
        self.begin()
        return self.finish().__await__()


class Gather:
    """Steps that run side by side."""

    __slots__ = ("_children", "_run")

    def __init__(self, run: Run, children: Sequence[Step[Any] | Gather]) -> None:
        for child in children:
            if not isinstance(child, (Step, Gather)):
                raise UsageError(
                    f"ctx.gather takes steps, and got a {type(child).__name__}.",
                    hint="Pass ctx.step(...), ctx.call(...) or ctx.gather(...) without await.",
                )
        self._run = run
        self._children = children

    def begin(self) -> bool:
        """Number all steps in the order given; True when the journal has every result already."""
        recorded = [child.begin() for child in self._children]
        return all(recorded)

    async def finish(self) -> list[Any]:
        tasks = [asyncio.ensure_future(child.finish()) for child in self._children]
        if not tasks:
            return []
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            raise
        errors = [error for task in tasks if (error := _error_of(task)) is not None]
        for error in errors:
            if isinstance(error, Halt):
                raise error
        if errors:
            raise errors[0]
        return [task.result() for task in tasks]

    def __await__(self) -> Generator[Any, None, list[Any]]:
        self.begin()
        return self.finish().__await__()


def _error_of(task: asyncio.Future[Any]) -> BaseException | None:
    if task.cancelled():
        return asyncio.CancelledError()
    return task.exception()


def step_error(entry: JournalEntry) -> StepError:
    """What the handler sees of a step that failed for good, now and on every replay."""
    tries = f"after {entry.attempts} attempts" if entry.attempts > 1 else "at its first attempt"
    return StepError(
        f"Step {entry.step_number} {entry.step_type!r} failed {tries}: {entry.error}",
        step_number=entry.step_number,
        step_type=entry.step_type,
        attempts=entry.attempts,
        error=entry.error,
        error_type=entry.error_type,
    )
