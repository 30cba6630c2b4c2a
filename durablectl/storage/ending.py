"""The writes that follow the last state of a workflow; each may be repeated without harm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.ending import WAITS
from durablectl.storage import index, journal
from durablectl.storage.wake import cancellation, timers_removal, wake_parent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.model.ending import Child
    from durablectl.model.records import Execution, JournalEntry
    from durablectl.storage.store import Store


async def after_end(
    store: Store, execution: Execution, entries: Sequence[JournalEntry], children: Sequence[Child] = ()
) -> None:
    """Move the index entry, purge journal and timers, tell the parent, and have ``children`` cancelled."""
    writes = index.settlement(store, execution)
    if not execution.journal_length:
        length = max((entry.step_number + 1 for entry in entries), default=0)
        writes += journal.removal(store, execution.invocation_id, max(length, execution.total_steps))
    if execution.start_at or execution.attempt > 1 or any(entry.kind in WAITS for entry in entries):
        writes.append(timers_removal(store, execution.invocation_id))
    if execution.parent_handler:
        writes.append(wake_parent(store, execution))
    writes += [cancellation(store, child.invocation_id, child.handler) for child in children]
    await store.requests.exchange(writes)
