"""One watch of the server for all streams of events of this process."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from durablectl.errors import ConnectionFailedError
from durablectl.http.responses import HttpError, encode_json
from durablectl.query import ChangeReader, TailFilters
from durablectl.storage.streams.direct_get import messages
from durablectl.storage.streams.feed import NEW, follow
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from durablectl.http.backend import Backend
    from durablectl.query import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.feed import Feed
    from durablectl.storage.streams.stored_messages import Change

_log = logging.getLogger("durablectl.http")

LOST = "lost"
RESTORED = "restored"

_MAX_CHANGES = 1000
_MAX_BYTES = 16 * 1024 * 1024
"""What one subscription may leave untaken."""

_LINGER_SECONDS = 5.0
"""How long the watch outlives its last subscription: one that comes back finds it there."""

_CHECK_SECONDS = 0.25
_PAST_BATCH_SIZE = 100


class ChangedRow(NamedTuple):
    """What a workflow is after a change, and its row encoded as JSON once for all subscriptions."""

    view: WorkflowView
    json: bytes


class Subscription:
    """What one stream has still to be told: the changes of one workflow, or those that the filters let through."""

    def __init__(self, invocation_id: str, filters: TailFilters) -> None:
        self.is_over = False
        """The service stops."""
        self._invocation_id = invocation_id
        self._filters = filters
        self._items: deque[ChangedRow | str] = deque()
        self._bytes = 0
        self._is_too_slow = False
        self._wake = asyncio.Event()

    def concerns(self, invocation_id: str) -> bool:
        return self._invocation_id in {"", invocation_id}

    def wants(self, view: WorkflowView) -> bool:
        return self._filters.match(view)

    def add(self, row: ChangedRow) -> None:
        if self._is_too_slow:
            return
        self._bytes += len(row.json)
        self._items.append(row)
        if len(self._items) > _MAX_CHANGES or (self._bytes > _MAX_BYTES and len(self._items) > 1):
            self._is_too_slow = True
            self._items.clear()
        self._wake.set()

    def notify(self, connection: str) -> None:
        """``connection`` is LOST or RESTORED."""
        if not self._is_too_slow:
            self._items.append(connection)
            self._wake.set()

    def end(self) -> None:
        self.is_over = True
        self._wake.set()

    async def take(self, seconds: float) -> list[ChangedRow | str]:
        """All that has come since, waiting for it so long; HttpError once too much had come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        self._wake.clear()
        if self._is_too_slow:
            raise HttpError(
                503,
                "too_slow",
                "Workflows changed faster than this client has read.",
                hint="Connect again with Last-Event-ID; what has changed since is told then.",
            )
        items = list(self._items)
        self._items.clear()
        self._bytes = 0
        return items


class EventBroadcast:
    """Watches while anybody is subscribed, by one consumer that all share."""

    def __init__(self, backend: Backend) -> None:
        self.position = 0
        """The revision up to which all subscriptions have been offered what concerns them."""
        self._backend = backend
        self._subscriptions: set[Subscription] = set()
        self._ready: asyncio.Future[ChangeReader] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Until the block ends, which ends the streams."""
        try:
            yield
        finally:
            self._is_closed = True
            self._end_all()
            for task in self._tasks:
                task.cancel()
            if self._ready is not None and not self._ready.done():
                self._ready.set_exception(_stopping_error())
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def subscribed(
        self, invocation_id: str = "", filters: TailFilters | None = None
    ) -> AsyncIterator[Subscription]:
        """It is offered all that is stored from now on. ConnectionFailedError while the server is out of reach."""
        store = self._backend.store
        if self._is_closed:
            raise _stopping_error()
        subscription = Subscription(invocation_id, filters or TailFilters())
        self._subscriptions.add(subscription)
        try:
            await asyncio.shield(self._start_watch(store))
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def changes_since(self, revision: int) -> AsyncIterator[ChangedRow]:
        """The last change of each workflow that has changed behind that revision, until now."""
        store = self._backend.store
        reader = await asyncio.shield(self._start_watch(store))
        subjects = store.subjects
        stored = messages(store, subjects.state_stream, subjects.all_states, after=revision, batch=_PAST_BATCH_SIZE)
        async for message in stored:
            row = await _changed_row(reader, message)
            if row is not None:
                yield row

    def _start_watch(self, store: Store) -> asyncio.Future[ChangeReader]:
        """Done when the server delivers."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            task = asyncio.create_task(self._watch(store, self._ready))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return self._ready

    async def _watch(self, store: Store, ready: asyncio.Future[ChangeReader]) -> None:
        reader = ChangeReader(store)
        try:
            await require_provisioned(store)
            async with follow(store, store.subjects.state_stream, [store.subjects.all_states], NEW) as feed:
                ready.set_result(reader)
                delivery = asyncio.create_task(self._deliver_changes(store, reader, feed))
                try:
                    await self._wait_until_unused(store, delivery)
                finally:
                    self._ready = None  # Who comes while this one ends begins another.
                    delivery.cancel()
                    await asyncio.wait([delivery])
        except Exception as error:  # noqa: BLE001  # told to those who wait, or logged
            if not ready.done():
                self._ready = None
                ready.set_exception(error)
                return
            _log.exception("The watch of the server failed; the streams of events end.")
            self._end_all()

    def _end_all(self) -> None:
        for subscription in self._subscriptions:
            subscription.end()

    async def _deliver_changes(self, store: Store, reader: ChangeReader, feed: Feed) -> None:
        async for message in feed:
            invocation_id = store.subjects.state_key(message.subject)
            subscribers = [each for each in self._subscriptions if each.concerns(invocation_id)]
            row = await _changed_row(reader, message) if subscribers else None
            if row is not None:
                for subscription in subscribers:
                    if subscription.wants(row.view):
                        subscription.add(row)
            self.position = message.sequence
            await asyncio.sleep(0)  # Of a burst, too, the streams take what they are offered.

    async def _wait_until_unused(self, store: Store, delivery: asyncio.Task[None]) -> None:
        """Until nobody has been subscribed for a while; meanwhile tells when the connection goes, and comes back."""
        loop = asyncio.get_running_loop()
        was_connected, last_used_at = True, loop.time()
        while loop.time() < last_used_at + _LINGER_SECONDS:
            done, _ = await asyncio.wait([delivery], timeout=_CHECK_SECONDS)
            if done:
                delivery.result()
                return
            if self._subscriptions:
                last_used_at = loop.time()
            if store.is_connected != was_connected:
                was_connected = store.is_connected
                for subscription in self._subscriptions:
                    subscription.notify(RESTORED if was_connected else LOST)


def _stopping_error() -> ConnectionFailedError:
    return ConnectionFailedError("The service stops.")


async def _changed_row(reader: ChangeReader, message: Change) -> ChangedRow | None:
    change = await reader.read(message)
    return None if change is None else ChangedRow(change.view, encode_json(change.to_json()))
