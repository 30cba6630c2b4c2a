"""Keeping the record of this processor's presence, apart from its lease.

The record lies in the stream of states. Where that has no leader for a while, only the record waits, not the lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from durablectl.errors import DurableError
from durablectl.storage.records import presence

if TYPE_CHECKING:
    from collections.abc import Callable

    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.leases import Lease

_log = logging.getLogger(__name__)

_RETRY_SECONDS = 5.0
_NOTICED_SECONDS = 5.0
"""By then the processors that saw this one silent have recorded it."""


class PresenceWriter:
    """Writes the record at the start and once a minute; ``lease`` gives what it says.

    Best effort: a processor works without its record, where there is no room for it, for one. A failure is logged once,
    until a write succeeds.
    """

    def __init__(self, store: Store, lease: Callable[[], Lease]) -> None:
        self._store = store
        self._lease = lease
        self._is_failing = False
        self._is_due = asyncio.Event()

    async def write(self) -> None:
        """Write the record now."""
        lease = self._lease()
        try:
            await presence.refresh(self._store, lease)
        except DurableError as error:
            level = logging.DEBUG if self._is_failing else logging.WARNING
            self._is_failing = True
            message = "The presence of %s could not be recorded, so its death may not be shown: %s"
            _log.log(level, message, lease.processor_id, error)
        else:
            self._is_failing = False

    async def run(self) -> None:
        """Refresh the record without end; after ``write``."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RETRY_SECONDS if self._is_failing else presence.REFRESH_SECONDS):
                    await self._is_due.wait()
            self._is_due.clear()
            await self.write()

    def returned(self) -> None:
        """Have the record say that this processor is back, once the others have recorded its silence."""
        asyncio.get_running_loop().call_later(_NOTICED_SECONDS, self._is_due.set)
