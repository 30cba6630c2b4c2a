"""The workflow that carries out a bulk job.

Where many workflows match, the job selects them first, and stores their ids in parts: each ends with a compare-and-set
on the job's progress, and no part is stored where another processor has written that.

The work is done in batches. Each ends with one compare-and-set on the job's progress, so that a job continues at the
batch in which its processor died. What that batch had changed is marked with the job in the workflows' own records: it
is counted, and not changed again. Journal and memory do not grow with the number of workflows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from durablectl import control
from durablectl.control.operation_result import ChangedByJobError, NoLongerMatchesError, Origin
from durablectl.errors import (
    ConflictError,
    ConnectionFailedError,
    DurableError,
    NotFoundError,
    NotProvisionedError,
    PermissionDeniedError,
    TerminalError,
)
from durablectl.model.audit import ACTOR, JOB, Actor
from durablectl.model.clock import MICROSECONDS
from durablectl.model.jobs import ItemOutcome, ItemReport, JobOperation, JobProgress, JobSpec
from durablectl.model.names import JOB_HANDLER
from durablectl.model.retry_policy import Retry
from durablectl.model.status import TERMINAL, Status
from durablectl.storage.connection.rejections import StorageFullError
from durablectl.storage.index.time_buckets import Scope
from durablectl.storage.index.traversal import Traversal
from durablectl.storage.records import jobs, states
from durablectl.storage.streams.provision import provision_jobs
from durablectl.system.job_selection import JobSelection, load_chunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from durablectl.control import OperationResult
    from durablectl.engine.sdk.context import Context
    from durablectl.storage.connection.store import Store
    from durablectl.system.job_selection import SelectedPart

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_BATCH = 100
_AT_ONCE = 8
"""Workflows in work at a time: few, so that those of the app come between."""
_BATCHES_PER_SECOND = 4
"""Of a job whose rate is limited."""
_SLICE_SECONDS = 60.0
"""After so long the step ends and another begins: an entry of the journal shows that the job gets further."""
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0
_CONFLICTS = 5
_REPORTS_KEPT = 100_000
_KEPT_SECONDS = 30 * 86_400
"""How long an ended job is kept."""
_UNSTARTED_SECONDS = 86_400
"""After so long the ids of a job that was never started are removed."""
_RETRY = Retry(max_attempts=5, initial=1.0, cap=30.0)
_PASSING = (ConnectionFailedError, StorageFullError, NotProvisionedError)
"""What is the server's, not the workflow's: waited for."""

_ACTS: Mapping[JobOperation, Callable[[Store, str, JobSpec, Origin], Awaitable[OperationResult]]] = {
    JobOperation.PAUSE: lambda store, each, spec, origin: control.pause(store, each, spec.reason, origin=origin),
    JobOperation.RESUME: lambda store, each, _, origin: control.resume(store, each, origin=origin),
    JobOperation.CANCEL: lambda store, each, spec, origin: control.cancel(
        store, each, spec.reason, now=spec.now, origin=origin
    ),
    JobOperation.RETRY: lambda store, each, spec, origin: control.retry(
        store, each, from_step=spec.from_step, origin=origin
    ),
    JobOperation.RETRY_NOW: lambda store, each, _, origin: control.retry_now(store, each, origin=origin),
    JobOperation.RESTART: lambda store, each, _, origin: control.restart(store, each, origin=origin),
    JobOperation.DELETE: lambda store, each, _, origin: control.delete(store, each, origin=origin),
}


async def carry_out(store: Store, stopping: asyncio.Event, ctx: Context, request: Any) -> dict[str, Any]:
    """Change the workflows of a job, one batch after the other; interrupted once ``stopping`` is set."""
    spec = JobSpec.from_json(request)
    job_id = ctx.invocation_id

    async def work() -> bool:
        ACTOR.set(Actor(spec.actor, JOB, job_id))
        return await _Work(store, job_id, spec, stopping).run()

    async def finish() -> dict[str, Any]:
        return await _finish(store, job_id)

    async def clean_up() -> None:
        await _remove_ids(store, job_id)

    # One that failed keeps its list: `wf retry` goes on with it.
    ctx.defer(clean_up, when="cancelled")
    while not await ctx.step(work, name="work", retry=_RETRY):
        pass
    return await ctx.step(finish, name="finish", retry=_RETRY)


class _InterruptedError(Exception):
    """The job is paused or cancelled, another processor works on it, or this one stops."""


class _Work:
    """One step of a job: as many batches as it gets done until it is told to stop."""

    def __init__(self, store: Store, job_id: str, spec: JobSpec, stopping: asyncio.Event) -> None:
        self._store = store
        self._job_id = job_id
        self._spec = spec
        self._origin = Origin(job_id, spec.filters)
        self._stopping = stopping
        self._loop = asyncio.get_running_loop()
        self._looked = 0.0
        self._counted = self._loop.time()
        """When the last batch was counted."""
        self._chunk: tuple[int, list[str]] = -1, []
        self._may_repeat = False
        """Whether part of the next batch may be done already."""
        self._progress = JobProgress()
        self._revision = 0

    async def run(self) -> bool:
        """Work until all is done; False where it is interrupted, or has worked for a while."""
        try:
            await self._begin()
            end = self._loop.time() + _SLICE_SECONDS
            while self._is_selecting and self._loop.time() < end:
                await self._look()
                await self._wait_for_server(lambda: self._select(end))
            while self._has_more and self._loop.time() < end:
                await self._look()
                began, before = self._loop.time(), self._progress.position
                await self._end_batch(self._loop.create_task(self._batch()))
                if self._spec.rate:
                    await self._pace(began + (self._progress.position - before) / self._spec.rate)
        except asyncio.CancelledError:
            await self._close()
            raise
        except _InterruptedError:
            await self._close()
            return False
        await self._close()
        return not (self._is_selecting or self._has_more)

    @property
    def _is_selecting(self) -> bool:
        return bool(self._spec.selects_at) and not self._progress.is_selected

    @property
    def _total(self) -> int:
        """How many workflows are known."""
        return self._spec.total or self._progress.selected

    @property
    def _has_more(self) -> bool:
        """Whether workflows that are known are left; none is changed before all are selected."""
        return not self._is_selecting and self._progress.position < self._total

    async def _select(self, end: float) -> None:
        """Select and store ids from the cursor on, until these are all, or it is ``end``."""
        selection = JobSelection(self._store, self._job_id, self._spec, lambda: self._progress.selected)
        async with contextlib.aclosing(selection.parts(self._progress.cursor)) as parts:
            async for part in parts:
                await self._store_part(part)
                await self._look()
                if self._loop.time() >= end:
                    return
        self._counted = self._loop.time()
        await self._write(replace(self._progress, is_selected=True, updated_at=self._store.clock.now()))

    async def _store_part(self, part: SelectedPart) -> None:
        """Store the ids, then count them: what is not counted is written over."""
        progress, per_chunk = self._progress, self._spec.per_chunk
        number, used = divmod(progress.selected, per_chunk)
        ids = part.ids
        if ids and used:
            ids = [*(await load_chunk(self._store, self._job_id, number))[:used], *ids]
        for index, start in enumerate(range(0, len(ids), per_chunk), number):
            chunk = ids[start : start + per_chunk]
            if not await jobs.store_chunk(self._store, self._job_id, index, chunk, self._revision):
                self._revision = 0
                raise _InterruptedError
        if ids or part.cursor != progress.cursor:
            selected = progress.selected + len(part.ids)
            now = self._store.clock.now()
            await self._write(replace(progress, selected=selected, cursor=part.cursor, updated_at=now))

    async def _end_batch(self, batch: asyncio.Task[None]) -> None:
        """Wait for a batch: it is ended and counted although the step is cancelled meanwhile."""
        try:
            await asyncio.shield(batch)
        except asyncio.CancelledError:
            await asyncio.wait([batch], timeout=_GRACE_SECONDS)
            batch.cancel()
            raise

    async def _begin(self) -> None:
        self._progress, self._revision = await self._wait_for_server(
            lambda: jobs.load_progress(self._store, self._job_id)
        )
        self._may_repeat = self._progress.is_open and not self._is_selecting
        now = self._store.clock.now()
        started_at = self._progress.started_at or now
        await self._write(replace(self._progress, is_open=True, started_at=started_at, updated_at=now))

    async def _close(self) -> None:
        """Note that nothing of the next batch is done, where that is so."""
        if not self._revision or not self._progress.is_open or self._may_repeat:
            return
        try:
            self._progress = replace(self._progress, is_open=False)
            await jobs.replace_progress(self._store, self._job_id, self._progress, self._revision)
        except DurableError as error:
            _log.debug("The progress of %s was not closed: %s", self._job_id, error)

    async def _write(self, progress: JobProgress) -> None:
        """_InterruptedError where another processor has written meanwhile: it works on the job now."""
        revision = await self._wait_for_server(
            lambda: jobs.replace_progress(self._store, self._job_id, progress, self._revision)
        )
        if revision is None:
            self._revision = 0
            raise _InterruptedError
        self._progress, self._revision = progress, revision

    async def _batch(self) -> None:
        may_repeat, self._may_repeat = self._may_repeat, True
        reports = await self._change(await self._next_ids(), may_repeat=may_repeat)
        told = [each for each in reports if each.outcome in {ItemOutcome.SKIPPED, ItemOutcome.FAILED}]
        kept = told[: max(0, _REPORTS_KEPT - self._progress.kept)]
        if kept:
            position = self._progress.position
            await self._wait_for_server(lambda: jobs.store_reports(self._store, self._job_id, position, kept))
        outcomes = Counter(each.outcome for each in reports)
        seconds, self._counted = self._loop.time() - self._counted, self._loop.time()
        await self._write(self._progress.after_batch(outcomes, len(kept), self._store.clock.now(), seconds))
        self._may_repeat = False

    async def _next_ids(self) -> list[str]:
        number, offset = divmod(self._progress.position, self._spec.per_chunk)
        if self._chunk[0] != number:
            self._chunk = number, await self._wait_for_server(lambda: load_chunk(self._store, self._job_id, number))
        rate = self._spec.rate
        most = min(_BATCH, max(1, int(rate / _BATCHES_PER_SECOND))) if rate else _BATCH
        # Behind the last one may lie ids that were stored and not counted.
        return self._chunk[1][offset : offset + min(most, self._total - self._progress.position)]

    async def _change(self, ids: Sequence[str], *, may_repeat: bool) -> list[ItemReport]:
        reports: list[ItemReport] = []
        waiting = iter(ids)

        async def change_next() -> None:
            for each in waiting:
                reports.append(await self._item(each, may_repeat=may_repeat))  # noqa: PERF401  # several fill it

        workers = [self._loop.create_task(change_next()) for _ in range(min(_AT_ONCE, len(ids)))]
        try:
            await asyncio.wait(workers)
        finally:
            for worker in workers:  # of a batch that is cancelled: it changes nothing more
                worker.cancel()
        for worker in workers:
            worker.result()
        return reports

    async def _item(self, invocation_id: str, *, may_repeat: bool) -> ItemReport:
        """Change one workflow, and say what became of it."""
        spec = self._spec
        conflicts = 0
        while True:
            try:
                result = await self._wait_for_server(
                    lambda: _ACTS[spec.operation](self._store, invocation_id, spec, self._origin)
                )
            except DurableError as error:
                conflicts += 1
                if type(error) is ConflictError and conflicts < _CONFLICTS:
                    continue  # Another write was first, and the operation does not look again by itself.
                return self._report_of(error, invocation_id, may_repeat=may_repeat)
            outcome = ItemOutcome.CHANGED if result.changed else ItemOutcome.UNCHANGED
            return ItemReport(invocation_id, outcome, "", "")

    def _report_of(self, error: DurableError, invocation_id: str, *, may_repeat: bool) -> ItemReport:
        spec = self._spec
        is_gone = isinstance(error, NotFoundError)
        if isinstance(error, PermissionDeniedError):
            raise TerminalError(f"The processor may not {spec.operation} workflows: {error.message}") from error
        if isinstance(error, ChangedByJobError) or (is_gone and may_repeat and spec.operation is JobOperation.DELETE):
            return ItemReport(invocation_id, ItemOutcome.CHANGED, "", "")
        if isinstance(error, NoLongerMatchesError):
            return ItemReport(invocation_id, ItemOutcome.SKIPPED, "no_longer_matches", error.message)
        if is_gone and spec.filters is not None:
            return ItemReport(invocation_id, ItemOutcome.SKIPPED, error.code, "It was deleted meanwhile.")
        return ItemReport(invocation_id, ItemOutcome.FAILED, error.code, error.message)

    async def _wait_for_server(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What ``ask`` gives, once the server is within reach and has room; a lost stream of jobs is created.

        _InterruptedError where this processor stops before.
        """
        pause = _PAUSE_SECONDS
        while True:
            try:
                return await ask()
            except _PASSING as error:
                if pause == _PAUSE_SECONDS:
                    _log.warning("The job %s waits for the server: %s", self._job_id, error)
                if self._stopping.is_set():
                    raise _InterruptedError from error
                if isinstance(error, NotProvisionedError):
                    with contextlib.suppress(DurableError):
                        await provision_jobs(self._store)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _look(self) -> None:
        """_InterruptedError where this processor stops, or the job is not to go on; asked about once a second."""
        if self._stopping.is_set():
            raise _InterruptedError
        now = self._loop.time()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        stored = await self._wait_for_server(lambda: states.load(self._store, self._job_id))
        if stored is None or stored.execution.status != Status.RUNNING or stored.execution.cancel_requested:
            raise _InterruptedError

    async def _pace(self, moment: float) -> None:
        """Wait until then; _InterruptedError where the job is to stop before."""
        while (left := moment - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, _LOOK_SECONDS)):
                    await self._stopping.wait()
            await self._look()


