"""Runs a handler on its loop: numbers its operations, and delivers their ends in one order, now and on every replay.

The handler's tasks run until all of them wait. Then the next end is delivered, and they run again. An end is recorded
with its place in this order. A replay delivers the recorded ends in the same order, so the tasks resume in the same
order, ask for the same operations, and give them the same numbers. Nothing here does I/O.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from durablectl.engine.replay.control_flow import EngineFailed, HandlerStuck, JournalMismatch
from durablectl.engine.replay.handler_loop import MAX_IDLE_HANDLES, HandlerLoop
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import StepKind
from durablectl.model.operation_kinds import WAITS
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import StepMismatch
from durablectl.model.text import message_of, type_of

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.current_step import ExecutedStep
    from durablectl.engine.replay.run_state import HandlerState
    from durablectl.model.records import JournalEntry
    from durablectl.storage.connection.requests import Request

CANCEL, ABANDON, WAIT = "cancel", "abandon", "wait"
"""What becomes of an operation whose awaiting task is cancelled."""

MAX_ENDS_AFTER_CANCEL = 100
"""Ends that a cancelled handler may await before the engine ends it."""

_DELIVERIES_PER_TURN = 50
_SHOWN_ERROR = 200
UNDECODED: Final = object()
"""In place of a value that is to be decoded from its entry."""


class Operation(Protocol):
    """What a handler awaits: one kind of step or wait."""

    kind: str
    step_type: str
    on_cancel: str
    is_executed: bool
    """Whether the engine has anything to execute for it."""

    async def execute(self, number: int, entry: JournalEntry | None) -> tuple[JournalEntry, Any]:
        """Bring it to its end and journal that; the entry, and the value where that is known."""
        ...

    def writes_when_cancelled(self, number: int, entry: JournalEntry | None) -> list[Request]:
        """What to send when its awaiting task was cancelled; may be sent again, and where it had not begun."""
        ...

    def prepare_request(self, number: int) -> None:
        """Encode what is asked for, as it is now."""

    def difference(self, recorded: JournalEntry) -> tuple[str, str] | None:
        """The recorded request and this one, as text, where they differ."""
        ...

    def resolve(self, future: asyncio.Future[Any], entry: JournalEntry, value: Any) -> None:
        """Give the end in ``entry`` to the handler; ``value`` is UNDECODED on a replay."""
        ...


class PendingOperation(asyncio.Future[Any]):
    """An operation that has a number and no end that was delivered: the future of its end, which a task waits for.

    ``entry`` is what the journal has of it: a wait that began in an earlier run. Cancelling the future does to the
    operation what ``on_cancel`` says.
    """

    number: int
    operation: Operation
    entry: JournalEntry | None
    runner: HandlerRunner

    def __hash__(self) -> int:
        # The same on every replay, so that a set of these is iterated in the same order.
        return self.number

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel, unless the operation is to be waited for: then the task is cancelled once that has ended."""
        if self.done() or self.operation.on_cancel == WAIT:
            return False
        self.runner.operation_cancelled(self)
        return super().cancel(msg)


class Engine(Protocol):
    """What a runner needs of the run that it is part of. All of it is called from plain callbacks of the real loop."""

    def begin(self, pending: PendingOperation) -> None:
        """Execute an operation, from the next turn of the real loop on; ``HandlerRunner.deliver`` takes its end."""

    def interrupt(self, pending: PendingOperation) -> None:
        """Stop executing an operation: nothing awaits its end any more."""

    def timer(self, handle: asyncio.TimerHandle) -> Operation:
        """Make the operation for a timer of the handler's loop."""
        ...

    def record_cancellation(self, number: int) -> None:
        """Journal, before anything that begins later, that the handler was cancelled here."""

    def received_in_vain(self, entry: JournalEntry) -> None:
        """Take note of a recorded end that no task awaits any more."""

    def went_live(self) -> None:
        """Take note that every recorded end has been delivered, before anything is executed."""

    def idle(self) -> None:
        """Look what to do next: every task of the handler waits."""

    def may_cancel(self) -> bool:
        """Whether no end is being recorded, which would have to be delivered before a cancellation."""
        ...

    def cancelled(self) -> None:
        """Take note that the handler has been cancelled."""

    def handler_code(self) -> ExecutedStep:
        """Name the workflow whose handler this is."""
        ...

    def report(self, message: str, error: BaseException | None) -> None:
        """Log what asyncio says of the handler's tasks and callbacks."""


