"""Asking a processor for the end of a workflow: only its handler knows its compensations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.reason_codes import ReasonCode
from durablectl.model.status import Status, is_terminal
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.index import index_entries
from durablectl.storage.records import states

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState

BY_PARENT = "its parent was cancelled"
"""For people; programs go by the code."""


async def request_cancel(store: Store, stored: StoredState, code: ReasonCode, reason: str) -> bool:
    """Write that it is to be cancelled over the state that stands; False when another writer was first.

    It shows as running from then on, paused or not. Dying after it, what called for a processor before does its work.
    """
    execution, revision = stored
    execution.enter_status(Status.RUNNING, store.clock.now())
    execution.request_cancellation(code, reason)
    if await states.replace(store, execution, revision) is None:
        return False
    await index_entries.update_entry(store, execution)
    return True


async def request_child_cancel(store: Store, invocation_id: str, reason: str) -> None:
    """The same for a workflow whose parent cancels it, if it has not ended and has not been asked before.

    Its processor may have suspended it a moment ago: then a command calls the next one.
    """
    while True:
        stored = await states.load(store, invocation_id)
        if stored is None or is_terminal(stored.execution.status) or stored.execution.cancel_requested:
            return
        if await request_cancel(store, stored, ReasonCode.CANCELLED_WITH_PARENT, reason or BY_PARENT):
            if not stored.execution.owner:
                await store.requests.exchange([wake_request(store, stored.execution)])
            return
