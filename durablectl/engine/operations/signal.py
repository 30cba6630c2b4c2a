"""``ctx.signal``: the next signal of a name that this workflow has not received yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from durablectl.engine.operations.wait_operation import WaitOperation
from durablectl.engine.replay.wait_registry import WaitOutcome
from durablectl.model.kinds import StepKind

if TYPE_CHECKING:
    from durablectl.engine.replay.run import Run
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import Execution, JournalEntry

_T = TypeVar("_T")


class SignalWait(WaitOperation[_T]):
    """A wait for one signal. Its journal entry keeps the number of the signal that it received."""

    __slots__ = ("_name",)

    def __init__(self, run: Run, name: str, timeout_us: int | None, message_type: type[Any] | None) -> None:
        super().__init__(run, StepKind.SIGNAL, f"{StepKind.SIGNAL}:{name}", timeout_us, message_type)
        self._name = name

    def poll(self, entry: JournalEntry, children: dict[str, Execution]) -> WaitOutcome | None:
        del children
        received = _received(self._run.state)
        for signal in self._run.state.ownership.execution.signals:
            if signal.name == self._name and signal.number not in received:
                received.add(signal.number)
                return WaitOutcome(signal.data, awaited_id=str(signal.number))
        return self._timed_out(entry)

    def give_back(self, outcome: WaitOutcome) -> None:
        """Leave the signal to the next wait for it: this wait lost a race."""
        if outcome.awaited_id:
            _received(self._run.state).discard(int(outcome.awaited_id))

    @staticmethod
    def received_in_vain(state: RunState, entry: JournalEntry) -> None:
        """Leave the signal to the next wait for it, unless the journal says that another has received it."""
        if not _is_receipt(entry):
            return
        received = _received(state)
        if not any(
            other is not entry and _is_receipt(other) and other.awaited_id == entry.awaited_id
            for other in state.entries.values()
        ):
            received.discard(int(entry.awaited_id))

    @staticmethod
    def drop_received(state: RunState, execution: Execution) -> None:
        received = _received(state)
        execution.signals = [signal for signal in execution.signals if signal.number not in received]


def _received(state: RunState) -> set[int]:
    """The numbers of the signals that the handler has received, or is about to receive from the journal."""
    if state.received_signals is None:
        state.received_signals = {int(entry.awaited_id) for entry in state.entries.values() if _is_receipt(entry)}
    return state.received_signals


def _is_receipt(entry: JournalEntry) -> bool:
    return entry.kind == StepKind.SIGNAL and entry.awaited_id.isdecimal()
