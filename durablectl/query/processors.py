"""The live processors, and the workflows that wait for one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.model.clock import SYSTEM_CLOCK
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status
from durablectl.query.views import ProcessorView, WaitingView
from durablectl.storage.connection.store import require_jetstream
from durablectl.storage.records import leases

if TYPE_CHECKING:
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store


async def live_processors(store: Store) -> list[ProcessorView]:
    """The processors that hold a lease, the longest-running first. UnsupportedServerError without JetStream."""
    found = await leases.live_processors(store)
    if not found:
        await require_jetstream(store)
    return [
        ProcessorView(
            processor_id=lease.processor_id,
            handlers=lease.handlers,
            version=lease.version,
            host=lease.host,
            process_id=lease.process_id,
            slots=lease.slots,
            busy=lease.busy,
            started_at=lease.started_at,
            blocked_since=lease.blocked_since,
            blocked_by=lease.blocked_by,
            system_handlers=lease.system_handlers,
        )
        for lease in found
    ]


async def with_processor(store: Store, view: WorkflowView) -> WorkflowView:
    """The view, saying so where it waits for a processor that is not there."""
    if view.status == Status.PENDING:
        if view.waiting_for is not None and view.waiting_for.until > SYSTEM_CLOCK.now():
            return view
        live = await leases.live_processors(store)
        if not any(lease.runs(view.handler) for lease in live):
            return replace(view, waiting_for=WaitingView(WaitKind.PROCESSOR, view.handler))
    elif view.status == Status.RUNNING and view.owner and not await leases.is_alive(store, view.owner):
        return replace(view, waiting_for=WaitingView(WaitKind.TAKEOVER, view.owner))
    elif view.status == Status.PAUSED and view.owner and not await leases.is_alive(store, view.owner):
        # What was in flight when it was paused has died with its processor.
        return replace(view, owner="", current_step=-1, current_step_type="")
    return view
