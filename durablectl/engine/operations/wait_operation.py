"""The base of operations that wait, and that the workflow may be suspended for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.operation import NumberedOperation
from durablectl.engine.replay.handler_runner import UNDECODED
from durablectl.engine.replay.wait_registry import WaitOutcome
from durablectl.limits import checked_microseconds
from durablectl.model.clock import MICROSECONDS
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import JournalEntry, PendingWait

if TYPE_CHECKING:
    from datetime import timedelta

    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution

_T = TypeVar("_T")


class WaitOperation(NumberedOperation[_T]):
    """One kind of wait. ``duration_us`` is how long it lasts at most; None is without limit."""

    __slots__ = ("_duration_us",)

    def __init__(
        self, run: Run, kind: str, step_type: str, duration_us: int | None, message_type: type[Any] | None = None
    ) -> None:
        super().__init__(run, kind, step_type, message_type)
        self._duration_us = duration_us

    async def execute(self, number: int, entry: JournalEntry | None) -> tuple[JournalEntry, Any]:
        return await self._run.waits.wait(number, self, entry), UNDECODED

    def new_entry(self, number: int) -> JournalEntry:
        now = self._run.state.clock.now()
        until = 0 if self._duration_us is None else now + self._duration_us
        return JournalEntry(number, self.step_type, self.kind, started_at=now, until=until)

    async def prepare(self, entry: JournalEntry) -> None:
        pass

    def pending_wait(self, entry: JournalEntry) -> PendingWait:
        return PendingWait(self.kind, self.step_type, entry.step_number, entry.until, awaited_id=entry.awaited_id)

    def awaited_child(self, entry: JournalEntry) -> str:
        del entry
        return ""

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        raise NotImplementedError

    def give_back(self, outcome: WaitOutcome) -> None:
        pass

    @staticmethod
    def received_in_vain(state: RunState, entry: JournalEntry) -> None:
        """Give back what a recorded end took, whose awaiting task was cancelled."""

    @staticmethod
    def drop_received(state: RunState, execution: Execution) -> None:
        """Take out of the record of a run that is being suspended what its journal has by now."""

    def _timed_out(self, entry: JournalEntry) -> WaitOutcome | None:
        if not entry.until or self._run.state.clock.now() < entry.until:
            return None
        error = f"nothing came within {(entry.until - entry.started_at) / MICROSECONDS:g} s"
        return WaitOutcome(error=error, error_type="TimeoutError", reason_code=ReasonCode.TIMED_OUT)


def limit_us(timeout: float | timedelta | None, what: str) -> int | None:
    """The time limit of a wait in microseconds, None for none; OutOfRangeError names ``what`` takes it."""
    return None if timeout is None else checked_microseconds(timeout, f"The timeout of {what}")
