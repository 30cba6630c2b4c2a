"""What a handler awaits: the base of every operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from durablectl.errors import StepError, StepTimeoutError, UsageError
from durablectl.model.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Generator

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import JournalEntry

_T = TypeVar("_T")
_NOT_BEGUN = -1


class Operation(Generic[_T]):
    """An awaitable of one run; ``ctx.gather`` and ``ctx.race`` take it before it is awaited."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    def begin(self) -> None:
        """Take a step number, before any operation of the same group runs."""
        raise NotImplementedError

    async def result(self) -> _T:
        """The recorded result, or that of executing the operation now."""
        raise NotImplementedError

    def discard(self) -> None:
        """Note that the handler does not see how it ends."""
        raise NotImplementedError

    def __await__(self) -> Generator[Any, None, _T]:
        self.begin()
        return self.result().__await__()


class NumberedOperation(Operation[_T]):
    """An operation with one step number and one journal entry; ``kind`` is that of the entry."""

    __slots__ = ("_entry", "_number", "kind", "step_type")

    def __init__(self, run: Run, kind: str, step_type: str) -> None:
        super().__init__(run)
        self.kind = kind
        self.step_type = step_type
        self._number = _NOT_BEGUN
        self._entry: JournalEntry | None = None

    def begin(self) -> None:
        if self._number != _NOT_BEGUN:
            raise UsageError(
                f"The step {self.step_type!r} was awaited twice.", hint="Keep its result, or make a new step."
            )
        self._number, self._entry = self._run.begin(self.step_type, self.kind)

    def discard(self) -> None:
        if self._number != _NOT_BEGUN:
            self._run.window.finished(self._number)


def raise_recorded(entry: JournalEntry) -> None:
    """Raise what the recorded step raised, if it did."""
    if entry.reason_code == ReasonCode.INTERRUPTED:
        raise asyncio.CancelledError
    if entry.error:
        raise step_error(entry)


def step_error(entry: JournalEntry) -> StepError:
    """What the handler sees of a step that failed for good, now and on every replay."""
    kind = StepTimeoutError if entry.reason_code == ReasonCode.TIMED_OUT else StepError
    tries = {0: "", 1: " at its first attempt"}.get(entry.attempts, f" after {entry.attempts} attempts")
    return kind(
        f"Step {entry.step_number} {entry.step_type!r} failed{tries}: {entry.error}",
        step_number=entry.step_number,
        step_type=entry.step_type,
        attempts=entry.attempts,
        error=entry.error,
        error_type=entry.error_type,
    )
