"""How the work of a namespace goes: what is in trouble, what moves. Reads the index and what does not move."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl.errors import NotProvisionedError
from durablectl.model.clock import MICROSECONDS, SYSTEM_CLOCK, to_rfc3339
from durablectl.model.filters import Filters
from durablectl.model.kinds import WaitingFor
from durablectl.model.message_types import Schemas
from durablectl.model.records import NO_PAYLOAD
from durablectl.model.status import ACTIVE, Status
from durablectl.query.full_scan import find_matching_rows, has_unindexed_states
from durablectl.query.index_rows import Plan, first_rows, matching
from durablectl.query.plumbing_trouble import LostRecords, Plumbing, groups_of_plumbing
from durablectl.query.processors import live_processors, lost_processors, seen_with
from durablectl.query.trouble import RECENT_MICROSECONDS, SHOWN, Trouble, worst_first
from durablectl.query.typical_steps import find_usual_durations
from durablectl.query.view_builder import workflow_view
from durablectl.query.why import HUNG_LEAST_MICROSECONDS, LiveContext, StatusCause, explain_view
from durablectl.query.work_trouble import Backlog, Observed, Work, groups_of_work
from durablectl.storage.commands import command_queue
from durablectl.storage.commands.command_queue import count_quarantined
from durablectl.storage.diagnosis import inspection
from durablectl.storage.diagnosis.consumers import find_consumer_faults
from durablectl.storage.diagnosis.dead_commands import StrayCommands, find_stray_commands
from durablectl.storage.diagnosis.room import find_full_store
from durablectl.storage.index import index_entries, time_buckets
from durablectl.storage.index.time_buckets import GROUPS, Scope
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import schedules, states
from durablectl.storage.records.armed_schedules import armed_names
from durablectl.storage.records.states import UNREACHABLE
from durablectl.storage.streams.provision import require_provisioned
from durablectl.storage.streams.stream_risks import StreamKind

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping, Sequence

    from durablectl.query.index_rows import IndexRow
    from durablectl.query.trouble import Group
    from durablectl.query.views import ProcessorView, WorkflowView
    from durablectl.storage.connection.store import Store
    from durablectl.storage.diagnosis.inspection import StreamCondition

_log = logging.getLogger(__name__)

READ_ALL = 2000
"""Up to so many workflows of a status are read; of more, a sample of each handler."""
_SAMPLE = 200
_FAILED_READ = 500
_PROBED = 10
"""So many of the oldest entries of the index without a record say that the records were lost."""
_DELETION_SECONDS = 0.5
"""Within which the entry of what is deleted follows its record."""
_MOST_SCANNED = 100_000
"""Without an index, the records of no bigger stream are read."""
_HELD_UP = (WaitingFor.RETRY, WaitingFor.AWAKEABLE, WaitingFor.SIGNAL)
"""What a suspended workflow waits for that may need a person."""
_MINUTE = 60 * MICROSECONDS
_HOUR = 60 * _MINUTE
_STILL = (Status.RUNNING, Status.SUSPENDED, Status.PENDING)
"""What has not ended and is not paused."""


@dataclass(frozen=True)
class Moving:
    """What moves: counts by status, completions per minute, and how long the backlog will take at that rate."""

    by_status: Mapping[str, int] = field(default_factory=dict)
    per_minute: float = 0.0
    per_minute_in_hour: float = 0.0
    backlog: int = 0
    oldest: WorkflowView | None = None

    @property
    def eta_seconds(self) -> int | None:
        """None without a backlog, and where nothing completes."""
        return round(self.backlog / self.per_minute * 60) if self.backlog and self.per_minute else None

    def to_json(self) -> dict[str, Any]:
        oldest = self.oldest
        return {
            "by_status": dict(self.by_status),
            "completed_per_minute": {
                "last_5_minutes": round(self.per_minute, 2),
                "last_hour": round(self.per_minute_in_hour, 2),
            },
            "backlog": self.backlog,
            "backlog_eta_seconds": self.eta_seconds,
            "oldest_active": None
            if oldest is None
            else {
                "invocation_id": oldest.invocation_id,
                "handler": oldest.handler,
                "status": oldest.status,
                "created_at": to_rfc3339(oldest.created_at),
            },
        }


@dataclass(frozen=True)
class StatusReport:
    """``groups`` are what is in trouble, the worst first; ``checked_at`` in microseconds, by the server's clock."""

    checked_at: int
    groups: Sequence[Group]
    moving: Moving
    processors: Sequence[ProcessorView]
    schedules: int = 0

    @property
    def needs_person(self) -> bool:
        return any(group.needs_person for group in self.groups)

    def to_json(self, connection: Sequence[str] = ()) -> dict[str, Any]:
        """``connection`` are flags for every command."""
        return {
            "needs_person": self.needs_person,
            "checked_at": to_rfc3339(self.checked_at),
            "groups": [group.to_json(connection) for group in self.groups],
            "moving": self.moving.to_json(),
            "processors": {
                "live": len(self.processors),
                "slots": sum(each.slots for each in self.processors),
                "busy": sum(each.busy for each in self.processors),
            },
            "schedules": self.schedules,
        }


