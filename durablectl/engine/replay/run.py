"""One run of one invocation: numbering, replay, and how it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

from durablectl.engine.operations.function_step import inside_step
from durablectl.engine.replay.control_flow import Halt, HandedBack, Mismatch, Paused, TimedOut
from durablectl.engine.replay.current_step import Position
from durablectl.engine.replay.journal_writer import Recording
from durablectl.engine.replay.replay_logger import ReplayLogger
from durablectl.engine.replay.step_window import Window
from durablectl.engine.replay.wait_registry import Waits
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.status import Status
from durablectl.model.termination import WAITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from durablectl.engine.operations.function_step import Attempt
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.engine.worker.resources import Resources
    from durablectl.model.records import Execution, JournalEntry, Payload, PendingWait
    from durablectl.storage.connection.store import Store

COMPENSATION = "compensation"
CANCELLED = "Cancelled"
"""The error type of a step that a cancellation interrupted."""


class Run:
    """The state of a handler's execution that lives in memory only; the journal can rebuild all of it."""

    def __init__(self, resources: Resources, ownership: Ownership, entries: Sequence[JournalEntry]) -> None:
        execution = ownership.execution
        self.resources = resources
        self.ownership = ownership
        self.clock = resources.clock
        self.metrics = resources.metrics.of[execution.handler]
        self.loop = asyncio.get_running_loop()
        self.invocation_id = execution.invocation_id
        self.handler = execution.handler
        self.attempt = execution.attempt
        self.moment = execution.started_at
        self.workflow_state: dict[str, Payload] = {}
        self.entries = {entry.step_number: entry for entry in entries}
        self.total = 0
        self.halted: Halt | None = None
        self.deferred: list[Callable[[], Attempt]] = []
        self.is_cancelling = execution.cancel_requested
        self.is_compensating = False
        self.window = Window()
        self.retries: dict[int, PendingWait] = {w.step_number: w for w in execution.waits if w.kind == "retry"}
        self.position = Position(self)
        self.waits = Waits(self)
        self.recording = Recording(self)
        self.received_signals = {
            int(entry.awaited_id) for entry in entries if entry.kind == "signal" and entry.awaited_id.isdecimal()
        }
        self._recorded = dict(self.entries)
        self._last_recorded = max(self._recorded, default=-1)
        self._seed = f"{execution.invocation_id}:{execution.start_token}"
        self.deadline = 0
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._task = asyncio.current_task()
        self.is_interruptible = False
        self.on_progress: Callable[[], None] | None = None
        """Called when the journal has grown, and at the end of the run."""
        self.moving = 0
        """How many groups of steps have ended and have not gone on yet."""
        self._interrupt_later = False
        self._is_stopping = False
        self._is_pausing = execution.status == Status.PAUSED
        ownership.observe = self.observe

    @property
    def store(self) -> Store:
        return self.resources.store

    @property
    def state_limit(self) -> int:
        """Bytes that the workflow state may take, so that the record fits into a message."""
        input_size = len(self.ownership.execution.input.data)
        return max(0, self.store.max_payload - self.store.record_headroom - input_size)

    @property
    def is_replaying(self) -> bool:
        return self.total <= self._last_recorded

    @cached_property
    def log(self) -> ReplayLogger:
        return ReplayLogger(self)

    @cached_property
    def random(self) -> Random:
        return Random(self._seed)  # noqa: S311 - must repeat on replay

    @property
    def leftover(self) -> JournalEntry | None:
        """The first recorded step that the handler has not asked for."""
        return self._recorded[min(self._recorded)] if self._recorded else None

    @property
    def stop_reason(self) -> Halt | None:
        """Why no new step may start, if that is so."""
        if self._is_pausing:
            return Paused()
        return HandedBack() if self._is_stopping else None

    def check_deadline(self, timeout: float | None) -> None:
        """Hold the workflow to its own time limit, counted from its first start or last retry; TimedOut after that."""
        if timeout is None or self.is_cancelling:
            return
        execution = self.ownership.execution
        begin = max([execution.started_at, *(dropped.dropped_at for dropped in execution.history)])
        self.deadline = begin + int(timeout * MICROSECONDS)
        left = (self.deadline - self.clock.now()) / MICROSECONDS
        if left <= 0:
            raise TimedOut
        self._deadline_timer = self.loop.call_later(left, self.halt, TimedOut())

    def close(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        if self.on_progress is not None:
            self.on_progress()
        self.waits.close()
        self.recording.close()

    def check_not_halted(self) -> None:
        if self.halted is not None:
            raise self.halted

    def check_still_wanted(self) -> None:
        """No step is to begin any more once it is paused or cancelled; recording the one before may have shown that."""
        self.check_not_halted()
        if self.is_cancelling and not self.is_compensating:
            raise asyncio.CancelledError
        if self.stop_reason is not None:
            self.halted = self.stop_reason
            raise self.halted

    def halt(self, reason: Halt) -> None:
        """Leave the handler, wherever it waits; the first reason stands."""
        if self.halted is None:
            self.halted = reason
            self.interrupt()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """The app's code runs: it may be interrupted, unlike what the engine writes before and after."""
        self.is_interruptible = True
        try:
            yield
        finally:
            self.is_interruptible = False

    def interrupt(self) -> None:
        """Wake the handler, wherever it waits; once a result that is being written is."""
        if self.is_compensating and self.halted is None:
            return  # A cancellation that came while a result was journaled: the handler has left by itself since.
        if self.recording.is_appending:
            self._interrupt_later = True
        elif self.is_interruptible and self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    def interrupt_if_due(self) -> None:
        """Nothing is being written any more."""
        if self._interrupt_later:
            self._interrupt_later = False
            self.loop.call_soon(self.interrupt)

    def stop_at_next_step(self) -> None:
        """Start no further step, and end every wait now."""
        self._is_stopping = True
        self.waits.recheck()

    def observe(self, execution: Execution) -> None:
        """Someone else has written the state, and left it to this run."""
        self._is_pausing = execution.status == Status.PAUSED
        if execution.cancel_requested and not self.is_cancelling:
            self.is_cancelling = True
            if self.halted is None:
                self.interrupt()
        self.waits.recheck()

    def begin(self, step_type: str, kind: str) -> tuple[int, JournalEntry | None]:
        """The next step's number, and its entry when the journal has it."""
        self.check_not_halted()
        if inside_step.get():
            raise UsageError(
                f"The step {step_type!r} was started from inside another step.",
                hint="Start steps from the workflow itself, or make the outer one a child workflow.",
            )
        number = self.total
        entry = self._recorded.get(number)
        if entry is None:
            self.check_still_wanted()
        elif self.is_cancelling and not self.is_compensating and _is_unfinished(entry):
            raise asyncio.CancelledError
        if entry is not None and (entry.step_type != step_type or (entry.kind or kind) != kind):
            self.halted = Mismatch(
                f"step {number} is recorded as {_named(entry.kind, entry.step_type)}, "
                f"but the code now asks for {_named(kind, step_type)}"
            )
            raise self.halted
        self._recorded.pop(number, None)
        self.total += 1
        return number, entry

    def begin_compensating(self) -> None:
        """Number the compensations on from the last entry of the handler: the same on every replay."""
        self.is_compensating = True
        while self._task is not None and self._task.uncancel():
            pass
        self.total = 1 + max((n for n, entry in self.entries.items() if entry.kind != COMPENSATION), default=-1)

    def consume(self, entry: JournalEntry) -> None:
        """The handler is about to see the end of this step."""
        self.moment = max(self.moment, entry.finished_at)
        self.window.finished(entry.step_number)

    def abandon(self, number: int) -> None:
        """Nobody sees the end of this step. A signal that it had received goes to the next who asks."""
        self.window.finished(number)
        entry = self.entries.get(number)
        if (
            entry is not None
            and entry.kind == "signal"
            and entry.awaited_id.isdecimal()
            and not self._has_gone_on(entry)
        ):
            self.received_signals.discard(int(entry.awaited_id))

    def _has_gone_on(self, abandoned: JournalEntry) -> bool:
        """Whether, on a replay, the next who asked for that signal has it in the journal already."""
        return any(
            entry.kind == "signal" and entry.awaited_id == abandoned.awaited_id and entry is not abandoned
            for entry in self.entries.values()
        )


def _is_unfinished(entry: JournalEntry) -> bool:
    """Where a cancelled handler is interrupted on a replay: at a wait not over, or what compensated it."""
    return entry.kind == COMPENSATION or (entry.kind in WAITS and not entry.finished_at)


def _named(kind: str, step_type: str) -> str:
    return f"the {kind or 'step'} {step_type!r}"
