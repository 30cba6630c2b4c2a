"""The kinds of operations that a handler asks for: one row per kind, for the engine and for what shows a workflow.

A new kind is a row here and a file in ``durablectl/engine/operations``, which has its rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from durablectl.model.kinds import StepKind


@dataclass(frozen=True, slots=True)
class OperationKind:
    """What distinguishes the journal entries of one kind."""

    kind: StepKind
    is_wait: bool = False
    """Whether it is journaled when it begins, and again when it ends."""
    is_drawn_as_wait: bool = False
    """Whether its bar in a timeline shows waiting, not work."""
    starts_child: bool = False
    """Whether its result is the id of a workflow that it has started."""
    awaited: str = ""
    """What a sentence calls that which ends it: "waits for the signal go"; empty where its time alone does."""


def _wait(kind: StepKind, awaited: str = "") -> OperationKind:
    return OperationKind(kind, is_wait=True, is_drawn_as_wait=True, awaited=awaited)


OPERATION_KINDS: dict[str, OperationKind] = {
    row.kind: row
    for row in (
        OperationKind(StepKind.STEP),
        OperationKind(StepKind.COMPENSATION),
        OperationKind(StepKind.CALL),
        OperationKind(StepKind.SEND, starts_child=True),
        OperationKind(StepKind.SPAWN, starts_child=True),
        _wait(StepKind.SLEEP),
        _wait(StepKind.AWAKEABLE, "the awakeable"),
        _wait(StepKind.SIGNAL, "the signal"),
        _wait(StepKind.CHILD, "the child workflow"),
        OperationKind(StepKind.RACE, is_drawn_as_wait=True),
    )
}

WAITS: frozenset[str] = frozenset(row.kind for row in OPERATION_KINDS.values() if row.is_wait)
DRAWN_AS_WAIT: frozenset[str] = frozenset(row.kind for row in OPERATION_KINDS.values() if row.is_drawn_as_wait)
STARTS_CHILD: frozenset[str] = frozenset(row.kind for row in OPERATION_KINDS.values() if row.starts_child)
