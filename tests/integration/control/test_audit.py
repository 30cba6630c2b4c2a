"""The audit trail: who changed what, recorded before it takes effect, kept when the workflow is gone."""

from __future__ import annotations

import contextlib
import itertools
import json

import pytest

from durablectl import Client, control, query, workflow
from durablectl.errors import AlreadyExistsError, InvalidStateError, PermissionDeniedError
from durablectl.model.audit import ACTOR, Actor, AuditRecord, local_user
from durablectl.storage.connection.rejections import StorageFullError
from durablectl.storage.records import audit, states
from durablectl.storage.streams.provision import provision, stream_config
from helpers import operations
from helpers.http_api import http_api
from helpers.in_process import running_processor
from helpers.workflow_runs import start_workflow, wait_for_outcome


@pytest.fixture
async def streams(store):
    await provision(store)


pytestmark = pytest.mark.usefixtures("streams")


@workflow
async def asking(ctx):
    return await ctx.awakeable("approval")


def told(records) -> list[tuple[str, str, str]]:
    return [(record.action, record.invocation_id or record.target, record.refused) for record in records]


async def test_each_change_is_recorded_once_with_its_actor(store):
    await start_workflow(store, "h", id="a")
    await control.pause(store, "a", "look at it")
    await control.pause(store, "a")  # changes nothing
    await control.resume(store, "a")
    await control.signal(store, "a", "go", 1)
    await control.resolve(store, "a.approval", 1)
    await control.cancel(store, "a", "oops")
    await control.retry(store, "a")
    await control.cancel(store, "a", now=True)
    await control.restart(store, "a")
    await control.delete(store, "a")
    found = await query.list_audit(store, "a")
    actions = ["start", "pause", "resume", "signal", "resolve", "cancel", "retry", "cancel", "restart", "delete"]
    assert told(found) == [(action, "a", "") for action in actions]
    assert {(record.actor.name, record.actor.via, record.handler) for record in found} == {(local_user(), "sdk", "h")}
    assert [record.reason for record in found if record.reason] == ["look at it", "oops"]
    assert found[3].details == {"name": "go"}
    assert found[4].details == {"awakeable_id": "a.approval"}
    assert found[7].details == {"now": True}
    assert all(earlier.at <= later.at for earlier, later in itertools.pairwise(found))
    assert await states.load(store, "a") is None


async def test_a_change_is_stored_in_the_trail_before_it_takes_effect(store, monkeypatch):
    await start_workflow(store, "h", id="a")
    replace = states.replace
    seen: list[list[str]] = []

    async def look_first(*args, **options):
        seen.append([record.action for record in await query.list_audit(store, "a")])
        return await replace(*args, **options)

    monkeypatch.setattr(states, "replace", look_first)
    await control.pause(store, "a")
    assert seen == [["start", "pause"]]


async def test_a_refusal_after_the_record_is_recorded_too(store):
    await start_workflow(store, "h", id="a")
    with pytest.raises(AlreadyExistsError):
        await start_workflow(store, "h", id="a")
    with pytest.raises(InvalidStateError):
        await control.delete(store, "a")  # refused before anything was recorded
    assert told(await query.list_audit(store, "a")) == [
        ("start", "a", ""),
        ("start", "a", ""),
        ("start", "a", "already_exists"),
    ]


async def test_schedules_and_jobs_are_recorded(store):
    await control.create_schedule(store, "nightly", "h", cron="0 3 * * *")
    await control.pause_schedule(store, "nightly")
    await control.pause_schedule(store, "nightly")
    await control.resume_schedule(store, "nightly")
    started = await control.trigger_schedule(store, "nightly")
    job_id = await control.start_job(store, "cancel", [started], reason="flood")
    await control.delete_schedule(store, "nightly")
    verbs = ("create", "pause", "resume", "trigger")
    assert told(await query.list_audit(store, action="schedule")) == [
        *((f"schedule.{verb}", "nightly", "") for verb in verbs),
        ("schedule.delete", "nightly", ""),
    ]
    (job,) = await query.list_audit(store, action="job.start")
    assert (job.target, job.reason, job.details["operation"], job.details["total"]) == (job_id, "flood", "cancel", 1)


async def test_a_job_changes_in_the_name_of_who_started_it(settings, store):
    async with running_processor(settings, asking, runs_jobs=True):
        ids = [await start_workflow(store, asking) for _ in range(3)]
        token = ACTOR.set(Actor("ann@laptop", "cli"))
        job_id = await control.start_job(store, "cancel", ids)
        ACTOR.reset(token)
        await wait_for_outcome(store, job_id)
    for each in ids:
        changed = await query.list_audit(store, each, action="cancel")
        assert [record.actor for record in changed] == [Actor("ann@laptop", "job", job_id)]


async def test_http_requests_are_recorded_with_user_and_address(settings, store):
    await start_workflow(store, "h", id="a")
    async with http_api(settings) as http:
        answer = await http.post("/api/workflows/a/pause?reason=web", headers={"Authorization": "Basic YW5uOng="})
        assert answer.status == 200
        (record,) = (await http.get("/api/audit?name=a&action=pause")).json["changes"]
    assert (record["actor"], record["via"], record["address"]) == ("ann", "http", "127.0.0.1")
    assert (record["invocation_id"], record["handler"], record["reason"]) == ("a", "h", "web")


