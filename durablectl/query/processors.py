"""The processors, live and lost, and the workflows that wait for one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK
from durablectl.model.held_workflows import is_held
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status
from durablectl.query.views import LostProcessorView, ProcessorView, WaitingView
from durablectl.storage.connection.store import require_jetstream
from durablectl.storage.diagnosis.abandoned import SETTLED_MICROSECONDS
from durablectl.storage.records import leases, presence
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import Collection

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.presence import Presence


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
            app_version=lease.app_version,
            host=lease.host,
            process_id=lease.process_id,
            slots=lease.slots,
            busy=lease.busy,
            started_at=lease.started_at,
            blocked_since=lease.blocked_since,
            blocked_by=lease.blocked_by,
            held=lease.held,
            system_handlers=lease.system_handlers,
            clock_error=lease.clock_error,
        )
        for lease in found
    ]


async def find_missing_leases(store: Store) -> str:
    """The name of the stream of leases where it is gone from a namespace that has its records; else an empty text."""
    subjects = store.subjects
    if await stream_info(store, subjects.processors_stream) is not None:
        return ""
    return subjects.processors_stream if await stream_info(store, subjects.state_stream) is not None else ""


async def lost_processors(store: Store) -> list[LostProcessorView]:
    """Those that died or were silent in the last hour, the latest first; empty where there are no streams."""
    if await stream_info(store, store.subjects.state_stream) is None:
        return []
    # Before the leases: one that starts meanwhile has both, and one that stops meanwhile is looked at again.
    known = await presence.recent(store)
    alive = {lease.processor_id for lease in await leases.live_processors(store)}
    if any(each.lease.processor_id not in alive for each in known):
        known = await presence.recent(store)
    oldest = store.clock.now() - presence.KEPT_SECONDS * MICROSECONDS
    lost = [_lost(each, is_alive=each.lease.processor_id in alive) for each in known]
    return sorted((each for each in lost if each.lost_at > oldest), key=lambda each: -each.lost_at)


def _lost(each: Presence, *, is_alive: bool) -> LostProcessorView:
    """With ``lost_at`` 0 where it was never silent."""
    lease = each.lease
    return LostProcessorView(
        processor_id=lease.processor_id,
        handlers=lease.handlers,
        version=lease.version,
        app_version=lease.app_version,
        host=lease.host,
        process_id=lease.process_id,
        started_at=lease.started_at,
        lost_at=each.lost_at or (0 if is_alive else each.seen_at),
        # Where no other processor saw it die, what it had said last is all that is known.
        held=each.held if each.lost_at else lease.busy,
        held_ids=each.held_ids,
        returned_at=(each.returned_at or each.seen_at) if is_alive and each.lost_at else 0,
    )


async def with_processor(store: Store, view: WorkflowView) -> WorkflowView:
    """The view, saying so where it waits for a processor that is not there."""
    alive: set[str] = set()
    handlers: set[str] = set()
    if view.status == Status.PENDING:
        handlers = {name for lease in await leases.live_processors(store) for name in lease.all_handlers}
    elif view.status in {Status.RUNNING, Status.PAUSED} and view.owner:
        lease = await leases.load(store, view.owner)
        alive = {view.owner} if lease is not None and not _was_dropped(view, lease, store.clock.now()) else set()
    return seen_with(view, alive, handlers, SYSTEM_CLOCK.now())


def _was_dropped(view: WorkflowView, lease: leases.Lease, now: int) -> bool:
    """Whether a paused workflow is not in work any more, though its processor lives. Its lease may be a second old."""
    is_settled = now - view.updated_at > SETTLED_MICROSECONDS
    return view.status == Status.PAUSED and is_settled and is_held(lease.held, view.invocation_id) is False


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
