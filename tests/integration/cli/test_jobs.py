"""Bulk commands in the background, and `durablectl jobs`, on the command line."""

from __future__ import annotations

import asyncio
import json

import pytest

from durablectl import control, query
from durablectl.cli.main import app
from helpers.in_process import running_processor
from helpers.json_schemas import check
from helpers.operations import UNSERVED_HANDLER
from helpers.workflow_runs import start_workflow, wait_for_outcome

HANDLER = ("--handler", UNSERVED_HANDLER)
WAITS = "No live processor carries out jobs: it waits until one is started (durablectl run processor)"


@pytest.fixture
def invoke(runner):
    async def run(*args):
        return await asyncio.to_thread(runner.invoke, app, [*args])

    return run


@pytest.fixture
async def five(store):
    return [await start_workflow(store, UNSERVED_HANDLER, id=f"w{index}") for index in range(5)]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr("durablectl.cli.bulk.BACKGROUND_OVER", 3)


async def by_status(store):
    return (await query.get_stats(store)).by_status


@pytest.mark.usefixtures("five")
async def test_background_job_is_named_and_changes_nothing_by_itself(store, invoke):
    done = await invoke("wf", "pause", *HANDLER, "--yes", "--background", "--reason", "lunch")
    assert done.exit_code == 0, done.stderr
    job_id = done.stdout.strip()
    assert f"A job will pause 5 workflows; follow it: durablectl jobs watch {job_id}" in done.stderr
    assert WAITS in done.stderr
    assert await by_status(store) == {"pending": 5}
    view = await query.get_job(store, job_id)
    assert view.spec is not None
    assert (view.spec.reason, view.total) == ("lunch", 5)
    assert "@" in view.spec.actor


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("option", ["--foreground", "--no-background"])
async def test_many_workflows_are_a_job_unless_told_otherwise(store, invoke, five, option):
    shown = await invoke("wf", "pause", *HANDLER, "--dry-run")
    assert "Would pause 5 workflows as a background job. Nothing was changed." in shown.stderr
    refused = await invoke("wf", "pause", *HANDLER)
    assert refused.exit_code == 2
    assert "This would pause 5 workflows as a background job; nothing was changed." in refused.stderr
    by_ids = await invoke("wf", "pause", *five[:3])
    assert len(by_ids.stdout.splitlines()) == 3
    done = await invoke("wf", "resume", *five, option)
    assert len(done.stdout.splitlines()) == 5
    assert (await invoke("wf", "cancel", *HANDLER, "--yes")).stdout.startswith("job-")
    assert await by_status(store) == {"pending": 5}


@pytest.mark.usefixtures("five", "few")
async def test_job_over_many_selects_them_itself(settings, store, invoke):
    done = await invoke("wf", "pause", *HANDLER, "--yes", "--reason", "lunch")
    assert done.exit_code == 0, done.stderr
    job_id = done.stdout.strip()
    assert f"A job will pause 5 workflows; follow it: durablectl jobs watch {job_id}" in done.stderr
    shown = await invoke("jobs", "get", job_id)
    assert "Operation\tpause what matches" in shown.stdout
    assert "pending: 0 selected so far; it waits for a processor" in shown.stdout
    (value,) = check("jobs-get", (await invoke("jobs", "get", job_id, "--json")).stdout)
    assert (value["is_selecting"], value["total"]) == (True, 0)
    async with running_processor(settings, runs_jobs=True):
        await wait_for_outcome(store, job_id)
    assert "completed: 5 of 5 done" in (await invoke("jobs", "get", job_id)).stdout
    read = await invoke("wf", "resume", *HANDLER, "--reason", "lunch", "--yes", "--background")
    assert "A job will resume what matches; follow it" in read.stderr
    assert "durablectl jobs watch" in read.stderr


@pytest.mark.usefixtures("five")
async def test_what_waits_for_each_workflow_is_no_job(store, invoke):
    done = await invoke("wf", "cancel", *HANDLER, "--yes", "--background", "--wait")
    assert done.exit_code == 2
    assert "A job cannot do this: --wait waits for each workflow." in done.stderr
    assert (await query.list_jobs(store)).total == 0


@pytest.mark.usefixtures("five", "few")
async def test_cancel_that_waits_stays_in_the_foreground(store, invoke):
    done = await invoke("wf", "cancel", *HANDLER, "--yes", "--wait")
    assert len(done.stdout.splitlines()) == 5
    assert await by_status(store) == {"cancelled": 5}


async def test_job_is_shown_with_its_failures(settings, store, invoke, five):
    job_id = await control.start_job(store, "pause", [*five, "nowhere"], actor="ada@desk")
    async with running_processor(settings, runs_jobs=True):
        await wait_for_outcome(store, job_id)
        listed = (await invoke("jobs", "list")).stdout.splitlines()
        assert listed[0].split("\t")[:5] == ["ID", "OPERATION", "STATUS", "TOTAL", "DONE"]
        assert listed[1].split("\t")[:5] == [job_id, "pause", "completed", "6", "6"]
        assert (await invoke("jobs", "list", "-o", "name")).stdout == f"{job_id}\n"
        assert (await invoke("jobs", "list", "--status", "running", "--json")).stdout.count(job_id) == 0
        page = (await invoke("jobs", "get", job_id)).stdout
        assert "Started by\tada@desk" in page
        assert "Progress\tcompleted: 6 of 6 done (1 failed), in " in page
        failures = await invoke("jobs", "get", job_id, "--failures", "-o", "jsonl")
        (report,) = map(json.loads, failures.stdout.splitlines())
        assert (report["invocation_id"], report["code"]) == ("nowhere", "not_found")
        table = await invoke("jobs", "get", job_id, "--failures")
        assert table.stdout == "nowhere\tfailed\tnot_found\tThere is no workflow nowhere.\n"
        assert "None" in (await invoke("jobs", "get", job_id, "--skipped")).stderr
        watched = await invoke("jobs", "watch", job_id, "--exit-status")
        assert (watched.exit_code, json.loads(watched.stdout)["status"]) == (6, "completed")


async def test_job_is_steered_and_errors_are_sentences(store, invoke, five):
    job_id = await control.start_job(store, "pause", five)
    assert (await invoke("jobs", "pause", job_id)).stdout == "Paused.\n"
    assert (await invoke("jobs", "pause", job_id)).stdout == "It was paused already.\n"
    resumed = await invoke("jobs", "resume", job_id)
    assert (resumed.stdout, WAITS in resumed.stderr) == ("Resumed.\n", True)
    assert (await invoke("jobs", "cancel", job_id, "--reason", "a mistake")).stdout == "Cancelled.\n"
    assert (await invoke("jobs", "watch", job_id, "--exit-status")).exit_code == 11
    assert (await invoke("jobs", "resume", job_id)).exit_code == 7
    for command in ("get", "watch", "pause", "resume", "cancel"):
        missing = await invoke("jobs", command, five[0])
        assert missing.exit_code == 3
        assert f"There is no job {five[0]}." in missing.stderr
    assert "No jobs." in (await invoke("jobs", "list", "--status", "running")).stderr


@pytest.mark.usefixtures("store")
async def test_reserved_handler_cannot_be_started(invoke):
    for args in (("wf", "start", "durablectl-job"), ("schedule", "create", "s", "durablectl-job", "--every", "1h")):
        refused = await invoke(*args)
        assert refused.exit_code == 2
        assert "'durablectl-job' is reserved" in refused.stderr
