"""Streams of events under strain: many clients, slow ones, an outage, and the end of the service."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import tracemalloc

import pytest

import durablectl.http.server as server_module
from durablectl import control
from durablectl.embedded import EmbeddedServer
from durablectl.http import asgi, event_broadcast, listener
from durablectl.settings import Settings
from helpers.event_streams import resuming, streaming
from helpers.http_api import http_api
from helpers.in_process import provisioned_store
from helpers.stored_records import write_state
from helpers.tail import consumers, no_consumers
from helpers.waiting import wait_until
from helpers.workflow_runs import start_workflow


@pytest.fixture
def hub(monkeypatch):
    """That of the service that the test starts: ``hub()._subscriptions`` are its clients."""
    made = []

    class Kept(event_broadcast.EventBroadcast):
        def __init__(self, backend) -> None:
            super().__init__(backend)
            made.append(self)

    monkeypatch.setattr(asgi, "EventBroadcast", Kept)
    return lambda: made[0]


async def test_a_thousand_clients_share_one_watch_and_little_memory(settings, store, hub):
    await start_workflow(store, "h", id="a")
    async with http_api(settings, heartbeat_seconds=60) as http, contextlib.AsyncExitStack() as stack:
        streams = []

        async def has_one_consumer() -> bool:
            """After a pause of a busy machine the watch makes its consumer again."""
            return len(await consumers(store)) == 1

        async def join(number: int) -> None:
            target = "/api/events" if number % 2 else "/api/workflows/a/events"
            streams.append(stream := await stack.enter_async_context(streaming(http, target)))
            assert (await stream.next()).name == "snapshot"

        async def told(times: int) -> None:
            """Each change reaches all."""
            for status in ("paused", "pending") * times:
                await (control.pause if status == "paused" else control.resume)(store, "a")
                changes = await asyncio.gather(*(stream.next() for stream in streams))
                assert {(change.name, change.data["status"]) for change in changes} == {("change", status)}

        for number in range(0, 1000, 50):
            await asyncio.gather(*(join(number + n) for n in range(50)))
        assert len(hub()._subscriptions) == 1000
        await wait_until(has_one_consumer)
        tracemalloc.start()
        try:
            await told(1)
            before = _held()
            await told(3)
            assert _held() - before < 1_000_000
        finally:
            tracemalloc.stop()
        await wait_until(has_one_consumer)


def _held() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def test_a_client_that_goes_away_frees_its_place_at_once(settings, store, hub):
    await start_workflow(store, "h", id="a")
    async with http_api(settings) as http:
        for target in ("/api/events", "/api/workflows/a/events"):
            async with streaming(http, target) as stream:
                await stream.next()
                assert len(hub()._subscriptions) == 1
            await wait_until(lambda: not hub()._subscriptions)


async def test_slow_client_is_notified_and_can_resume(settings, store, hub, monkeypatch):
    monkeypatch.setattr(event_broadcast, "_MAX_CHANGES", 10)
    async with http_api(settings) as http:
        slow = streaming(http, "/api/events", receive_buffer=128 * 1024)
        async with slow as stream, streaming(http, "/api/events") as quick:
            first = await stream.next()
            assert (await quick.next()).id == first.id
            revisions = []
            while len(hub()._subscriptions) == 2 and not any(s._is_too_slow for s in hub()._subscriptions):
                revisions.append(await write_state(store, "a", "x" * 500_000))
                assert (await quick.next()).id == revisions[-1]
            # What a slow one leaves is dropped: nothing is held for it.
            assert max(len(subscription._items) for subscription in hub()._subscriptions) <= 10
            *changes, error = await stream.rest()
        assert (error.name, error.id, error.data["code"]) == ("error", None, "too_slow")
        ids = [change.id for change in changes]
        assert ids == revisions[: len(ids)]
        assert len(ids) < len(revisions)
        async with streaming(http, "/api/events", resuming(stream.last_id)) as stream:
            assert (await stream.next()).id == revisions[-1]


async def test_many_bytes_are_too_much_as_well(settings, store, hub, monkeypatch):
    monkeypatch.setattr(event_broadcast, "_MAX_BYTES", 100_000)
    await write_state(store, "a", "x" * 90_000)
    async with http_api(settings) as http, streaming(http, "/api/events") as stream:
        await stream.next()
        [subscription] = hub()._subscriptions
        row = event_broadcast.ChangedRow(view=None, json=b"x" * 200_000)
        subscription.add(row)
        assert not subscription._is_too_slow  # one alone is never too much
        subscription.add(row)
        assert (await stream.rest())[-1].data["code"] == "too_slow"


@pytest.mark.skipif(not hasattr(listener.socket, "TCP_USER_TIMEOUT"), reason="only Linux drops them")
async def test_a_client_that_never_reads_is_dropped(settings, store, hub, monkeypatch):
    monkeypatch.setattr(listener, "_STALLED_MILLISECONDS", 1000)
    monkeypatch.setattr(event_broadcast, "_MAX_CHANGES", 5)
    async with http_api(settings) as http, streaming(http, "/api/events", receive_buffer=4096):
        await wait_until(lambda: hub()._subscriptions)

        async def is_gone() -> bool:
            await write_state(store, "a", "x" * 500_000)
            return not hub()._subscriptions

        await wait_until(is_gone)


async def test_event_stream_reports_outage_and_misses_nothing(tmp_path):
    with EmbeddedServer(tmp_path) as server:
        settings = Settings(url=server.url, timeout=5)
        async with provisioned_store(settings) as store, http_api(settings) as http:
            await start_workflow(store, "h", id="a")
            async with streaming(http, "/api/events") as every, streaming(http, "/api/workflows/a/events") as one:
                assert [(await stream.next()).name for stream in (every, one)] == ["snapshot", "snapshot"]
                server.kill()
                for stream in (every, one):
                    lost = await stream.next()
                    assert (lost.name, lost.data) == ("connection", {"status": "lost"})
                for target in ("/api/events", "/api/workflows/a/events"):
                    assert (await http.get(target)).status == 503
                await asyncio.to_thread(server.start)
                await wait_until(lambda: store.is_connected)
                await control.pause(store, "a")
                for stream in (every, one):
                    told = sorted([await stream.next(), await stream.next()], key=lambda event: event.name)
                    assert [event.name for event in told] == ["change", "connection"]
                    assert (told[0].data["status"], told[1].data) == ("paused", {"status": "restored"})
                async with streaming(http, "/api/events", resuming(0)) as stream:
                    assert (await stream.next()).data["status"] == "paused"


@pytest.mark.parametrize("target", ["/api/events", "/api/workflows/a/events"])
async def test_the_streams_end_with_the_service(settings, store, target, monkeypatch):
    """By themselves: they are not cut off after the grace that other requests have."""
    monkeypatch.setattr(server_module, "_GRACE_SECONDS", 3600)
    await start_workflow(store, "h", id="a")
    async with contextlib.AsyncExitStack() as stack:
        async with http_api(settings) as http:
            streams = [await stack.enter_async_context(streaming(http, target)) for _ in range(20)]
            for stream in streams:
                await stream.next()
        for stream in streams:
            assert await stream.rest() == []
    await wait_until(lambda: no_consumers(store))


async def test_openapi_describes_the_event_streams(settings):
    async with http_api(settings) as http:
        described = (await http.get("/openapi.json")).json
    for path, codes in (
        ("/api/events", {"200", "400", "404", "503"}),
        ("/api/workflows/{invocation_id}/events", {"200", "204", "400", "404", "503"}),
    ):
        route = described["paths"][path]["get"]
        assert codes <= set(route["responses"])
        assert {"last-event-id", "last_event_id"} <= {each["name"] for each in route["parameters"]}
        [(kind, content)] = route["responses"]["200"]["content"].items()
        assert kind == "text/event-stream"
        assert all(set(route["responses"][code]["content"]) == {"application/json"} for code in ("400", "404", "503"))
        assert {"snapshot", "change", "connection", "error"} <= set(content["x-events"])
        assert content["example"].startswith("retry: 2000\n\nevent: snapshot\n")
        for name in ("Workflow", "Row"):
            assert name in described["components"]["schemas"]
