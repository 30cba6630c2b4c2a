"""Reading states where a replica that lags behind may answer: only in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.states import load
from durablectl.storage.timekeeping import keep_time, load_at

if TYPE_CHECKING:
    from durablectl.storage.states import Stored
    from durablectl.storage.store import Store


async def load_after_write(store: Store, invocation_id: str) -> Stored | None:
    """As of the last state that this connection has written, or later."""
    if not store.requests.is_cluster:
        return await load(store, invocation_id)
    return await load_at(store, invocation_id, store.reached)


async def is_past(store: Store, invocation_id: str, stored: Stored | None) -> bool:
    """Whether what was read of an invocation is not what stands there now."""
    if not store.requests.is_cluster:
        return False
    latest = await load_at(store, invocation_id, await keep_time(store))
    return (latest and latest.revision) != (stored and stored.revision)
