"""Live views: pushed by JetStream, never polled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from durablectl.errors import StorageError
from durablectl.model.codec import decode_entry, decode_execution
from durablectl.model.names import validate_name
from durablectl.model.schemas import Schemas
from durablectl.model.status import is_terminal
from durablectl.query.building import payloads, workflow_view
from durablectl.query.filters import Filters
from durablectl.query.single import not_found, with_processor
from durablectl.storage import states
from durablectl.storage.feed import follow
from durablectl.storage.journal import Part
from durablectl.storage.provision import require_provisioned
from durablectl.storage.schemas import load_schemas

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from durablectl.model.records import Execution, JournalEntry
    from durablectl.query.views import WorkflowView
    from durablectl.storage.feed import Change
    from durablectl.storage.store import Store


class _Watched:
    """What is known of one invocation from the messages seen so far."""

    def __init__(self, store: Store, invocation_id: str) -> None:
        self.execution: Execution | None = None
        self._store = store
        self._id = invocation_id
        self._revision = 0
        self._entries: dict[int, JournalEntry] = {}
        self._types: set[str] = set()
        self._schemas = Schemas()

    @property
    def has_ended(self) -> bool:
        return self.execution is not None and is_terminal(self.execution.status)

    def take(self, change: Change) -> None:
        if not self._store.subjects.is_state(change.subject):
            if not change.deleted:
                entry = decode_entry(change.data, f"The message on {change.subject}")
                self._entries[entry.step_number] = entry
            return
        if change.deleted:
            self.execution = None
            return
        self.execution = decode_execution(change.data, self._id)
        self._revision = change.sequence
        if self.execution.journal:
            self._entries = {entry.step_number: entry for entry in self.execution.journal}

    async def view(self, execution: Execution) -> WorkflowView:
        entries = [self._entries[number] for number in sorted(self._entries)]
        types = {payload.type_name for payload in payloads(execution, entries)}
        if not types <= self._types:
            self._types |= types
            self._schemas = await load_schemas(self._store, self._types)
        part = Part(entries, 0, len(entries))
        return workflow_view(execution, self._revision, self._schemas, part)


async def watch_workflow(store: Store, invocation_id: str) -> AsyncGenerator[WorkflowView, None]:
    """The workflow as it stands, then again after every change, until it has ended. Raises NotFoundError.

    Whether a processor is there for it is looked up for the first view only.
    """
    validate_name("invocation id", invocation_id)
    await require_provisioned(store)
    subjects = store.subjects
    filters = [subjects.state(invocation_id), subjects.journal(invocation_id, "*")]
    watched = _Watched(store, invocation_id)
    first = True
    async with follow(store, subjects.state_stream, filters) as feed:
        if not feed.snapshot:
            raise not_found(invocation_id)
        async for change in feed:
            watched.take(change)
            if change.remaining and not watched.has_ended:
                continue
            if watched.execution is None:
                if change.deleted or await states.load(store, invocation_id) is None:
                    raise not_found(invocation_id)
                continue  # It was being written when the watch began, and comes next.
            view = await watched.view(watched.execution)
            yield await with_processor(store, view) if first else view
            first = False
            if is_terminal(watched.execution.status):
                return


async def watch_all(store: Store, filters: Filters | None = None) -> AsyncGenerator[WorkflowView, None]:
    """Every matching workflow as it stands, then each state change of one, without end; the views have no journal."""
    filters = filters or Filters()
    await require_provisioned(store)
    subjects = store.subjects
    schemas, known = Schemas(), set[str]()
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
            types = {payload.type_name for payload in payloads(execution, ())}
            if not types <= known:
                known |= types
                schemas = await load_schemas(store, known)
            yield workflow_view(execution, change.sequence, schemas)
