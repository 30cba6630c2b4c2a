"""``ctx.gather`` and ``ctx.race``: operations that run concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from inspect import CORO_CREATED, getcoroutinestate
from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.operation import NumberedOperation, Operation
from durablectl.engine.replay.handler_loop import HandlerTask
from durablectl.errors import UsageError
from durablectl.model.kinds import StepKind
from durablectl.model.records import JournalEntry, Payload

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from durablectl.engine.replay.run import Run


_MOST_DIGITS = 20
"""No recorded winner has more."""


class _GroupTask(HandlerTask):
    """The task of a group inside another. Its children have begun before its first turn.

    A cancellation before that turn waits for it: only then does the group cancel its children, and wait for them.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        if getcoroutinestate(self.get_coro()) != CORO_CREATED:  # type: ignore[arg-type]
            return super().cancel(msg)
        self.get_loop().call_soon(super().cancel, msg)
        return True


class _Group(Operation[Any]):
    """Awaitables that begin together, in the order given."""

    __slots__ = ("_children",)

    def __init__(self, run: Run, name: str, children: Sequence[Awaitable[Any]]) -> None:
        super().__init__(run)
        given: Sequence[object] = children
        for child in given:
            if not isinstance(child, Awaitable):
                raise UsageError(
                    f"ctx.{name} takes steps and coroutines, and got a {type(child).__name__}.",
                    hint="Pass ctx.step(...), ctx.call(...), ctx.sleep(...), coroutines and the like, without await.",
                )
        self._children = children

    def begin(self) -> asyncio.Future[Any]:
        return self._run.runner.loop.create_task(self._begun(), task_class=_GroupTask)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._begun().__await__()

    def _begun(self) -> Awaitable[Any]:
        """Begin the children now; an awaitable of the group's result."""
        raise NotImplementedError

    def _begin_children(self) -> list[asyncio.Future[Any]]:
        futures: list[asyncio.Future[Any]] = []
        try:
            for child in self._children:
                begun = child.begin() if isinstance(child, Operation) else asyncio.ensure_future(child)
                futures.append(begun)
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return futures


class Gather(_Group):
    """Awaitables that run concurrently; the result is the list of theirs."""

    __slots__ = ()

    def __init__(self, run: Run, children: Sequence[Awaitable[Any]]) -> None:
        super().__init__(run, "gather", children)

    def _begun(self) -> Awaitable[Any]:
        return self._results(self._begin_children())

    async def _results(self, futures: list[asyncio.Future[Any]]) -> list[Any]:
        """All of them end before the first error, in the order given, is raised."""
        await _wait(futures, asyncio.ALL_COMPLETED)
        return [future.result() for future in futures]


class Race(_Group):
    """Awaitables of which the first to end counts; the others are cancelled. The winner is journaled."""

    __slots__ = ()

    def __init__(self, run: Run, children: Sequence[Awaitable[Any]]) -> None:
        if not children:
            raise UsageError("ctx.race needs at least one step.")
        super().__init__(run, "race", children)

    def _begun(self) -> Awaitable[Any]:
        decision = RaceDecision(self._run, len(self._children))
        decided = decision.begin()
        try:
            futures = self._begin_children()
        except BaseException:
            decided.cancel()
            raise
        return self._winner(decision, decided, futures)

    async def _winner(
        self, decision: RaceDecision, decided: asyncio.Future[Any], futures: list[asyncio.Future[Any]]
    ) -> tuple[int, Any]:
        """The index of the winner and its result."""
        winner = decision.recorded_winner(decided)
        try:
            if winner is None:
                await _wait(futures, asyncio.FIRST_COMPLETED)
                winner = next(index for index, future in enumerate(futures) if future.done())
            else:
                await _wait(futures[winner : winner + 1], asyncio.ALL_COMPLETED)
            losers = [future for index, future in enumerate(futures) if index != winner]
            await _cancel(losers)
        except asyncio.CancelledError:
            await _cancel(futures)
            decided.cancel()
            raise
        decision.decide(decided, winner)
        return winner, futures[winner].result()


class RaceDecision(NumberedOperation[int]):
    """Which one has won: journaled, though a replay would come to the same, so that it can be seen."""

    __slots__ = ("_contenders",)

    is_executed = False

    def __init__(self, run: Run, contenders: int) -> None:
        super().__init__(run, StepKind.RACE, StepKind.RACE)
        self._contenders = contenders

    def difference(self, recorded: JournalEntry) -> tuple[str, str] | None:
        """Say so where the recorded winner is none of those that race now, or no number at all."""
        winner = recorded.response.data
        if not winner or (winner.isdigit() and len(winner) <= _MOST_DIGITS and int(winner) < self._contenders):
            return None
        shown = winner[:_MOST_DIGITS].decode("utf-8", "replace")
        return f"the winner {shown}", f"{self._contenders} contenders"

    def recorded_winner(self, decided: asyncio.Future[Any]) -> int | None:
        entry = self._run.runner.entry_of(decided)
        return int(entry.response.data) if entry is not None and entry.response.data else None

    def decide(self, decided: asyncio.Future[Any], winner: int) -> None:
        """Record the winner before anything begins that follows from it."""
        pending = self._run.runner.forget(decided)
        if pending is None or pending.entry is not None:
            return
        now = self._run.state.clock.now()
        entry = JournalEntry(pending.number, StepKind.RACE, StepKind.RACE, started_at=now, finished_at=now)
        entry.response = Payload(str(winner).encode())
        self._run.window.finished(pending.number)
        self._run.journal_writer.defer(entry)


async def _wait(futures: Sequence[asyncio.Future[Any]], return_when: str) -> None:
    if not futures:
        return
    try:
        await asyncio.wait(futures, return_when=return_when)
    except asyncio.CancelledError:
        await _cancel(futures)
        raise


async def _cancel(futures: Sequence[asyncio.Future[Any]]) -> None:
    for future in futures:
        future.cancel()
    running = [future for future in futures if not future.done()]
    if running:
        await asyncio.wait(running)
    for future in futures:
        if not future.cancelled():
            future.exception()  # read: it lost
