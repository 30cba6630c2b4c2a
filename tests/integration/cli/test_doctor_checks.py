"""What `durablectl doctor` says of server, streams, processors and commands."""

from __future__ import annotations

import asyncio

import pytest

from durablectl import control, query, workflow
from durablectl.embedded import EmbeddedServer
from durablectl.errors import NotProvisionedError
from durablectl.model.kinds import CommandKind
from durablectl.model.records import Command
from durablectl.model.status import Status
from durablectl.query import Severity
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.diagnosis.dead_commands import find_dead_commands
from durablectl.storage.records import leases
from durablectl.storage.records.leases import Lease
from durablectl.storage.streams.provision import stream_configurations
from helpers.doctor import FOREIGN, check, put, put_foreign, record
from helpers.in_process import running_processor
from helpers.stored_commands import no_commands_left, publish_command
from helpers.tail import no_consumers
from helpers.waiting import wait_until
from helpers.workflow_runs import run_to_end, start_workflow, wait_for_status


async def test_all_is_well_with_a_namespace_that_works(store, settings):
    @workflow
    async def echo(_ctx, value=None):
        return value

    async with running_processor(settings, echo):
        await run_to_end(store, echo, 1)
        await wait_until(lambda: no_commands_left(store))
        diagnosis = await query.diagnose(store)
    assert diagnosis.is_healthy
    assert {check.severity for check in diagnosis.checks} == {Severity.OK}
    shown = diagnosis.to_json()
    assert shown["healthy"] is True
    names = [check["name"] for check in shown["checks"]]
    assert names == [
        "connection",
        "streams",
        "replicas",
        "room",
        "clocks",
        "processors",
        "lost_processors",
        "handlers",
        "commands",
        "dead_commands",
        "workflows",
        "work",
        "takeover",
        "calls",
        "index",
        "handler_names",
        "records",
        "set_aside",
    ]
    for each in shown["checks"]:
        assert {"name", "severity", "message", "hint", "count"} <= {*each}
        assert each["message"].endswith(".")


async def test_pending_commands_without_processor_are_listed_by_handler(store, settings):
    for number in range(3):
        await start_workflow(store, "nobody", number)
    await publish_command(store, Command("f-1", "any"), subject=store.subjects.unrouted_commands.replace("*", "p0"))
    found = await check(store, "handlers")
    assert (found.severity, found.details["handlers"]) == (Severity.WARNING, {"nobody": 3, "unrouted": 1})
    assert (await check(store, "commands")).details["waiting"] == {"nobody": 3, "unrouted": 1}
    found = await check(store, "processors")
    assert (found.severity, "3 workflows need one" in found.message) == (Severity.WARNING, True)

    @workflow
    async def other(_ctx):
        return 1

    async with running_processor(settings, other):

        async def is_routed() -> bool:
            return (await check(store, "handlers")).details["handlers"] == {"any": 1, "nobody": 3}

        await wait_until(is_routed)
        found = await check(store, "processors")
        assert (found.severity, found.count, found.details["handlers"]) == (Severity.OK, 1, ["other"])


async def test_running_workflow_of_dead_processor_is_reported(store):
    await put(store, record(1, Status.RUNNING, owner="dead"), record(2, Status.RUNNING, owner="live"))
    await leases.renew(store, Lease("live", ["ship"]))
    renewing = asyncio.create_task(keep_alive(store))
    found = await check(store, "takeover")
    assert (found.severity, found.count, found.details["invocation_ids"]) == (Severity.WARNING, 1, ["w1"])
    renewing.cancel()
    await leases.renew(store, Lease("live", ["pay"]))
    renewing = asyncio.create_task(keep_alive(store, "pay"))
    found = await check(store, "takeover")
    assert (found.severity, found.count) == (Severity.ERROR, 1)
    renewing.cancel()


async def keep_alive(store, handler: str = "ship") -> None:
    while True:
        await leases.renew(store, Lease("live", [handler]))
        await asyncio.sleep(0.5)