async def test_filters_of_the_trail(settings, store):
    for number in range(5):
        await start_workflow(store, "h", id=f"w{number}")
    token = ACTOR.set(Actor("Ann@laptop", "cli"))
    await control.pause(store, "w1")
    ACTOR.reset(token)
    async with Client(url=settings.url, namespace=settings.namespace) as client:
        assert told(await client.audit(actor="ann@")) == [("pause", "w1", "")]
        assert told(await client.audit(limit=2)) == [("start", "w4", ""), ("pause", "w1", "")]
        everything = await client.audit(limit=None)
        assert len(everything) == 6
    at = everything[2].at
    assert len(await query.list_audit(store, since=at)) == 4
    assert len(await query.list_audit(store, until=at)) == 2
    assert await query.list_audit(store, "nothing") == []


async def test_a_trail_that_cannot_be_written_warns_and_changes(store, monkeypatch, caplog):
    await start_workflow(store, "h", id="a")

    async def full(*_):
        raise StorageFullError("There is no room.")

    monkeypatch.setattr(store.requests, "send", full)
    await audit.write(store, AuditRecord("pause", Actor("ann")))
    await audit.write(store, AuditRecord("pause", Actor("ann")))
    monkeypatch.undo()
    assert caplog.text.count("Changes are not recorded in the audit trail") == 1
    assert (await control.pause(store, "a")).changed


@pytest.mark.parametrize("may_pause", [True, False])
async def test_denied_trail_is_warned_of_only_where_the_change_was_made(store, monkeypatch, caplog, may_pause):
    await start_workflow(store, "h", id="a")
    send, replace = store.requests.send, states.replace

    async def denied(subject, *rest, **options):
        if subject.startswith(store.subjects.audit("a")):
            raise PermissionDeniedError("These credentials may not publish.")
        return await send(subject, *rest, **options)

    async def refused(*args, **options):
        if not may_pause:
            raise PermissionDeniedError("These credentials may not publish.")
        return await replace(*args, **options)

    monkeypatch.setattr(store.requests, "send", denied)
    monkeypatch.setattr(states, "replace", refused)
    with contextlib.nullcontext() if may_pause else pytest.raises(PermissionDeniedError):
        await control.pause(store, "a")
    assert caplog.text.count("Changes are not recorded in the audit trail") == may_pause


async def test_the_first_change_makes_the_trail_which_skips_foreign_messages(store):
    assert await stream_config(store, store.subjects.audit_stream) is None
    await start_workflow(store, "h", id="a")
    config = await stream_config(store, store.subjects.audit_stream)
    assert (config["discard"], config["deny_delete"], config["deny_purge"]) == ("old", True, True)
    for data in (b"", b"no JSON", b"[]", b'{"action": 1, "details": []}'):
        await store.requests.publish(store.subjects.audit("a"), data)
    assert [record.action for record in await query.list_audit(store, "a")] == ["start", ""]


async def test_audit_command_shows_who_changed_what(settings):
    async with operations.operator_cli(settings) as desk:
        one = await desk.start_in_status("suspended")
        await desk.ok("wf", "pause", one, "--reason", "later")
        rows = [line.split("\t") for line in (await desk.ok("audit", one)).splitlines()]
        assert [row[5] for row in rows][-1] == "pause"
        assert rows[0][5:8] == ["ACTION", "OF", "HANDLER"]
        assert rows[-1][9] == "later"
        assert await desk.ok("audit", "--actor", "nobody-of-that-name") == ""
        changes = json.loads(await desk.ok("wf", "get", one, "--history", "--json"))["changes"]
        assert changes[-1]["action"] == "pause"
        assert "later" in await desk.ok("wf", "get", one, "--history")
        refused = await desk.cli("audit", "--since", "1h", "--until", "2h")
        assert (refused.exit_code, refused.stdout) == (2, "")


async def test_details_keep_step_zero_and_long_or_odd_texts_are_stored(store):
    await start_workflow(store, "h", id="a")
    await control.cancel(store, "a", "lone \udcff surrogate")
    await control.retry(store, "a", from_step=0)
    await control.reject(store, "a.approval", "x" * 500_000)
    cancelled, retried, rejected = (await query.list_audit(store, "a"))[1:]
    assert cancelled.reason == "lone \\udcff surrogate"
    assert retried.details == {"from_step": 0}
    assert len(rejected.details["error"]) == 1000


async def test_a_failure_to_record_does_not_end_the_trail(store, monkeypatch):
    def full(*_):
        raise StorageFullError("There is no room.")

    await start_workflow(store, "h", id="a")
    monkeypatch.setattr(audit, "answer_of", full)
    await control.pause(store, "a")
    monkeypatch.undo()
    await control.resume(store, "a")
    assert [record.action for record in await query.list_audit(store, "a")][-1] == "resume"
