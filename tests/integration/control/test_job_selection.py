"""Jobs that select their workflows themselves: which, each once, through moves, refusals and interruptions."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from durablectl import control, query
from durablectl.errors import NotFoundError, UsageError
from durablectl.model.filters import Filters
from durablectl.model.jobs import JobProgress, JobSpec
from durablectl.model.status import ACTIVE
from durablectl.storage.records import jobs
from durablectl.system.job_selection import start_job_matching
from helpers.in_process import running_processor
from helpers.operations import UNSERVED_HANDLER
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome

if TYPE_CHECKING:
    from durablectl.query import JobView
    from durablectl.storage.connection.store import Store

PENDING = Filters(frozenset({"pending"}), frozenset({UNSERVED_HANDLER}))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Chunks, parts of the walk and comparisons so small that a few workflows make several of each."""
    monkeypatch.setattr("durablectl.storage.records.jobs._IDS_PER_CHUNK", 7)
    monkeypatch.setattr("durablectl.query.selection._ENTRIES_AT_ONCE", 5)
    monkeypatch.setattr("durablectl.system.job_selection._COMPARED_AT_ONCE", 9)


@pytest.fixture(params=[10_000_000, 0], ids=["beside", "walked"])
def unsettled(request, monkeypatch):
    """Whether the workflows count as moving, or as settled in the index."""
    monkeypatch.setattr("durablectl.system.job_selection._UNSETTLED", request.param)


async def pending(store: Store, *numbers: int) -> list[str]:
    return [await start_workflow(store, UNSERVED_HANDLER, id=f"w{index:02}") for index in range(*numbers)]


async def ended(store: Store, job_id: str) -> JobView:
    await wait_for_outcome(store, job_id)
    return await query.get_job(store, job_id)


async def with_status(store: Store, status: str) -> set[str]:
    page = await query.list_workflows(store, Filters(frozenset({status})), 1000)
    return {each.invocation_id for each in page.workflows}


@pytest.mark.usefixtures("unsettled")
async def test_job_selects_what_matched_when_it_was_started(settings, store):
    ids = await pending(store, 23)
    await control.cancel(store, ids[0], now=True)
    job_id = await control.start_job(store, "pause", None, filters=PENDING)
    await pending(store, 23, 26)
    view = await query.get_job(store, job_id)
    assert (view.is_selecting, view.total, view.eta_seconds) == (True, 0, None)
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert (view.status, view.is_selecting, view.total) == ("completed", False, 22)
    assert (view.progress.changed, view.progress.skipped, view.progress.failed) == (22, 0, 0)
    assert await with_status(store, "paused") == {*ids[1:]}
    assert await with_status(store, "pending") == {"w23", "w24", "w25"}
    assert await jobs.load_chunk(store, job_id, 0) is None


@pytest.mark.usefixtures("unsettled")
async def test_what_moves_meanwhile_is_selected_once(settings, store, monkeypatch):
    ids = await pending(store, 23)
    job_id = await control.start_job(store, "cancel", None, filters=replace(PENDING, statuses=ACTIVE), now=True)
    store_chunk, moved = jobs.store_chunk, iter(ids[::2])

    async def store_and_move(*args):
        for each in [next(moved, None), next(moved, None)]:
            if each is not None:
                await control.pause(store, each)
        return await store_chunk(*args)

    monkeypatch.setattr("durablectl.storage.records.jobs.store_chunk", store_and_move)
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert (view.total, view.progress.changed, view.progress.unchanged) == (23, 23, 0)
    assert await with_status(store, "cancelled") == {*ids}


async def test_what_came_into_status_later_is_not_selected(settings, store):
    ids = await pending(store, 12)
    for each in ids[:8]:
        await control.pause(store, each)
    job_id = await control.start_job(store, "resume", None, filters=replace(PENDING, statuses=frozenset({"paused"})))
    for each in ids[8:]:
        await control.pause(store, each)
    async with running_processor(settings, runs_jobs=True):
        assert (await ended(store, job_id)).total == 8
    assert await with_status(store, "paused") == {*ids[8:]}


@pytest.mark.parametrize(
    "filters",
    [
        Filters(reason="lunch"),
        Filters(id_prefix="w0", statuses=frozenset({"paused"})),
        Filters(since=1, statuses=frozenset({"paused"})),
    ],
)
@pytest.mark.usefixtures("unsettled")
async def test_job_selects_by_filters_that_read_records(settings, store, filters):
    ids = await pending(store, 10)
    for each in ids[:-1]:
        await control.pause(store, each, "lunch")
    await pending(store, 10, 14)
    job_id = await control.start_job(store, "resume", None, filters=filters)
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert (view.total, view.progress.changed) == (9, 9)
    assert await with_status(store, "paused") == set()


