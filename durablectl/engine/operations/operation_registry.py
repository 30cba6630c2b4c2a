"""Every kind of operation, by the class that carries its rules; ``model.operation_kinds`` says how each is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.engine.operations.awakeable import Awakeable
from durablectl.engine.operations.child import ChildResult, StartChild
from durablectl.engine.operations.function_step import FunctionStep
from durablectl.engine.operations.group import RaceDecision
from durablectl.engine.operations.service_call import ServiceCall
from durablectl.engine.operations.signal import SignalWait
from durablectl.engine.operations.sleep import Sleep
from durablectl.engine.operations.wait_operation import WaitOperation
from durablectl.model.kinds import StepKind

if TYPE_CHECKING:
    from durablectl.engine.operations.operation import NumberedOperation
    from durablectl.engine.replay.run_state import RunState
    from durablectl.model.records import JournalEntry

OPERATIONS: dict[str, type[NumberedOperation[Any]]] = {
    StepKind.STEP: FunctionStep,
    StepKind.COMPENSATION: FunctionStep,
    StepKind.CALL: ServiceCall,
    StepKind.SEND: StartChild,
    StepKind.SPAWN: StartChild,
    StepKind.SLEEP: Sleep,
    StepKind.AWAKEABLE: Awakeable,
    StepKind.SIGNAL: SignalWait,
    StepKind.CHILD: ChildResult,
    StepKind.RACE: RaceDecision,
}

WAIT_OPERATIONS: dict[str, type[WaitOperation[Any]]] = {
    kind: operation for kind, operation in OPERATIONS.items() if issubclass(operation, WaitOperation)
}


def received_in_vain(state: RunState, entry: JournalEntry) -> None:
    """Give back what a recorded end took, whose awaiting task was cancelled."""
    operation = WAIT_OPERATIONS.get(entry.kind)
    if operation is not None:
        operation.received_in_vain(state, entry)
