"""States and journal entries in the state stream, read and written past the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from durablectl.model.codec import decode_entry
from durablectl.model.records import Execution
from durablectl.storage.records import states
from durablectl.storage.streams import direct_get
from helpers.waiting import wait_until

if TYPE_CHECKING:
    from durablectl.model.records import JournalEntry
    from durablectl.storage.connection.store import Store


async def list_subjects(store: Store, stream: str, filter: str) -> list[str]:
    """Return the subjects under ``filter`` that the stream holds, as the server lists them."""
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}", {"subjects_filter": filter})
    return sorted(answer["state"].get("subjects") or {})


async def list_journal_subjects(store: Store, invocation_id: str = "*") -> list[str]:
    return await list_subjects(store, store.subjects.state_stream, store.subjects.journal(invocation_id, "*"))


async def read_journal(store: Store, invocation_id: str) -> list[JournalEntry]:
    """Return the entries of a workflow that has not ended, read one by one."""
    raws = [
        await direct_get.get_last(store, store.subjects.state_stream, subject)
        for subject in await list_journal_subjects(store, invocation_id)
    ]
    return sorted((decode_entry(raw.data) for raw in raws if raw), key=lambda entry: entry.step_number)


async def write_state(store: Any, name: str, owner: str = "", **fields: Any) -> int:
    """Store a state as a processor would, without its index entry, and return its revision."""
    stored = await states.load(store, name)
    execution = Execution(name, "h", **{"owner": owner, "status": "running", **fields})
    if stored is None:
        revision = await states.create(store, execution)
    else:
        revision = await states.replace(store, execution, stored.revision)
    assert revision is not None
    return revision


async def wait_for_quiet_state_stream(store: Store) -> None:
    """Wait until no more messages arrive in the state stream: everything that a dead process sent is stored."""
    seen = [-1]

    async def unchanged() -> bool:
        answer = await store.requests.call(f"{store.api}.STREAM.INFO.{store.subjects.state_stream}")
        seen.append(answer["state"]["last_seq"])
        return seen[-1] == seen[-2]

    await wait_until(unchanged, every=0.2)
