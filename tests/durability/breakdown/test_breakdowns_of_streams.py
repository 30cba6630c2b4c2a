"""Streams and messages that are lost: named by status, doctor and why, and restored by the command they give."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from durablectl.cli.main import app
from durablectl.storage.streams.provision import stream_config
from helpers.breakdowns import seem_to_search
from helpers.waiting import wait_until

OURS = ["commands_stream", "index_stream", "processors_stream"]
"""Those that come back with what belongs in them."""
ASIDE = ["jobs_stream", "audit_stream"]
"""Those that come back empty, with the next job or change."""
READING = [
    "status",
    "doctor",
    "wf list",
    "wf list --count",
    "wf list --scan",
    "wf get parcel-1",
    "wf get parcel-1 --history",
    "wf why parcel-1",
    "wf timeline parcel-1",
    "wf stats",
    "wf errors",
    "wf tail --since 1h --limit 1",
    "processors",
    "schedule list",
    "schedule get nightly",
    "jobs list",
    "jobs get {job}",
    "audit",
]
WITHOUT_RECORDS = {"status": 1, "doctor": 1, "processors": 0, "audit": 0}
"""Every other command says that the records are gone."""


async def delete_stream(store, name):
    await store.requests.call(f"{store.api}.STREAM.DELETE.{getattr(store.subjects, name)}")


async def exists(store, name):
    return await stream_config(store, getattr(store.subjects, name)) is not None


async def set_up(broken):
    """A processor, a workflow that waits, a schedule, a job that was carried out, and what was recorded of these."""
    process = await broken.running_processor()
    await broken.start("deliver", "parcel-1", "parcel-2")
    await broken.run("schedule", "create", "nightly", "remind", "--every", "1h", "--input", "1")
    await broken.run("wf", "pause", "parcel-2", "--background")
    await broken.ended("parcel-2", status="paused")
    (job,) = json.loads(await broken.run("jobs", "list", "--json"))["jobs"]
    await broken.group("waiting_for_person", count=1, handler="deliver")
    return process, job["job_id"]


async def read_everything(runner, job):
    """The exit code and output of every command that reads; none of them ends in a traceback."""
    answers = {}
    for line in READING:
        done = await asyncio.to_thread(runner.invoke, app, line.format(job=job).split())
        assert "Traceback" not in done.output, (line, done.output)
        assert "bug in durablectl" not in done.output, (line, done.output)
        answers[line] = (done.exit_code, done.stdout, done.stderr)
    return answers


def stop(process):
    process.interrupt()
    process.wait()


@pytest.mark.parametrize("name", OURS)
async def test_lost_stream_is_named_and_created_by_the_command(broken, store, runner, name):
    process, job = await set_up(broken)
    stop(process)
    await delete_stream(store, name)
    stream = getattr(store.subjects, name)
    group = await broken.group("stream_lost", severity="error", stream=stream)
    check = await broken.doctor_finds("streams", "error")
    assert check["differences"] == {stream: ["it does not exist"]}
    assert (await broken.why("parcel-1"))["cause"] == "waiting"
    answers = await read_everything(runner, job)
    assert {line for line, (code, _, _) in answers.items() if code} == {"status", "doctor"}
    assert "parcel-1" in answers["wf list"][1]
    assert (stream in answers["processors"][2]) == (name == "processors_stream")
    await broken.follow(group)  # doctor --repair --streams
    assert await exists(store, name)
    await broken.running_processor()
    await broken.until_gone("stream_lost")
    for check in ("streams", "index", "calls", "work"):
        await broken.doctor_finds(check, "ok")
    await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
    await broken.ended("parcel-1")


@pytest.mark.parametrize("name", OURS)
async def test_running_processor_creates_what_it_needs(broken, store, name):
    await set_up(broken)
    await delete_stream(store, name)
    await wait_until(lambda: exists(store, name))
    for check in ("streams", "processors", "index", "calls", "work"):
        await broken.doctor_finds(check, "ok")
    await broken.run("wf", "signal", "parcel-1", "delivered", "--data", "1")
    await broken.ended("parcel-1")


async def test_starting_processor_creates_and_fills_a_lost_index(broken, store):
    process, _ = await set_up(broken)
    stop(process)
    await delete_stream(store, "index_stream")
    await broken.running_processor()
    await broken.doctor_finds("index", "ok")
    assert (await broken.status())["moving"]["by_status"] == {"suspended": 1, "paused": 1}


@pytest.mark.parametrize("name", ASIDE)
async def test_lost_stream_of_jobs_or_audit_stops_nothing(broken, store, runner, name):
    _, job = await set_up(broken)
    await delete_stream(store, name)
    answers = await read_everything(runner, job)
    assert not {line for line, (code, _, _) in answers.items() if code}
    await broken.run("wf", "resume", "parcel-2", "--background")
    await broken.ended("parcel-2", status="suspended")
    assert await exists(store, name)
    assert "resume" in await broken.run("audit")
    assert len(json.loads(await broken.run("jobs", "list", "--json"))["jobs"]) == 2


async def test_job_whose_list_is_lost_fails_with_that_reason(broken, store):
    process, done = await set_up(broken)
    os.killpg(process.pid, signal.SIGSTOP)  # so that it takes the job once the stream is gone
    await broken.run("wf", "pause", "parcel-1", "parcel-2", "--background")
    await delete_stream(store, "jobs_stream")
    os.killpg(process.pid, signal.SIGCONT)

    async def has_failed():
        jobs = json.loads(await broken.run("jobs", "list", "--json"))["jobs"]
        return [job for job in jobs if job["job_id"] != done and job["status"] == "failed"]

    (job,) = await wait_until(has_failed, every=0.2, detail=process.err)
    assert f"{store.subjects.jobs_stream} was deleted" in await broken.run("jobs", "get", job["job_id"])
    why = await broken.why(job["job_id"])
    assert "Start another job" in why["verdict"]
    await broken.run("wf", "resume", "parcel-2", "--background")
    await broken.ended("parcel-2", status="suspended")


async def test_lost_records_are_named_before_and_after_their_stream_is_created(broken, store, runner):
    process, job = await set_up(broken)
    stop(process)
    await delete_stream(store, "state_stream")
    stream = store.subjects.state_stream
    group = await broken.group("stream_lost", severity="error", stream=stream)
    assert group["commands"][0]["command"] == "durablectl doctor"
    assert "Restore" in await broken.follow(group)
    assert (await broken.doctor_finds("streams", "error"))["hint"].startswith(f"Restore {stream} from a backup first")
    for line, (code, out, err) in (await read_everything(runner, job)).items():
        assert code == WITHOUT_RECORDS.get(line, 3), (line, code, out, err)
        if code == 3:
            assert f"The stream {stream}, which holds the workflows, does not exist" in err, (line, err)
            assert "Restore it from a backup" in err
    await broken.running_processor()
    group = await broken.group("records_lost", severity="error", stream=stream)
    assert "parcel-1" in await broken.follow(group)  # doctor
    code, _, err = await broken.said("wf", "why", "parcel-1")
    assert (code, "parcel-1" in err) == (3, True)
    await broken.follow(group, 1)  # doctor --repair --forget-lost
    await broken.until_gone("records_lost")
    await broken.doctor_finds("index", "ok")
    await broken.start("deliver", "parcel-3")
    await broken.group("waiting_for_person", count=1, handler="deliver")


async def test_schedule_without_message_or_handler_is_dead(broken, store):
    await broken.running_processor()
    await broken.run("schedule", "create", "nightly", "remind", "--every", "1h", "--input", "1")
    assert "schedule_dead" not in await broken.codes()
    searching = asyncio.create_task(seem_to_search(store))
    purged = {"filter": store.subjects.recurrence("nightly")}  # of a stream that is purged whole, processors notice it
    await store.requests.call(f"{store.api}.STREAM.PURGE.{store.subjects.commands_stream}", purged)
    group = await broken.group("schedule_dead", schedule="nightly", severity="error")
    await broken.doctor_names("schedule_dead")
    assert group["examples"] == ["nightly"]
    await broken.follow(group)  # doctor --repair
    await broken.until_gone("schedule_dead")
    await broken.run("schedule", "delete", "nightly")
    await broken.run("schedule", "create", "weekly", "report", "--every", "1h")
    group = await broken.group("schedule_dead", schedule="weekly", handler="report")
    await broken.doctor_names("schedule_dead")
    await broken.follow(group, 1)
    await broken.until_gone("schedule_dead")
    searching.cancel()
