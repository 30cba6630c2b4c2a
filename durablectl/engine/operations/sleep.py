"""``ctx.sleep``: a timer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.engine.operations.wait_operation import WaitOperation
from durablectl.engine.replay.wait_registry import Outcome
from durablectl.model.kinds import StepKind

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.model.records import Execution, JournalEntry


class Sleep(WaitOperation[None]):
    """A wait that its time alone ends."""

    __slots__ = ()

    def __init__(self, run: Run, duration_us: int) -> None:
        super().__init__(run, StepKind.SLEEP, StepKind.SLEEP, max(1, duration_us))

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> Outcome | None:
        del children
        return Outcome() if self._run.state.clock.now() >= entry.until else None
