"""One run of one invocation: its parts put together, the operations that it executes, and how it is told to stop."""

from __future__ import annotations

import asyncio
import logging
from functools import cached_property, partial
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.engine.replay.control_flow import (
    EngineFailed,
    HandlerStuck,
    RunExit,
    StorageFailed,
    WorkflowTimedOut,
    do_nothing,
)
from durablectl.engine.replay.current_step import CurrentStepTracker, ExecutedStep
from durablectl.engine.replay.handler_runner import ABANDON, HandlerRunner
from durablectl.engine.replay.journal_writer import JournalWriter
from durablectl.engine.replay.replay_logger import ReplayLogger
from durablectl.engine.replay.run_state import RunState
from durablectl.engine.replay.step_window import StepWindow
from durablectl.engine.replay.wait_registry import WaitRegistry
from durablectl.errors import DurableError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import JournalEntry
from durablectl.model.status import Status
from durablectl.storage.records.journal import READ_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from durablectl.engine.metrics import HandlerMetrics
    from durablectl.engine.replay.handler_runner import Operation, PendingOperation
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.model.records import Execution, PendingWait
    from durablectl.storage.connection.requests import Request
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.message_types import SchemaWriter

_log = logging.getLogger(__name__)

_INTERRUPT_SECONDS = 2.0
"""How long a step may take to end after it was interrupted. What takes longer is left to itself."""

_MOST_GAPS = READ_AT_ONCE // 2
"""The journal may not lack a thousand numbers in a row: a read in blocks would end there."""


class Compensation(NamedTuple):
    """What ``ctx.defer`` registered. ``when`` is the status that it is for, empty for every end but completion."""

    make: Callable[[], Any]
    when: str


