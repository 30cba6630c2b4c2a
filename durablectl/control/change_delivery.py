"""How a change of a workflow's record reaches whatever is to act on it: the processor that runs it, or a new run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.status import Status
from durablectl.storage.commands.notifications import notify_processor
from durablectl.storage.commands.wake import fallback_timer_request, wake_request
from durablectl.storage.records import states

if TYPE_CHECKING:
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store


async def write_and_deliver(store: Store, execution: Execution, revision: int) -> bool:
    """Replace the record and have the workflow continue; False when someone else has written meanwhile.

    A suspended workflow is woken: a timer is set before the write, a command published after it, so that it wakes
    wherever this process dies. A processor that runs it is notified; should that be lost, it looks by itself.
    """
    is_suspended = execution.status == Status.SUSPENDED
    if is_suspended:
        await store.requests.exchange([fallback_timer_request(store, execution)])
    if await states.replace(store, execution, revision) is None:
        return False
    if is_suspended:
        await store.requests.exchange([wake_request(store, execution)])
    elif execution.owner:
        await notify_processor(store, execution.owner, execution.invocation_id)
    return True
