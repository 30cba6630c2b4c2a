"""A workflow together with those that it started, live: pushed by JetStream, never polled."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.errors import NotFoundError, StorageError
from durablectl.model.status import is_terminal
from durablectl.query.get import get_children, get_workflow
from durablectl.query.watch import WatchedWorkflow, watch_workflow
from durablectl.storage.records.states import UNREACHABLE
from durablectl.storage.streams.feed import follow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.feed import Feed

_BATCH_SECONDS = 0.02
_MAX_FOLLOWED = 1000
_READ_AT_ONCE = 50
_PAUSE_SECONDS = 0.5


class Tree(NamedTuple):
    """A workflow, and its children by id: None for one that is not there; one not heard of yet is missing.

    ``expanded``: with the steps of the children. Otherwise those have a journal only where it came with their record.
    """

    view: WorkflowView
    children: Mapping[str, WorkflowView | None]
    expanded: bool = False

    def to_json(self) -> dict[str, Any]:
        views = [self.children.get(child) for child in self.view.children]
        known = [child for child in views if child is not None]
        shown = known if self.expanded else [replace(child, journal=None) for child in known]
        return {**self.view.to_json(), "child_workflows": [child.to_json() for child in shown]}


async def watch_tree(
    store: Store, invocation_id: str, *, expand: bool = False, on_absent: Callable[[], None] | None = None
) -> AsyncGenerator[Tree, None]:
    """As ``watch_workflow``, with its children, and again after every change of one; ``expand`` with their journals.

    Of more than 1,000 children that have not ended, the newest are followed. Close it when you leave early.
    """
    updates: asyncio.Queue[WorkflowView | asyncio.Task[None] | None] = asyncio.Queue()
    children = _ChildTracker(store, expand=expand, changed=lambda: updates.put_nowait(None))

    async def own() -> None:
        async with contextlib.aclosing(watch_workflow(store, invocation_id, on_absent=on_absent)) as views:
            async for view in views:
                updates.put_nowait(view)

    tasks = [asyncio.create_task(own()), asyncio.create_task(children.follow())]
    for task in tasks:
        task.add_done_callback(updates.put_nowait)
    view: WorkflowView | None = None
    try:
        while True:
            update = await updates.get()
            if isinstance(update, asyncio.Task):
                update.result()
                return
            if update is not None and (view is None or is_terminal(update.status)):
                await children.load(update)
            view = update or view
            if view is not None:
                if not is_terminal(view.status):
                    children.add_expected(view.children)
                yield Tree(view, dict(children.views), expand)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _ChildTracker:
    """What is known of the children; ``changed`` is called when that is more."""

    def __init__(self, store: Store, *, expand: bool, changed: Callable[[], None]) -> None:
        self.views: dict[str, WorkflowView | None] = {}
        self._store = store
        self._expand = expand
        self._changed = changed
        self._watched: dict[str, WatchedWorkflow] = {}
        self._expected: dict[str, None] = {}
        self._more = asyncio.Event()

    def add_expected(self, children: Iterable[str]) -> None:
        new = [child for child in children if child not in self._expected]
        if new:
            self._expected.update(dict.fromkeys(new))
            self._more.set()

    async def load(self, view: WorkflowView) -> None:
        """By direct get: as they stand, also those that are not there."""
        missing = [child for child in view.children if not self._has_ended(child)]
        if not missing:
            return
        while True:
            try:
                found = await self._read(view, missing)
            except UNREACHABLE:
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                self.views |= {**dict.fromkeys(missing), **{child.invocation_id: child for child in found}}
                return

    async def _read(self, view: WorkflowView, missing: list[str]) -> list[WorkflowView]:
        if not self._expand:
            return await get_children(self._store, view)
        found: list[WorkflowView] = []
        for start in range(0, len(missing), _READ_AT_ONCE):
            part = missing[start : start + _READ_AT_ONCE]
            answers = await asyncio.gather(*(self._get_or_none(child) for child in part))
            found += [child for child in answers if child is not None]
        return found

    async def _get_or_none(self, child: str) -> WorkflowView | None:
        with contextlib.suppress(NotFoundError):
            return await get_workflow(self._store, child)
        return None

    async def follow(self) -> None:
        """Without end. A consumer for all that have not ended, and a new one whenever there are more of them."""
        subjects = self._store.subjects
        while True:
            await self._more.wait()
            await asyncio.sleep(_BATCH_SECONDS)  # those that were started together come together
            self._more.clear()
            children = [child for child in self._expected if not self._has_ended(child)][-_MAX_FOLLOWED:]
            if not children:
                continue
            filters = [subjects.state(child) for child in children]
            if self._expand:
                filters += [subjects.journal(child, "*") for child in children]
            with contextlib.suppress(*UNREACHABLE):
                async with follow(self._store, subjects.state_stream, filters) as feed:
                    await self._apply_until_more_expected(feed)
            if not self._more.is_set() and self._is_any_open(children):
                self._more.set()
                await asyncio.sleep(_PAUSE_SECONDS)

    def _is_any_open(self, children: Iterable[str]) -> bool:
        return not all(self._has_ended(child) for child in children)

    def _has_ended(self, child: str) -> bool:
        view = self.views.get(child)
        return view is not None and is_terminal(view.status)

    async def _apply_until_more_expected(self, feed: Feed) -> None:
        """Until other children are to be followed, or none is left: the consumer goes."""
        more = asyncio.ensure_future(self._more.wait())
        taking = asyncio.ensure_future(self._apply_changes(feed))
        try:
            await asyncio.wait([more, taking], return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                taking.result()
        finally:
            more.cancel()
            taking.cancel()
            await asyncio.gather(more, taking, return_exceptions=True)

    async def _apply_changes(self, feed: Feed) -> None:
        subjects = self._store.subjects
        async for change in feed:
            is_state = subjects.is_state(change.subject)
            child = subjects.state_key(change.subject) if is_state else change.subject.split(".")[-2]
            watched = self._watched.setdefault(child, WatchedWorkflow(self._store, child))
            with contextlib.suppress(StorageError):  # of a record that cannot be read
                watched.apply(change)
            if watched.execution is not None:
                has_journal = self._expand or bool(watched.execution.journal)
                self.views[child] = await watched.view(watched.execution, with_journal=has_journal)
            elif is_state:
                self.views[child] = None
            self._changed()
            if not self._is_any_open(self._expected):
                return