async def test_commands_set_aside_are_counted_and_the_newest_shown(store):
    for number in range(130):
        headers = {"Durable-Subject": f"commands.x.p{number}", "Durable-Reason": f"reason {number}"}
        await store.requests.publish(store.subjects.rejected(1000 + number), b"?", headers)
    found = await check(store, "set_aside")
    assert (found.severity, found.count) == (Severity.WARNING, 130)
    assert found.details["newest"] == [
        {"sequence": 1000 + n, "subject": f"commands.x.p{n}", "reason": f"reason {n}"} for n in range(129, 124, -1)
    ]


async def test_a_stream_that_is_configured_otherwise_or_missing_is_an_error(store):
    wanted = stream_configurations(store.subjects)[1]
    await store.requests.call(f"{store.api}.STREAM.UPDATE.{wanted['name']}", {**wanted, "max_msgs": 10**9})
    await store.requests.call(
        f"{store.api}.STREAM.UPDATE.{wanted['name']}", {**wanted, "discard": "old", "allow_direct": True}
    )
    await store.requests.call(f"{store.api}.STREAM.DELETE.{store.subjects.commands_stream}")
    found = await check(store, "streams")
    assert (found.severity, found.count) == (Severity.ERROR, 2)
    assert found.details["differences"] == {
        store.subjects.index_stream: ["discard is old, wanted new: a full stream drops the oldest index entries"],
        store.subjects.commands_stream: ["it does not exist"],
    }


async def test_missing_index_stream_leaves_nothing_to_repair(store):
    await put_foreign(store, FOREIGN[0])
    await store.requests.call(f"{store.api}.STREAM.DELETE.{store.subjects.index_stream}")
    found = await check(store, "index")
    assert (found.severity, "does not exist" in found.message) == (Severity.ERROR, True)
    with pytest.raises(NotProvisionedError, match="There is no index to repair"):
        await control.repair(store)


async def test_no_consumer_is_left_behind(store):
    await put(store, *(record(n) for n in range(3)))
    await query.diagnose(store)
    await control.repair(store)
    for stream in (store.subjects.state_stream, store.subjects.index_stream):
        await wait_until(lambda stream=stream: no_consumers(store, stream))


async def test_doctor_on_server_without_streams_prints_one_sentence(tmp_path):
    with EmbeddedServer(tmp_path) as server:
        async with open_store(Settings(url=server.url, timeout=30)) as store:
            for asked in (query.diagnose, control.repair):
                with pytest.raises(NotProvisionedError, match="holds no workflows yet"):
                    await asked(store)


async def test_commands_that_lead_nowhere_are_named_and_removed(store, settings):
    """A start of a live workflow and one whose state is missing wait for a processor: these stay."""
    await start_workflow(store, "unserved", id="alive")
    await start_workflow(store, "unserved", id="ended")
    await control.cancel(store, "ended", now=True)
    await start_workflow(store, "unserved", id="deleted")
    await control.cancel(store, "deleted", now=True)
    await control.delete(store, "deleted")
    await publish_command(store, Command("stateless", "unserved"))
    await publish_command(store, Command("fired", "unserved", CommandKind.FIRE, schedule="gone"))
    await publish_command(store, Command("odd", "unserved"), subject=store.subjects.command("~odd", "p"))
    await store.requests.publish(store.subjects.command("unserved", "p"), b"\xff\xff no command")
    dead = await find_dead_commands(store, ())
    reasons = {(each.invocation_id, str(each.reason)) for each in dead}
    assert reasons == {
        ("ended", "ended"),
        ("deleted", "deleted"),
        ("", "deleted"),
        ("odd", "odd_subject"),
        ("", "unreadable"),
    }
    found = await check(store, "dead_commands")
    assert (found.severity, found.count) == (Severity.WARNING, len(dead))
    assert (await check(store, "handlers")).details["handlers"]["unserved"] == len(dead) + 1
    assert await control.remove_dead_commands(store, dry_run=True) == len(dead)
    assert await control.remove_dead_commands(store) == len(dead)
    assert await control.remove_dead_commands(store) == 0
    assert (await check(store, "dead_commands")).severity == Severity.OK
    (record,) = await query.list_audit(store, action="doctor.remove_commands")
    assert record.details == {"commands": len(dead)}

    @workflow
    async def unserved(_ctx, value=None):
        return value

    async with running_processor(settings, unserved):
        for each in ("alive", "stateless"):
            await wait_for_status(store, each, "completed")