class HandlerRunner:
    """One handler, its loop, and the ends that it has been given.

    ``is_compensation`` says which entries are its own: those of compensations, or all others.
    """

    def __init__(self, engine: Engine, state: HandlerState, *, is_compensation: bool = False) -> None:
        self.loop = HandlerLoop(  # type: ignore[abstract]  # what it lacks it gets by _refuse_all_else
            self._set_timer, self._timer_cancelled, engine.report
        )
        self.loop.seconds = (state.logical_time_us - state.started_at_us) / MICROSECONDS
        self.pending: dict[int, PendingOperation] = {}
        self.cancelled_in_replay: list[PendingOperation] = []
        """Operations that a replay has cancelled again: what that causes may not have been done before."""
        self.is_cancelled = False
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done once the handler has ended or ``exit`` was called."""
        self._engine = engine
        self._state = state
        self._real_loop = asyncio.get_running_loop()
        self._recorded: dict[int, JournalEntry] = {}
        self._unordered: list[JournalEntry] = []
        """Recorded ends of journals that do not say in which order they were delivered."""
        self._ends: deque[JournalEntry] = deque()
        if state.entries:
            self._take_recorded(state, is_compensation=is_compensation)
        self._early: dict[int, JournalEntry] = {}
        """Recorded ends of operations that the handler asks for later: an entry before them is missing."""
        self._incoming: deque[tuple[JournalEntry, Any]] = deque()
        self._cancel_requested = False
        self._cancel_unrecorded = False
        self._ends_after_cancel = 0
        self._timers: dict[int, PendingOperation] = {}  # by id: handles with equal callbacks are equal
        self._is_in_turn = False
        self._main: asyncio.Task[Any] | None = None

    def _take_recorded(self, state: HandlerState, *, is_compensation: bool) -> None:
        entries = [e for e in state.entries.values() if (e.kind == StepKind.COMPENSATION) == is_compensation]
        # Other implementations record the results of steps without a time.
        ended = [e for e in entries if e.finished_at or e.kind not in WAITS]
        ended = [entry for entry in ended if entry.reason_code != ReasonCode.INTERRUPTED]
        self._recorded = {entry.step_number: entry for entry in entries}
        self._unordered = sorted((e for e in ended if not e.order), key=lambda e: (e.finished_at, e.step_number))
        self._ends = deque(sorted((e for e in ended if e.order), key=lambda e: e.order))
        state.ends_ahead = len(ended)

    @property
    def main_task(self) -> asyncio.Task[Any]:
        assert self._main is not None  # noqa: S101 - run() was called
        return self._main

    @property
    def executed(self) -> ExecutedStep:
        """The workflow whose handler this is."""
        return self._engine.handler_code()

    @property
    def is_started(self) -> bool:
        return self._main is not None

    @property
    def is_ended(self) -> bool:
        return self._main is not None and self._main.done()

    @property
    def is_idle(self) -> bool:
        """Whether the handler has not ended, every task of it waits, and nothing that came in is left to deliver."""
        is_running = self._state.is_live and not self._is_in_turn and not self.finished.done()
        return is_running and self.loop.is_idle and not self._incoming

    @property
    def awaits_cancellation(self) -> bool:
        """Whether the handler is to be cancelled and has not been yet."""
        return self._cancel_requested and not self.is_cancelled

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Run ``coroutine``, the handler, from the next turn of the real loop on."""
        self._main = self.loop.create_task(coroutine)
        self._real_loop.call_soon(self.turn)

    def begin(self, operation: Operation) -> asyncio.Future[Any]:
        """Give an operation its number, and begin it; the future of its end, of the handler's loop."""
        state = self._state
        self.check_inside(operation.step_type)
        if state.exit_reason is not None or self.loop.is_abandoned:
            return self.loop.create_future()  # The frame stays where it is: nothing is thrown into it.
        if self._cancel_unrecorded:
            self._cancel_unrecorded = False
            self._engine.record_cancellation(state.step_count)
            state.step_count += 1
        number = state.step_count
        operation.prepare_request(number)
        entry = self._recorded.pop(number, None)
        if entry is not None:
            difference = _difference(operation, entry)
            if difference is not None:
                self.exit(JournalMismatch(difference))
                return self.loop.create_future()
        state.step_count += 1
        # Attributes instead of an __init__ of its own: this is done for each step.
        pending = PendingOperation(loop=self.loop)
        pending.number, pending.operation, pending.entry, pending.runner = number, operation, entry, self
        self.pending[number] = pending
        early = self._early.pop(number, None)
        if early is not None:
            self._incoming.append((early, UNDECODED))
        elif state.is_live:
            self._engine.begin(pending)
        return pending

    def forget(self, future: asyncio.Future[Any]) -> PendingOperation | None:
        """Take back an operation whose end is known without delivery."""
        return self.pending.pop(future.number, None) if isinstance(future, PendingOperation) else None

    def entry_of(self, future: asyncio.Future[Any]) -> JournalEntry | None:
        """What the journal has of an operation that has begun."""
        return future.entry if isinstance(future, PendingOperation) else None

    def check_inside(self, what: str) -> None:
        """Raise UsageError unless the caller runs in the handler."""
        if events._get_running_loop() is not self.loop:  # noqa: SLF001 - get_running_loop() raises
            raise UsageError(
                f"{what!r} was asked of the context outside of its handler: inside a step, in another thread, or after "
                "the workflow's end.",
                hint="Use the context in the handler only; give a step what it needs as arguments.",
            )

    def deliver(self, entry: JournalEntry, value: Any = UNDECODED) -> None:
        """Give a recorded end to the handler, after those that came before it. Call it from a plain callback."""
        self._incoming.append((entry, value))
        self.turn()

    def cancel(self) -> None:
        """Cancel the handler, as asyncio cancels a task, after all ends that are recorded or on their way."""
        if not self._cancel_requested:
            self._cancel_requested = True
            self._real_loop.call_soon(self.turn)

    def exit(self, reason: RunExit) -> None:
        """Run the handler no further, for a reason that is not its own; the first reason stays."""
        if self._state.exit_reason is None:
            self._state.exit_reason = reason
            self.loop.halt()
            self._real_loop.call_soon(self.turn)

    def release(self) -> None:
        """Drop the reference to the engine: the run is over, and nothing is asked of it any more."""
        del self._engine

    def turn(self) -> None:
        """Run the handler until it waits, deliver the next end, and so on. Call it from a plain callback."""
        if self._is_in_turn or self._main is None or self.finished.done():
            return
        self._is_in_turn = True
        is_idle = False
        try:
            is_idle = self._drive_and_deliver(self._main)
        except BaseException as error:  # noqa: BLE001 - nothing above this callback would end the run
            self._state.exit_reason = self._state.exit_reason or EngineFailed(error)
            self._finish()
        finally:
            self._is_in_turn = False
        if self.finished.done():
            return
        if not is_idle:
            self._real_loop.call_soon(self.turn)
            return
        try:
            self._engine.idle()
        except Exception as error:  # noqa: BLE001 - the same
            self.exit(EngineFailed(error))

    def _drive_and_deliver(self, main: asyncio.Task[Any]) -> bool:
        """Run and deliver for one turn of the real loop; True when nothing is left to do."""
        state, loop = self._state, self.loop
        for _ in range(_DELIVERIES_PER_TURN):
            has_run_out = loop.is_idle or loop.drive()
            if loop.is_spinning:
                self.exit(HandlerStuck(f"it ran {MAX_IDLE_HANDLES:,} callbacks without awaiting a step or timer"))
            if state.exit_reason is not None or main.done():
                self._finish()
                return True
            if not has_run_out:
                return False
            if not self._deliver_next():
                return True
        return False

    def check_journal(self) -> None:
        """Exit where the handler waits, nothing is in flight, and recorded ends are left."""
        if self._early:
            first = self._early[min(self._early)]
            recorded = (first.step_number, first.kind, first.step_type)
            self.exit(JournalMismatch(StepMismatch(*recorded, ended_after=self._state.step_count, is_waiting=True)))

    def _deliver_next(self) -> bool:
        """Deliver one end, or the cancellation; False when nothing is there."""
        if self._incoming:
            self._apply(*self._incoming.popleft())
            return True
        if not self._state.is_live:
            self._deliver_recorded()
            return True
        if self.awaits_cancellation and self._engine.may_cancel():
            self._cancel()
            self._cancel_unrecorded = True
            self._engine.cancelled()
            return True
        return False

    def _deliver_recorded(self) -> None:
        """Deliver one end of the journal; having none, go live."""
        entry = self._next_recorded()
        if entry is not None:
            self._state.ends_ahead -= 1
            self._apply(entry, UNDECODED)
            return
        self._state.is_live = True
        self._engine.went_live()
        if self._state.exit_reason is None:
            for pending in list(self.pending.values()):
                self._engine.begin(pending)

    def _next_recorded(self) -> JournalEntry | None:
        for index, entry in enumerate(self._unordered):
            if entry.step_number in self.pending:
                return self._unordered.pop(index)
        if self._unordered:
            return self._unordered.pop(0)
        return self._ends.popleft() if self._ends else None

    def _apply(self, entry: JournalEntry, value: Any) -> None:
        state = self._state
        if entry.kind == StepKind.CANCELLATION and entry.step_number == state.step_count:
            self._recorded.pop(entry.step_number, None)
            state.step_count += 1
            self._cancel()
            return
        if entry.step_number >= state.step_count:
            self._early[entry.step_number] = entry
            return
        self.loop.delivered()
        if self.is_cancelled:
            self._ends_after_cancel += 1
            if self._ends_after_cancel > MAX_ENDS_AFTER_CANCEL:
                self.exit(HandlerStuck(f"it awaited {MAX_ENDS_AFTER_CANCEL:,} more operations after its cancellation"))
                return
        pending = self.pending.pop(entry.step_number, None)
        if pending is None or pending.done():
            self._engine.received_in_vain(entry)
            return
        state.logical_time_us = max(state.logical_time_us, entry.finished_at)
        self.loop.seconds = (state.logical_time_us - state.started_at_us) / MICROSECONDS
        pending.operation.resolve(pending, entry, value)

    def _cancel(self) -> None:
        self.is_cancelled = self._cancel_requested = True
        self.loop.delivered()
        self.main_task.cancel()

    def _finish(self) -> None:
        state = self._state
        if state.exit_reason is None and self._recorded and not self.is_cancelled:
            first = self._recorded[min(self._recorded)]
            recorded = (first.step_number, first.kind, first.step_type)
            state.exit_reason = JournalMismatch(
                StepMismatch(*recorded, ended_after=state.step_count, error=_error_of(self.main_task))
            )
        state.has_ended = state.exit_reason is None
        self.finished.set_result(None)

    def operation_cancelled(self, pending: PendingOperation) -> None:
        """Stop what no task awaits any more, unless its end is wanted all the same."""
        if self.loop.is_abandoned or pending.operation.on_cancel == ABANDON:
            return
        if self.pending.pop(pending.number, None) is None:
            return
        if self._state.is_live:
            self._engine.interrupt(pending)
        else:
            self.cancelled_in_replay.append(pending)

    def _set_timer(self, handle: asyncio.TimerHandle) -> None:
        future = self.begin(self._engine.timer(handle))
        if isinstance(future, PendingOperation):
            self._timers[id(handle)] = future

    def _timer_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pending = self._timers.pop(id(handle), None)
        if pending is not None:
            self.operation_cancelled(pending)

    def fire(self, handle: asyncio.TimerHandle) -> None:
        """Run the callback of a timer whose end is being delivered."""
        self._timers.pop(id(handle), None)
        self.loop.seconds = max(self.loop.seconds, handle.when())
        self.loop.fire(handle)


def _difference(operation: Operation, entry: JournalEntry) -> StepMismatch | None:
    mismatch = StepMismatch(entry.step_number, entry.kind, entry.step_type, operation.kind, operation.step_type)
    if entry.step_type != operation.step_type or (entry.kind or operation.kind) != operation.kind:
        return mismatch
    requests = operation.difference(entry)
    if requests is None:
        return None
    return mismatch._replace(recorded_request=requests[0], asked_request=requests[1])


def _error_of(task: asyncio.Task[Any]) -> str:
    if task.cancelled() or (error := task.exception()) is None:
        return ""
    return f"{type_of(error)}: {message_of(error, _SHOWN_ERROR)}"
