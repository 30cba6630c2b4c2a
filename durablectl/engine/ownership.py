"""Everything that a processor writes for an invocation goes through its ownership: the revision that its claim won."""

from __future__ import annotations

import asyncio
import contextlib
from copy import copy
from typing import TYPE_CHECKING

from durablectl.engine.halt import FencedOut
from durablectl.model.status import Status
from durablectl.storage import journal, states
from durablectl.storage.states import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.storage.states import Stored
    from durablectl.storage.store import Store

_RETRY_SECONDS = 0.2
_LAGGING_SECONDS = 0.02


class Ownership:
    """One claim of one invocation. ``revision`` is the stream sequence of the state that it owns.

    ``observe`` is told whenever someone else has written the state and left it ours: paused it, asked for its end,
    answered an awakeable.

    Writes go out one at a time: replicated streams refuse a second conditional publish in flight (error 10164).
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

    async def append(self, entry: JournalEntry) -> None:
        """Journal a step's result; FencedOut when the invocation is no longer this processor's.

        A server that is out of reach is waited for: the result exists only here.
        """
        async with self._lock:
            while True:
                with contextlib.suppress(*UNREACHABLE):
                    if await journal.append(self._store, self.execution.invocation_id, entry, self.revision):
                        return
                    await self._reload()
                    continue
                await asyncio.sleep(_RETRY_SECONDS)

    async def write(self, change: Callable[[Execution], None], folded: Sequence[bytes] = ()) -> Execution:
        """Apply ``change`` to the state by compare-and-set, again on whatever state stands if that is still ours.

        ``folded`` are encoded journal entries that become part of the record.
        """
        async with self._lock:
            while True:
                # On a copy: a write that fails must leave no trace in what the next one starts from.
                changed = copy(self.execution)
                change(changed)
                with contextlib.suppress(*UNREACHABLE):
                    revision = await states.replace(self._store, changed, self.revision, folded)
                    if revision is not None:
                        self.execution, self.revision = changed, revision
                        return changed
                    await self._reload()
                    continue
                await asyncio.sleep(_RETRY_SECONDS)

    async def _reload(self) -> None:
        stored: Stored | None = await states.load(self._store, self.execution.invocation_id)
        if stored is None or not self._is_ours(stored.execution):
            raise FencedOut(None if stored is None else stored.execution)
        if stored.revision == self.revision:
            # A replica that lags: ask again a little later.
            await asyncio.sleep(_LAGGING_SECONDS)
        self.execution, self.revision = stored
        self.observe(self.execution)

    async def refresh(self) -> None:
        """Look at the state now. Raises FencedOut, ConnectionFailedError, StorageError."""
        async with self._lock:
            stored = await states.load(self._store, self.execution.invocation_id)
            if stored is None or stored.revision > self.revision:
                await self._reload()

    def _is_ours(self, execution: Execution) -> bool:
        is_same_claim = (execution.owner, execution.attempt) == (self._owner, self._attempt)
        return is_same_claim and execution.status in {Status.RUNNING, Status.PAUSED}
