"""Messages of strangers on every subject of ours: left out or set aside, and all else goes on."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict

import pytest
from typer.testing import CliRunner

from durablectl import control, query, workflow
from durablectl._proto import durable_pb2 as pb
from durablectl.cli.main import app
from durablectl.errors import UnreadableError
from durablectl.storage.index import index_entries
from durablectl.storage.records import leases, schedules
from durablectl.storage.records.leases import Lease
from helpers.http_api import http_api
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.stored_commands import count_commands
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, run_workflow

GARBAGE = [b"", b"\xff\xff", b"null", b"[" * 2_000, b'{"name": 7}', b'"text"', b"\x00" * 100]
INDEX = ["x", "running", "a.b.c", "running.h.20261122.12.00.00.~.*", "running.h.20261122.12.00.00.~.000001~*"]
INDEX += ["running.h.99999999.99.99.99.~.000001~w", "pending.>", "pending.h.20261122.12.00.00.~.1~w", "pending.*.*"]
INDEX += [f"completed.h.{day}.00.00.00.~.000000~w" for day in ("00010101", "20261132", "2026112", "-0261122")]


@workflow
async def echo(_ctx, value=None):
    return value


@pytest.fixture
def cli_json(environment):
    runner = CliRunner(env=environment)

    def ask(command: str):
        result = runner.invoke(app, [*command.split(), "--json"])
        assert result.exit_code == 0, (command, result.output)
        return json.loads(result.stdout)

    return lambda command: asyncio.to_thread(ask, command)


async def publish(store, subject: str, *more: bytes) -> None:
    for data in (*GARBAGE, *more):
        await store.requests.publish(subject, data)


async def test_in_the_index(store, settings, cli_json):
    prefix = store.subjects.index_stream_subjects[0].removesuffix(">")
    async with running_processor(settings, echo):
        ids = {(await run_to_end(store, echo, number)).invocation_id for number in range(3)}
        for invocation_id in ids:
            await wait_for_index_group(store, invocation_id, "completed")
        for rest in INDEX:
            await store.requests.publish(prefix + rest, b"junk")
        assert [name async for name in index_entries.list_indexed_ids(store, ["running"])] == ["w"]
        for options in (
            "",
            "--status completed",
            "--since 1h",
            "--until 2030-01-01",
            "--handler echo",
            "--oldest-first",
        ):
            listed = await cli_json(f"wf list {options}")
            assert {each["invocation_id"] for each in listed["workflows"]} == ids, options
        for command in ("wf stats", "wf stats --since 1h", "wf errors", "wf list --count"):
            await cli_json(command)
        assert await run_workflow(store, echo, "on") == "on"
    assert (await control.repair(store)).removed == len(INDEX)
    assert (await query.get_stats(store)).by_status == {"completed": 4}


async def test_in_the_bucket_of_processors(store, settings, cli_json):
    newer = {**asdict(Lease("newer", ["echo"])), "zone": "eu"}
    async with running_processor(settings, echo) as running:
        for key in ("odd", "stranger", "a.b", "x=y"):
            await publish(store, store.subjects.processor(key), b'{"processor_id": "odd", "handlers": 7, "slots": "x"}')
        await store.requests.publish(store.subjects.processor("newer"), json.dumps(newer).encode())
        assert {lease.processor_id for lease in await leases.live_processors(store)} == {running.id, "odd", "newer"}
        assert await leases.is_alive(store, "newer")
        assert not await leases.is_alive(store, "*")
        assert len((await cli_json("processors"))["processors"]) == 3
        assert await run_workflow(store, echo, 1) == 1
        await control.start(store, control.StartRequest("nobodys"))
        await cli_json("wf list")
        await query.diagnose(store)


async def test_among_the_schedules(store, settings, cli_json):
    await control.create_schedule(store, "good", "echo", every=3600)
    sound = json.loads((await schedules.load(store, "good"))[0].encode())
    broken = {
        "later": {**sound, "name": "later", "color": "red"},
        "other": sound,
        "odd": {**sound, "name": "odd", "every": "7"},
        "both": {**sound, "name": "both", "cron": "* * * * *"},
        "never": {**sound, "name": "never", "every": 0, "cron": "0 0 30 2 *"},
        "name": {**sound, "name": "name", "handler": "a b\r\nPUB x 0"},
        "list": [sound],
    }
    for name, value in broken.items():
        await store.requests.publish(store.subjects.schedule(name), json.dumps(value).encode())
    await publish(store, store.subjects.schedule("garbage"))
    assert [each["name"] for each in (await cli_json("schedule list"))["schedules"]] == ["good"]
    for name in (*broken, "garbage"):
        with pytest.raises(UnreadableError, match=f"The schedule {name} cannot be "):
            await control.pause_schedule(store, name)
        fire = pb.Command(invocation_id=name, handler="echo", kind="fire", schedule=name).SerializeToString()
        await store.requests.publish(store.subjects.fires("echo", name), fire)
    async with running_processor(settings, echo):
        assert await run_workflow(store, echo, 1) == 1
        await wait_until(lambda: all_but_the_timer(store))
    assert (await query.get_stats(store)).set_aside == len(broken) + 1
    for name in (*broken, "garbage"):
        await control.delete_schedule(store, name)
        assert await schedules.load(store, name) is None


async def all_but_the_timer(store) -> bool:
    return await count_commands(store) == 1


async def test_among_handlers_types_and_quarantined_commands(store, settings, cli_json):
    async with running_processor(settings, echo):
        await run_to_end(store, echo, {"n": 1})
        for subject in (
            store.subjects.handler("*"),
            store.subjects.handler("a b".replace(" ", "\u00e9")),
            store.subjects.handler(">"),
        ):
            await publish(store, subject)
        for subject in (
            store.subjects.type("shop.Order"),
            store.subjects.rejected("abc"),
            store.subjects.rejected("*"),
        ):
            await publish(store, subject)
        typed = pb.ExecutionState(invocation_id="t-1", handler="echo", status="completed", current_state=b"\x0a\x01x")
        typed.output_type = "shop.Order"
        await store.requests.publish(store.subjects.state("t-1"), typed.SerializeToString())
        assert (await cli_json("wf get t-1"))["output"] == {"1": "x"}
        assert (await cli_json("wf stats"))["by_handler"]["echo"] == 2
        await query.diagnose(store)
        assert await run_workflow(store, echo, 2) == 2


COMMANDS = {
    "another kind": pb.Command(invocation_id="c-1", handler="echo", kind="explode"),
    "a wake of nothing": pb.Command(invocation_id="c-2", handler="echo", kind="wake"),
    "a cancel of nothing": pb.Command(invocation_id="c-3", handler="echo", kind="cancel"),
}
ASIDE = {
    "no time": pb.Command(invocation_id="c-4", handler="echo", start_at=2**62),
    "no birth": pb.Command(invocation_id="c-5", handler="echo", created_at=-1),
    "no parent": pb.Command(invocation_id="c-6", handler="echo", parent_id="p", parent_handler="x y\r\nPUB a 0\r\n"),
    "no parent id": pb.Command(invocation_id="c-7", handler="echo", parent_id="*", parent_handler="echo"),
    "no schedule": pb.Command(invocation_id="c-8", handler="echo", kind="fire", schedule="*"),
    "too long": pb.Command(invocation_id="c" * 129, handler="echo"),
    "a journal entry": pb.JournalEntry(step_number=1, step_type="echo"),
}


async def test_among_the_commands(store, settings, caplog):
    commands = store.subjects.commands_stream_subjects
    for message in [*COMMANDS.values(), *ASIDE.values()]:
        await store.requests.publish(store.subjects.command("echo", ""), message.SerializeToString())
    for subject in (
        store.subjects.timer("w-1", "wake-1"),
        store.subjects.timer("w-1", "x"),
        commands[1].replace(">", "y"),
    ):
        await publish(store, subject)
    async with running_processor(settings, echo, max_concurrent=2) as running:
        assert await run_workflow(store, echo, "on") == "on"
        await wait_until(lambda: set_aside(store, len(ASIDE)))
        assert running.store.nats.stats["reconnects"] == 0
    assert (await query.list_workflows(store)).total == 1
    assert "Traceback" not in caplog.text
    assert await query.diagnose(store)


async def set_aside(store, number: int) -> bool:
    return (await query.get_stats(store)).set_aside == number


async def test_in_the_feed_of_states(store, settings):
    """Streams of events and watches that are open while they come."""
    async with http_api(settings) as http, running_processor(settings, echo):
        connection = http.connection()
        connection.request("GET", "/api/events")
        events = await asyncio.to_thread(connection.getresponse)
        for key in ("broken", "a.b", "*"):
            await publish(store, store.subjects.state(key))
        view = await run_to_end(store, echo, 1)
        seen = b""
        while view.invocation_id.encode() not in seen or b'"completed"' not in seen:
            seen += await asyncio.to_thread(events.readline)
        connection.close()
        assert b"event: error" not in seen
        assert (await http.get("/api/workflows")).json["total"] == 1
