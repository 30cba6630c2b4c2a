"""Calling for what nothing calls any more, after commands were lost: pending, due and abandoned workflows, schedules.

A marker among the commands says that they are complete. It is gone where the stream was deleted, purged or made again.
Dying in the middle leaves it away, so that the next processor does all of it again; a second call does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.status import Status
from durablectl.storage.commands.wake import wake_request
from durablectl.storage.connection.requests import EXPECTED, Request
from durablectl.storage.diagnosis.abandoned import find_abandoned
from durablectl.storage.diagnosis.missing_wakeups import find_missing_wakeups
from durablectl.storage.index import index_entries
from durablectl.storage.index.comparison import batches
from durablectl.storage.records.armed_schedules import arm_again, find_unarmed
from durablectl.storage.streams.direct_get import get_message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store


class Recalled(NamedTuple):
    """How many workflows were called for, and the names of the schedules that were armed again."""

    workflows: int
    schedules: list[str]


async def are_commands_complete(store: Store) -> bool:
    """Whether the commands were not lost since a processor last looked. Raises NotProvisionedError without stream."""
    subjects = store.subjects
    which = {"last_by_subj": subjects.commands_marker}  # asked so, it needs no permission that a processor lacked
    return await get_message(store, subjects.commands_stream, which) is not None


async def recall_all(store: Store) -> Recalled:
    """Call for everything that the index says is to go on and that no command leads to; then mark that as done."""
    # Of what was claimed a moment before, the index still says that it is pending.
    owned = [each async for each in index_entries.list_indexed_ids(store, [Status.PENDING, Status.RUNNING])]
    abandoned = {each.invocation_id for each in await find_abandoned(store, owned)}
    waiting = [each async for each in index_entries.list_indexed_ids(store, [Status.PENDING, Status.SUSPENDED])]
    idle = await find_missing_wakeups(store, [each for each in waiting if each not in abandoned], abandoned)
    await call_for(store, idle)
    armed = await arm_again(store, await find_unarmed(store))
    subject = store.subjects.commands_marker
    await store.requests.exchange([Request(subject, b"complete", {EXPECTED: "0"}, may_exist=True)])
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
