"""The newest workflows that match, live: as a stream of their changes, or as a board with the counts by status."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.filters import Filters
from durablectl.model.status import Status
from durablectl.query.list import list_workflows
from durablectl.query.state_changes import DELETED, StateChange, TailFilters, tail
from durablectl.query.stats import count_by_status
from durablectl.storage.records.states import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

_BATCH_SECONDS = 0.1
_PAUSE_SECONDS = 1.0
_INDEX_LAG_SECONDS = 1.0
_PAUSE_FACTOR = 10
"""Counting takes at most one part in so many of the time, where filters make it slow."""

_GOING_ON = frozenset({Status.PENDING, Status.RUNNING, Status.SUSPENDED})


class Board(NamedTuple):
    """The workflows whose status changed last come first; ``by_status`` counts all that match."""

    workflows: Sequence[WorkflowView]
    by_status: Mapping[str, int]


async def watch_changes(store: Store, filters: Filters, limit: int) -> AsyncGenerator[StateChange, None]:
    """The last change of each of the newest ``limit``, oldest first, then every change of one that matches, endlessly.

    Raises what list_workflows raises.
    """
    async with _all_changes(store, filters) as changes:
        page = await list_workflows(store, filters, limit)
        known_revisions = {view.invocation_id: view.revision for view in page.workflows}
        for view in reversed(page.workflows):
            yield StateChange(view, view.updated_at)
        async for change in changes:
            if change.view.revision > known_revisions.get(change.view.invocation_id, 0) and _matches(filters, change):
                yield change


async def watch_board(store: Store, filters: Filters, limit: int) -> AsyncGenerator[Board, None]:
    """The newest ``limit`` and the counts, then again after every change, endlessly; of quick ones the last.

    What changes is shown at once. It is counted again within a second, and once more when all has settled; while
    nothing changes nothing is asked. Raises what list_workflows raises. Close it when you leave early.
    """
    async with _all_changes(store, filters) as changes:
        updater = _BoardUpdater(store, filters, limit)
        await updater.refresh()
        tasks = [
            asyncio.create_task(updater.apply_changes(changes)),
            asyncio.create_task(updater.recount_after_changes()),
        ]
        for task in tasks:
            task.add_done_callback(lambda _: updater.changed.set())
        try:
            while not any(task.done() for task in tasks):
                updater.changed.clear()
                yield Board(list(updater.workflows), updater.by_status)
                await updater.changed.wait()
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result


def _all_changes(store: Store, filters: Filters) -> contextlib.AbstractAsyncContextManager[AsyncIterator[StateChange]]:
    """Of every status: what does not match any more leaves the board."""
    return tail(store, TailFilters(attributes=Filters(handlers=filters.handlers, partition_key=filters.partition_key)))


def _matches(filters: Filters, change: StateChange) -> bool:
    """A deletion is told where nothing is asked of a workflow but what tail remembers of it."""
    if change.view.status == DELETED:
        return replace(filters, handlers=frozenset(), partition_key="") == Filters()
    return filters.match(change.view, change.timestamp_us)


def _keeps_place(before: WorkflowView, view: WorkflowView) -> bool:
    """Whether a workflow stays where it is shown: as it was, or between the statuses of what goes on by itself."""
    return before.status == view.status or {before.status, view.status} <= _GOING_ON


class _BoardUpdater:
    """The board after the changes so far; ``changed`` is set whenever it shows something else."""

    def __init__(self, store: Store, filters: Filters, limit: int) -> None:
        self.workflows: list[WorkflowView] = []
        self.by_status: Mapping[str, int] = {}
        self.changed = asyncio.Event()
        self._store = store
        self._filters = filters
        self._limit = limit
        self._recent: dict[str, tuple[float, StateChange]] = {}
        self._is_stale = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def apply_changes(self, changes: AsyncIterator[StateChange]) -> None:
        async for change in changes:
            key = change.view.invocation_id
            self._recent.pop(key, None)
            self._recent[key] = (self._loop.time(), change)
            self._apply(change)
            self._is_stale.set()
            self.changed.set()

    async def recount_after_changes(self) -> None:
        """Ask again after changes, and later once more: the index follows a state within a moment."""
        while True:
            await self._is_stale.wait()
            await asyncio.sleep(_BATCH_SECONDS)
            began = self._loop.time()
            with contextlib.suppress(*UNREACHABLE):
                await self.refresh()
                self.changed.set()
            await asyncio.sleep(max(_PAUSE_SECONDS, _PAUSE_FACTOR * (self._loop.time() - began)))

    async def refresh(self) -> None:
        """Raises what list_workflows raises."""
        self._is_stale.clear()
        began = self._loop.time()
        try:
            page = await list_workflows(self._store, self._filters, self._limit)
            self.by_status = await count_by_status(self._store, self._filters)
        except UNREACHABLE:
            self._is_stale.set()
            raise
        self.workflows = self._in_place(page.workflows)
        settled = began - _INDEX_LAG_SECONDS
        self._recent = {key: recent for key, recent in self._recent.items() if recent[0] > settled}
        for _, change in self._recent.values():
            self._apply(change)
        if self._recent:
            self._is_stale.set()

    def _in_place(self, found: Sequence[WorkflowView]) -> list[WorkflowView]:
        """The same, where what was shown and has not ended since keeps its order: a retry moves nothing."""
        shown = {view.invocation_id: (place, view) for place, view in enumerate(self.workflows)}
        steady = {
            view.invocation_id
            for view in found
            if view.invocation_id in shown and _keeps_place(shown[view.invocation_id][1], view)
        }
        ordered = iter(sorted((v for v in found if v.invocation_id in steady), key=lambda v: shown[v.invocation_id][0]))
        return [next(ordered) if view.invocation_id in steady else view for view in found]

    def _apply(self, change: StateChange) -> None:
        view = change.view
        key = view.invocation_id
        index = next((i for i, each in enumerate(self.workflows) if each.invocation_id == key), -1)
        before = self.workflows[index] if index >= 0 else None
        if before is not None and before.revision >= view.revision:
            return
        if view.status != DELETED and self._filters.match(view, change.timestamp_us):
            if before is not None and _keeps_place(before, view):
                self.workflows[index] = view
                return
            self.workflows.insert(0, view)
            index += before is not None
            del self.workflows[self._limit + (before is not None) :]
        if before is not None:
            del self.workflows[index]
