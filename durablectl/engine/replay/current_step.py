"""Which step an invocation is at, written to its state once it has stood there for 20 ms.

Faster steps are nobody's business and cost nothing, but for one write a second of a run that has no slower ones. One
look at all runs every 20 ms, by InFlight, does without timers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.engine.replay.control_flow import FencedOut, Overtaken, StorageFailed
from durablectl.errors import DurableError, PayloadTooLargeError
from durablectl.model.status import Status
from durablectl.storage.index import index_entries

if TYPE_CHECKING:
    from collections.abc import Container

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, PendingWait

_log = logging.getLogger(__name__)

VISIBLE_AFTER_SECONDS = 0.02
_STALE_SECONDS = 1


class _Standing(NamedTuple):
    number: int
    step_type: str
    waiting_for: PendingWait | None


class Position:
    """The steps in flight of one run, and the one that its state shows."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = run.loop
        self._running: dict[int, tuple[str, float]] = {}
        self._waiting: dict[int, PendingWait] = {}
        self._written: _Standing | None = None
        self._written_at = run.loop.time()
        self._writing: asyncio.Task[None] | None = None
        self._is_closed = False

    def started(self, number: int, step_type: str) -> None:
        self._running[number] = (step_type, self._loop.time())

    def ended(self, number: int) -> None:
        del self._running[number]
        if self._waiting:
            self._waiting.pop(number, None)

    def waits(self, number: int, waiting: PendingWait | None) -> None:
        """The step waits before another attempt, or (None) has begun it."""
        if waiting is None:
            self._waiting.pop(number, None)
        else:
            self._waiting[number] = waiting

    def is_only(self, numbers: Container[int]) -> bool:
        """Whether no other step than these is in flight."""
        return all(number in numbers for number in self._running)

    async def close(self) -> None:
        """Write nothing more."""
        self._is_closed = True
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def look(self, now: float) -> None:
        """Write the position if it has lasted, or the one before is old; ``now`` is the loop's time."""
        if not self._running or self._is_closed or self._run.halted is not None:
            return
        standing = self._standing()
        has_lasted = now - self._running[standing.number][1] >= VISIBLE_AFTER_SECONDS
        is_due = has_lasted or now - self._written_at >= _STALE_SECONDS
        if is_due and standing != self._written and (self._writing is None or self._writing.done()):
            self._written_at = now
            self._writing = self._loop.create_task(self._write(standing))

    def _standing(self) -> _Standing:
        number = min(self._running)
        waiting = self._waiting.get(number)
        if waiting is None and self._waiting:
            waiting = min(self._waiting.values(), key=lambda w: w.until)
        return _Standing(number, self._running[number][0], waiting)

    async def _write(self, standing: _Standing) -> None:
        run = self._run
        self._written = standing
        indexed_at = 0

        def change(execution: Execution) -> None:
            nonlocal indexed_at
            indexed_at = execution.indexed_at
            execution.current_step = standing.number
            execution.current_step_type = standing.step_type
            execution.waiting_for = standing.waiting_for
            execution.total_steps = run.total
            execution.workflow_state = dict(run.workflow_state)
            if execution.status == Status.RUNNING:
                execution.enter(Status.RUNNING, run.clock.now())

        try:
            await run.recording.describe_types()
            execution = await run.ownership.write(change)
            if execution.indexed_at != indexed_at:
                await index_entries.settle(run.store, execution)
        except (FencedOut, Overtaken) as halt:
            run.halt(halt)
        except PayloadTooLargeError as error:
            _log.warning("%s: where it is cannot be shown. %s", run.invocation_id, error)
        except DurableError as error:
            run.halt(StorageFailed(error))
