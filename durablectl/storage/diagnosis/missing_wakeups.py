"""Workflows that nothing calls: what should move them, a command or a timer, is not there any more.

No death leaves one behind: each is stored before the state that needs it. A stream of commands that was put back to an
older state, or purged by hand, does.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from durablectl.errors import StorageError
from durablectl.model.codec import decode_command
from durablectl.model.kinds import WaitKind
from durablectl.model.status import Status, is_terminal
from durablectl.model.validation import is_valid
from durablectl.storage.index.comparison import batches, read_states
from durablectl.storage.streams.direct_get import messages
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_PAUSE_SECONDS = 0.5
"""Within which a command that is taken has changed the state."""


async def find_missing_wakeups(store: Store, waiting: Iterable[str], left: Collection[str] = ()) -> list[Execution]:
    """Those among ``waiting`` (pending, suspended) that nothing calls, and so again a moment later.

    ``left`` are ids of what runs on processors that are gone; these only need a call.
    """
    first = await _without_wakeup(store, [*waiting, *left], left)
    if not first:
        return []
    await asyncio.sleep(_PAUSE_SECONDS)
    again = await _without_wakeup(store, first, left)
    return [again[key] for key, seen in first.items() if key in again and again[key].updated_at == seen.updated_at]


async def _without_wakeup(store: Store, ids: Iterable[str], left: Collection[str]) -> dict[str, Execution]:
    """The states are read after the commands: what was called for meanwhile has changed."""
    called = await _ids_with_commands(store)
    found: dict[str, Execution] = {}
    for batch in batches([each for each in ids if each not in called]):
        states = {key: seen.execution for key, seen in (await read_states(store, batch)).items()}
        ended = await _ended(
            store, [w.awaited_id for e in states.values() for w in e.waits if w.kind == WaitKind.CHILD]
        )
        found |= {key: each for key, each in states.items() if _needs_wakeup(each, ended, left) and is_valid(each)}
    return found


async def _ended(store: Store, ids: Iterable[str]) -> set[str]:
    return {
        key
        for batch in batches(ids)
        for key, seen in (await read_states(store, batch)).items()
        if is_terminal(seen.execution.status)
    }


async def _ids_with_commands(store: Store) -> set[str]:
    """The ids that commands and timers are about."""
    if await stream_info(store, store.subjects.commands_stream) is None:
        return set()
    found = set()
    async for message in messages(store, store.subjects.commands_stream, ">"):
        with contextlib.suppress(StorageError):
            found.add(decode_command(message.data).invocation_id)
    return found


def _needs_wakeup(execution: Execution, ended: Collection[str], left: Collection[str]) -> bool:
    if execution.status == Status.SUSPENDED:
        return _will_move(execution, ended)
    return execution.status == Status.PENDING or (
        execution.status == Status.RUNNING and execution.invocation_id in left
    )


def _will_move(execution: Execution, ended: Collection[str]) -> bool:
    """Whether a time or an event ends what it waits for; what waits for an answer alone is called by that."""
    return bool(execution.deadline) or any(
        waiting.until or execution.has_result(waiting, ended) for waiting in execution.waits
    )
