"""Reading every state record, not key by key."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import StorageError
from durablectl.model.codec import decode_execution
from durablectl.storage.streams.direct_get import count, messages
from durablectl.storage.streams.feed import past
from durablectl.storage.streams.provision import require_provisioned, stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store

_log = logging.getLogger(__name__)

_FEW = 10_000
_PROGRESS_EVERY = 1000


class Scanned(NamedTuple):
    """A record, its revision, and when it was last written (microseconds, by the server's clock)."""

    execution: Execution
    revision: int
    moment: int


async def has_strays(store: Store) -> bool:
    """Whether there are records without an index entry, as other implementations write them.

    Asked of small stores only: where there are many records, `durablectl doctor` tells, and can enter them.
    """
    subjects = store.subjects
    infos = await asyncio.gather(*(stream_info(store, s) for s in (subjects.state_stream, subjects.index_stream)))
    stored, indexed = (int(info["state"]["messages"]) if info is not None else 0 for info in infos)
    if stored > _FEW:
        return False
    return await count(store, subjects.state_stream, subjects.all_states) > indexed if stored else False


async def scan(store: Store, progress: Callable[[int], None] | None = None) -> AsyncIterator[Scanned]:
    """Every state record, in the order of last change; one that cannot be read is logged and left out.

    ``progress`` is told now and then how many were read. A record that is written meanwhile is seen once; what is
    written for the first time meanwhile may be seen or not. A small store is read without making a consumer.
    """
    await require_provisioned(store)
    subjects = store.subjects
    stream, everything = subjects.state_stream, subjects.all_states
    is_small = await count(store, stream, everything) <= _FEW
    stored = messages(store, stream, everything) if is_small else past(store, stream, [everything])
    seen: set[str] = set()
    async for change in stored:
        if change.subject in seen:
            continue
        seen.add(change.subject)
        if progress is not None and len(seen) % _PROGRESS_EVERY == 0:
            progress(len(seen))
        if change.deleted:
            continue
        try:
            execution = decode_execution(change.data, subjects.state_key(change.subject))
        except StorageError as error:
            _log.warning("Left out: %s", error)
        else:
            yield Scanned(execution, change.sequence, change.moment)