async def _remove_ids(store: Store, job_id: str) -> None:
    await store.requests.exchange([jobs.removal_of_ids(store, job_id)])


async def _finish(store: Store, job_id: str) -> dict[str, Any]:
    """Remove what is not needed any more, of this job and of old ones; the counts."""
    progress, _ = await jobs.load_progress(store, job_id)
    await _remove_ids(store, job_id)
    await _remove_old_jobs(store)
    return {
        "changed": progress.changed,
        "unchanged": progress.unchanged,
        "skipped": progress.skipped,
        "failed": progress.failed,
    }


async def _remove_old_jobs(store: Store) -> None:
    now = store.clock.now()
    before = now - _KEPT_SECONDS * MICROSECONDS
    old = Traversal(store, Scope(sorted(TERMINAL), (JOB_HANDLER,)), until=before, oldest_first=True)
    async for entry in old.entries():
        try:
            await control.delete(store, entry.invocation_id)
        except (NotFoundError, ConflictError):
            continue
        await store.requests.exchange([jobs.removal(store, entry.invocation_id)])
    left = {
        each for each, at in (await jobs.stored_jobs(store)).items() if at < now - _UNSTARTED_SECONDS * MICROSECONDS
    }
    started = await states.load_many(store, sorted(left))
    for job_id in sorted(left - started.keys()):
        await store.requests.exchange([jobs.removal(store, job_id)])
