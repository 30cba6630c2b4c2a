"""Records and commands of other implementations: fields 1 to 9 only, on the subjects that they use."""

from __future__ import annotations

import json

from durablectl import query, workflow
from durablectl._proto import durable_pb2 as pb
from durablectl.demo._proto.hello_pb2 import HelloRequest, HelloResponse
from durablectl.query import Filters
from durablectl.storage.records import states
from helpers.in_process import running_processor
from helpers.index_listing import wait_for_index_group
from helpers.stored_commands import no_commands_left
from helpers.stored_records import list_subjects
from helpers.waiting import wait_until
from helpers.workflow_runs import run_workflow, wait_for_output


@workflow
async def echo(_ctx, value=None):
    return value


@workflow
async def resumed(ctx, _value=None):
    return [await ctx.step(str, number, name="Old.Step") for number in range(3)]


async def put(store, **fields) -> None:
    record = pb.ExecutionState(**fields)
    await store.requests.publish(store.subjects.state(record.invocation_id), record.SerializeToString())


def unrouted(store, partition: str) -> str:
    return f"commands-{store.subjects.namespace}.{partition}"


async def send(store, **fields) -> None:
    command = pb.Command(**fields)
    await store.requests.publish(unrouted(store, command.partition_key), command.SerializeToString())


RUNNING = {
    "invocation_id": "abc-123-def-456",
    "handler": "async_workflow",
    "status": "running",
    "current_step": 1,
    "current_step_type": "HelloService.SayHello",
    "journal": [
        pb.JournalEntry(
            step_number=0,
            step_type="HelloService.SayHello",
            request=HelloRequest(name="User:user-001").SerializeToString(),
            response=HelloResponse(message="Hello, User:user-001!").SerializeToString(),
        )
    ],
}


async def test_get_shows_foreign_record_with_null_for_missing_fields(store):
    await put(store, **RUNNING)
    shown = (await query.get_workflow(store, "abc-123-def-456")).to_json()
    json.dumps(shown, allow_nan=False)
    expected = {
        "invocation_id": "abc-123-def-456",
        "handler": "async_workflow",
        "status": "running",
        "current_step": 1,
        "current_step_type": "HelloService.SayHello",
        "total_steps": 1,
    }
    assert {key: shown[key] for key in expected} == expected
    assert {shown[key] for key in ("input", "output", "error", "reason", "created_at", "finished_at", "owner")} == {
        None
    }
    [step] = shown["journal"]
    assert (step["step_number"], step["step_type"], step["error"]) == (0, "HelloService.SayHello", "")
    assert (step["request"], step["response"]) == ({"1": "User:user-001"}, {"1": "Hello, User:user-001!"})
    assert (step["kind"], step["attempts"], step["started_at"]) == (None, None, None)


async def test_list_and_stats_include_foreign_record(store):
    await put(store, **RUNNING)
    await put(store, invocation_id="done", handler="greet", status="completed", current_state=b'{"ok":true}')
    await put(store, invocation_id="odd", handler="greet", status="EXPLODED")
    page = await query.list_workflows(store)
    assert [(v.invocation_id, v.status) for v in page.workflows] == [
        ("odd", "EXPLODED"),
        ("done", "completed"),
        ("abc-123-def-456", "running"),
    ]
    assert page.workflows[1].output == {"ok": True}
    stats = await query.get_stats(store)
    assert stats.to_json() == {
        "total": 3,
        "by_status": {"other": 1, "completed": 1, "running": 1},
        "by_handler": {"greet": 2, "async_workflow": 1},
        "by_handler_status": {"greet": {"completed": 1, "other": 1}, "async_workflow": {"running": 1}},
        "oldest_active": stats.oldest_active.to_json(),
        "completed_per_minute": 0.2,
        "completed_per_minute_last_hour": 0.02,
        "set_aside": 0,
    }
    assert stats.oldest_active.invocation_id == "abc-123-def-456"
    completed = await query.list_workflows(store, Filters.parse(["completed"]))
    assert [v.invocation_id for v in completed.workflows] == ["done"]


async def test_a_record_that_is_none_is_left_out_and_the_others_are_shown(store):
    await put(store, **RUNNING)
    await store.requests.publish(store.subjects.state("broken"), b"\xff\xffnot protobuf")
    page = await query.list_workflows(store)
    assert ([v.invocation_id for v in page.workflows], page.total) == (["abc-123-def-456"], 1)
    assert (await query.get_stats(store)).total == 1


