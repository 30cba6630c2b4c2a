"""``ctx.awakeable``: an answer that an outside system gives under an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.wait_operation import WaitOperation
from durablectl.engine.replay.wait_registry import WaitOutcome
from durablectl.model.kinds import StepKind
from durablectl.model.reason_codes import ReasonCode
from durablectl.model.records import NO_PAYLOAD

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution, JournalEntry

_T = TypeVar("_T")


class Awakeable(WaitOperation[_T]):
    """An awaitable answer; ``id`` is what the outside system needs to give it."""

    __slots__ = ("id",)

    def __init__(
        self, run: Run, name: str, awakeable_id: str, timeout_us: int | None, response_type: type[Any] | None
    ) -> None:
        super().__init__(run, StepKind.AWAKEABLE, f"{StepKind.AWAKEABLE}:{name}", timeout_us, response_type)
        self.id = awakeable_id

    def new_entry(self, number: int) -> JournalEntry:
        entry = super().new_entry(number)
        entry.awaited_id = self.id
        return entry

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        del children
        answer = self._run.state.ownership.execution.awakeables.get(entry.awaited_id)
        if answer is None or not answer.resolved:
            return self._timed_out(entry)
        if answer.error:
            return WaitOutcome(error=answer.error, error_type="Rejected", reason_code=ReasonCode.REJECTED)
        return WaitOutcome(answer.result)

    @staticmethod
    def drop_received(state: RunState, execution: Execution) -> None:
        for answer in execution.awakeables.values():
            if any(e.awaited_id == answer.awakeable_id and e.finished_at for e in state.entries.values()):
                answer.result = NO_PAYLOAD
