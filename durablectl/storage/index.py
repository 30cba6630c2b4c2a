"""Index entries: one subject an invocation, no value; what listing and counting read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.model.status import index_group
from durablectl.storage.feed import follow
from durablectl.storage.requests import EXPECTED, Request
from durablectl.storage.states import lifetime
from durablectl.storage.store import purge_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.model.records import Execution
    from durablectl.storage.store import Store
    from durablectl.storage.subjects import Subjects


def entry(subjects: Subjects, execution: Execution) -> str:
    """The index subject that belongs to a state; a pure function of the record."""
    return subjects.index(
        index_group(execution.status),
        execution.indexed_at,
        execution.handler,
        execution.partition_key,
        execution.invocation_id,
    )


def previous_entry(subjects: Subjects, execution: Execution) -> str:
    """The index subject that the state before it had; empty when its status group never changed."""
    if not execution.previous_group:
        return ""
    return subjects.index(
        execution.previous_group,
        execution.previous_indexed_at,
        execution.handler,
        execution.partition_key,
        execution.invocation_id,
    )


async def members(store: Store, group: str) -> AsyncIterator[str]:
    """The invocation ids that have an entry in a status group, oldest first."""
    async with follow(store, store.subjects.index_stream, [store.subjects.index_group(group)]) as feed:
        if not feed.snapshot:
            return
        async for change in feed:
            yield change.subject.rpartition(".")[2]
            if change.remaining == 0:
                return


def addition(store: Store, execution: Execution) -> Request:
    """The write that enters a state."""
    return _entering(store, execution)


def _entering(store: Store, execution: Execution) -> Request:
    """Written once, never over itself: of a subject written twice, nats-server 2.15 forgets the purge at a kill -9."""
    headers = {EXPECTED: "0", **lifetime(execution)}
    return Request(entry(store.subjects, execution), b"", headers, may_exist=True)


def expiry(store: Store, execution: Execution) -> list[Request]:
    """The writes after which the entry of what has ended goes away with it, when its retention is over."""
    subject = entry(store.subjects, execution)
    return [removal(store, subject), _entering(store, execution)]


def removal(store: Store, subject: str) -> Request:
    """The write that removes an entry, if it is there."""
    return purge_request(store, store.subjects.index_stream, subject)


def settlement(store: Store, execution: Execution) -> list[Request]:
    """The writes that enter a state that is stored, then remove the entry it replaced; repeatable without harm.

    Dying between leaves an entry that its state disowns, which readers skip.
    """
    current = entry(store.subjects, execution)
    previous = previous_entry(store.subjects, execution)
    if previous and previous != current:
        return [_entering(store, execution), removal(store, previous)]
    return [_entering(store, execution)]