async def test_a_command_that_names_only_its_partition_is_executed(store, settings):
    await send(store, invocation_id="f-1", handler="echo", args=b'"hi"', partition_key="p0", service="x", sequence=3)
    async with running_processor(settings, echo) as processor:
        await wait_until(lambda: exists(store, "f-1"))
        assert await wait_for_output(store, "f-1") == "hi"
        await send(store, invocation_id="f-2", handler="echo", args=b"[2]", partition_key="p1")
        await wait_until(lambda: exists(store, "f-2"))
        assert await wait_for_output(store, "f-2") == [2]
        await wait_until(lambda: no_commands_left(store))
        view = await query.get_workflow(store, "f-1")
        assert (view.partition_key, view.owner, view.input) == ("p0", processor.id, "hi")
    await wait_for_index_group(store, "f-1", "completed")


async def exists(store, invocation_id: str) -> bool:
    return await states.load(store, invocation_id) is not None


async def test_a_pending_state_without_input_takes_that_of_its_command(store, settings):
    """A record has no field below 20 for the input: it is in the command only."""
    await put(store, invocation_id="f-1", handler="echo", status="pending")
    await send(store, invocation_id="f-1", handler="echo", args=b'{"n":7}', partition_key="p0")
    async with running_processor(settings, echo):
        assert await wait_for_output(store, "f-1") == {"n": 7}
    assert (await query.get_workflow(store, "f-1")).input == {"n": 7}


async def test_record_with_inline_journal_resumes_where_it_stopped(store, settings):
    journal = [pb.JournalEntry(step_number=n, step_type="Old.Step", response=b'"old"') for n in range(2)]
    await put(store, invocation_id="f-1", handler="resumed", status="pending", journal=journal)
    await send(store, invocation_id="f-1", handler="resumed", partition_key="p0")
    async with running_processor(settings, resumed):
        assert await wait_for_output(store, "f-1") == ["old", "old", "2"]
    view = await query.get_workflow(store, "f-1")
    assert [step.step_number for step in view.journal] == [0, 1, 2]
    await wait_for_index_group(store, "f-1", "completed")


GARBAGE = [
    b"\xff\xff\xff",
    b"",
    b"plain text",
    pb.Command(handler="echo").SerializeToString(),
    pb.Command(invocation_id="a.b", handler="echo").SerializeToString(),
    pb.Command(invocation_id="active", handler="echo").SerializeToString(),
    pb.Command(invocation_id="x", handler="no such").SerializeToString(),
    pb.Command(invocation_id="x", handler="echo", partition_key="a b").SerializeToString(),
]


async def test_invalid_commands_are_quarantined_and_others_run(store, settings, caplog):
    for number, data in enumerate(GARBAGE):
        for subject in (unrouted(store, f"p{number}"), store.subjects.command("echo", f"p{number}")):
            await store.requests.publish(subject, data)
    async with running_processor(settings, echo, max_concurrent=2):
        assert await run_workflow(store, echo, "still works") == "still works"
        await wait_until(lambda: no_commands_left(store))
    kept = await list_subjects(store, store.subjects.state_stream, ">")
    assert len([subject for subject in kept if ".rejected." in subject]) == 2 * len(GARBAGE)
    assert caplog.text.count("Set aside the command") == 2 * len(GARBAGE)
    assert [v.handler for v in (await query.list_workflows(store)).workflows] == ["echo"]


async def test_a_command_on_the_subject_of_another_handler_reaches_its_own(store, settings):
    """The subject routes, the body decides; a processor without that handler must not hold on to it."""
    command = pb.Command(invocation_id="lost", handler="resumed", partition_key="p").SerializeToString()
    await store.requests.publish(store.subjects.command("echo", "p"), command)
    async with running_processor(settings, echo):
        assert await run_workflow(store, echo, 1) == 1
        async with running_processor(settings, resumed):
            await wait_until(lambda: exists(store, "lost"))
            assert await wait_for_output(store, "lost") == ["0", "1", "2"]
            await wait_until(lambda: no_commands_left(store))


async def test_a_start_command_for_an_id_under_another_handler_changes_nothing(store, settings):
    await put(store, invocation_id="f-1", handler="resumed", status="pending")
    await send(store, invocation_id="f-1", handler="echo", args=b"1", partition_key="p0")
    async with running_processor(settings, echo):
        assert await run_workflow(store, echo, 1) == 1
        await wait_until(lambda: no_commands_left(store))
    view = await query.get_workflow(store, "f-1")
    assert (view.handler, view.status, view.attempt) == ("resumed", "pending", 0)