class Run:
    """A handler's execution: the state and the parts that work on it.

    ``jitter`` spreads retries. ``retention_us`` is how long the ended workflow is kept; 0 keeps it without limit.
    ``make_timer`` makes the operation for a timer of the handler's loop. ``received_in_vain`` takes a recorded end that
    no task awaits any more.
    """

    def __init__(
        self,
        store: Store,
        ownership: Ownership,
        entries: Sequence[JournalEntry],
        *,
        schemas: SchemaWriter,
        metrics: HandlerMetrics,
        jitter: Random,
        make_timer: Callable[[Run, asyncio.TimerHandle], Operation],
        received_in_vain: Callable[[RunState, JournalEntry], None],
        retention_us: int = 0,
    ) -> None:
        execution = ownership.execution
        self.state = RunState(store, ownership, entries)
        self.metrics = metrics
        self.jitter = jitter
        self.retention_us = retention_us
        self.window = StepWindow()
        self.journal_writer = JournalWriter(self.state, schemas, self.exit)
        self.journal_writer.on_idle = self._journal_idle
        self.tracker = CurrentStepTracker(self.state, self.journal_writer, self.exit)
        self.waits = WaitRegistry(self.state, self.journal_writer, self.tracker, self.exit, self._may_suspend)
        self.waits.on_wait = self._exit_at_rest
        self.waits.on_begun = self._wait_begun
        self.runner = HandlerRunner(self, self.state)
        self.compensations: list[Compensation] = []
        """What was deferred, in the order in which it was registered."""
        self.back_offs: dict[int, PendingWait] = {w.step_number: w for w in execution.waits if w.kind == WaitKind.RETRY}
        """By step number, the back-offs in which an earlier run was suspended."""
        self.restarting: set[int] = set()
        """The steps whose attempt an operator has had interrupted, until their next attempt."""
        self._retry_seen, self._restart_seen = execution.retry_now_at, execution.restart_asked_at
        self.deadline_us = 0
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._make_timer = make_timer
        self._received_in_vain = received_in_vain
        self._tasks: dict[int, asyncio.Task[tuple[JournalEntry, Any] | None]] = {}
        self._uninterruptible: set[int] = set()
        self._interrupted_beginning: dict[int, PendingOperation] = {}
        self._held_back: list[PendingOperation] = []
        self._has_begun_operation = False
        self._asides: set[asyncio.Task[None]] = set()
        self._seed = f"{execution.invocation_id}:{execution.start_token}"
        ownership.observe = self.observe
        if self.state.is_cancelling:
            self.runner.cancel()

    @property
    def state_limit(self) -> int:
        """Bytes that the workflow state may take, so that the record fits into a message."""
        store = self.state.store
        input_size = len(self.state.ownership.execution.input.data)
        return max(0, store.max_payload - store.record_headroom - input_size)

    @cached_property
    def log(self) -> ReplayLogger:
        return ReplayLogger(self.state)

    @cached_property
    def random(self) -> Random:
        """The randomness that the handler sees."""
        return Random(self._seed)  # noqa: S311 - must repeat on replay

    @property
    def is_in_handler(self) -> bool:
        """Whether the handler, or a compensation, is being run."""
        return self.runner.is_started and not self.runner.finished.done()

    # What runs it.

    async def run_handler(self, handler: Coroutine[Any, Any, Any], timeout: float | None) -> asyncio.Task[Any]:
        """Run the handler until it ends; its task. ``timeout`` is the workflow's own limit in seconds.

        Raises RunExit where the run leaves the handler before that.
        """
        self._set_deadline(timeout)
        return await self._run(handler)

    async def run_compensation(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``coroutine`` as a phase of its own after the handler: its operations are compensations.

        They are numbered on from the last entry of the handler: the same on every replay.
        """
        state = self.state
        state.exit_reason = None
        state.is_compensating = True
        state.step_count = 1 + max(
            (n for n, entry in state.entries.items() if entry.kind != StepKind.COMPENSATION), default=-1
        )
        state.is_live = False
        self.back_offs = {number: wait for number, wait in self.back_offs.items() if number >= state.step_count}
        self.runner = HandlerRunner(self, state, is_compensation=True)
        return await self._run(coroutine)

    async def _run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        runner = self.runner
        runner.run(coroutine)
        try:
            await runner.finished
        finally:
            runner.loop.abandon(report=runner.is_ended)
        await self._interrupt_all()
        self.state.raise_if_exiting()
        return runner.main_task

    def _set_deadline(self, timeout: float | None) -> None:
        """Hold the workflow to its own time limit, from its first start or last retry."""
        state = self.state
        if timeout is None or state.is_cancelling:
            return
        execution = state.ownership.execution
        begin = max([execution.started_at, *(dropped.dropped_at for dropped in execution.history)])
        self.deadline_us = begin + int(timeout * MICROSECONDS)

    async def _interrupt_all(self) -> None:
        """End the operations in flight: no task of the handler is left."""
        if self._asides:
            await asyncio.wait(self._asides)
        for number, task in self._tasks.items():
            self._interrupt(number, task)
        late = list(self._tasks.values())
        if late:
            _, stuck = await asyncio.wait(late, timeout=_INTERRUPT_SECONDS)
            for task in stuck:
                _log.warning(
                    "A step of %s goes on after it was interrupted; it is left to itself.", self.state.invocation_id
                )
                task.cancel()

    def is_alone(self, number: int) -> bool:
        """Whether no other operation is in flight."""
        return len(self._tasks) == 1 and number in self._tasks

    def exit(self, reason: RunExit) -> None:
        """Leave the handler, wherever it waits; the first reason stays."""
        self.runner.exit(reason)

    def close(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self.runner.loop.abandon()
        for number, task in self._tasks.items():
            self._interrupt(number, task)
        self.waits.close()
        self.journal_writer.close()
        # Nothing refers back to the run any more: it is freed now, not by the garbage collector.
        self.tracker.release()
        self.runner.release()
        self.state.ownership.observe = do_nothing

    def stop_at_next_step(self) -> None:
        """Start no further step; leave once those in flight have ended."""
        self.state.is_stopping = True
        self._exit_at_rest()

    def observe(self, execution: Execution) -> None:
        """Follow a write of the state by another writer that left the invocation to this run."""
        state = self.state
        state.is_pausing = execution.status == Status.PAUSED
        if execution.cancel_requested and not state.is_cancelling:
            state.is_cancelling = True
            if not state.is_compensating:
                self.runner.cancel()
        if not self._must_hold_back():
            self._begin_held_back()
        self._follow_requests(execution)
        self.waits.poll()
        self._exit_at_rest()

    def _follow_requests(self, execution: Execution) -> None:
        """Begin the attempts that an operator has asked for since this run looked last."""
        if execution.retry_now_at > self._retry_seen:
            self._retry_seen = execution.retry_now_at
            self.waits.end_back_offs()
        if execution.restart_asked_at > self._restart_seen:
            self._restart_seen = execution.restart_asked_at
            self._restart_step(execution.step_to_restart - 1)

    def _restart_step(self, number: int) -> None:
        """Interrupt the attempt of a step. What it is cancelled by, or what waits already, is left alone."""
        task = self._tasks.get(number)
        is_executing = self.tracker.is_executing(number) and not self.waits.is_open(number)
        if task is None or task.cancelling() or not is_executing:
            _log.warning("Step %d of %s is not in flight: it is not run again.", number, self.state.invocation_id)
            return
        _log.warning("Step %d of %s is interrupted and run again: an operator asked.", number, self.state.invocation_id)
        self.restarting.add(number)
        task.cancel()

    # What its handler's runner asks of it.

    def begin(self, pending: PendingOperation) -> None:
        entry = pending.entry
        if not pending.operation.is_executed or (entry is not None and entry.reason_code == ReasonCode.INTERRUPTED):
            return
        self._has_begun_operation = True
        task = self.state.loop.create_task(self._execute(pending))
        self._tasks[pending.number] = task
        task.add_done_callback(partial(self._ended, pending))

    async def _execute(self, pending: PendingOperation) -> tuple[JournalEntry, Any] | None:
        """Execute an operation to its recorded end; None where it may not begin."""
        number = pending.number
        if not self.window.is_open(number):
            await self.window.wait(number)
        if self.journal_writer.is_busy:
            self._uninterruptible.add(number)
            try:
                await self.journal_writer.flush()
            finally:
                self._uninterruptible.discard(number)
            is_wanted = number in self.runner.pending or pending.operation.on_cancel == ABANDON
            if self.runner.finished.done() or not is_wanted:
                raise asyncio.CancelledError
        if self._must_hold_back():
            self._held_back.append(pending)
            return None
        self.state.started_count = max(self.state.started_count, number + 1)
        return await pending.operation.execute(number, pending.entry)

    def _must_hold_back(self) -> bool:
        return self.state.pending_exit is not None or self.runner.awaits_cancellation

    def _ended(self, pending: PendingOperation, task: asyncio.Task[tuple[JournalEntry, Any] | None]) -> None:
        try:
            self._take_end(pending, task)
        except Exception as error:  # noqa: BLE001 - nothing above this callback would end the run
            self.exit(EngineFailed(error))

    def _take_end(self, pending: PendingOperation, task: asyncio.Task[tuple[JournalEntry, Any] | None]) -> None:
        del self._tasks[pending.number]
        if task.cancelled():
            self.window.finished(pending.number)
        elif (error := task.exception()) is not None:
            self.exit(error if isinstance(error, RunExit) else EngineFailed(error))
        elif (result := task.result()) is not None:
            self.window.finished(pending.number)
            self.runner.deliver(*result)
        self._exit_at_rest()
        self.waits.suspend_if_idle()

    def interrupt(self, pending: PendingOperation) -> None:
        number, operation = pending.number, pending.operation
        if number in self.waits.beginning:
            self._interrupted_beginning[number] = pending
            return
        if number in self.state.entries:
            self._send_cancellation(pending)
        task = self._tasks.get(number)
        if task is not None:
            self._interrupt(number, task)
        else:
            self.window.finished(number)
        is_recorded = number in self.state.entries or number in self.journal_writer.writing
        if number and number % _MOST_GAPS == 0 and not is_recorded:
            now = self.state.clock.now()
            entry = JournalEntry(number, operation.step_type, operation.kind, started_at=now, finished_at=now)
            entry.error, entry.error_type = "cancelled by its handler", "Cancelled"
            entry.reason_code = ReasonCode.INTERRUPTED
            self.journal_writer.defer(entry)

    def _send_cancellation(self, pending: PendingOperation) -> None:
        """Tell what the operation has started; at a cancellation of the workflow its end does."""
        number = pending.number
        entry = self.state.entries.get(number)
        requests = [] if self.state.is_cancelling else pending.operation.writes_when_cancelled(number, entry)
        if requests:
            task = self.state.loop.create_task(self._send(requests))
            self._asides.add(task)
            task.add_done_callback(self._asides.discard)

    def _wait_begun(self, number: int) -> None:
        pending = self._interrupted_beginning.pop(number, None)
        if pending is not None:
            self._send_cancellation(pending)
        if pending is not None or self.runner.finished.done():
            raise asyncio.CancelledError

    async def _send(self, requests: list[Request]) -> None:
        try:
            await self.state.store.requests.exchange(requests)
        except DurableError as error:
            self.exit(StorageFailed(error))
        except Exception as error:  # noqa: BLE001 - nothing awaits this task's result
            self.exit(EngineFailed(error))

    def _interrupt(self, number: int, task: asyncio.Task[Any]) -> None:
        is_recording = (
            number in self._uninterruptible or number in self.waits.beginning or number in self.journal_writer.writing
        )
        if not is_recording and not task.cancelling():
            task.cancel()

    def timer(self, handle: asyncio.TimerHandle) -> Operation:
        return self._make_timer(self, handle)

    def record_cancellation(self, number: int) -> None:
        now = self.state.clock.now()
        self.journal_writer.defer(
            JournalEntry(number, StepKind.CANCELLATION, StepKind.CANCELLATION, started_at=now, finished_at=now)
        )
        self.window.finished(number)

    def received_in_vain(self, entry: JournalEntry) -> None:
        self._received_in_vain(self.state, entry)

    def went_live(self) -> None:
        if self.state.step_count:
            self.window = StepWindow(self.state.step_count, self.runner.pending)
        for pending in self.runner.cancelled_in_replay:
            self._send_cancellation(pending)
        if not self.deadline_us or self.state.is_compensating:
            return
        left = (self.deadline_us - self.state.clock.now()) / MICROSECONDS
        if left <= 0:
            self.exit(WorkflowTimedOut())
        else:
            self._deadline_timer = self.state.loop.call_later(left, self._time_out)

    def _time_out(self) -> None:
        if not (self.state.is_compensating or self.state.is_cancelling or self.runner.finished.done()):
            self.exit(WorkflowTimedOut())

    def idle(self) -> None:
        if self.journal_writer.has_deferred and not self._has_begun_operation:
            self.journal_writer.start_flush()
        self._has_begun_operation = False
        is_at_rest = not self._tasks and not self.runner.awaits_cancellation
        if is_at_rest and self.state.pending_exit is None:
            self.runner.check_journal()
        if is_at_rest and not self.runner.pending:
            self.exit(HandlerStuck("it awaits what no step, timer, signal or child brings"))
            return
        self._exit_at_rest()
        self.waits.suspend_if_idle()

    def may_cancel(self) -> bool:
        return not self.journal_writer.is_busy

    def cancelled(self) -> None:
        self._begin_held_back()

    def _begin_held_back(self) -> None:
        held_back, self._held_back = self._held_back, []
        for pending in held_back:
            if pending.number in self.runner.pending:
                self.begin(pending)

    def handler_code(self) -> ExecutedStep:
        return ExecutedStep(self.state.invocation_id, self.state.handler)

    def report(self, message: str, error: BaseException | None) -> None:
        if not self.state.is_replaying:
            self.log.warning("In the handler: %s", message, exc_info=error)

    # How its parts tell that something has changed.

    def _journal_idle(self) -> None:
        if self.runner.awaits_cancellation:
            self.state.loop.call_soon(self.runner.turn)
        if self.state.pending_exit is not None:
            self.state.loop.call_soon(self._exit_at_rest)
        self.waits.suspend_if_idle()

    def _exit_at_rest(self) -> None:
        """Leave for a pause or a stop, once no step is being executed and nothing is being recorded."""
        reason = self.state.pending_exit
        if reason is None or not self.state.is_live or not self.runner.is_idle:
            return
        if self.journal_writer.is_busy:
            self.journal_writer.start_flush()
            return
        if self.waits.are_only(self._tasks):
            self.exit(reason)

    def _may_suspend(self) -> bool:
        """Whether nothing but waits is in flight."""
        return (
            self.runner.is_idle
            and not self.runner.awaits_cancellation
            and not self.journal_writer.is_busy
            and bool(self._tasks)
            and self.waits.are_only(self._tasks)
        )
