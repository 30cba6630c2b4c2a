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
    from collections.abc import Collection

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
            held=lease.held,
            system_handlers=lease.system_handlers,
        )
        for lease in found
    ]


async def with_processor(store: Store, view: WorkflowView) -> WorkflowView:
    """The view, saying so where it waits for a processor that is not there."""
    alive: set[str] = set()
    handlers: set[str] = set()
    if view.status == Status.PENDING:
        handlers = {name for lease in await leases.live_processors(store) for name in lease.all_handlers}
    elif view.status in {Status.RUNNING, Status.PAUSED} and view.owner:
        alive = {view.owner} if await leases.is_alive(store, view.owner) else set()
    return seen_with(view, alive, handlers, SYSTEM_CLOCK.now())


def seen_with(view: WorkflowView, alive: Collection[str], handlers: Collection[str], now: int) -> WorkflowView:
    """The same, of the ids of the processors that live and the handlers that they have; ``now`` in microseconds."""
    if view.status == Status.PENDING:
        is_delayed = view.waiting_for is not None and view.waiting_for.until > now
        if not is_delayed and view.handler not in handlers:
            return replace(view, waiting_for=WaitingView(WaitKind.PROCESSOR, view.handler))
    elif view.status == Status.RUNNING and view.owner and view.owner not in alive:
        return replace(view, waiting_for=WaitingView(WaitKind.TAKEOVER, view.owner))
    elif view.status == Status.PAUSED and view.owner and view.owner not in alive:
        # What was in flight when it was paused has died with its processor.
        return replace(view, owner="", current_step=-1, current_step_type="")
    return view
