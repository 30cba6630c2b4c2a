"""The kinds of operations that a handler asks for: one row per kind, for the engine and for what shows a workflow.

A new kind is a row here and a file in ``durablectl/engine/operations``, which has its rules.
"""

from __future__ import annotations

from dataclasses import dataclass

STEP = "step"
COMPENSATION = "compensation"
CALL = "call"
SEND = "send"
SPAWN = "spawn"
SLEEP = "sleep"
AWAKEABLE = "awakeable"
SIGNAL = "signal"
CHILD = "child"
RACE = "race"


@dataclass(frozen=True, slots=True)
class OperationKind:
    """What distinguishes the journal entries of one kind."""

    kind: str
    is_wait: bool = False
    """Whether it is journaled when it begins, and again when it ends."""
    is_drawn_as_wait: bool = False
    """Whether its bar in a timeline shows waiting, not work."""
    starts_child: bool = False
    """Whether its result is the id of a workflow that it has started."""
    awaited: str = ""
    """What a sentence calls that which ends it: "waits for the signal go"; empty where its time alone does."""


def _wait(kind: str, awaited: str = "") -> OperationKind:
    return OperationKind(kind, is_wait=True, is_drawn_as_wait=True, awaited=awaited)


OPERATION_KINDS = {
    row.kind: row
    for row in (
        OperationKind(STEP),
        OperationKind(COMPENSATION),
        OperationKind(CALL),
        OperationKind(SEND, starts_child=True),
        OperationKind(SPAWN, starts_child=True),
        _wait(SLEEP),
        _wait(AWAKEABLE, "the awakeable"),
        _wait(SIGNAL, "the signal"),
        _wait(CHILD, "the child workflow"),
        OperationKind(RACE, is_drawn_as_wait=True),
    )
}

WAITS = frozenset(row.kind for row in OPERATION_KINDS.values() if row.is_wait)
DRAWN_AS_WAIT = frozenset(row.kind for row in OPERATION_KINDS.values() if row.is_drawn_as_wait)
STARTS_CHILD = frozenset(row.kind for row in OPERATION_KINDS.values() if row.starts_child)
