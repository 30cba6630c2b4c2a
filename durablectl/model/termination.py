"""What becomes of a record when its workflow ends, whoever ends it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.kinds import StepKind
from durablectl.model.names import is_name
from durablectl.model.operation_kinds import STARTS_CHILD
from durablectl.model.reason_codes import ReasonCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.model.status import Status

INLINE_LIMIT_BYTES = 256 * 1024
"""A journal up to this size becomes part of the record; a bigger one stays where it is."""


def end_execution(execution: Execution, status: Status, timestamp_us: int, *, journal_length: int) -> None:
    """Enter a terminal status; ``journal_length`` counts the journal entries that stay in the stream."""
    execution.enter_status(status, timestamp_us)
    execution.finished_at = max(timestamp_us, execution.started_at)
    execution.current_step = -1
    execution.current_step_type = ""
    execution.waiting_for = None
    execution.waits = []
    execution.signals = []
    if execution.cancel_requested:
        execution.reason, execution.cancel_reason = execution.cancel_reason, ""
    execution.cancel_requested = False
    execution.compensations = 0
    execution.journal_length = journal_length


def started_children(entries: Sequence[JournalEntry]) -> list[str]:
    """The ids of the workflows that these steps started."""
    started = [_child_of(entry) for entry in entries if entry.kind in STARTS_CHILD]
    awaited = [entry.awaited_id for entry in entries if entry.kind == StepKind.CHILD]
    return [child for child in dict.fromkeys([*started, *awaited]) if is_name(child)]


def _child_of(entry: JournalEntry) -> str:
    """The child that a step has started; empty where it has not, or another program wrote it."""
    try:
        child = json.loads(entry.response.data) if entry.response.data else ""
    except (ValueError, RecursionError):
        return ""
    return child if isinstance(child, str) and is_name(child) else ""


class Child(NamedTuple):
    """A child workflow, as its parent's journal names it."""

    invocation_id: str
    handler: str


def interrupted_children(entries: Sequence[JournalEntry]) -> list[Child]:
    """The children to cancel with their parent: not known to have ended, and not started to outlive it ("send")."""
    found: dict[str, str] = {}
    spared: set[str] = set()
    for entry in entries:
        handler = entry.step_type.partition(":")[2]
        if entry.kind == StepKind.SPAWN:
            found[_child_of(entry)] = handler
        elif entry.kind == StepKind.SEND:
            spared.add(_child_of(entry))
        elif entry.kind == StepKind.CHILD and entry.finished_at and entry.reason_code != ReasonCode.INTERRUPTED:
            spared.add(entry.awaited_id)
        elif entry.kind == StepKind.CHILD:
            found[entry.awaited_id] = handler
    return [
        Child(child, handler)
        for child, handler in found.items()
        if child not in spared and is_name(child) and is_name(handler)
    ]
