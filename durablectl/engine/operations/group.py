"""The awaitables that a handler gets from its context."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from durablectl.engine.operations.step_operation import perform, step_error
from durablectl.engine.replay.control_flow import Halt
from durablectl.engine.replay.run import CANCELLED
from durablectl.errors import UsageError
from durablectl.model.records import JournalEntry, Payload
from durablectl.model.values import decode_value

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from durablectl.engine.operations.function_step import Attempt
    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.wait_registry import Wait

_T = TypeVar("_T")
_NOT_BEGUN = -1


class Durable(Protocol):
    """What ``ctx.gather`` and ``ctx.race`` take."""

    def begin(self) -> None:
        """Take a number, before any of the others runs."""

    async def finish(self) -> Any: ...

    def abandon(self) -> None:
        """Nobody will wait for it any more."""


class _Numbered:
    """An awaitable with one step number, which it gets when it is awaited, alone or by gather or race."""

    __slots__ = ("_entry", "_kind", "_number", "_run", "_step_type")

    def __init__(self, run: Run, step_type: str, kind: str) -> None:
        self._run = run
        self._step_type = step_type
        self._kind = kind
        self._number = _NOT_BEGUN
        self._entry: JournalEntry | None = None

    def begin(self) -> None:
        if self._number != _NOT_BEGUN:
            raise UsageError(
                f"The step {self._step_type!r} was awaited twice.", hint="Keep its result, or make a new step."
            )
        self._number, self._entry = self._run.begin(self._step_type, self._kind)

    def abandon(self) -> None:
        if self._number != _NOT_BEGUN:
            self._run.abandon(self._number)


class Step(_Numbered, Generic[_T]):
    """A step that starts when it is awaited."""

    __slots__ = ("_attempt", "_response_type")

    def __init__(self, run: Run, attempt: Attempt, response_type: type[_T] | None) -> None:
        super().__init__(run, attempt.step_type, attempt.kind)
        self._attempt = attempt
        self._response_type = response_type

    async def finish(self) -> _T:
        """The recorded result, or that of running the step now. Raises StepError when it failed for good."""
        entry = self._entry
        if entry is None:
            result: _T = await perform(self._run, self._number, self._attempt)
            return result
        self._run.consume(entry)
        raise_recorded(entry)
        recorded: _T = decode_value(entry.response, self._response_type)
        return recorded

    def __await__(self) -> Generator[Any, None, _T]:
        self.begin()
        return self.finish().__await__()


class Awaiting(_Numbered, Generic[_T]):
    """Something that the workflow waits for, and may be suspended for: a timer, an answer, a child."""

    __slots__ = ("_wait",)

    def __init__(self, run: Run, wait: Wait) -> None:
        super().__init__(run, wait.step_type, wait.kind)
        self._wait = wait

    async def finish(self) -> _T:
        entry = self._entry
        if entry is None or not entry.finished_at:
            entry = await self._run.waits.wait(self._number, self._wait, entry)
        self._run.consume(entry)
        raise_recorded(entry)
        value: _T = self._wait.value(entry)
        return value

    def __await__(self) -> Generator[Any, None, _T]:
        self.begin()
        return self.finish().__await__()


def raise_recorded(entry: JournalEntry) -> None:
    """Raise what the recorded step raised, if it did."""
    if entry.error_type == CANCELLED:
        raise asyncio.CancelledError
    if entry.error:
        raise step_error(entry)


class _Group:
    __slots__ = ("_children", "_run")

    def __init__(self, run: Run, name: str, children: Sequence[Durable]) -> None:
        for child in children:
            if not isinstance(child, (_Numbered, _Group)):
                raise UsageError(
                    f"ctx.{name} takes steps, and got a {type(child).__name__}.",
                    hint="Pass ctx.step(...), ctx.call(...), ctx.sleep(...) and the like, without await.",
                )
        self._run = run
        self._children = children

    def begin(self) -> None:
        for child in self._children:
            child.begin()

    def abandon(self) -> None:
        for child in self._children:
            child.abandon()


class Gather(_Group):
    """Steps that run side by side."""

    __slots__ = ()

    def __init__(self, run: Run, children: Sequence[Durable]) -> None:
        super().__init__(run, "gather", children)

    async def finish(self) -> list[Any]:
        if not self._children:
            return []
        joint = _Joint(self._run, self._children, len(self._children))
        try:
            await joint.wait(asyncio.ALL_COMPLETED)
        finally:
            joint.noticed()
        _raise_first(joint.tasks)
        return [task.result() for task in joint.tasks]

    def __await__(self) -> Generator[Any, None, list[Any]]:
        self.begin()
        return self.finish().__await__()


class Race(_Group):
    """Steps of which the first to end counts; the others are interrupted."""

    __slots__ = ("_entry", "_number", "_tasks")

    KIND = "race"

    def __init__(self, run: Run, children: Sequence[Durable]) -> None:
        if not children:
            raise UsageError("ctx.race needs at least one step.")
        super().__init__(run, "race", children)

    def begin(self) -> None:
        self._number, self._entry = self._run.begin(self.KIND, self.KIND)
        super().begin()

    async def finish(self) -> tuple[int, Any]:
        """The index of the winner and its result; which one it was is journaled before anyone sees it."""
        entry = self._entry
        if entry is None:
            joint = _Joint(self._run, self._children, 1)
            self._tasks = joint.tasks
            try:
                entry = await self._decide(joint)
            finally:
                joint.noticed()
        self._run.consume(entry)
        winner = int(entry.response.data)
        for index, child in enumerate(self._children):
            if index != winner:
                child.abandon()
        # Its end is recorded by now, or the recording comes first here: either way this runs nothing twice.
        return winner, await self._result(winner)

    async def _decide(self, joint: _Joint) -> JournalEntry:
        entry = JournalEntry(self._number, self.KIND, self.KIND, started_at=self._run.clock.now())
        await joint.wait(asyncio.FIRST_COMPLETED)
        winner = next(index for index, task in enumerate(joint.tasks) if task.done())
        await _cancel([task for index, task in enumerate(joint.tasks) if index != winner])
        _raise_halt(joint.tasks)
        entry.response = Payload(str(winner).encode())
        entry.finished_at = self._run.clock.now()
        await self._run.recording.append(entry)
        return entry

    async def _result(self, winner: int) -> Any:
        if self._entry is None:
            return self._tasks[winner].result()
        return await self._children[winner].finish()

    def abandon(self) -> None:
        self._run.window.finished(self._number)
        super().abandon()

    def __await__(self) -> Generator[Any, None, tuple[int, Any]]:
        self.begin()
        return self.finish().__await__()


class _Joint:
    """The tasks of a group. From the end of enough of them until the group has noticed, the run is about to move."""

    __slots__ = ("_missing", "_run", "tasks")

    def __init__(self, run: Run, children: Sequence[Durable], enough: int) -> None:
        self._run = run
        self._missing = enough
        self.tasks = [asyncio.ensure_future(self._finish(child)) for child in children]

    async def _finish(self, child: Durable) -> Any:
        try:
            return await child.finish()
        finally:
            self._missing -= 1
            if self._missing == 0:
                self._run.moving += 1

    async def wait(self, return_when: str) -> None:
        try:
            await asyncio.wait(self.tasks, return_when=return_when)
        except asyncio.CancelledError:
            await _cancel(self.tasks)
            raise

    def noticed(self) -> None:
        if self._missing <= 0:
            self._run.moving -= 1


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _errors(tasks: Sequence[asyncio.Future[Any]]) -> list[BaseException]:
    found = (asyncio.CancelledError() if task.cancelled() else task.exception() for task in tasks)
    return [error for error in found if error is not None]


def _raise_halt(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for error in _errors(tasks):
        if isinstance(error, Halt):
            raise error


def _raise_first(tasks: Sequence[asyncio.Future[Any]]) -> None:
    _raise_halt(tasks)
    for error in _errors(tasks):
        raise error
