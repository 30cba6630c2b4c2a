"""Reading every state record through one consumer, not key by key."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import StorageError
from durablectl.model.codec import decode_execution
from durablectl.storage.feed import follow
from durablectl.storage.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.model.records import Execution
    from durablectl.storage.store import Store

_log = logging.getLogger(__name__)


class Scanned(NamedTuple):
    """A record, its revision, and when it was last written (microseconds, by the server's clock)."""

    execution: Execution
    revision: int
    moment: int


async def scan(store: Store) -> AsyncIterator[Scanned]:
    """Every state record as it stands, in the order of last change; one that cannot be read is logged and left out."""
    await require_provisioned(store)
    subjects = store.subjects
    async with follow(store, subjects.state_stream, [subjects.all_states]) as feed:
        if not feed.snapshot:
            return
        async for change in feed:
            if not change.deleted:
                try:
                    execution = decode_execution(change.data, subjects.state_key(change.subject))
                except StorageError as error:
                    _log.warning("Left out: %s", error)
                else:
                    yield Scanned(execution, change.sequence, change.moment)
            if change.remaining == 0:
                return
