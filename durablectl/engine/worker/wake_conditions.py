"""When a suspended workflow is resumed: its time limit, a timer, an answer, a signal, or the end of a child."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.kinds import StepKind
from durablectl.model.status import is_terminal
from durablectl.storage.records.consistent_reads import load_many_confirmed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.records import Execution, PendingWait
    from durablectl.storage.connection.store import Store

EARLY_US = 500_000
"""A timer that fires this much before its time, by our clock, counts: the run waits out the rest."""


def wake_times(waits: Sequence[PendingWait], deadline_us: int) -> list[int]:
    """When time alone resumes the workflow, microseconds since the epoch; the earliest of these sets its timer."""
    return [timestamp_us for timestamp_us in (deadline_us, *(wait.until for wait in waits)) if timestamp_us]


async def has_child_ended(store: Store, waits: Sequence[PendingWait], invocation_id: str, revision: int = 0) -> bool:
    """Whether a child that is waited for has ended, as of ``revision`` or later; without it, as of now."""
    children = [wait.awaited_id for wait in waits if wait.kind == StepKind.CHILD]
    found = await load_many_confirmed(store, children, invocation_id, revision)
    return any(is_terminal(stored.execution.status) for stored in found.values())


async def is_due(store: Store, execution: Execution, now: int) -> bool:
    """Whether something that a suspended workflow waits for has come."""
    if execution.deadline and execution.deadline <= now + EARLY_US:
        return True
    for wait in execution.waits:
        if (wait.until and wait.until <= now + EARLY_US) or execution.has_result(wait):
            return True
    # Nothing listed means a record that another program suspended: the handler will know what it waits for.
    return await has_child_ended(store, execution.waits, execution.invocation_id) or not execution.waits
