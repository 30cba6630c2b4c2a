"""Whether the server has room for what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.diagnosis.inspection import read_stream_conditions
from durablectl.storage.diagnosis.room import find_full_store
from durablectl.storage.records import leases
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.room import FullStore


async def get_full_store(store: Store) -> FullStore | None:
    """What is full; None where nothing says so. Meant for when no processor seems to live.

    Only where processors follow the leases, and none has one: who may look at no more streams is asked for no more.
    """
    if await leases.live_processors(store):
        return None
    info = await stream_info(store, store.subjects.processors_stream)
    if info is None or not info["state"]["consumer_count"]:
        return None
    return await find_full_store(store, await read_stream_conditions(store), has_live_processors=False)
