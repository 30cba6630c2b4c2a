"""Reading states where a replica that lags behind may answer: only in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.storage.records.server_clock import get_many_at, keep_time, load_at
from durablectl.storage.records.states import load, load_many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import ManyLast, Stored


async def load_after_write(store: Store, invocation_id: str, revision: int = 0) -> Stored | None:
    """As of ``revision`` or later; without it, as of the last state that this connection has written."""
    if not store.requests.is_cluster:
        return await load(store, invocation_id)
    return await load_at(store, invocation_id, revision or store.reached)


async def load_known(store: Store, invocation_id: str) -> Stored | None:
    """None only if no replica has it: one that is filled anew, after it was cut off, finds nothing at first."""
    stored = await load(store, invocation_id)
    if stored is not None or not store.requests.is_cluster:
        return stored
    return await load_at(store, invocation_id, await keep_time(store))


async def load_many_known(
    store: Store, invocation_ids: Sequence[str], beside: str, revision: int = 0
) -> dict[str, Stored]:
    """As of ``revision`` or later; without it, as of now. ``beside`` is the id of a workflow that is there."""
    if not (invocation_ids and store.requests.is_cluster):
        return await load_many(store, invocation_ids)
    at_least = revision or await keep_time(store)

    async def ask(subjects: list[str]) -> ManyLast | None:
        return await get_many_at(store, subjects, at_least, with_each=store.subjects.state(beside))

    found = await load_many(store, invocation_ids, ask)
    return {each: found[each] for each in invocation_ids if each in found}


async def is_past(store: Store, invocation_id: str, stored: Stored | None) -> bool:
    """Whether what was read of an invocation is not what stands there now."""
    if not store.requests.is_cluster:
        return False
    latest = await load_at(store, invocation_id, await keep_time(store))
    return (latest and latest.revision) != (stored and stored.revision)