_OF_SILENT_PROCESSORS = frozenset({Trouble.NO_PROCESSOR, Trouble.PROCESSOR_LOST})


async def get_status(store: Store, *, hung_after: int = 0) -> StatusReport:
    """What is in trouble, and what moves.

    ``hung_after`` (microseconds) says from when on a step counts as hung; 0 for far longer than it usually lasts.
    Raises NotProvisionedError on a server that holds no workflows.
    """
    conditions = {each.kind: each for each in await inspection.read_stream_conditions(store)}
    there = [condition.name for condition in conditions.values() if condition.exists]
    if not there:
        await require_provisioned(store)
    ahead, now = SYSTEM_CLOCK.error, SYSTEM_CLOCK.now()  # each stream's information has told the server's time
    processors = await live_processors(store) if conditions[StreamKind.PROCESSORS].is_readable else []
    plumbing = await _plumbing(store, conditions, processors, ahead)
    work, moving = Work(), Moving()
    if conditions[StreamKind.STATES].is_readable:
        scheduled = {each.handler for each in plumbing.schedules}
        reading = _Reading(store, conditions, processors, now, hung_after=hung_after, scheduled=scheduled)
        work, moving = await reading.read()
        work = replace(work, consumer_faults=await _consumer_faults(store, work))
        plumbing = replace(plumbing, lost_records=reading.lost_records)
    groups = worst_first([*groups_of_plumbing(plumbing, now), *groups_of_work(work, now)])
    if plumbing.full is not None and plumbing.full.silent:
        # They are silent, not gone: nothing is to be started for what they run.
        groups = [each for each in groups if each.trouble not in _OF_SILENT_PROCESSORS]
    return StatusReport(now, groups, moving, processors, len(plumbing.schedules))


async def _consumer_faults(store: Store, work: Work) -> dict[str, list[str]]:
    stuck = sorted({each.why.view.handler for each in work.observed if each.why.cause is StatusCause.STUCK})
    return {handler: await find_consumer_faults(store, handler) for handler in stuck}


async def _plumbing(
    store: Store,
    conditions: Mapping[StreamKind, StreamCondition],
    processors: Sequence[ProcessorView],
    ahead: int,
) -> Plumbing:
    """Of a stream that is lost, or cannot be read, nothing but that."""
    streams = [*conditions.values()]
    full = await find_full_store(store, streams, has_live_processors=bool(processors))
    plumbing = Plumbing(processors, streams=streams, clock_ahead=ahead, full=full)
    if not conditions[StreamKind.STATES].is_readable:
        return plumbing
    known, set_aside, lost = await asyncio.gather(
        schedules.load_all(store), count_quarantined(store), lost_processors(store)
    )
    armed: set[str] = set()
    if known and conditions[StreamKind.COMMANDS].is_readable:
        armed = await _armed(store)
    return replace(plumbing, lost=lost, schedules=known, armed=armed, set_aside=set_aside)


