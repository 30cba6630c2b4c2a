"""Workflows by their index entries: rows in the order of the list, and counts."""

from __future__ import annotations

from dataclasses import replace
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from durablectl.model.kinds import WAITING_FOR, WaitingFor, WaitKind
from durablectl.model.records import INDEX_LAG
from durablectl.model.status import Status, is_terminal
from durablectl.storage.commands import command_queue, wake
from durablectl.storage.index import index_entries, time_buckets
from durablectl.storage.index.time_buckets import Scope, SortKey
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import states
from durablectl.storage.records.message_types import load_schemas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence

    from durablectl.model.filters import Filters
    from durablectl.model.records import Execution
    from durablectl.storage.connection.store import Store
    from durablectl.storage.records.states import StoredState
    from durablectl.storage.subjects import IndexEntry

_LOAD_AT_ONCE = 250
_TAKE_AT_ONCE = 1000
_LEAST_PER_SECOND = 100
"""So many entries of a second are read for a sample, though fewer are wanted: some may have moved on."""


class IndexRow(NamedTuple):
    """A record of the list, and where it stands there."""

    key: SortKey
    execution: Execution
    revision: int


class Plan(NamedTuple):
    """How to find what matches: by the index entries in ``scope`` (None for none), and in ``beside``, which is read.

    ``surplus`` are in ``scope`` and do not match; they are known by their records.
    """

    scope: Scope | None
    beside: Sequence[IndexRow] = ()
    surplus: Sequence[IndexRow] = ()


async def make_plan(store: Store, filters: Filters, progress: Callable[[int], None] | None = None) -> Plan:
    """What the index tells of these filters, and the records of what it does not tell, of which ``progress`` is told.

    Of what runs, an entry says when it was so at the latest: it has changed since it was entered.
    """
    if filters.waiting_for:
        return await _WaitingSearch(store, filters, progress).plan()
    waits = await index_entries.load_waits(store, filters.handlers) if filters.handlers else {}
    return Plan(_scope_of(filters, waits), await _load_running_rows(store, filters))


def _scope_of(filters: Filters, waits: Mapping[str, Sequence[str]]) -> Scope | None:
    """The index entries that say when the last change was; None for none.

    Of what runs, an entry says when it was so at the latest, which is enough where only ``since`` is asked for.
    """
    groups, handlers = tuple(sorted(filters.statuses)), tuple(sorted(filters.handlers))
    if not filters.until:
        return Scope(groups, handlers, filters.partition_key, waits=waits)
    if not groups:
        return Scope((), handlers, filters.partition_key, excluded=Status.RUNNING, waits=waits)
    still = tuple(group for group in groups if group != Status.RUNNING)
    return Scope(still, handlers, filters.partition_key, waits=waits) if still else None


async def _load_running_rows(store: Store, filters: Filters) -> list[IndexRow]:
    """What runs and matches, of which that cannot be told by the index: it has changed since it was entered.

    Where only ``since`` is asked for, those that were entered shortly before; with ``until`` all that run.
    """
    if not filters.is_bounded or (filters.statuses and Status.RUNNING not in filters.statuses):
        return []
    scope = Scope((Status.RUNNING,), tuple(filters.handlers), filters.partition_key)
    traversal = Traversal(store, scope, since=earliest_entry(filters), until=filters.until or filters.since)
    return [row async for row in _confirmed(store, traversal.entries(), filters, _LOAD_AT_ONCE)]


