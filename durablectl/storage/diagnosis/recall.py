"""Calling for what nothing calls any more, after commands were lost: pending, due and abandoned workflows, schedules.

Dying in the middle leaves the marker of the commands away, so that the next processor does all of it again; a second
call does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.status import Status
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.diagnosis.abandoned import find_abandoned
from durablectl.storage.diagnosis.missing_wakeups import find_missing_wakeups
from durablectl.storage.index import index_entries
from durablectl.storage.index.comparison import batches
from durablectl.storage.records.armed_schedules import arm_again, find_unarmed
from durablectl.storage.streams.commands_marker import ALWAYS_COMPLETE, write_marker
from durablectl.storage.streams.direct_get import get_message
from durablectl.storage.streams.stored_messages import parse_timestamp_us, stored_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store


class Recalled(NamedTuple):
    """How many workflows were called for, and the names of the schedules that were armed again."""

    workflows: int
    schedules: list[str]


class CommandsMarker(NamedTuple):
    """That the commands are complete.

    ``recalled_at`` is when they became so again, in microseconds; 0 when none were ever lost.
    """

    recalled_at: int


async def load_marker(store: Store) -> CommandsMarker | None:
    """None where commands may have been lost since a processor last looked. NotProvisionedError without the stream."""
    subjects = store.subjects
    which = {"last_by_subj": subjects.commands_marker}  # asked so, it needs no permission that a processor lacked
    found = await get_message(store, subjects.commands_stream, which)
    if found is None:
        return None
    return CommandsMarker(0 if found.data == ALWAYS_COMPLETE else parse_timestamp_us(stored_message(found).stored_at))


async def recall_all(store: Store) -> Recalled:
    """Call for everything that the index says is to go on and that no command leads to; then mark that as done."""
    # Of what was claimed a moment before, the index still says that it is pending.
    owned = [each async for each in index_entries.list_indexed_ids(store, [Status.PENDING, Status.RUNNING])]
    abandoned = {each.invocation_id for each in await find_abandoned(store, owned)}
    waiting = [each async for each in index_entries.list_indexed_ids(store, [Status.PENDING, Status.SUSPENDED])]
    idle = await find_missing_wakeups(store, [each for each in waiting if each not in abandoned], abandoned)
    await call_for(store, idle)
    armed = await arm_again(store, await find_unarmed(store))
    await write_marker(store, were_lost=bool(owned or waiting))
    return Recalled(len(idle), armed)


async def call_for(store: Store, executions: Iterable[Execution]) -> None:
    """Publish a command for each; several processors that do so at once store one."""
    for batch in batches(executions):
        await store.requests.exchange(
            [
                wake_request(store, each, f"recall-{each.invocation_id}-{each.attempt}-{each.updated_at}")
                for each in batch
            ]
        )
