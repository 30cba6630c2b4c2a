"""Bulk jobs whose processors or clients die: nothing is changed twice, and the counts are right."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from durablectl import control, query
from durablectl.model.filters import Filters
from durablectl.storage.connection.crash_points import EXIT_CODE, VARIABLE
from durablectl.storage.records import states
from helpers.paths import APPS
from helpers.processor_processes import alive, kill
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_outcome, wait_for_status

if TYPE_CHECKING:
    from durablectl.query import JobView
    from durablectl.storage.connection.store import Store

PROCESSOR = ("run", "processor", str(APPS / "every_state_app.py"), "--grace", "0")


async def failed(store: Store, number: int) -> list[str]:
    ids = [await start_workflow(store, "raising") for _ in range(number)]
    for each in ids:
        await wait_for_status(store, each, "failed")
    return ids


async def ended(store: Store, job_id: str) -> JobView:
    await wait_for_outcome(store, job_id)
    return await query.get_job(store, job_id)


async def restarts(store: Store) -> Counter[str]:
    page = await query.list_workflows(store, Filters(handlers=frozenset({"raising"})), 1000)
    return Counter(view.restarted_from for view in page.workflows if view.restarted_from)


async def test_killed_processor_leaves_its_job_to_another(store, spawn):
    first = spawn(*PROCESSOR)
    await alive(store, first)
    ids = await failed(store, 60)
    job_id = await control.start_job(store, "retry", ids, rate=40)

    async def has_begun() -> bool:
        return (await query.get_job(store, job_id)).progress.position >= 10

    await wait_until(has_begun)
    second = spawn(*PROCESSOR)
    await alive(store, second)
    kill(first)
    view = await ended(store, job_id)
    assert (view.status, view.progress.changed, view.progress.failed) == ("completed", 60, 0)
    for each in ids:
        assert len((await wait_for_status(store, each, "failed")).history) == 1
    stored = await states.load_many(store, ids)
    assert {tuple(each.execution.changed_by_jobs) for each in stored.values()} == {(job_id,)}


@pytest.mark.timeout(900)
async def test_dying_at_each_write_of_a_job_repeats_no_restart(store, spawn, tmp_path):
    """Each place in turn kills the processor of a job of its own; a processor that is started anew ends it."""
    trace = tmp_path / "trace"
    calm = spawn(*PROCESSOR, env={VARIABLE: f"?{trace}"})
    await alive(store, calm)
    ids = await failed(store, 2)
    await ended(store, await control.start_job(store, "restart", [*ids, "nowhere"]))
    kill(calm)
    traced = dict.fromkeys(trace.read_text().split())
    # The stream of jobs is made once.
    reached = [each for each in traced if each.startswith(("system.", "control.")) and "prepare" not in each]
    assert len(reached) >= 6, reached
    moments = [f"{each}:{moment}" for each in reached for moment in ("before", "after")]
    moments += [f"{each}@2" for each in moments if "_wait_for_server" in each and "replace_progress" in each]
    expected = Counter(ids)
    for place in moments:
        job_id = await control.start_job(store, "restart", [*ids, "nowhere"])
        doomed = spawn(*PROCESSOR, env={VARIABLE: place})
        await wait_until(lambda: doomed.poll() is not None, detail=lambda: place)  # noqa: B023  # called at once
        assert doomed.returncode == EXIT_CODE, (place, doomed.err())
        heir = spawn(*PROCESSOR)
        view = await ended(store, job_id)
        kill(heir)
        expected.update(ids)
        about = (place, view.to_json())
        assert (view.status, view.progress.changed, view.progress.failed) == ("completed", 2, 1), about
        assert await restarts(store) == expected, about
        reports = [each async for each in query.job_reports(store, job_id)]
        assert [each.invocation_id for each in reports] == ["nowhere"], about


@pytest.mark.timeout(900)
async def test_dying_at_each_write_of_a_selection_selects_each_once(store, spawn, tmp_path):
    """Each place in turn kills the processor of a job that selects; another one ends it."""
    trace = tmp_path / "trace"
    filters = Filters(statuses=frozenset({"failed"}), handlers=frozenset({"raising"}))
    calm = spawn(*PROCESSOR, env={VARIABLE: f"?{trace}"})
    await alive(store, calm)
    ids = await failed(store, 3)
    await ended(store, await control.start_job(store, "retry", None, filters=filters))
    for each in ids:
        await wait_for_status(store, each, "failed")
    kill(calm)
    reached = [each for each in dict.fromkeys(trace.read_text().split()) if "_store_part" in each or "_select" in each]
    assert reached
    for place in [f"{each}:{moment}" for each in reached for moment in ("before", "after")]:
        job_id = await control.start_job(store, "retry", None, filters=filters)
        doomed = spawn(*PROCESSOR, env={VARIABLE: place})
        await wait_until(lambda: doomed.poll() is not None, detail=lambda: place)  # noqa: B023  # called at once
        assert doomed.returncode == EXIT_CODE, (place, doomed.err())
        heir = spawn(*PROCESSOR)
        view = await ended(store, job_id)
        for each in ids:
            await wait_for_status(store, each, "failed")
        kill(heir)
        about = (place, view.to_json())
        assert (view.status, view.total, view.progress.changed) == ("completed", 3, 3), about


@pytest.mark.parametrize("operation", ["delete", "pause"])
async def test_job_survives_the_death_of_the_client_that_started_it(store, spawn, operation):
    ids = [await start_workflow(store, "nobodys", id=f"w{index}") for index in range(20)]
    if operation == "delete":
        for each in ids:
            await control.cancel(store, each)
    client = spawn("wf", operation, "--handler", "nobodys", "--yes", "--background")
    await asyncio.to_thread(client.wait_for_output, "job-")
    if client.poll() is None:
        os.killpg(client.pid, signal.SIGKILL)
    job_id = client.out().strip()
    await alive(store, spawn(*PROCESSOR))
    view = await ended(store, job_id)
    assert (view.status, view.progress.changed) == ("completed", 20)


async def test_client_that_dies_before_the_start_changes_nothing(store, spawn, tmp_path):
    ids = [await start_workflow(store, "nobodys", id=f"w{index}") for index in range(3)]
    await alive(store, spawn(*PROCESSOR))
    trace = tmp_path / "trace"
    command = ("wf", "pause", "--handler", "nobodys", "--yes", "--background")
    client = spawn(*command, env={VARIABLE: f"?{trace}"})
    assert await asyncio.to_thread(client.wait, 60) == 0, client.err()
    point = next(each for each in trace.read_text().split() if each.startswith("control.jobs._store_ids"))
    await ended(store, client.out().strip())
    for each in ids:
        await control.resume(store, each)
    dying = spawn(*command, env={VARIABLE: f"{point}:after"})
    assert await asyncio.to_thread(dying.wait, 60) == EXIT_CODE, dying.err()
    assert (await query.list_jobs(store)).total == 1
    assert (await query.count_workflows(store, Filters(statuses=frozenset({"paused"})))) == 0
