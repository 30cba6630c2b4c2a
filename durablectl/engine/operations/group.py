"""``ctx.gather`` and ``ctx.race``: operations that run concurrently."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.operation import NumberedOperation, Operation
from durablectl.engine.replay.control_flow import RunExit
from durablectl.errors import UsageError
from durablectl.model.kinds import StepKind
from durablectl.model.records import JournalEntry, Payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.run_state import RunState


class Gather(Operation[list[Any]]):
    """Operations that run concurrently; the result is the list of theirs."""

    __slots__ = ("_children",)

    def __init__(self, run: Run, children: Sequence[Operation[Any]]) -> None:
        super().__init__(run)
        _check_children("gather", children)
        self._children = children

    def begin(self) -> None:
        for child in self._children:
            child.begin()

    async def result(self) -> list[Any]:
        if not self._children:
            return []
        tasks = _GroupTasks(self._run.state, self._children, len(self._children))
        try:
            await tasks.wait(asyncio.ALL_COMPLETED)
        finally:
            tasks.resumed()
        _raise_first(tasks.tasks)
        return [task.result() for task in tasks.tasks]

    def discard(self) -> None:
        for child in self._children:
            child.discard()


class Race(NumberedOperation[tuple[int, Any]]):
    """Operations of which the first to end counts; the others are interrupted. The winner is journaled."""

    __slots__ = ("_children", "_tasks")

    def __init__(self, run: Run, children: Sequence[Operation[Any]]) -> None:
        if not children:
            raise UsageError("ctx.race needs at least one step.")
        super().__init__(run, StepKind.RACE, StepKind.RACE)
        _check_children("race", children)
        self._children = children

    def begin(self) -> None:
        self._number, self._entry = self._run.begin(self.step_type, self.kind)
        for child in self._children:
            child.begin()

    async def result(self) -> tuple[int, Any]:
        """The index of the winner and its result; which one it was is journaled before the handler sees it."""
        entry = self._entry
        if entry is None:
            tasks = _GroupTasks(self._run.state, self._children, 1)
            self._tasks = tasks.tasks
            try:
                entry = await self._decide(tasks)
            finally:
                tasks.resumed()
        self._run.mark_seen(entry)
        winner = int(entry.response.data)
        for index, child in enumerate(self._children):
            if index != winner:
                child.discard()
        # Its end is recorded by now, or the recording comes first here: either way this runs nothing twice.
        return winner, await self._winners_result(winner)

    async def _decide(self, tasks: _GroupTasks) -> JournalEntry:
        clock = self._run.state.clock
        entry = JournalEntry(self._number, self.step_type, self.kind, started_at=clock.now())
        await tasks.wait(asyncio.FIRST_COMPLETED)
        winner = next(index for index, task in enumerate(tasks.tasks) if task.done())
        await _cancel([task for index, task in enumerate(tasks.tasks) if index != winner])
        _raise_exit(tasks.tasks)
        entry.response = Payload(str(winner).encode())
        entry.finished_at = clock.now()
        await self._run.journal_writer.append(entry)
        return entry

    async def _winners_result(self, winner: int) -> Any:
        if self._entry is None:
            return self._tasks[winner].result()
        return await self._children[winner].result()

    def discard(self) -> None:
        self._run.window.finished(self._number)
        for child in self._children:
            child.discard()


def _check_children(name: str, children: Sequence[object]) -> None:
    for child in children:
        if not isinstance(child, Operation):
            raise UsageError(
                f"ctx.{name} takes steps, and got a {type(child).__name__}.",
                hint="Pass ctx.step(...), ctx.call(...), ctx.sleep(...) and the like, without await.",
            )


class _GroupTasks:
    """The tasks of a group. Between the end of enough of them and the group's resumption the run is not idle."""

    __slots__ = ("_missing", "_state", "tasks")

    def __init__(self, state: RunState, children: Sequence[Operation[Any]], enough: int) -> None:
        self._state = state
        self._missing = enough
        self.tasks = [asyncio.ensure_future(self._result(child)) for child in children]

    async def _result(self, child: Operation[Any]) -> Any:
        try:
            return await child.result()
        finally:
            self._missing -= 1
            if self._missing == 0:
                self._state.unresumed_groups += 1

    async def wait(self, return_when: str) -> None:
        try:
            await asyncio.wait(self.tasks, return_when=return_when)
        except asyncio.CancelledError:
            await _cancel(self.tasks)
            raise

    def resumed(self) -> None:
        if self._missing <= 0:
            self._state.unresumed_groups -= 1


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)


def _errors(tasks: Sequence[asyncio.Future[Any]]) -> list[BaseException]:
    found = (asyncio.CancelledError() if task.cancelled() else task.exception() for task in tasks)
    return [error for error in found if error is not None]


def _raise_exit(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for error in _errors(tasks):
        if isinstance(error, RunExit):
            raise error


def _raise_first(tasks: Sequence[asyncio.Future[Any]]) -> None:
    _raise_exit(tasks)
    for error in _errors(tasks):
        raise error
