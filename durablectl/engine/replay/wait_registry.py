"""What a run waits for: kept in memory while it is short or other steps run, else the run is suspended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from durablectl.engine.replay.control_flow import StorageFailed, Suspended
from durablectl.errors import DurableError, PayloadTooLargeError, StorageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.records import NO_PAYLOAD, Payload, PendingWait
from durablectl.model.status import is_terminal
from durablectl.storage.records import states

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, JournalEntry

_SETTLE_SECONDS = 0.01
_KEPT_IN_MEMORY = {"retry": 5 * MICROSECONDS}
_KEPT_IN_MEMORY_OTHERWISE = 1 * MICROSECONDS
_LONGEST_TIMER_SECONDS = 3600.0
CHILD = "child"
RETRY = "retry"


class Outcome(NamedTuple):
    """How a wait ended; ``awaited_id`` says by what, where that is known only then."""

    response: Payload = NO_PAYLOAD
    error: str = ""
    error_type: str = ""
    awaited_id: str = ""


class Wait(Protocol):
    """One kind of wait; ``kind`` is that of its journal entry."""

    kind: str
    step_type: str

    def entry(self, run: Run, number: int) -> JournalEntry: ...

    async def prepare(self, run: Run, entry: JournalEntry) -> None:
        """What must have happened before the wait is journaled; may happen again after a crash."""

    def waiting(self, entry: JournalEntry) -> PendingWait:
        """How the state shows it, and what can wake it."""
        ...

    def poll(self, run: Run, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        """The end of the wait, if it has come; ``children`` are the states of those that have ended."""
        ...

    def value(self, entry: JournalEntry) -> Any: ...


@dataclass(slots=True)
class _Open:
    waiting: PendingWait
    wait: Wait | None
    entry: JournalEntry | None
    over: asyncio.Future[Outcome]


class Waits:
    """The open waits of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = run.loop
        self._open: dict[int, _Open] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._checking: asyncio.Task[None] | None = None
        self._check_again = False

    def summary(self) -> list[PendingWait]:
        """Everything that can wake the run, the earliest first; what no time ends comes last."""
        waits = [opened.waiting for opened in self._open.values()]
        return sorted(waits, key=lambda w: (w.until == 0, w.until, w.step_number))

    async def back_off(self, waiting: PendingWait) -> None:
        """Wait before another attempt."""
        self._run.position.waits(waiting.step_number, waiting)
        await self._until_over(_Open(waiting, None, None, self._loop.create_future()))
        self._run.position.waits(waiting.step_number, None)

    async def wait(self, number: int, wait: Wait, entry: JournalEntry | None) -> JournalEntry:
        """Wait to the end and journal it. A wait that may outlive this run is journaled when it begins, too."""
        run = self._run
        if run.recording.is_busy:
            await run.recording.flush()
            run.check_still_wanted()
        if entry is None:
            entry = wait.entry(run, number)
            await self._prepare(wait, entry)
            if not self._is_brief(wait.waiting(entry)):
                await run.recording.append(entry)
        waiting = wait.waiting(entry)
        run.position.started(number, entry.step_type)
        opened = _Open(waiting, wait, entry, self._loop.create_future())
        try:
            outcome = await self._until_over(opened)
        except asyncio.CancelledError:
            self._give_back(opened)
            raise
        finally:
            run.position.ended(number)
        entry.response, entry.error, entry.error_type = outcome.response, outcome.error, outcome.error_type
        entry.awaited_id = outcome.awaited_id or entry.awaited_id
        entry.finished_at = run.clock.now()
        await run.recording.append(entry)
        return entry

    async def _prepare(self, wait: Wait, entry: JournalEntry) -> None:
        run = self._run
        try:
            await wait.prepare(run, entry)
        except PayloadTooLargeError:
            raise
        except (StorageError, *states.UNREACHABLE) as error:
            # The store's trouble is not the workflow's: the handler must not see it.
            run.halted = run.halted or StorageFailed(error)
            raise run.halted from error

    def _give_back(self, opened: _Open) -> None:
        """A signal that was picked for a wait that lost a race: the next who asks for it gets it."""
        if opened.over.done() and not opened.over.cancelled() and opened.waiting.kind == "signal":
            taken = opened.over.result().awaited_id
            if taken:
                self._run.received_signals.discard(int(taken))

    async def _until_over(self, opened: _Open) -> Outcome:
        number = opened.waiting.step_number
        self._open[number] = opened
        self.recheck()
        try:
            return await opened.over
        finally:
            del self._open[number]
            self._settle()

    def recheck(self) -> None:
        """Something may have come in."""
        self._check_again = True
        if self._open and (self._checking is None or self._checking.done()):
            self._checking = self._loop.create_task(self._check())

    async def _check(self) -> None:
        run = self._run
        while self._check_again:
            self._check_again = False
            stop = run.stop_reason
            if stop is not None:
                run.halt(stop)
                return
            try:
                children = await self._ended_children()
            except DurableError:
                # Out of reach: look again when the next timer or word comes.
                children = {}
            for opened in list(self._open.values()):
                outcome = self._poll(opened, children)
                if outcome is not None and not opened.over.done():
                    opened.over.set_result(outcome)
        self._arm()
        self._settle()

    def _poll(self, opened: _Open, children: dict[str, Execution]) -> Outcome | None:
        if opened.wait is None or opened.entry is None:
            return Outcome() if opened.waiting.until <= self._run.clock.now() else None
        return opened.wait.poll(self._run, opened.entry, children)

    async def _ended_children(self) -> dict[str, Execution]:
        ids = [o.waiting.awaited_id for o in self._open.values() if o.waiting.kind == CHILD]
        found = await states.load_many(self._run.store, ids) if ids else {}
        return {i: stored.execution for i, stored in found.items() if is_terminal(stored.execution.status)}

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        moments = [o.waiting.until for o in self._open.values() if o.waiting.until and not o.over.done()]
        if moments:
            seconds = (min(moments) - self._run.clock.now()) / MICROSECONDS
            self._timer = self._loop.call_later(min(max(seconds, 0.0), _LONGEST_TIMER_SECONDS), self.recheck)

    def _settle(self) -> None:
        """Look a moment later whether only long waits are left."""
        if self._settling is None and self._open:
            self._settling = self._loop.call_later(_SETTLE_SECONDS, self._consider)

    def _consider(self) -> None:
        self._settling = None
        run = self._run
        if not self._open or run.halted is not None or not run.position.is_only(self._open):
            return
        is_checking = self._checking is not None and not self._checking.done()
        if run.recording.is_busy or run.moving or is_checking:
            self._settle()
            return
        if any(opened.over.done() or self._is_brief(opened.waiting) for opened in self._open.values()):
            return
        run.halt(Suspended(self.summary(), run.ownership.revision))

    def _is_brief(self, waiting: PendingWait) -> bool:
        limit = _KEPT_IN_MEMORY.get(waiting.kind, _KEPT_IN_MEMORY_OTHERWISE)
        return bool(waiting.until) and waiting.until - self._run.clock.now() <= limit

    def close(self) -> None:
        for handle in (self._timer, self._settling):
            if handle is not None:
                handle.cancel()
        if self._checking is not None:
            self._checking.cancel()
