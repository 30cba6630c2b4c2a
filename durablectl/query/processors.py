"""Who is there to run workflows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.query.views import ProcessorView
from durablectl.storage.connection.store import require_jetstream
from durablectl.storage.records import leases

if TYPE_CHECKING:
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
        )
        for lease in found
    ]
