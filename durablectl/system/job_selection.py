"""Which workflows a job is about: chosen before it starts where they are few, by the job itself where they are many."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from durablectl import control, query
from durablectl.errors import NotFoundError, TerminalError, UsageError
from durablectl.model.clock import MICROSECONDS
from durablectl.model.filters import Filters
from durablectl.model.jobs import CHANGEABLE, JobOperation
from durablectl.model.kinds import WaitingFor
from durablectl.model.status import TERMINAL, Status
from durablectl.storage.index.time_buckets import SortKey
from durablectl.storage.records import jobs

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from durablectl.model.jobs import JobSpec
    from durablectl.query.index_rows import IndexRow
    from durablectl.storage.connection.store import Store

SELECTED_AT_ONCE = 1_000
"""Up to so many are selected before the job starts: the answer says how many there are."""
_UNSETTLED = 10 * MICROSECONDS
"""What entered its status so shortly before the selection may have moved on, by the clock of another machine."""
_COMPARED_AT_ONCE = 10_000
_CHUNKS_AT_ONCE = 8
_RESTING = TERMINAL | {Status.PAUSED}
"""A workflow is in one of these until a person changes it."""


async def start_job_matching(store: Store, operation: str, filters: Filters, **parameters: Any) -> str:
    """Start a job for the workflows that match now; its id. ``parameters`` are those of ``control.start_job``.

    Without a status, those match that the operation can change. Of many, the job itself selects them. Raises UsageError
    without any filter, as that would be all workflows, and NotFoundError where nothing can match.
    """
    if operation not in frozenset(JobOperation):
        raise UsageError(f"There is no bulk operation {operation!r}.", hint=f"They are {', '.join(JobOperation)}.")
    if filters == Filters():
        raise UsageError("Nothing says which workflows.", hint="Give a filter such as status or handler.")
    chosen = replace(filters, statuses=filters.statuses or CHANGEABLE[JobOperation(operation)])
    if operation == JobOperation.RETRY_NOW and not chosen.waiting_for:
        chosen = replace(chosen, waiting_for=frozenset({WaitingFor.RETRY}))
    ids: Sequence[str] | None = None
    if await query.count_candidates(store, chosen) <= SELECTED_AT_ONCE:
        ids = [each.invocation_id for each in await query.select_workflows(store, chosen)]
        if not ids:
            raise NotFoundError("No workflow matches; no job was started.", hint="Check the filters.")
    return await control.start_job(store, operation, ids, filters=chosen, **parameters)


class SelectedPart(NamedTuple):
    """More ids of a job, each once, and the cursor that leads on from them."""

    ids: list[str]
    cursor: str


class JobSelection:
    """Selects what a job is about, part after part, from a cursor on.

    The workflows that there were when the job was started: each that is not beyond the sequence of then, or was created
    before. First those that have long been in their status, in the order of the index. What moves meanwhile enters the
    index anew, behind them: of that, and of what lies beside the index, each is compared with the ids that are stored.
    """

    def __init__(self, store: Store, job_id: str, spec: JobSpec, selected: Callable[[], int]) -> None:
        """``selected`` says how many ids are stored."""
        self._store = store
        self._job_id = job_id
        self._spec = spec
        self._selected = selected
        self._filters = spec.filters or Filters()

    async def parts(self, cursor: str) -> AsyncGenerator[SelectedPart]:
        """Each part is to be stored before the next one is asked for."""
        walk = await query.MatchWalk.prepare(self._store, self._filters)
        settled = self._spec.selects_at - _UNSETTLED
        async for part in walk.before(settled, _to_key(cursor)):
            cursor = cursor if part.last is None else _to_cursor(part.last)
            yield SelectedPart(self._ids(part.rows), cursor)
        unsettled: list[str] = []
        async for part in walk.rest(settled):
            unsettled += self._ids(part.rows)
            if len(unsettled) >= _COMPARED_AT_ONCE:
                yield SelectedPart(await self._new_ones(unsettled), cursor)
                unsettled = []
            else:
                yield SelectedPart([], cursor)
        if unsettled:
            yield SelectedPart(await self._new_ones(unsettled), cursor)

    def _ids(self, rows: Sequence[IndexRow]) -> list[str]:
        return [row.execution.invocation_id for row in rows if self._was_there(row)]

    def _was_there(self, row: IndexRow) -> bool:
        """Whether it was there, and where the status is one that it keeps, had that, when the job was started."""
        if row.revision <= self._spec.state_sequence:
            return True
        statuses = self._filters.statuses
        moment = row.key.timestamp_us if statuses and statuses <= _RESTING else row.execution.created_at
        return moment <= self._spec.selects_at

    async def _new_ones(self, ids: Sequence[str]) -> list[str]:
        new = dict.fromkeys(ids)
        selected, per_chunk = self._selected(), self._spec.per_chunk
        count = -(-selected // per_chunk)
        for start in range(0, count, _CHUNKS_AT_ONCE):
            numbers = range(start, min(start + _CHUNKS_AT_ONCE, count))
            chunks = await asyncio.gather(*(load_chunk(self._store, self._job_id, number) for number in numbers))
            for number, chunk in zip(numbers, chunks, strict=True):
                # Behind what is counted may lie the part of a processor that died.
                for each in chunk[: selected - number * per_chunk]:
                    new.pop(each, None)
        return list(new)


async def load_chunk(store: Store, job_id: str, number: int) -> list[str]:
    """The ids of one chunk. Raises TerminalError when they were removed."""
    ids = await jobs.load_chunk(store, job_id, number)
    if ids is None:
        stream = store.subjects.jobs_stream
        raise TerminalError(
            f"The list of its workflows is gone: {stream} was deleted, or the job had ended. Start another job."
        )
    return ids


def _to_cursor(key: SortKey) -> str:
    return f"{key.timestamp_us}~{key.invocation_id}"


def _to_key(cursor: str) -> SortKey | None:
    timestamp_us, _, invocation_id = cursor.partition("~")
    return SortKey(int(timestamp_us), invocation_id) if cursor else None
