"""One run of one invocation: its parts put together, the numbering of its steps, and how it is told to stop."""

from __future__ import annotations

import asyncio
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import JournalMismatch, WorkflowTimedOut
from durablectl.engine.replay.current_step import CurrentStepTracker
from durablectl.engine.replay.handler_task import HandlerTask
from durablectl.engine.replay.journal_writer import JournalWriter
from durablectl.engine.replay.replay_logger import ReplayLogger
from durablectl.engine.replay.run_state import RunState, inside_step
from durablectl.engine.replay.step_window import StepWindow
from durablectl.engine.replay.wait_registry import WaitRegistry
from durablectl.errors import UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import StepKind, WaitKind
from durablectl.model.operation_kinds import WAITS
from durablectl.model.records import StepMismatch
from durablectl.model.status import Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from durablectl.engine.metrics import HandlerMetrics
    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.ownership import Ownership
    from durablectl.model.records import Execution, JournalEntry, PendingWait
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.message_types import SchemaWriter


class Run:
    """A handler's execution: the state and the parts that work on it.

    ``jitter`` spreads retries. ``retention_us`` is how long the ended workflow is kept; 0 keeps it without limit.
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
        retention_us: int = 0,
    ) -> None:
        execution = ownership.execution
        self.state = RunState(store, ownership, entries)
        self.metrics = metrics
        self.jitter = jitter
        self.retention_us = retention_us
        self.handler_task = HandlerTask(self.state)
        self.exit = self.handler_task.exit
        self.window = StepWindow()
        self.journal_writer = JournalWriter(self.state, self.handler_task, schemas)
        self.tracker = CurrentStepTracker(self.state, self.journal_writer, self.exit)
        self.waits = WaitRegistry(self.state, self.journal_writer, self.tracker, self.exit)
        self.compensations: list[Callable[[], Awaitable[Any]]] = []
        """What was deferred, in the order in which it was registered."""
        self.back_offs: dict[int, PendingWait] = {w.step_number: w for w in execution.waits if w.kind == WaitKind.RETRY}
        """By step number, the back-offs in which an earlier run was suspended."""
        self.deadline_us = 0
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._recorded = dict(self.state.entries)
        self._seed = f"{execution.invocation_id}:{execution.start_token}"
        ownership.observe = self.observe

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
    def first_unrequested_entry(self) -> JournalEntry | None:
        """The first recorded step that the handler has not asked for."""
        return self._recorded[min(self._recorded)] if self._recorded else None

    def check_deadline(self, timeout: float | None) -> None:
        """Hold the workflow to its own time limit, from its first start or last retry; WorkflowTimedOut after that."""
        state = self.state
        if timeout is None or state.is_cancelling:
            return
        execution = state.ownership.execution
        begin = max([execution.started_at, *(dropped.dropped_at for dropped in execution.history)])
        self.deadline_us = begin + int(timeout * MICROSECONDS)
        left = (self.deadline_us - state.clock.now()) / MICROSECONDS
        if left <= 0:
            raise WorkflowTimedOut
        self._deadline_timer = state.loop.call_later(left, self.exit, WorkflowTimedOut())

    def close(self) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self.waits.close()
        self.journal_writer.close()

    def stop_at_next_step(self) -> None:
        """Start no further step, and end every wait now."""
        self.state.is_stopping = True
        self.waits.poll()

    def observe(self, execution: Execution) -> None:
        """Follow a write of the state by another writer that left the invocation to this run."""
        state = self.state
        state.is_pausing = execution.status == Status.PAUSED
        if execution.cancel_requested and not state.is_cancelling:
            state.is_cancelling = True
            if state.exit_reason is None:
                self.handler_task.interrupt()
        self.waits.poll()

    def begin(self, step_type: str, kind: str) -> tuple[int, JournalEntry | None]:
        """The next step's number, and its entry when the journal has it."""
        state = self.state
        state.raise_if_exiting()
        if inside_step.get():
            raise UsageError(
                f"The step {step_type!r} was started from inside another step.",
                hint="Start steps from the workflow itself, or make the outer one a child workflow.",
            )
        number = state.step_count
        entry = self._recorded.get(number)
        if entry is None:
            state.raise_if_unwanted()
        elif state.is_cancelling and not state.is_compensating and _is_unfinished(entry):
            raise asyncio.CancelledError
        if entry is not None and (entry.step_type != step_type or (entry.kind or kind) != kind):
            details = StepMismatch(number, entry.kind, entry.step_type, kind, step_type)
            mismatch: RunExit = JournalMismatch(details)
            state.exit_reason = mismatch
            raise mismatch
        self._recorded.pop(number, None)
        state.step_count += 1
        return number, entry

    def begin_compensating(self) -> None:
        """Number the compensations on from the last entry of the handler: the same on every replay."""
        state = self.state
        state.is_compensating = True
        self.handler_task.forget_cancellations()
        state.step_count = 1 + max(
            (n for n, entry in state.entries.items() if entry.kind != StepKind.COMPENSATION), default=-1
        )

    def mark_seen(self, entry: JournalEntry) -> None:
        """Note that the handler is about to see the end of this step."""
        self.state.logical_time_us = max(self.state.logical_time_us, entry.finished_at)
        self.window.finished(entry.step_number)


def _is_unfinished(entry: JournalEntry) -> bool:
    """Whether a cancelled handler is interrupted here on a replay: at an open wait, or at a compensation."""
    return entry.kind == StepKind.COMPENSATION or (entry.kind in WAITS and not entry.finished_at)