class _WaitingSearch:
    """Finds what waits for something: by the waits that index entries name, by commands and timers, by what runs.

    All of these are as many as are found, or as the processors have slots. Entries of earlier versions name no waits:
    the records of those are read.
    """

    def __init__(self, store: Store, filters: Filters, progress: Callable[[int], None] | None) -> None:
        self._store = store
        self._filters = filters
        self._progress = progress
        self._read = 0
        self._rows: dict[str, IndexRow] = {}
        self._handlers = tuple(sorted(filters.handlers))

    async def plan(self) -> Plan:
        store, filters = self._store, self._filters
        waits = await index_entries.load_waits(store, filters.handlers)
        kinds = sorted(kind for kind, asked in WAITING_FOR.items() if asked in filters.waiting_for)
        groups: list[str] = []
        surplus: list[IndexRow] = []
        earlier: list[IndexRow] = []
        if self._asks_for(*WAITING_FOR.values(), status=Status.SUSPENDED):
            groups.append(Status.SUSPENDED)
            names = self._handlers or await index_entries.list_handlers(store)
            earlier = await self._entries(Scope((Status.SUSPENDED,), names, filters.partition_key))
            named = await index_entries.find_entered(store, [row.execution for row in earlier])
            earlier = [row for row in earlier if row.key.invocation_id not in named]
        if self._asks_for(WaitingFor.RETRY, status=Status.RUNNING):
            running = Scope((Status.RUNNING,), self._handlers, filters.partition_key)
            self._add(await self._entries(running))
        if self._asks_for(WaitingFor.TIMER, WaitingFor.PROCESSOR, status=Status.PENDING):
            delayed = await wake.ids_of_delayed_starts(store)
            if WaitingFor.TIMER in filters.waiting_for:
                await self._take(delayed)
            if WaitingFor.PROCESSOR in filters.waiting_for:
                pending = Scope((Status.PENDING,), self._handlers, filters.partition_key)
                if 2 * len(delayed) <= await time_buckets.count_all(store, pending):
                    # Most are due: the few that are not are left out.
                    groups.append(Status.PENDING)
                    surplus = await self._not_due(delayed)
        if self._asks_for(WaitingFor.PROCESSOR, status=Status.SUSPENDED) or (
            self._asks_for(WaitingFor.PROCESSOR, status=Status.PENDING) and Status.PENDING not in groups
        ):
            await self._take(await command_queue.ids_with_commands(store, self._handlers))
        scope = Scope(tuple(groups), self._handlers, filters.partition_key, kinds=kinds, waits=waits)
        beside = [row for row in self._rows.values() if not scope.names(row.execution)]
        self._rows = {row.key.invocation_id: row for row in [*beside, *earlier]}
        return Plan(scope if groups else None, [*self._rows.values()], surplus)

    def _asks_for(self, *kinds: WaitingFor, status: Status) -> bool:
        filters = self._filters
        return not filters.waiting_for.isdisjoint(kinds) and (not filters.statuses or status in filters.statuses)

    def _add(self, rows: Sequence[IndexRow]) -> None:
        self._rows.update((row.key.invocation_id, row) for row in rows)

    async def _entries(self, scope: Scope) -> list[IndexRow]:
        rows = [row async for row in _confirmed(self._store, Traversal(self._store, scope).entries(), self._filters)]
        self._note(len(rows))
        return rows

    async def _take(self, invocation_ids: Sequence[str]) -> None:
        """Add those that match, or wait for a child that has ended."""
        for chunk in _chunks(invocation_ids):
            found = await states.load_many(self._store, chunk)
            self._note(len(chunk))
            self._add(matching(found.values(), self._filters))
            if WaitingFor.PROCESSOR in self._filters.waiting_for:
                await self._take_parents([each for key, each in found.items() if key not in self._rows])

    async def _take_parents(self, found: Sequence[StoredState]) -> None:
        anything = replace(self._filters, waiting_for=frozenset())
        children = {
            waiting.awaited_id: stored
            for stored in found
            if stored.execution.status == Status.SUSPENDED and anything.match(stored.execution)
            for waiting in stored.execution.waits
            if waiting.kind == WaitKind.CHILD
        }
        for chunk in _chunks([*children]):
            ended = await states.load_many(self._store, chunk)
            self._add(
                matching([children[key] for key, each in ended.items() if is_terminal(each.execution.status)], anything)
            )

    async def _not_due(self, invocation_ids: Sequence[str]) -> list[IndexRow]:
        """What is pending and matches, but for its time."""
        pending = replace(self._filters, waiting_for=frozenset(), statuses=frozenset({Status.PENDING}))
        rows: list[IndexRow] = []
        for chunk in _chunks(invocation_ids):
            found = await states.load_many(self._store, chunk)
            self._note(len(chunk))
            rows += [row for row in matching(found.values(), pending) if not self._filters.match(row.execution)]
        return rows

    def _note(self, number: int) -> None:
        self._read += number
        if self._progress is not None and number:
            self._progress(self._read)


