"""The entries of the status index, as its stream lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from helpers.stored_records import list_subjects
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from durablectl.storage.connection.store import Store


@dataclass(frozen=True)
class IndexEntry:
    group: str
    handler: str
    partition: str
    invocation_id: str


async def list_index_entries(store: Store) -> list[IndexEntry]:
    subjects = await list_subjects(store, store.subjects.index_stream, ">")
    entries = [store.subjects.index_entry(subject) for subject in subjects]
    return [IndexEntry(e.group, e.handler, e.partition_key, e.invocation_id) for e in entries]


async def index_groups(store: Store, invocation_id: str) -> list[str]:
    """Return the status groups that hold an entry of the invocation; one in a consistent index."""
    return [entry.group for entry in await list_index_entries(store) if entry.invocation_id == invocation_id]


async def wait_for_index_group(store: Store, invocation_id: str, group: str) -> None:
    """Wait until the invocation has an entry in this group and in no other: the index is written after the end."""

    async def is_entered() -> bool:
        return await index_groups(store, invocation_id) == [group]

    await wait_until(is_entered)
