"""Bulk jobs: what they change, skip and report; paused, resumed, cancelled; without a processor, beside hung work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from durablectl import Client, Retry, TerminalError, control, query, workflow
from durablectl.errors import InvalidValueError, NotFoundError, PermissionDeniedError, UsageError
from durablectl.model.filters import Filters
from durablectl.model.jobs import ItemOutcome
from durablectl.model.names import JOB_HANDLER
from durablectl.storage.records import jobs, states
from durablectl.system.job_selection import start_job_matching
from helpers.in_process import running_processor
from helpers.operations import UNSERVED_HANDLER, busy, release
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from durablectl.query import JobView
    from durablectl.storage.connection.store import Store


@workflow
async def refusing(_):
    raise ValueError("no such shop")


async def pending(store: Store, number: int) -> list[str]:
    """Ids of workflows that wait for a processor which never comes."""
    return [await start_workflow(store, UNSERVED_HANDLER, id=f"w{index}") for index in range(number)]


async def ended(store: Store, job_id: str) -> JobView:
    await wait_for_outcome(store, job_id)
    return await query.get_job(store, job_id)


async def moved(store: Store, job_id: str, least: int = 1) -> JobView:
    async def has_moved() -> JobView | None:
        view = await query.get_job(store, job_id)
        return view if view.progress.position >= least else None

    view: JobView = await wait_until(has_moved)
    return view


async def count(store: Store, status: str) -> int:
    return (await query.get_stats(store)).by_status.get(status, 0)


def counts(view: JobView) -> tuple[int, int, int, int]:
    progress = view.progress
    return progress.changed, progress.unchanged, progress.skipped, progress.failed


async def test_each_workflow_is_counted_by_what_became_of_it(settings, store):
    ids = await pending(store, 5)
    await control.pause(store, ids[0])
    async with running_processor(settings, runs_jobs=True):
        job_id = await control.start_job(store, "pause", [*ids, "nowhere"], reason="lunch", actor="ada@desk")
        view = await ended(store, job_id)
    assert (view.status, view.total, view.left) == ("completed", 6, 0)
    assert counts(view) == (4, 1, 0, 1)
    assert view.spec is not None
    assert (view.spec.actor, view.spec.reason) == ("ada@desk", "lunch")
    assert {(await query.get_workflow(store, each)).reason for each in ids[1:]} == {"lunch"}
    (report,) = [each async for each in query.job_reports(store, job_id)]
    assert (report.invocation_id, report.outcome, report.code) == ("nowhere", ItemOutcome.FAILED, "not_found")
    assert report.message == "There is no workflow nowhere."


async def test_workflow_that_no_longer_matches_is_skipped(settings, store):
    ids = await pending(store, 4)
    filters = Filters(statuses=frozenset({"pending"}))
    job_id = await control.start_job(store, "pause", ids, filters=filters)
    await control.cancel(store, ids[0])
    await control.cancel(store, ids[1])
    await control.delete(store, ids[1])
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert counts(view) == (2, 0, 2, 0)
    reports = [each async for each in query.job_reports(store, job_id, [ItemOutcome.SKIPPED])]
    assert {(each.invocation_id, each.code) for each in reports} == {
        (ids[0], "no_longer_matches"),
        (ids[1], "not_found"),
    }
    assert (await query.get_workflow(store, ids[0])).status == "cancelled"


async def test_job_waits_for_a_processor_and_says_so(settings, store):
    ids = await pending(store, 3)
    assert not await control.can_run_jobs(store)
    job_id = await control.start_job(store, "cancel", ids)
    view = await query.get_job(store, job_id)
    assert (view.status, view.is_unserved, view.eta_seconds) == ("pending", True, None)
    async with running_processor(settings, runs_jobs=True):
        assert await control.can_run_jobs(store)
        assert counts(await ended(store, job_id)) == (3, 0, 0, 0)
    assert await count(store, "cancelled") == 3


async def test_processor_without_jobs_takes_none(settings, store):
    ids = await pending(store, 1)
    async with running_processor(settings, busy):
        assert not await control.can_run_jobs(store)
        job_id = await control.start_job(store, "pause", ids)
        assert (await query.get_job(store, job_id)).is_unserved


async def test_paused_job_changes_nothing_until_it_is_resumed(settings, store):
    ids = await pending(store, 60)
    async with running_processor(settings, runs_jobs=True):
        job_id = await control.start_job(store, "pause", ids, rate=20)
        await moved(store, job_id)
        assert (await control.pause_job(store, job_id)).changed

        async def is_let_go() -> bool:
            return not (await query.get_workflow(store, job_id)).owner

        await wait_until(is_let_go)
        view = await query.get_job(store, job_id)
        assert (view.status, view.progress.is_open) == ("paused", False)
        assert 0 < view.progress.position < 60
        assert await count(store, "paused") == view.progress.position
        assert not (await control.pause_job(store, job_id)).changed
        assert (await control.resume_job(store, job_id)).changed
        assert counts(await ended(store, job_id)) == (60, 0, 0, 0)
    assert await count(store, "paused") == 60


async def test_cancelled_job_keeps_what_it_has_changed(settings, store):
    ids = await pending(store, 60)
    async with running_processor(settings, runs_jobs=True):
        job_id = await control.start_job(store, "pause", ids, rate=20)
        await moved(store, job_id)
        await control.cancel_job(store, job_id, "a mistake")
        view = await ended(store, job_id)
    assert view.status == "cancelled"
    assert view.workflow.reason == "a mistake"
    assert await count(store, "paused") == view.progress.position < 60
    assert await jobs.load_chunk(store, job_id, 0) is None


async def test_job_cancelled_before_it_began_changes_nothing(settings, store):
    ids = await pending(store, 3)
    job_id = await control.start_job(store, "cancel", ids)
    await control.cancel_job(store, job_id)
    async with running_processor(settings, runs_jobs=True):
        assert (await ended(store, job_id)).status == "cancelled"
    assert await count(store, "pending") == 3
    assert await jobs.load_chunk(store, job_id, 0) is None


async def test_job_runs_although_every_slot_hangs(settings, store):
    async with running_processor(settings, busy, runs_jobs=True, max_concurrent=1) as processor:
        hung = await start_workflow(store, busy, "hung", id="hung")
        await wait_for_status(store, hung, "running")
        await wait_until(lambda: processor.processor._active_runs.free("busy") == 0)
        job_id = await control.start_job(store, "cancel", [hung], now=True)
        assert counts(await ended(store, job_id)) == (1, 0, 0, 0)
        assert (await query.get_workflow(store, hung)).status == "cancelled"
        release("hung")


async def test_jobs_are_left_out_of_lists_and_counts(settings, store):
    ids = await pending(store, 2)
    async with running_processor(settings, runs_jobs=True):
        job_id = await control.start_job(store, "pause", ids)
        await ended(store, job_id)
        page = await query.list_workflows(store)
        assert {view.invocation_id for view in page.workflows} == {*ids}
        assert page.total == await query.count_workflows(store) == 2
        stats = await query.get_stats(store)
        assert (stats.total, [*stats.by_handler]) == (2, [UNSERVED_HANDLER])
        asked = await query.list_workflows(store, Filters(handlers=frozenset({JOB_HANDLER})))
        assert [view.invocation_id for view in asked.workflows] == [job_id]
        listed = await query.list_jobs(store)
        assert ([view.job_id for view in listed.jobs], listed.total) == ([job_id], 1)
        (processor,) = await query.live_processors(store)
        assert JOB_HANDLER not in processor.handlers


async def test_retried_workflows_are_retried_once_each(settings, store):
    async with running_processor(settings, refusing, runs_jobs=True):
        ids = [await start_workflow(store, refusing) for _ in range(30)]
        for each in ids:
            await wait_for_status(store, each, "failed")
        job_id = await control.start_job(store, "retry", ids)
        assert counts(await ended(store, job_id)) == (30, 0, 0, 0)
        for each in ids:
            view = await wait_for_status(store, each, "failed")
            assert len(view.history) == 1
    stored = await states.load_many(store, ids)
    assert {tuple(each.execution.changed_by_jobs) for each in stored.values()} == {(job_id,)}


async def test_watch_follows_a_job_to_its_end(settings, store):
    ids = await pending(store, 30)
    seen: list[JobView] = []

    async def watch(job_id: str) -> None:
        seen.extend([view async for view in query.watch_job(store, job_id)])

    job_id = await control.start_job(store, "pause", ids, rate=40)
    watching = asyncio.create_task(watch(job_id))
    async with running_processor(settings, runs_jobs=True):
        await ended(store, job_id)
        await watching
    assert (seen[-1].status, seen[-1].progress.position) == ("completed", 30)
    positions = [view.progress.position for view in seen]
    assert positions == sorted(positions)
    assert len(set(positions)) > 2


async def test_reports_beyond_the_bound_are_counted_and_not_kept(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.system.bulk_jobs._REPORTS_KEPT", 150)
    monkeypatch.setattr("durablectl.storage.records.jobs._IDS_PER_CHUNK", 70)
    ids = [f"none{index}" for index in range(320)]
    job_id = await control.start_job(store, "pause", ids)
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert counts(view) == (0, 0, 0, 320)
    reports = [each async for each in query.job_reports(store, job_id)]
    assert len(reports) == view.progress.kept == 150
    assert len({each.invocation_id for each in reports}) == 150


async def test_what_is_no_job_is_not_found_as_one(store):
    (other,) = await pending(store, 1)
    for job_id in ("job-none", other):
        with pytest.raises(NotFoundError, match=f"There is no job {job_id}"):
            await query.get_job(store, job_id)
        with pytest.raises(NotFoundError, match=f"There is no job {job_id}"):
            await control.pause_job(store, job_id)
    with pytest.raises(UsageError, match="no bulk operation 'explode'"):
        await control.start_job(store, "explode", [other])
    with pytest.raises(UsageError, match="none were given"):
        await control.start_job(store, "pause", [])


async def test_old_jobs_and_lists_of_jobs_that_never_began_are_removed(settings, store, monkeypatch):
    ids = await pending(store, 2)
    await jobs.store_ids(store, "job-never", ids, 1000)
    async with running_processor(settings, runs_jobs=True):
        old = await control.start_job(store, "pause", [*ids, "nowhere"])
        await ended(store, old)
        assert await jobs.load_chunk(store, "job-never", 0) == ids
        monkeypatch.setattr("durablectl.system.bulk_jobs._KEPT_SECONDS", 0)
        monkeypatch.setattr("durablectl.system.bulk_jobs._UNSTARTED_SECONDS", 0)
        new = await control.start_job(store, "resume", ids)
        await ended(store, new)
    assert [view.job_id for view in (await query.list_jobs(store)).jobs] == [new]
    assert await jobs.load_chunk(store, "job-never", 0) is None
    assert [each async for each in jobs.load_reports(store, old)] == []


async def test_failed_job_goes_on_where_it_was_when_it_is_retried(settings, store, monkeypatch):
    ids = await pending(store, 5)
    real = jobs.replace_progress

    async def refused(*_):
        raise TerminalError("no")

    async with running_processor(settings, runs_jobs=True):
        monkeypatch.setattr(jobs, "replace_progress", refused)
        job_id = await control.start_job(store, "pause", ids)
        assert (await ended(store, job_id)).status == "failed"
        monkeypatch.setattr(jobs, "replace_progress", real)
        await control.retry(store, job_id)
        assert counts(await ended(store, job_id)) == (5, 0, 0, 0)


async def test_processor_that_may_not_make_the_stream_of_jobs_runs_the_rest(settings, store, monkeypatch, caplog):
    async def refused(*_, **__):
        raise PermissionDeniedError("These credentials may not publish.")

    monkeypatch.setattr("durablectl.system.workflows.provision_jobs", refused)
    async with running_processor(settings, refusing, runs_jobs=True):
        await wait_for_status(store, await start_workflow(store, refusing), "failed")
    assert "Bulk jobs cannot be started until their stream is made" in caplog.text


@workflow
async def backing_off(ctx):
    return await ctx.step(refuse_once, ctx.invocation_id, retry=Retry(initial=3600, jitter=0))


refused_once: set[str] = set()


async def refuse_once(key: str) -> str:
    if key not in refused_once:
        refused_once.add(key)
        raise ConnectionError("not yet")
    return key


async def are_listed(store, number):
    return (await query.get_stats(store)).by_status.get("suspended") == number


async def test_job_tries_now_what_waits_in_a_back_off(settings, store):
    async with running_processor(settings, backing_off, runs_jobs=True):
        ids = [await start_workflow(store, backing_off) for _ in range(5)]
        for each in ids:
            await wait_for_status(store, each, "suspended")
        await wait_until(lambda: are_listed(store, 5))
        job_id = await start_job_matching(store, "retry-now", Filters(handlers=frozenset({"backing_off"})))
        assert counts(await ended(store, job_id)) == (5, 0, 0, 0)
        for each in ids:
            await wait_for_status(store, each, "completed")


@pytest.mark.parametrize(
    ("operation", "parameters"), [("restart", {"from_step": 2}), ("pause", {"now": True}), ("delete", {"from_step": 0})]
)
async def test_a_job_refuses_a_parameter_of_another_operation(store, operation, parameters):
    with pytest.raises(UsageError):
        await control.start_job(store, operation, ["a"], **parameters)


async def test_a_job_with_odd_words_is_stored_or_refused_before_anything_is(settings, store):
    await control.start_job(store, "pause", ["a"], reason="lone \udcff surrogate", actor="\udcff@host")
    recorded = await query.list_audit(store)
    with pytest.raises(InvalidValueError):
        await control.start_job(store, "pause", ["a"], filters=Filters(error="\udcff"))
    assert await query.list_audit(store) == recorded
    async with Client(url=settings.url, namespace=settings.namespace) as client:
        with pytest.raises(UsageError):
            client.job_reports("job-1", "faild")
