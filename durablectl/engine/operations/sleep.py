"""``ctx.sleep``, and the timers of asyncio: asyncio.sleep, timeout, wait_for, loop.call_later."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.wait_operation import WaitOperation
from durablectl.engine.replay.wait_registry import WaitOutcome
from durablectl.model.clock import MICROSECONDS
from durablectl.model.kinds import StepKind

if TYPE_CHECKING:
    import asyncio

    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, JournalEntry


class Sleep(WaitOperation[None]):
    """A wait that its time alone ends."""

    __slots__ = ()

    def __init__(self, run: Run, duration_us: int) -> None:
        super().__init__(run, StepKind.SLEEP, StepKind.SLEEP, max(1, duration_us))

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        del children
        return WaitOutcome() if self._run.state.clock.now() >= entry.until else None


class LoopTimer(Sleep):
    """A timer of the handler's loop, which runs a callback at its end."""

    __slots__ = ("_handle",)

    def __init__(self, run: Run, handle: asyncio.TimerHandle) -> None:
        super().__init__(run, 1)
        self.step_type = "timer"
        self._handle = handle

    def new_entry(self, number: int) -> JournalEntry:
        entry = super().new_entry(number)
        entry.until = self._run.state.started_at_us + math.ceil(self._handle.when() * MICROSECONDS)
        return entry

    def resolve(self, future: asyncio.Future[Any], entry: JournalEntry, value: Any) -> None:
        del entry, value
        self._run.runner.fire(self._handle)
        future.set_result(None)
