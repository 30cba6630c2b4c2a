"""Live views: pushed by JetStream, never polled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import NotProvisionedError, StorageError
from durablectl.model.codec import decode_execution
from durablectl.model.filters import Filters
from durablectl.model.incoming import unclaimed_messages
from durablectl.model.names import validate_name
from durablectl.model.status import is_terminal
from durablectl.query.get import get_workflow, not_found
from durablectl.query.processors import with_processor
from durablectl.query.view_builder import SchemaCache, payloads, workflow_view
from durablectl.storage.records import states
from durablectl.storage.records.journal import JournalRange, parse_entry
from durablectl.storage.streams.feed import follow
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.stored_messages import Change


class WatchedWorkflow:
    """What is known of one invocation from the messages seen so far."""

    def __init__(self, store: Store, invocation_id: str) -> None:
        self.execution: Execution | None = None
        self._store = store
        self._id = invocation_id
        self._revision = 0
        self._entries: dict[int, JournalEntry] = {}
        self._schema_cache = SchemaCache(store)

    @property
    def has_ended(self) -> bool:
        return self.execution is not None and is_terminal(self.execution.status)

    def apply(self, change: Change) -> None:
        if not self._store.subjects.is_state(change.subject):
            if not change.deleted:
                entry = parse_entry(change.subject, change.data)
                if entry is not None:
                    self._entries[entry.step_number] = entry
            return
        if change.deleted:
            self.execution = None
            return
        self.execution = decode_execution(change.data, self._id)
        self._revision = change.sequence
        if self.execution.journal:
            self._entries = {entry.step_number: entry for entry in self.execution.journal}

    async def view(self, execution: Execution, *, with_journal: bool = True) -> WorkflowView:
        entries = [self._entries[number] for number in sorted(self._entries)]
        unclaimed = unclaimed_messages(execution, entries) if with_journal else []
        found = [*payloads(execution, entries), *(each.data for each in unclaimed)]
        schemas = await self._schema_cache.add(found)
        part = JournalRange(entries, 0, len(entries)) if with_journal else None
        return workflow_view(execution, self._revision, schemas, part, unclaimed)


async def watch_workflow(
    store: Store, invocation_id: str, *, on_absent: Callable[[], None] | None = None
) -> AsyncGenerator[WorkflowView, None]:
    """The workflow as it stands, then again after every change, until it has ended.

    One that has ended is only read, without a consumer. Whether a processor is there for it is looked up for the first
    view only. Raises NotFoundError; with ``on_absent`` that is called instead, once, and what comes later is watched.
    """
    validate_name("invocation id", invocation_id)
    ended = await _load_ended(store, invocation_id)
    if ended is not None:
        yield ended
        return
    subjects = store.subjects
    filters = [subjects.state(invocation_id), subjects.journal(invocation_id, "*")]
    watched = WatchedWorkflow(store, invocation_id)
    async with follow(store, subjects.state_stream, filters) as feed:
        is_there = bool(feed.snapshot)
        if not is_there:
            _report_absent(invocation_id, on_absent)
        first = True
        async for change in feed:
            watched.apply(change)
            if change.remaining and not watched.has_ended:
                continue
            if watched.execution is None:
                if not is_there:
                    continue
                if not change.deleted and await states.load(store, invocation_id) is not None:
                    continue  # It was being written when the watch began, and comes next.
                _report_absent(invocation_id, on_absent if first else None)
                is_there = False
                continue
            is_there = True
            view = await watched.view(watched.execution)
            yield await with_processor(store, view) if first else view
            first = False
            if is_terminal(watched.execution.status):
                return


def _report_absent(invocation_id: str, on_absent: Callable[[], None] | None) -> None:
    if on_absent is None:
        raise not_found(invocation_id)
    on_absent()


async def _load_ended(store: Store, invocation_id: str) -> WorkflowView | None:
    """The whole of it; None where it has not ended, or is not there."""
    try:
        stored = await states.load(store, invocation_id)
    except NotProvisionedError:
        stored = None
    if stored is None:
        await require_provisioned(store)
        return None
    if not is_terminal(stored.execution.status):
        return None
    view = await get_workflow(store, invocation_id)
    return view if is_terminal(view.status) else None


async def watch_all(store: Store, filters: Filters | None = None) -> AsyncGenerator[WorkflowView, None]:
    """Every matching workflow as it stands, then each state change of one, without end; the views have no journal."""
    filters = filters or Filters()
    await require_provisioned(store)
    subjects = store.subjects
    schema_cache = SchemaCache(store)
    async with follow(store, subjects.state_stream, [subjects.all_states]) as feed:
        async for change in feed:
            if change.deleted:
                continue
            try:
                execution = decode_execution(change.data, subjects.state_key(change.subject))
            except StorageError:
                continue
            if not filters.match(execution):
                continue
            yield workflow_view(execution, change.sequence, await schema_cache.add(payloads(execution, ())))