async def test_job_for_nothing_ends_without_a_change(settings, store):
    await pending(store, 3)
    job_id = await control.start_job(store, "resume", None, filters=Filters(reason="none such"))
    async with running_processor(settings, runs_jobs=True):
        view = await ended(store, job_id)
    assert (view.status, view.total, view.is_selecting) == ("completed", 0, False)


async def test_cancelled_selection_changes_nothing_and_keeps_no_ids(settings, store, monkeypatch):
    await pending(store, 23)
    store_chunk, begun, go = jobs.store_chunk, asyncio.Event(), asyncio.Event()

    async def held(*args):
        begun.set()
        await go.wait()
        return await store_chunk(*args)

    monkeypatch.setattr("durablectl.storage.records.jobs.store_chunk", held)
    job_id = await control.start_job(store, "pause", None, filters=PENDING)
    async with running_processor(settings, runs_jobs=True):
        await begun.wait()
        await control.cancel_job(store, job_id)
        go.set()
        assert (await ended(store, job_id)).status == "cancelled"
    assert await with_status(store, "paused") == set()

    async def are_gone() -> bool:
        return await jobs.load_chunk(store, job_id, 0) is None

    await wait_until(are_gone)


async def test_paused_selection_goes_on_at_its_cursor(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.system.job_selection._UNSETTLED", 0)
    monkeypatch.setattr("durablectl.system.bulk_jobs._LOOK_SECONDS", 0)
    await pending(store, 23)
    store_chunk, numbers = jobs.store_chunk, []

    async def recorded(*args):
        numbers.append(args[2])
        if len(numbers) == 2:
            await control.pause_job(store, job_id)
        return await store_chunk(*args)

    monkeypatch.setattr("durablectl.storage.records.jobs.store_chunk", recorded)
    job_id = await control.start_job(store, "pause", None, filters=PENDING)
    async with running_processor(settings, runs_jobs=True):

        async def is_at_rest() -> bool:
            view = await query.get_job(store, job_id)
            return view.status == "paused" and not view.workflow.owner

        await wait_until(is_at_rest)
        view = await query.get_job(store, job_id)
        assert view.is_selecting
        assert 0 < view.total < 23
        assert await with_status(store, "paused") == set()
        before = len(numbers)
        await control.resume_job(store, job_id)
        view = await ended(store, job_id)
    assert (view.total, view.progress.changed) == (23, 23)
    assert 0 not in numbers[before:]


async def test_chunk_of_processor_that_was_replaced_is_refused(store):
    await jobs.store_ids(store, "job-x", ["w0"], 7)
    revision = await jobs.replace_progress(store, "job-x", JobProgress(), 0)
    assert await jobs.store_chunk(store, "job-x", 0, ["w1"], revision)
    await jobs.replace_progress(store, "job-x", JobProgress(selected=1), revision)
    assert not await jobs.store_chunk(store, "job-x", 0, ["w2"], revision)
    assert await jobs.load_chunk(store, "job-x", 0) == ["w1"]


async def test_programs_leave_many_matches_to_the_job(settings, store, monkeypatch):
    monkeypatch.setattr("durablectl.system.job_selection.SELECTED_AT_ONCE", 4)
    ids = await pending(store, 5)
    few = await start_job_matching(store, "pause", replace(PENDING, id_prefix="w00"))
    assert (await query.get_job(store, few)).spec.selects_at
    many = await start_job_matching(store, "cancel", PENDING)
    assert (await query.get_job(store, many)).is_selecting
    with pytest.raises(NotFoundError, match="No workflow matches"):
        await start_job_matching(store, "pause", replace(PENDING, handlers=frozenset({"nothing"})))
    await control.cancel_job(store, few)
    async with running_processor(settings, runs_jobs=True):
        assert (await ended(store, many)).progress.changed == len(ids)


async def test_selecting_job_needs_filters(store):
    with pytest.raises(UsageError, match="none were given"):
        await control.start_job(store, "pause", None)


def test_spec_of_given_ids_is_readable_by_earlier_versions():
    spec = JobSpec("pause", 1, 1000).to_json()
    assert not {"selects_at", "state_sequence"} & spec.keys()
    assert JobSpec.from_json(replace(JobSpec("pause", 0, 9), selects_at=5, state_sequence=7).to_json()).selects_at == 5
