"""The open waits of a run: kept in memory while they are short or other steps run, else the run is suspended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from durablectl.engine.replay.control_flow import EngineFailed, StorageFailed, Suspended, do_nothing
from durablectl.errors import ConflictError, DurableError, PayloadTooLargeError, StorageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import WaitKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD, Payload, PendingWait
from durablectl.model.status import is_terminal
from durablectl.model.text import class_of
from durablectl.storage.records import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.current_step import CurrentStepTracker
    from durablectl.engine.replay.journal_writer import JournalWriter
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution, JournalEntry

_KEPT_IN_MEMORY_US: dict[str, int] = {WaitKind.RETRY: 5 * MICROSECONDS}
_KEPT_IN_MEMORY_OTHERWISE_US = 1 * MICROSECONDS
_LONGEST_TIMER_SECONDS = 3600.0


class WaitOutcome(NamedTuple):
    """How a wait ended; ``awaited_id`` names what ended it, where that is known only then."""

    response: Payload = NO_PAYLOAD
    error: str = ""
    error_type: str = ""
    awaited_id: str = ""
    reason_code: str = ""
    error_class: str = ""
    error_details: bytes = b""

    def write_to(self, entry: JournalEntry) -> None:
        entry.response, entry.error, entry.error_type = self.response, self.error, self.error_type
        entry.error_class = self.error_class if self.error_class != self.error_type else ""
        entry.error_details, entry.reason_code = self.error_details, self.reason_code
        entry.awaited_id = self.awaited_id or entry.awaited_id


class AwaitedOperation(Protocol):
    """What the registry asks of an operation that waits; each kind of wait answers by its own rules."""

    def new_entry(self, number: int) -> JournalEntry:
        """The journal entry with which the wait begins."""
        ...

    async def prepare(self, entry: JournalEntry) -> None:
        """Do what must have happened before the wait is journaled; may happen again after a crash."""

    def pending_wait(self, entry: JournalEntry) -> PendingWait:
        """How the state shows the wait, and what can end it."""
        ...

    def awaited_child(self, entry: JournalEntry) -> str:
        """The id of the child workflow whose end ends the wait, else ""."""
        ...

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        """The end of the wait, if it has come; ``children`` are the states of those that have ended."""
        ...

    def give_back(self, outcome: WaitOutcome) -> None:
        """Undo what ``poll`` took: the handler does not see this outcome."""


@dataclass(slots=True)
class _OpenWait:
    pending: PendingWait
    awaited: AwaitedOperation | None
    entry: JournalEntry | None
    ended: asyncio.Future[WaitOutcome]


def _never() -> bool:
    return False


class WaitRegistry:
    """The open waits of one run; ``exit_run`` leaves the handler."""

    def __init__(
        self,
        state: RunState,
        journal_writer: JournalWriter,
        tracker: CurrentStepTracker,
        exit_run: Callable[[RunExit], None],
        may_suspend: Callable[[], bool],
    ) -> None:
        self._state = state
        self._journal_writer = journal_writer
        self._tracker = tracker
        self._exit_run = exit_run
        self._may_suspend = may_suspend
        self.on_wait: Callable[[], None] = lambda: None
        """Called when a wait has been polled and goes on."""
        self.on_begun: Callable[[int], None] = lambda _: None
        """Called when a wait has been journaled; raises CancelledError where it was cancelled meanwhile."""
        self.beginning: set[int] = set()
        """The numbers of the waits that are being prepared and journaled, and must not be interrupted: a child that has
        been started, and is in no journal, would be cancelled with nothing."""
        self._open: dict[int, _OpenWait] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._polling: asyncio.Task[None] | None = None
        self._poll_again = False

    def pending(self) -> list[PendingWait]:
        """Everything that can wake the run, the earliest first; what no time ends comes last."""
        waits = [opened.pending for opened in self._open.values()]
        return sorted(waits, key=lambda w: (w.until == 0, w.until, w.step_number))

    async def back_off(self, pending: PendingWait) -> None:
        """Wait before another attempt."""
        self._tracker.step_backs_off(pending.step_number, pending)
        await self._until_ended(_OpenWait(pending, None, None, self._state.loop.create_future()))
        self._tracker.step_backs_off(pending.step_number, None)

    def is_open(self, number: int) -> bool:
        """Whether the operation is a wait, or a step that backs off."""
        return number in self._open

    def end_back_offs(self) -> None:
        """End every back-off now, in time for the next poll."""
        now = self._state.clock.now()
        for opened in self._open.values():
            if opened.awaited is None:
                opened.pending.until = min(opened.pending.until, now)

    async def wait(self, number: int, awaited: AwaitedOperation, entry: JournalEntry | None) -> JournalEntry:
        """Wait to the end and journal it. A wait that may outlive this run is journaled when it begins, too."""
        state, journal_writer = self._state, self._journal_writer
        if entry is None:
            entry = awaited.new_entry(number)
            self.beginning.add(number)
            try:
                refusal = await self._prepare(awaited, entry)
                if refusal is not None:
                    entry.awaited_id = ""
                    return await self._end(entry, refusal)
                if not self._is_brief(awaited.pending_wait(entry)):
                    await journal_writer.append(entry)
            finally:
                self.beginning.discard(number)
            self.on_begun(number)
        self._tracker.step_started(number, entry.step_type)
        opened = _OpenWait(awaited.pending_wait(entry), awaited, entry, state.loop.create_future())
        try:
            outcome = await self._until_ended(opened)
        except asyncio.CancelledError:
            if opened.ended.done() and not opened.ended.cancelled():
                awaited.give_back(opened.ended.result())
            raise
        finally:
            self._tracker.step_ended(number)
        return await self._end(entry, outcome)

    async def _end(self, entry: JournalEntry, outcome: WaitOutcome) -> JournalEntry:
        outcome.write_to(entry)
        entry.finished_at = self._state.clock.now()
        await self._journal_writer.append(entry)
        return entry

    async def _prepare(self, awaited: AwaitedOperation, entry: JournalEntry) -> WaitOutcome | None:
        """Begin what is waited for; the end of the wait where that is refused for good."""
        try:
            await awaited.prepare(entry)
        except (ConflictError, PayloadTooLargeError) as error:
            code = ReasonCode.FINAL_ERROR if isinstance(error, ConflictError) else ReasonCode.TOO_LARGE
            name = type(error).__name__
            return WaitOutcome(error=error.message, error_type=name, reason_code=code, error_class=class_of(error))
        except (StorageError, *states.UNREACHABLE) as error:
            # A failure of the store is not the workflow's: the handler must not see it.
            raise StorageFailed(error) from error
        return None

    async def _until_ended(self, opened: _OpenWait) -> WaitOutcome:
        number = opened.pending.step_number
        self._open[number] = opened
        self.poll()
        try:
            return await opened.ended
        finally:
            del self._open[number]

    def poll(self) -> None:
        """Check every open wait: the state, or a child, may have changed."""
        self._poll_again = True
        if self._open and self._polling is None:
            self._polling = self._state.loop.create_task(self._poll_all())

    async def _poll_all(self) -> None:
        try:
            await self._poll_until_settled()
            self._polling = None
            self.on_wait()
            self.suspend_if_idle()
        except Exception as error:  # noqa: BLE001 - nothing awaits this task's result
            self._exit_run(EngineFailed(error))

    async def _poll_until_settled(self) -> None:
        while self._poll_again:
            self._poll_again = False
            try:
                children = await self._ended_children()
            except DurableError:
                # Out of reach: the next timer or notification polls again.
                children = {}
            for opened in list(self._open.values()):
                outcome = self._poll_one(opened, children)
                if outcome is not None and not opened.ended.done():
                    opened.ended.set_result(outcome)
        self._set_timer()

    def _poll_one(self, opened: _OpenWait, children: dict[str, Execution]) -> WaitOutcome | None:
        if opened.awaited is None or opened.entry is None:
            return WaitOutcome() if opened.pending.until <= self._state.clock.now() else None
        return opened.awaited.poll(opened.entry, children)

    async def _ended_children(self) -> dict[str, Execution]:
        ids = [
            child
            for opened in self._open.values()
            if opened.awaited is not None and opened.entry is not None
            if (child := opened.awaited.awaited_child(opened.entry))
        ]
        found = await states.load_many(self._state.store, ids) if ids else {}
        return {i: stored.execution for i, stored in found.items() if is_terminal(stored.execution.status)}

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        ends = [o.pending.until for o in self._open.values() if o.pending.until and not o.ended.done()]
        if ends:
            seconds = (min(ends) - self._state.clock.now()) / MICROSECONDS
            self._timer = self._state.loop.call_later(min(max(seconds, 0.0), _LONGEST_TIMER_SECONDS), self.poll)

    def are_only(self, numbers: Iterable[int]) -> bool:
        """Whether these are steps that wait, and whose waits go on."""
        return all((opened := self._open.get(number)) is not None and not opened.ended.done() for number in numbers)

    def suspend_if_idle(self) -> None:
        """Suspend the run if only long waits are left."""
        state = self._state
        if not self._open or state.exit_reason is not None or self._polling is not None or not self._may_suspend():
            return
        if not any(self._is_brief(opened.pending) for opened in self._open.values()):
            self._exit_run(Suspended(self.pending(), state.ownership.revision))

    def _is_brief(self, pending: PendingWait) -> bool:
        limit = _KEPT_IN_MEMORY_US.get(pending.kind, _KEPT_IN_MEMORY_OTHERWISE_US)
        return bool(pending.until) and pending.until - self._state.clock.now() <= limit

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._polling is not None:
            self._polling.cancel()
        self._exit_run = self.on_wait = self.on_begun = do_nothing
        self._may_suspend = _never
