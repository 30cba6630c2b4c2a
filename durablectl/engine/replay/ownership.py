"""Everything that a processor writes for an invocation goes through its ownership: the revision that its claim won."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from durablectl.engine.replay.control_flow import FencedOut, StateChanged
from durablectl.errors import NotProvisionedError, PermissionDeniedError
from durablectl.model.status import Status
from durablectl.model.throttled_log import ThrottledLog
from durablectl.storage.connection.crash_points import crash_at_caller
from durablectl.storage.connection.rejections import StorageFullError
from durablectl.storage.records import journal, states
from durablectl.storage.records.consistent_reads import load_after_write, load_at, sync_clock
from durablectl.storage.records.states import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.errors import DurableError
    from durablectl.model.records import Execution, JournalEntry
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState

_log = logging.getLogger(__name__)
_throttled = ThrottledLog(_log)

_RETRY_SECONDS = 0.2
_FULL_SECONDS = 2.0
_LAGGING_SECONDS = 0.02


@crash_at_caller
class Ownership:
    """One claim of one invocation. ``revision`` is the stream sequence of the state that it owns.

    ``observe`` is told whenever someone else has written the state and left it ours: paused it, asked for its end,
    answered an awakeable.

    Writes go out one at a time: replicated streams refuse a second conditional publish in flight (error 10164).

    A server that comes back with an older store gives revisions a second time: after a reconnection nothing is written
    before the state was loaded. Where it was put back, and is still ours, StateChanged is raised: the handler
    is run again from its journal.
    """

    def __init__(self, store: Store, execution: Execution, revision: int) -> None:
        self.execution = execution
        self._store = store
        self.revision = revision
        self._owner = execution.owner
        self._attempt = execution.attempt
        self.was_read = False
        """Whether its journal has been read, or is known to have been empty, under this claim."""
        self.observe: Callable[[Execution], None] = lambda _: None
        self._lock = asyncio.Lock()
        self._reconnects = store.reconnects

    async def append(self, entry: JournalEntry) -> None:
        """Journal a step's result; FencedOut when the invocation is no longer this processor's.

        A server that is out of reach, or full, is waited for: the result exists only here.
        """
        async with self._lock:
            while True:
                try:
                    await self._confirm()
                    if await journal.append(self._store, self.execution.invocation_id, entry, self.revision):
                        return
                    await self._reload()
                    continue
                except StorageFullError as error:
                    await self._wait_for_room(error)
                except UNREACHABLE as error:
                    await self._wait_for_server(error)

    async def write(self, change: Callable[[Execution], None], inline_entries: Sequence[bytes] = ()) -> Execution:
        """Apply ``change`` to the state by compare-and-set, again on whatever state stands if that is still ours.

        ``inline_entries`` are encoded journal entries that become part of the record.
        """
        async with self._lock:
            while True:
                try:
                    await self._confirm()
                    # On a copy: a write that fails must leave no trace in what the next one starts from.
                    changed = self.execution.copy()
                    change(changed)
                    revision = await states.replace(self._store, changed, self.revision, inline_entries)
                    if revision is not None:
                        self.execution, self.revision = changed, revision
                        return changed
                    await self._reload()
                    continue
                except StorageFullError as error:
                    await self._wait_for_room(error)
                except UNREACHABLE as error:
                    await self._wait_for_server(error)

    async def _wait_for_server(self, error: DurableError) -> None:
        """Wait, and say so where the connection is not what is missing: that is in the log already."""
        if not isinstance(error, (PermissionDeniedError, NotProvisionedError)):
            await asyncio.sleep(_RETRY_SECONDS)
            return
        message = "Waiting to store what %s has done: %s"
        _throttled.write(type(error).__name__, message, self.execution.invocation_id, error)
        await asyncio.sleep(_FULL_SECONDS)

    async def _wait_for_room(self, error: StorageFullError) -> None:
        message = "Waiting for room to store what %s has done: %s"
        _throttled.write("full", message, self.execution.invocation_id, error)
        await asyncio.sleep(_FULL_SECONDS)

    def require_confirmation(self) -> None:
        """Load the state before the next write: the store has been put back."""
        self._reconnects = -1

    async def _confirm(self) -> None:
        reconnects = self._store.reconnects
        if reconnects == self._reconnects:
            return
        at_least = await sync_clock(self._store)
        if self._store.requests.is_cluster:
            # A leader that was elected just now may lag; a store that was put back has moved ``reached`` back too.
            at_least = max(at_least, min(self.revision, self._store.reached_sequence))
        stored = await load_at(self._store, self.execution.invocation_id, at_least)
        if stored is None or not self._is_ours(stored.execution):
            raise FencedOut(None if stored is None else stored.execution)
        was_put_back = stored.revision < self.revision
        self._reconnects = reconnects
        if stored.revision != self.revision:
            self.execution, self.revision = stored
        if was_put_back:
            raise StateChanged
        self.observe(self.execution)

    async def _reload(self) -> None:
        await self._confirm()
        stored: StoredState | None = await load_after_write(self._store, self.execution.invocation_id, self.revision)
        if stored is None or not self._is_ours(stored.execution):
            raise FencedOut(None if stored is None else stored.execution)
        if stored.revision == self.revision:
            # A replica that lags: ask again a little later.
            await asyncio.sleep(_LAGGING_SECONDS)
        self.execution, self.revision = stored
        self.observe(self.execution)

    async def refresh(self) -> None:
        """Load the state now. Raises FencedOut, StateChanged, ConnectionFailedError, StorageError."""
        async with self._lock:
            await self._confirm()
            stored = await states.load(self._store, self.execution.invocation_id)
            if stored is None or stored.revision > self.revision:
                await self._reload()

    def _is_ours(self, execution: Execution) -> bool:
        is_same_claim = (execution.owner, execution.attempt) == (self._owner, self._attempt)
        return is_same_claim and execution.status in {Status.RUNNING, Status.PAUSED}
