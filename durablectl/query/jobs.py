"""Bulk jobs: how far each is, and what it could not change."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from durablectl.errors import NotFoundError, NotProvisionedError, UnreadableError
from durablectl.model.clock import MICROSECONDS, to_rfc3339
from durablectl.model.filters import Filters
from durablectl.model.jobs import ItemOutcome, JobProgress, JobSpec
from durablectl.model.kinds import WaitKind
from durablectl.model.names import JOB_HANDLER
from durablectl.model.status import Status, is_terminal
from durablectl.query.get import get_workflow
from durablectl.query.list import list_workflows
from durablectl.query.watch import watch_workflow
from durablectl.storage.records import jobs
from durablectl.storage.streams.feed import follow
from durablectl.storage.streams.provision import stream_info

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable

    from durablectl.model.jobs import ItemReport
    from durablectl.query.views import WorkflowView
    from durablectl.storage.connection.store import Store

_HEAD = (0, 0)
"""The steps of its workflow that are read: none."""


@dataclass(frozen=True)
class JobView:
    """A bulk job: the workflow that carries it out, what it is asked for, and how far it is.

    ``spec`` is None for a job of a version that this one cannot read.
    """

    workflow: WorkflowView
    spec: JobSpec | None
    progress: JobProgress

    @property
    def job_id(self) -> str:
        return self.workflow.invocation_id

    @property
    def status(self) -> str:
        return self.workflow.status

    @property
    def has_ended(self) -> bool:
        return is_terminal(self.status)

    @property
    def total(self) -> int:
        """How many workflows it is about; while it selects, those that were found so far."""
        return 0 if self.spec is None else self.spec.total or self.progress.selected

    @property
    def is_selecting(self) -> bool:
        """Whether it does not know all of its workflows yet."""
        return self.spec is not None and bool(self.spec.selects_at) and not self.progress.is_selected

    @property
    def left(self) -> int:
        return max(0, self.total - self.progress.position)

    @property
    def is_unserved(self) -> bool:
        """Whether it waits for a processor that carries out jobs."""
        waiting = self.workflow.waiting_for
        return waiting is not None and waiting.kind in {WaitKind.PROCESSOR, WaitKind.TAKEOVER}

    @property
    def eta_seconds(self) -> float | None:
        """How long it takes at the recent rate; None where it does not move."""
        rate = self.progress.recent_rate
        if self.is_selecting:
            return None
        return self.left / rate if self.status == Status.RUNNING and rate and not self.is_unserved else None

    def to_json(self) -> dict[str, Any]:
        spec, progress, workflow = self.spec, self.progress, self.workflow
        eta = self.eta_seconds
        return {
            "job_id": self.job_id,
            "operation": None if spec is None else str(spec.operation),
            "status": self.status,
            "filters": None if spec is None or spec.filters is None else spec.flags,
            "reason": None if spec is None else spec.reason or None,
            "now": spec is not None and spec.now,
            "from_step": None if spec is None else spec.from_step,
            "actor": None if spec is None else spec.actor or None,
            "total": self.total,
            "is_selecting": self.is_selecting and not self.has_ended,
            "done": progress.position,
            "changed": progress.changed,
            "unchanged": progress.unchanged,
            "skipped": progress.skipped,
            "failed": progress.failed,
            "left": self.left,
            "reports_kept": progress.kept,
            "rate_limit": None if spec is None else spec.rate or None,
            "recent_rate": progress.recent_rate or None,
            "eta_seconds": None if eta is None else round(eta, 1),
            "waits_for_processor": self.is_unserved,
            "owner": workflow.owner or None,
            "error": workflow.error or None,
            "status_reason": workflow.reason or None,
            "created_at": to_rfc3339(workflow.created_at),
            "started_at": to_rfc3339(progress.started_at),
            "updated_at": to_rfc3339(max(progress.updated_at, workflow.updated_at)),
            "finished_at": to_rfc3339(workflow.finished_at),
        }

    def duration_us(self, now: int) -> int:
        """From the first change to the end, or until ``now`` (microseconds)."""
        begun = self.progress.started_at
        return max(0, (self.workflow.finished_at or now) - begun) if begun else 0

    def finishes_at(self, now: int) -> int:
        """When it is likely to end (microseconds); 0 where that cannot be told."""
        eta = self.eta_seconds
        return 0 if eta is None else now + int(eta * MICROSECONDS)


@dataclass(frozen=True)
class JobPage:
    """Jobs, the newest first; ``total`` counts all, and ``next_cursor`` finds those behind the page."""

    jobs: list[JobView]
    total: int
    next_cursor: str

    def to_json(self) -> dict[str, Any]:
        return {
            "jobs": [each.to_json() for each in self.jobs],
            "total": self.total,
            "next_cursor": self.next_cursor or None,
        }


async def list_jobs(store: Store, statuses: Iterable[str] = (), limit: int = 50, *, cursor: str = "") -> JobPage:
    """The jobs whose status changed last, up to 1,000. Raises UsageError, NotProvisionedError."""
    filters = Filters(statuses=Filters.parse(statuses).statuses, handlers=frozenset({JOB_HANDLER}))
    page = await list_workflows(store, filters, limit, cursor=cursor)
    progress = await jobs.load_progress_of(store, [each.invocation_id for each in page.workflows])
    views = [_view(each, progress.get(each.invocation_id, JobProgress())) for each in page.workflows]
    return JobPage(views, page.total, page.next_cursor)


async def get_job(store: Store, job_id: str) -> JobView:
    """Raises NotFoundError, NotProvisionedError."""
    try:
        workflow = await get_workflow(store, job_id, steps=_HEAD)
    except NotProvisionedError:
        raise
    except NotFoundError:
        raise _not_found(job_id) from None
    return await _with_progress(store, workflow)


async def _with_progress(store: Store, workflow: WorkflowView) -> JobView:
    if workflow.handler != JOB_HANDLER:
        raise _not_found(workflow.invocation_id)
    found = await jobs.load_progress_of(store, [workflow.invocation_id])
    return _view(workflow, found.get(workflow.invocation_id, JobProgress()))


async def watch_job(store: Store, job_id: str) -> AsyncGenerator[JobView, None]:
    """The job as it stands, then again after every batch and every change of its status, until it has ended."""
    view = await get_job(store, job_id)
    yield view
    if view.has_ended or await stream_info(store, store.subjects.jobs_stream) is None:
        return
    changed: asyncio.Queue[WorkflowView | None] = asyncio.Queue()

    async def follow_workflow() -> None:
        async with contextlib.aclosing(watch_workflow(store, job_id)) as views:
            async for each in views:
                changed.put_nowait(each)

    async def follow_progress() -> None:
        subject = jobs.progress_subject(store, job_id)
        async with follow(store, store.subjects.jobs_stream, [subject]) as feed:
            async for _ in feed:
                changed.put_nowait(None)

    following = [asyncio.create_task(follow_workflow()), asyncio.create_task(follow_progress())]
    try:
        workflow = view.workflow
        while not view.has_ended:
            workflow = await _next(changed, following) or workflow
            while not changed.empty():
                workflow = changed.get_nowait() or workflow
            view = await _with_progress(store, workflow)
            yield view
    finally:
        for each in following:
            each.cancel()
        await asyncio.gather(*following, return_exceptions=True)


async def _next(
    changed: asyncio.Queue[WorkflowView | None], following: list[asyncio.Task[None]]
) -> WorkflowView | None:
    """The next change; raises what ends one of the feeds."""
    getting = asyncio.ensure_future(changed.get())
    try:
        await asyncio.wait([getting, *following], return_when=asyncio.FIRST_COMPLETED)
        for each in following:
            if each.done():
                each.result()
        return await getting
    finally:
        getting.cancel()


async def job_reports(
    store: Store, job_id: str, outcomes: Iterable[ItemOutcome] = (ItemOutcome.FAILED,)
) -> AsyncIterator[ItemReport]:
    """Why workflows did not change, in the order in which the job came to them. Raises NotFoundError."""
    await get_job(store, job_id)
    wanted = frozenset(outcomes)
    async for report in jobs.load_reports(store, job_id):
        if report.outcome in wanted:
            yield report


def _view(workflow: WorkflowView, progress: JobProgress) -> JobView:
    try:
        spec = JobSpec.from_json(workflow.input)
    except UnreadableError:
        spec = None
    return JobView(workflow, spec, progress)


def _not_found(job_id: str) -> NotFoundError:
    return NotFoundError(f"There is no job {job_id}.", hint="List them with `durablectl jobs list`.")
