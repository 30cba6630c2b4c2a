"""The streams of events: a snapshot, every change, and going on where a client left off."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from durablectl import control, query, workflow
from durablectl.control import StartRequest
from durablectl.http import event_broadcast
from durablectl.storage.index import index_entries
from helpers.event_streams import resuming, streaming
from helpers.http_api import http_api
from helpers.in_process import running_processor
from helpers.stored_records import write_state
from helpers.tail import consumers, no_consumers
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow, wait_for_status


@pytest.fixture
async def api(settings, store):  # noqa: ARG001  # which makes the streams
    async with http_api(settings, heartbeat_seconds=0.3) as http:
        yield http


def note(text: str) -> str:
    return text


@workflow
async def asking(ctx, user: str) -> str:
    noted = await ctx.step(note, user)
    answer = await ctx.awakeable("answer")
    return f"{noted}: {answer}"


async def test_stream_follows_running_workflow_to_its_end(settings, store, api):
    async with running_processor(settings, asking):
        name = await start_workflow(store, asking, "Ada")
        waiting = (await wait_for_status(store, name, "suspended")).waiting_for
        async with streaming(api, f"/api/workflows/{name}/events") as stream:
            assert stream.status == 200
            snapshot = await stream.next()
            assert snapshot.data == (await api.get(f"/api/workflows/{name}")).json
            assert [step["step_type"] for step in snapshot.data["journal"]] == ["note", "awakeable:answer"]
            await control.resolve(store, waiting.awaited_id, "yes")
            *changes, end = await stream.rest()
    assert (snapshot.name, end.name, {change.name for change in changes}) == ("snapshot", "end", {"change"})
    last = changes[-1]
    assert (last.data["status"], last.data["output"]) == ("completed", "Ada: yes")
    assert last.data == (await api.get(f"/api/workflows/{name}")).json
    assert end.data == {"invocation_id": name, "status": "completed", "revision": last.id}
    ids = [event.id for event in (snapshot, *changes)]
    assert ids == sorted(set(ids)) == [event.data["revision"] for event in (snapshot, *changes)]


async def test_response_is_an_uncached_event_stream(store, api):
    await start_workflow(store, "h", id="a")
    for target in ("/api/events", "/api/workflows/a/events"):
        async with streaming(api, target, {"Accept-Encoding": "gzip"}) as stream:
            await stream.next()
            assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert stream.headers["cache-control"] == "no-store"
            assert stream.headers["x-accel-buffering"] == "no"
            assert "content-encoding" not in stream.headers
            assert stream.retry == 2000


async def test_ended_workflow_is_sent_once(store, api):
    await start_workflow(store, "h", id="a")
    await control.cancel(store, "a")
    async with streaming(api, "/api/workflows/a/events") as stream:
        snapshot, end = await stream.rest()
    assert (snapshot.data["status"], end.data["status"]) == ("cancelled", "cancelled")
    again = await api.get("/api/workflows/a/events", resuming(stream.last_id))
    assert (again.status, again.body) == (204, b"")
    assert (await api.get(f"/api/workflows/a/events?last_event_id={end.id}")).status == 204


async def test_stream_resumes_at_the_last_event_id(store, api):
    await start_workflow(store, "h", id="a")
    async with streaming(api, "/api/workflows/a/events") as stream:
        first = await stream.next()
    async with streaming(api, "/api/workflows/a/events", resuming(first.id)) as stream:
        await wait_until(lambda: consumers(store))
        await control.pause(store, "a")
        paused = await stream.next()
    await control.resume(store, "a")
    await control.cancel(store, "a")
    async with streaming(api, "/api/workflows/a/events", resuming(paused.id)) as stream:
        cancelled, end = await stream.rest()
    told = [(event.name, event.data["status"]) for event in (first, paused, cancelled, end)]
    assert told == [("snapshot", "pending"), ("change", "paused"), ("change", "cancelled"), ("end", "cancelled")]


async def test_a_deleted_workflow_ends(store, api):
    await start_workflow(store, "h", id="a")
    bucket = await store.nats.jetstream().key_value(store.subjects.state_bucket)
    async with streaming(api, "/api/workflows/a/events") as stream:
        await stream.next()
        await bucket.delete("a")
        [end] = await stream.rest()
    assert (end.name, end.data["status"]) == ("end", "deleted")


@pytest.mark.parametrize(
    ("target", "status", "message"),
    [
        ("/api/workflows/nobody/events", 404, "There is no workflow nobody."),
        ("/api/workflows/a%00b/events", 400, "invocation id"),
        ("/api/events?last_event_id=x1", 400, "'x1'"),
        ("/api/events?last_event_id=99999999999999999999", 400, "cannot be used"),
        ("/api/events?status=gone", 400, "no status 'gone'"),
        ("/api/events?since=2h", 400, "no parameter 'since'"),
    ],
)
async def test_bad_request_is_an_error_without_stream(api, target, status, message):
    answer = await api.get(target)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    assert message in answer.error["message"]


async def test_a_namespace_without_streams_is_not_found(settings):
    async with http_api(settings) as http:
        answer = await http.get("/api/events")
    assert (answer.status, answer.error["code"]) == (404, "not_provisioned")


@pytest.mark.parametrize(
    ("about", "expected"),
    [
        ("", [("b", "paused"), ("a", "cancelled"), ("a", "deleted")]),
        ("handler=other", [("b", "paused")]),
        ("handler=h", [("a", "cancelled"), ("a", "deleted")]),
        ("status=paused&status=pending", [("b", "paused")]),
        ("partition_key=p&status=cancelled", [("a", "cancelled")]),
    ],
)
async def test_only_matching_changes_are_sent(store, api, about, expected):
    for name, handler, key in (("a", "h", "p"), ("b", "other", "q")):
        await control.start(store, StartRequest(handler, None, name, partition_key=key))
    async with streaming(api, f"/api/events?{about}") as stream:
        snapshot = await stream.next()
        listed = (await api.get(f"/api/workflows?{about}")).json
        assert snapshot.data == {"workflows": listed["workflows"], "total": listed["total"]}
        await control.pause(store, "b")
        row = (await query.get_workflow(store, "b")).to_json()
        await control.cancel(store, "a")
        await control.delete(store, "a")
        changes = await stream.many(len(expected))
    assert [(change.data["invocation_id"], change.data["status"]) for change in changes] == expected
    assert [change.data["handler"] for change in changes] == ["other" if name == "b" else "h" for name, _ in expected]
    assert all(change.data.items() <= row.items() for change in changes if change.data["status"] == "paused")


async def test_only_the_deleted_begin_with_nothing(store, api):
    await start_workflow(store, "h", id="a")
    async with streaming(api, "/api/events?status=deleted") as stream:
        assert (await stream.next()).data == {"workflows": [], "total": 0}


async def test_deletion_is_sent_regardless_of_filters(settings, store):
    await start_workflow(store, "h", id="a")
    await control.cancel(store, "a")
    revision = (await query.get_workflow(store, "a")).revision
    await control.delete(store, "a")
    async with http_api(settings) as http, streaming(http, "/api/events?handler=h", resuming(revision)) as stream:
        gone = await stream.next()
    assert (gone.data["invocation_id"], gone.data["handler"], gone.data["status"]) == ("a", None, "deleted")


async def test_heartbeats_advance_the_id_past_filtered_changes(store, api):
    async with streaming(api, "/api/events?handler=nobodys") as stream:
        snapshot = await stream.next()
        revision = await write_state(store, "a")
        reading = asyncio.create_task(stream.next())
        await wait_until(lambda: stream.heartbeats >= 3 and stream.last_id == revision)
        assert snapshot.id < revision
        assert not reading.done()
        reading.cancel()
        await asyncio.wait([reading])


async def test_event_id_of_another_server_restarts_with_a_snapshot(store, api):
    revision = await write_state(store, "a")
    for target in ("/api/events", "/api/workflows/a/events"):
        async with streaming(api, target, resuming(revision + 1000)) as stream:
            assert (await stream.next()).name == "snapshot"


@pytest.mark.parametrize("target", ["/api/events", "/api/workflows/w0/events"])
@pytest.mark.parametrize("seed", range(2))
async def test_stream_cut_anywhere_resumes_without_gap_or_repeat(store, api, target, seed):
    """While others write. Of what was written while nobody listened, the last change of each workflow counts."""
    chance = random.Random(seed)
    written = {f"w{number}": [await write_state(store, f"w{number}")] for number in range(6)}

    async def writes() -> int:
        for number in itertools.count():
            if number >= 250 and connections > 10:
                break
            name = chance.choice(list(written))
            written[name].append(await write_state(store, name, str(chance.random())))
            await asyncio.sleep(chance.choice([0, 0, 0.002, 0.02]))
        written["w0"].append(await write_state(store, "w0", "end"))
        return written["w0"][-1]

    told: list[tuple[str, int]] = []
    async with streaming(api, target) as stream:
        last_id = (await stream.next()).id
    before = last_id
    writing = asyncio.create_task(writes())
    connections = 0
    while not writing.done() or last_id < writing.result():
        connections += 1
        async with streaming(api, target, resuming(last_id)) as stream:
            for _ in range(chance.randrange(5) if not writing.done() else 1000):
                event = await stream.next()
                told.append((event.data["invocation_id"], event.id))
                last_id = event.id
                if event.data["owner"] == "end":  # The writer itself may not have its answer yet.
                    await writing
                    break
    revisions = [revision for _, revision in told]
    assert revisions == sorted(set(revisions))
    assert revisions[0] > before
    assert all(revision in written[name] for name, revision in told)
    assert dict(told) == {name: written[name][-1] for name in (["w0"] if "w0" in target else written)}


async def test_snapshot_includes_workflows_being_indexed(store, api, monkeypatch):
    """A state is stored a moment before its entry is."""
    settle, seconds = index_entries.update_entry, 0.02

    async def settle_later(*args) -> None:
        await asyncio.sleep(seconds)
        await settle(*args)

    monkeypatch.setattr(index_entries, "update_entry", settle_later)
    await start_workflow(store, "h", id="a")
    for steer in (control.pause, control.resume) * 5:
        revision = (await query.get_workflow(store, "a")).revision
        steering = asyncio.create_task(steer(store, "a"))
        while (changed := (await query.get_workflow(store, "a")).revision) == revision:
            await asyncio.sleep(0)
        async with streaming(api, "/api/events") as stream:
            [row] = (await stream.next()).data["workflows"]
            assert row["revision"] >= changed
        await steering


async def test_the_watch_of_the_server_ends_some_time_after_the_last_client(settings, store, monkeypatch):
    monkeypatch.setattr(event_broadcast, "_LINGER_SECONDS", 0.5)
    async with http_api(settings) as http:
        assert await consumers(store) == []
        for _ in range(2):
            async with streaming(http, "/api/events") as stream:
                await stream.next()
                assert len(await consumers(store)) == 1
            await wait_until(lambda: no_consumers(store))
