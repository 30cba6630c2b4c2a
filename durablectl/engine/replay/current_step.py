"""Which step an invocation is at, written to its state once that step has lasted 20 ms.

Faster steps are not written, but for one write per second of a run that has no slower ones. One pass over all runs
every 20 ms, by ActiveRuns, does without timers.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from durablectl.engine.replay.control_flow import EngineFailed, FencedOut, StateChanged, StorageFailed, do_nothing
from durablectl.errors import DurableError, PayloadTooLargeError
from durablectl.model.status import Status
from durablectl.storage.index import index_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.engine.replay.control_flow import RunExit
    from durablectl.engine.replay.journal_writer import JournalWriter
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution, PendingWait

_log = logging.getLogger(__name__)

VISIBLE_AFTER_SECONDS = 0.02
_STALE_SECONDS = 1


class ExecutedStep(NamedTuple):
    """Whose code runs; ``number`` is -1 for the handler's own."""

    invocation_id: str
    handler: str
    number: int = -1
    step_type: str = ""


EXECUTED_STEP: ContextVar[ExecutedStep | None] = ContextVar("EXECUTED_STEP", default=None)
"""The step in whose context code runs: the watchdog of the event loop names it."""


class _CurrentStep(NamedTuple):
    number: int
    step_type: str
    waiting_for: PendingWait | None


class CurrentStepTracker:
    """The steps in flight of one run, and the one that its state shows; ``exit_run`` leaves the handler."""

    def __init__(self, state: RunState, journal_writer: JournalWriter, exit_run: Callable[[RunExit], None]) -> None:
        self._state = state
        self._journal_writer = journal_writer
        self._exit_run = exit_run
        self._running: dict[int, tuple[str, float]] = {}
        self._waiting: dict[int, PendingWait] = {}
        self._written: _CurrentStep | None = None
        self._written_at = state.loop.time()
        self._writing: asyncio.Task[None] | None = None
        self._is_closed = False

    def step_started(self, number: int, step_type: str) -> None:
        """Note that the step is executed, in this task and those that it makes."""
        state = self._state
        self._running[number] = (step_type, state.loop.time())
        EXECUTED_STEP.set(ExecutedStep(state.invocation_id, state.handler, number, step_type))

    def step_ended(self, number: int) -> None:
        del self._running[number]
        if self._waiting:
            self._waiting.pop(number, None)

    def step_backs_off(self, number: int, wait: PendingWait | None) -> None:
        """Note that the step waits before another attempt, or (None) has begun it."""
        if wait is None:
            self._waiting.pop(number, None)
        else:
            self._waiting[number] = wait

    def is_executing(self, number: int) -> bool:
        """Whether an attempt of the step is under way."""
        return number in self._running and number not in self._waiting

    async def close(self) -> None:
        """Write nothing more."""
        self._is_closed = True
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def release(self) -> None:
        """Drop the reference to the run, which is over."""
        self._is_closed = True
        self._exit_run = do_nothing

    def write_if_due(self, now: float) -> None:
        """Write the current step if it has lasted, or the last write is old; ``now`` is the loop's time."""
        if not self._running or self._is_closed or self._state.exit_reason is not None:
            return
        current = self._current()
        has_lasted = now - self._running[current.number][1] >= VISIBLE_AFTER_SECONDS
        is_due = has_lasted or now - self._written_at >= _STALE_SECONDS
        if is_due and current != self._written and (self._writing is None or self._writing.done()):
            self._written_at = now
            self._writing = self._state.loop.create_task(self._write(current))

    def _current(self) -> _CurrentStep:
        number = min(self._running)
        wait = self._waiting.get(number)
        if wait is None and self._waiting:
            wait = min(self._waiting.values(), key=lambda w: w.until)
        return _CurrentStep(number, self._running[number][0], wait)

    async def _write(self, current: _CurrentStep) -> None:
        state = self._state
        self._written = current
        indexed_at = 0

        def change(execution: Execution) -> None:
            nonlocal indexed_at
            indexed_at = execution.indexed_at
            execution.current_step = current.number
            execution.current_step_type = current.step_type
            execution.waiting_for = current.waiting_for
            execution.total_steps = max(state.started_count, state.last_recorded + 1)
            execution.workflow_state = state.latest_workflow_state
            if execution.status == Status.RUNNING:
                execution.enter_status(Status.RUNNING, state.clock.now())

        try:
            await self._journal_writer.describe_types()
            execution = await state.ownership.write(change)
            if execution.indexed_at != indexed_at:
                await index_entries.update_entry(state.store, execution)
        except (FencedOut, StateChanged) as reason:
            self._exit_run(reason)
        except PayloadTooLargeError as error:
            _log.warning("%s: where it is cannot be shown. %s", state.invocation_id, error)
        except DurableError as error:
            self._exit_run(StorageFailed(error))
        except Exception as error:  # noqa: BLE001 - nothing awaits this task's result
            self._exit_run(EngineFailed(error))
