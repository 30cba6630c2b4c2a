"""Running workflows that no processor works on: their owner is gone, or lives and does not hold them.

A run whose stream of commands was lost ends so: its write failed, and no command brings it back.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from durablectl.model import held_workflows
from durablectl.model.status import Status
from durablectl.storage.index.comparison import batches
from durablectl.storage.records import leases, states

if TYPE_CHECKING:
    from collections.abc import Iterable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.leases import Lease
    from durablectl.storage.records.states import StoredState

LOOKS_APART_SECONDS = leases.RENEW_SECONDS + 0.5
"""Within which a processor says again what it holds."""
SETTLED_MICROSECONDS = 2_500_000
"""What a processor claims is in its lease by then."""


async def find_abandoned(store: Store, running: Iterable[str]) -> list[Execution]:
    """Those of ``running`` (invocation ids) that no processor works on at two looks, with the same revision."""
    first = await _look(store, running)
    if not first:
        return []
    await asyncio.sleep(LOOKS_APART_SECONDS)
    again = await _look(store, first)
    same = [key for key, seen in first.items() if key in again and again[key].revision == seen.revision]
    return [again[key].execution for key in same]


async def _look(store: Store, running: Iterable[str]) -> dict[str, StoredState]:
    """The states come before what processors say: what is claimed in between is not taken for abandoned.

    Of what a live processor says that it works on, no state is read at all.
    """
    held = held_workflows.HeldWorkflows(lease.held for lease in await leases.live_processors(store))
    found: dict[str, StoredState] = {}
    for batch in batches(each for each in running if each not in held):
        found |= {
            key: stored
            for key, stored in (await states.load_many(store, batch)).items()
            if stored.execution.status == Status.RUNNING and stored.execution.owner
        }
    if not found:
        return {}
    live = {lease.processor_id: lease for lease in await leases.live_processors(store)}
    return {key: each for key, each in found.items() if not _holds(live.get(each.execution.owner), each.execution)}


def _holds(lease: Lease | None, execution: Execution) -> bool:
    """Whether a processor lives and, as far as it says, works on it."""
    return lease is not None and held_workflows.is_held(lease.held, execution.invocation_id) is not False


async def is_held(store: Store, execution: Execution) -> bool:
    """Whether the owner of a workflow lives and, as far as it says, works on it.

    What was written a moment ago may not be in its lease yet, and counts as held.
    """
    lease = await leases.load(store, execution.owner)
    if lease is None:
        return False
    return _holds(lease, execution) or store.clock.now() - execution.updated_at < SETTLED_MICROSECONDS