def _chunks(invocation_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (invocation_ids[i : i + _TAKE_AT_ONCE] for i in range(0, len(invocation_ids), _TAKE_AT_ONCE))


def matching(found: Iterable[StoredState], filters: Filters) -> list[IndexRow]:
    """The rows of those records that match."""
    return [
        IndexRow(SortKey(stored.execution.indexed_at, stored.execution.invocation_id), *stored)
        for stored in found
        if filters.match(stored.execution, stored.execution.indexed_at)
    ]


def earliest_entry(filters: Filters) -> int:
    """Nothing that runs and was entered before this moment has changed since ``since``."""
    return max(filters.since - INDEX_LAG, 0)


async def count_indexed(store: Store, filters: Filters, plan: Plan) -> int:
    """How many match, by the index and what is beside it."""
    number = len(plan.beside) - len(plan.surplus)
    if plan.scope is None:
        return number
    if filters.is_bounded:
        return number + await time_buckets.count_between(store, plan.scope, filters.since, filters.until)
    return number + await time_buckets.count_all(store, plan.scope)


async def first_rows(
    store: Store,
    filters: Filters,
    plan: Plan,
    wanted: int,
    *,
    total: int,
    after: SortKey | None = None,
    skip: int = 0,
    oldest_first: bool = False,
    is_sample: bool = False,
) -> list[IndexRow]:
    """At least ``wanted`` in their order if there are as many; ``total`` is what count_indexed says.

    A sample is exact to the second: of one with a great many, little more than ``wanted`` are read.
    """
    rows: list[IndexRow] = []
    if plan.scope is not None:
        traversal = Traversal(
            store,
            plan.scope,
            since=filters.since,
            until=filters.until,
            after=after,
            oldest_first=oldest_first,
            skip=skip,
            total=None if filters.is_bounded else total - len(plan.beside) + len(plan.surplus),
            most_per_second=max(wanted, _LEAST_PER_SECOND) if is_sample else 0,
        )
        async for row in _confirmed(store, traversal.entries(), filters, wanted):
            rows.append(row)
            if len(rows) >= wanted:
                break
    behind = [row for row in plan.beside if after is None or (row.key > after if oldest_first else row.key < after)]
    behind.sort(key=_key, reverse=not oldest_first)
    return list(merge(rows, behind, key=_key, reverse=not oldest_first))


def _key(row: IndexRow) -> SortKey:
    return row.key


async def _confirmed(
    store: Store, entries: AsyncIterator[IndexEntry], filters: Filters, at_once: int = _LOAD_AT_ONCE
) -> AsyncIterator[IndexRow]:
    """The records of index entries, in their order, without those that have moved on.

    For a moment a workflow may have two entries of one time: one of an earlier version beside ours.
    """
    batch: list[IndexEntry] = []
    last: SortKey | None = None
    async for entry in entries:
        if last == (last := SortKey(entry.timestamp_us, entry.invocation_id)):
            continue
        batch.append(entry)
        if len(batch) >= min(at_once, _LOAD_AT_ONCE):
            for row in await load_rows(store, batch, filters):
                yield row
            batch = []
    for row in await load_rows(store, batch, filters):
        yield row


async def load_rows(store: Store, entries: Sequence[IndexEntry], filters: Filters) -> list[IndexRow]:
    if not entries:
        return []
    found = await states.load_many(store, [entry.invocation_id for entry in entries])
    rows = []
    for entry in entries:
        stored = found.get(entry.invocation_id)
        if stored is not None and _agrees(entry, stored) and filters.match(stored.execution, entry.timestamp_us):
            rows.append(IndexRow(SortKey(entry.timestamp_us, entry.invocation_id), *stored))
    return await keep_matching_inputs(store, rows, filters)


async def keep_matching_inputs(store: Store, rows: list[IndexRow], filters: Filters) -> list[IndexRow]:
    """The rows whose inputs match, too; the descriptions of protobuf messages are read for that."""
    if not (rows and filters.asks_for_input):
        return rows
    schemas = await load_schemas(store, {row.execution.input.type_name for row in rows} - {""})
    return [row for row in rows if filters.match_input(schemas.to_json(row.execution.input))]


def _agrees(entry: IndexEntry, stored: StoredState) -> bool:
    execution = stored.execution
    # A record of another implementation does not say when it entered its status: any time will do.
    return entry.group == execution.index_group and (
        execution.indexed_at == entry.timestamp_us or not execution.updated_at
    )