async def watch_status(store: Store, *, hung_after: int = 0, every: float = 2.0) -> AsyncGenerator[StatusReport, None]:
    """The same again and again, ``every`` so many seconds, without end; a lost connection is waited for."""
    while True:
        try:
            yield await get_status(store, hung_after=hung_after)
        except UNREACHABLE as error:
            if isinstance(error, NotProvisionedError):
                raise
            _log.warning("No answer, will ask again: %s", error)
        await asyncio.sleep(every)


async def _armed(store: Store) -> set[str]:
    """The names of the schedules whose messages are there."""
    return await armed_names(store)


class _Sampled(NamedTuple):
    """``rows`` that stand for ``weight`` workflows each."""

    rows: Sequence[IndexRow]
    weight: float = 1.0


class _Reading:
    """One look at the workflows; ``now`` in microseconds, by the server's clock."""

    def __init__(
        self,
        store: Store,
        conditions: Mapping[StreamKind, StreamCondition],
        processors: Sequence[ProcessorView],
        now: int,
        *,
        hung_after: int,
        scheduled: Collection[str],
    ) -> None:
        self._store = store
        self._conditions = conditions
        self._processors = processors
        self._alive = {each.processor_id for each in processors}
        self._served = {handler for each in processors for handler in each.all_handlers}
        self._now = now
        self._hung_after = hung_after
        self._scheduled = scheduled
        """The handlers of schedules, whose commands are told of with those."""
        self._schemas = Schemas()
        self._waits: Mapping[str, Sequence[str]] = {}
        self.lost_records: LostRecords | None = None

    async def read(self) -> tuple[Work, Moving]:
        if self._conditions[StreamKind.INDEX].is_readable and not await has_unindexed_states(self._store):
            return await self._indexed()
        if self._conditions[StreamKind.STATES].messages <= _MOST_SCANNED:
            return await self._scanned()
        return Work(), Moving()

    async def _indexed(self) -> tuple[Work, Moving]:
        store = self._store
        statuses = sorted(GROUPS - {Status.COMPLETED})
        numbers, everything, handlers, self._waits, failed, rates = await asyncio.gather(
            time_buckets.count_many_scopes(store, [Scope((status,)) for status in statuses]),
            time_buckets.count_all(store, Scope()),
            index_entries.list_handlers(store),
            index_entries.load_waits(store),
            self._failed_lately(),
            self._rates(),
        )
        self.lost_records = await self._find_lost_records(everything)
        by_status = Counter(dict(zip(statuses, numbers, strict=True)))
        by_status[Status.COMPLETED] = everything - by_status.total()
        samples = [
            sampled
            for status in (*_STILL, Status.PAUSED)
            for sampled in await self._sampled(status, by_status[status], handlers)
        ]
        names = {*handlers, *(row.execution.handler for sampled in samples for row in sampled.rows)}
        unserved = await self._unserved(sorted(names - self._served), by_status)
        observed = await self._observed(samples)
        backlogs = await self._backlogs({*names} & self._served, observed)
        stray = await self._stray(names, unserved, samples)
        work = Work(observed, await self._observed([failed]), unserved, backlogs, stray)
        moving = Moving(
            {status: number for status, number in by_status.most_common() if number},
            *rates,
            sum(each.waiting for each in backlogs.values()),
            await self._oldest(by_status),
        )
        return work, moving

    async def _find_lost_records(self, everything: int) -> LostRecords | None:
        """What the index lists without records, where that is all of its oldest entries.

        A deletion removes records first, and their entries a moment later.
        """
        probed = await self._oldest_without_records(everything, _PROBED)
        if not probed:
            return None
        await asyncio.sleep(_DELETION_SECONDS)
        if await self._oldest_without_records(everything, _PROBED) != probed:
            return None
        stream = self._conditions[StreamKind.STATES].name
        lost = await self._oldest_without_records(everything, READ_ALL, partly=True)
        return LostRecords(stream, max(len(lost), everything - READ_ALL), probed[:SHOWN], everything > READ_ALL)

    async def _oldest_without_records(self, everything: int, most: int, *, partly: bool = False) -> list[str]:
        """The ids of so many of the oldest entries; none if one of them has a record, with ``partly`` without those."""
        if not everything:
            return []
        scope = Scope(waits=self._waits)
        traversal = Traversal(self._store, scope, oldest_first=True, total=everything, most_per_second=most)
        ids: dict[str, None] = {}
        async for entry in traversal.entries():
            ids[entry.invocation_id] = None
            if len(ids) == most:
                break
        found = await states.load_many(self._store, [*ids])
        missing = [each for each in ids if each not in found]
        return missing if partly or len(missing) == len(ids) > 1 else []

    async def _sampled(self, status: str, total: int, handlers: Collection[str]) -> list[_Sampled]:
        """All of a status, or where they are many, the oldest and the newest of each handler.

        Of many that are suspended, only what may be in trouble is read.
        """
        if status == Status.SUSPENDED and total > READ_ALL:
            return await self._suspended(handlers)
        filters = Filters(frozenset({status}))
        if total <= READ_ALL:
            plan = self._plan(filters)
            return [_Sampled(await first_rows(self._store, filters, plan, READ_ALL, total=total))] if total else []
        cells = [Scope((status,), (handler,), waits=self._waits) for handler in sorted(handlers)]
        return await self._samples(cells, _SAMPLE)

    async def _suspended(self, handlers: Collection[str]) -> list[_Sampled]:
        """What waits for a retry or an answer, what is due and not resumed, and some of handlers without a processor.

        Timers and children that will come are left out: however many sleep, they are not read. An entry of an earlier
        version does not say what its workflow waits for.
        """
        names = sorted(handlers)
        status = (Status.SUSPENDED,)
        held_up = Scope(status, names, kinds=_HELD_UP, waits=self._waits)
        if await time_buckets.count_all(self._store, held_up) <= READ_ALL:
            found = await self._samples([held_up], READ_ALL)
        else:
            # Each kind apart, so that many that wait for an answer do not hide a few that retry.
            cells = [Scope(status, (name,), kinds=(kind,), waits=self._waits) for name in names for kind in _HELD_UP]
            found = await self._samples(cells, _SAMPLE)
        earlier = [Scope(status, (name,)) for name in names]
        unserved = [Scope(status, (name,), waits=self._waits) for name in names if name not in self._served]
        found += [*await self._samples([*earlier, *unserved], _SAMPLE), await self._due()]
        seen: set[str] = set()
        samples: list[_Sampled] = []
        for sampled in found:
            rows = [row for row in sampled.rows if row.execution.invocation_id not in seen]
            seen.update(row.execution.invocation_id for row in rows)
            samples.append(_Sampled(rows, sampled.weight))
        return samples

    async def _due(self) -> _Sampled:
        """What is suspended although a command says that it can go on, those that have waited longest."""
        ids = await command_queue.ids_with_commands(self._store, most=READ_ALL)
        found = await states.load_many(self._store, ids)
        return _Sampled(matching(found.values(), Filters(frozenset({Status.SUSPENDED}))))

    async def _samples(self, scopes: Sequence[Scope], most: int) -> list[_Sampled]:
        totals = await time_buckets.count_many_scopes(self._store, scopes)
        return [await self._sample(scope, number, most) for scope, number in zip(scopes, totals, strict=True) if number]

    async def _sample(self, scope: Scope, total: int, most: int) -> _Sampled:
        filters, plan = Filters(frozenset(scope.groups), frozenset(scope.handlers)), Plan(scope)
        if total <= most:
            return _Sampled(await first_rows(self._store, filters, plan, total, total=total))
        oldest, newest = await asyncio.gather(
            *(
                first_rows(
                    self._store, filters, plan, most // 2, total=total, oldest_first=oldest_first, is_sample=True
                )
                for oldest_first in (True, False)
            )
        )
        rows = [*{row.execution.invocation_id: row for row in (*oldest, *newest)}.values()]
        return _Sampled(rows, total / len(rows) if rows else 1.0)

    def _plan(self, filters: Filters) -> Plan:
        """What needs nothing but the index: these filters ask for no time of what runs."""
        return Plan(Scope(tuple(filters.statuses), tuple(filters.handlers), waits=self._waits))

    async def _unserved(self, handlers: Sequence[str], by_status: Counter[str]) -> dict[str, Counter[str]]:
        """How many of each status need a processor with a handler that none has."""
        statuses = [status for status in _STILL if by_status[status]]
        cells = [(handler, status) for handler in handlers for status in statuses]
        scopes = [Scope((status,), (handler,), waits=self._waits) for handler, status in cells]
        numbers = await time_buckets.count_many_scopes(self._store, scopes)
        found: dict[str, Counter[str]] = {}
        for (handler, status), number in zip(cells, numbers, strict=True):
            if number:
                found.setdefault(handler, Counter())[status] = number
        return found

    def _since(self, span: int) -> int:
        """The begin of the second that lies ``span`` back: whole seconds are counted, and not read."""
        return (self._now - span) // MICROSECONDS * MICROSECONDS

    async def _failed_lately(self) -> _Sampled:
        since = self._since(_HOUR)
        filters = Filters(frozenset({Status.FAILED}), since=since)
        total = await time_buckets.count_between(self._store, Scope((Status.FAILED,)), since, 0)
        if not total:
            return _Sampled([])
        rows = await first_rows(self._store, filters, self._plan(filters), _FAILED_READ, total=total, is_sample=True)
        rows = rows[:_FAILED_READ]
        return _Sampled(rows, max(1.0, total / len(rows)) if len(rows) == _FAILED_READ else 1.0)

    async def _rates(self) -> tuple[float, float]:
        """Completions per minute in the last minutes and in the last hour."""
        scope = Scope((Status.COMPLETED,))
        recent, hour = await asyncio.gather(
            *(
                time_buckets.count_between(self._store, scope, self._since(span), 0)
                for span in (RECENT_MICROSECONDS, _HOUR)
            )
        )
        return recent / (RECENT_MICROSECONDS / _MINUTE), hour / 60

    async def _backlogs(self, handlers: Collection[str], observed: Sequence[Observed]) -> dict[str, Backlog]:
        """Of the handlers whose processors have no room."""
        full = sorted({each.why.view.handler for each in observed if each.why.cause is StatusCause.BUSY} & {*handlers})
        if not full:
            return {}
        since = self._since(RECENT_MICROSECONDS)
        if not self._conditions[StreamKind.INDEX].is_readable:
            waiting = await self._waiting_commands(full)
            return {handler: Backlog(number) for handler, number in waiting.items() if handler in full}
        ended = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
        waiting, begun, done = await asyncio.gather(
            self._waiting_commands(full),
            asyncio.gather(*(self._count_since((Status.PENDING,), handler, since) for handler in full)),
            asyncio.gather(*(self._count_since(ended, handler, since) for handler in full)),
        )
        minutes = RECENT_MICROSECONDS / _MINUTE
        return {
            handler: Backlog(waiting.get(handler, 0), recent, number / minutes)
            for handler, recent, number in zip(full, begun, done, strict=True)
        }

    async def _waiting_commands(self, handlers: Collection[str]) -> Mapping[str, int]:
        if not self._conditions[StreamKind.COMMANDS].is_readable:
            return {}
        return await inspection.waiting_commands(self._store, handlers)

    async def _stray(
        self, known: Collection[str], unserved: Collection[str], samples: Sequence[_Sampled]
    ) -> StrayCommands:
        """The commands of handlers without a processor that other groups do not tell of."""
        if not self._conditions[StreamKind.COMMANDS].is_readable:
            return StrayCommands()
        waiting = {row.execution.handler for sampled in samples for row in sampled.rows}
        explained = {*unserved, *self._scheduled, *waiting}
        return await find_stray_commands(self._store, self._served, explained, known)

    async def _count_since(self, statuses: tuple[str, ...], handler: str, since: int) -> int:
        return await time_buckets.count_between(self._store, Scope(statuses, (handler,)), since, 0)

    async def _oldest(self, by_status: Mapping[str, int]) -> WorkflowView | None:
        total = sum(by_status[status] for status in ACTIVE)
        if not total:
            return None
        active = Filters(ACTIVE)
        rows = await first_rows(
            self._store, active, self._plan(active), 1, total=total, oldest_first=True, is_sample=True
        )
        return self._view(rows[0]) if rows else None

    async def _scanned(self) -> tuple[Work, Moving]:
        """The same of a small store with records that the index does not have."""
        rows = await find_matching_rows(self._store, Filters(), scan=True)
        by_status = Counter(str(row.execution.status) for row in rows)
        moving = [row for row in rows if row.execution.status in ACTIVE]
        since = self._now - _HOUR
        failed = [row for row in rows if row.execution.status == Status.FAILED and row.execution.finished_at >= since]
        unserved: dict[str, Counter[str]] = {}
        for row in moving:
            handler, status = row.execution.handler, row.execution.status
            if status in _STILL and handler not in self._served:
                unserved.setdefault(handler, Counter())[status] += 1
        observed = await self._observed([_Sampled(moving)])
        backlogs = await self._backlogs(self._served, observed)
        ended = [row.execution.finished_at for row in rows if row.execution.status == Status.COMPLETED]
        recent = sum(moment >= self._now - RECENT_MICROSECONDS for moment in ended)
        stray = await self._stray({row.execution.handler for row in rows}, unserved, [_Sampled(moving)])
        work = Work(observed, await self._observed([_Sampled(failed)]), unserved, backlogs, stray)
        oldest = min(moving, key=lambda row: row.key, default=None)
        return work, Moving(
            dict(by_status.most_common()),
            recent / (RECENT_MICROSECONDS / _MINUTE),
            sum(moment >= since for moment in ended) / 60,
            sum(each.waiting for each in backlogs.values()),
            None if oldest is None else self._view(oldest),
        )

    def _view(self, row: IndexRow) -> WorkflowView:
        """Without its values: nothing here shows them."""
        execution = row.execution.copy()
        execution.input = execution.output = NO_PAYLOAD
        execution.workflow_state = {}
        view = workflow_view(execution, row.revision, self._schemas)
        return seen_with(view, self._alive, self._served, self._now)

    async def _observed(self, samples: Sequence[_Sampled]) -> list[Observed]:
        weighted = [(self._view(row), sampled.weight) for sampled in samples for row in sampled.rows]
        slow = {
            view.handler
            for view, _ in weighted
            if view.status == Status.RUNNING
            and view.waiting_for is None
            and self._now - view.updated_at > HUNG_LEAST_MICROSECONDS
        }
        usual = await find_usual_durations(self._store, sorted(slow)) if slow else {}
        lives = {
            handler: LiveContext(self._processors, usual=usual.get(handler, {}), hung_after=self._hung_after)
            for handler in {view.handler for view, _ in weighted}
        }
        return [Observed(explain_view(view, lives[view.handler], self._now), weight) for view, weight in weighted]
