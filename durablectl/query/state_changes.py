"""Every state change of many workflows, from now on or from a moment or revision in the past; pushed, never polled."""

from __future__ import annotations

import contextlib
import logging
import sys
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.errors import StorageError
from durablectl.model.codec import decode_execution
from durablectl.model.filters import Filters
from durablectl.model.records import Execution
from durablectl.query.view_builder import SchemaCache, payloads, workflow_view
from durablectl.storage.streams.direct_get import first_since
from durablectl.storage.streams.feed import NEW, follow
from durablectl.storage.streams.provision import require_provisioned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.streams.feed import Feed
    from durablectl.storage.streams.stored_messages import Change

_log = logging.getLogger(__name__)

DELETED = "deleted"
"""Stands for the status of what has been deleted."""

_REMEMBERED = 100_000


class StateChange(NamedTuple):
    """What a workflow is after a change, without its journal, and when the server stored that (microseconds).

    What was deleted has the status DELETED and its id; handler and partition key only if an earlier change was seen.
    """

    view: WorkflowView
    timestamp_us: int

    def to_json(self) -> dict[str, Any]:
        """The object of the list, with ``handler`` null where it is not known any more."""
        return {**self.view.to_json(), "handler": self.view.handler or None}


@dataclass(frozen=True)
class TailFilters:
    """Which changes are told: those after which the status is one of ``statuses`` (DELETED among them; empty for all).

    ``attributes`` are all other filters. Make it with ``TailFilters.parse``.
    """

    statuses: frozenset[str] = frozenset()
    attributes: Filters = field(default_factory=Filters)

    @classmethod
    def parse(cls, statuses: Collection[str] = (), attributes: Filters | None = None) -> TailFilters:
        """Read the statuses as ``Filters.parse`` does, with DELETED as one more."""
        states = Filters.parse([status for status in statuses if status != DELETED]).statuses
        return cls(states | ({DELETED} & set(statuses)), attributes or Filters())

    def has(self, status: str) -> bool:
        return not self.statuses or status in self.statuses

    def match(self, view: WorkflowView) -> bool:
        """What was deleted, and of which the handler is not known any more, matches whatever they say about it."""
        is_unknown = view.status == DELETED and not view.handler
        return self.has(view.status) and (is_unknown or self.attributes.match(view))


class ChangeReader:
    """Makes state changes of a feed's messages; remembers handler and partition key of those it has seen."""

    def __init__(self, store: Store, filters: TailFilters | None = None) -> None:
        self._store = store
        self._filters = filters or TailFilters()
        self._seen: dict[str, str] = {}
        """Handler and partition key in one string, which all that are alike share: 100 bytes an invocation, not 300."""
        self._schema_cache = SchemaCache(store)

    async def read(self, change: Change) -> StateChange | None:
        """None for what the filters leave out, and for what cannot be read, which is logged."""
        invocation_id = self._store.subjects.state_key(change.subject)
        view = self._deleted(change, invocation_id) if change.deleted else await self._state(change, invocation_id)
        return None if view is None else StateChange(view, change.timestamp_us)

    async def changes(self, feed: Feed) -> AsyncIterator[StateChange]:
        async for change in feed:
            state_change = await self.read(change)
            if state_change is not None:
                yield state_change

    def _deleted(self, change: Change, invocation_id: str) -> WorkflowView | None:
        known = self._seen.get(invocation_id)
        if not self._filters.has(DELETED) or (known is None and self._filters.attributes != Filters()):
            return None
        handler, _, partition_key = (known or "").partition("\0")
        gone = Execution(
            invocation_id, handler, status=DELETED, partition_key=partition_key, updated_at=change.timestamp_us
        )
        return workflow_view(gone, change.sequence, self._schema_cache.schemas)

    async def _state(self, change: Change, invocation_id: str) -> WorkflowView | None:
        try:
            execution = decode_execution(change.data, invocation_id)
        except StorageError as error:
            _log.warning("Left out: %s", error)
            return None
        wanted = self._filters.attributes
        if not wanted.match(execution, change.timestamp_us) or (
            wanted.asks_for_input and not wanted.match_input(await self._input(execution))
        ):
            self._seen.pop(invocation_id, None)
            return None
        self._remember(invocation_id, execution)
        if not self._filters.has(execution.status):
            return None
        return workflow_view(execution, change.sequence, await self._schema_cache.add(payloads(execution, ())))

    async def _input(self, execution: Execution) -> Any:
        """The input as JSON data."""
        return (await self._schema_cache.add([execution.input])).to_json(execution.input)

    def _remember(self, invocation_id: str, execution: Execution) -> None:
        self._seen.pop(invocation_id, None)
        self._seen[invocation_id] = sys.intern(f"{execution.handler}\0{execution.partition_key}")
        if len(self._seen) > _REMEMBERED:
            for oldest in list(islice(self._seen, _REMEMBERED // 10)):
                del self._seen[oldest]


@contextlib.asynccontextmanager
async def tail(
    store: Store, filters: TailFilters | None = None, *, from_revision: int = 0, since: int = 0
) -> AsyncIterator[AsyncIterator[StateChange]]:
    """The changes from now on, without end, in the order in which they were stored.

    With ``from_revision`` first what has changed last at that revision or later, with ``since`` at that moment
    (microseconds) or later by the server's clock; nothing is missed between that past and the present. One past the
    ``revision`` of the last change goes on behind it; a revision that the server has not reached yet means now.

    The server keeps one state a workflow. So of the past, and of what happens while the connection is lost, the last
    change of each workflow is told, and not those before it. What its retention removes is not told. Of a workflow that
    was deleted only the id is left: filters choose it only if they matched the last change of it that this has seen.
    Raises NotProvisionedError.
    """
    await require_provisioned(store)
    start = await _start_sequence(store, from_revision, since) if from_revision or since else NEW
    async with follow(store, store.subjects.state_stream, [store.subjects.all_states], start) as feed:
        yield ChangeReader(store, filters).changes(feed)


async def _start_sequence(store: Store, from_revision: int, since: int) -> int:
    """The stream sequence to begin with."""
    stream = store.subjects.state_stream
    # Asked for first: what is stored between the two questions is behind it, and so not missed.
    info = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}")
    behind_last = int(info["state"]["last_seq"]) + 1
    if from_revision:
        return min(from_revision, behind_last)
    return await first_since(store, stream, store.subjects.all_states, since) or behind_last
