"""Starting: stored before it is reported, once an id, and nothing lost whoever dies where."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from durablectl import control, query, workflow
from durablectl.demo._proto.hello_pb2 import HelloRequest
from durablectl.embedded import EmbeddedServer
from durablectl.errors import (
    AlreadyExistsError,
    InvalidNameError,
    InvalidValueError,
    NotFoundError,
    PayloadTooLargeError,
)
from durablectl.model.records import Command, Payload
from durablectl.settings import Settings
from durablectl.storage.connection.store import open_store
from durablectl.storage.records import states
from durablectl.storage.streams.provision import stream_config
from helpers.in_process import provisioned_store, running_processor
from helpers.index_listing import index_groups, list_index_entries, wait_for_index_group
from helpers.stored_commands import count_commands, publish_command
from helpers.waiting import wait_until
from helpers.workflow_runs import run_workflow, start_workflow, wait_for_output


@workflow
async def echo(_ctx, value=None):
    return value


@workflow
async def length(_ctx, value):
    return len(value)


async def test_workflow_is_readable_when_start_returns(store):
    for value in ("user-001", 5, None, {"a": [1]}):
        invocation_id = await start_workflow(store, "nobody", value)
        view = await query.get_workflow(store, invocation_id)
        assert (view.status, view.handler, view.input, view.current_step) == ("pending", "nobody", value, -1)
        assert view.created_at > (time.time() - 60) * 1e6
        assert await index_groups(store, invocation_id) == ["pending"]
    assert await count_commands(store) == 4


async def test_the_first_start_on_an_empty_server_makes_the_streams(settings):
    async with open_store(settings) as store:
        invocation_id = await start_workflow(store, "greet", "x", id="first")
        assert (await query.get_workflow(store, invocation_id)).input == "x"
        assert await stream_config(store, store.subjects.commands_stream)
        assert await count_commands(store) == 1


async def test_the_handler_of_the_first_start_on_an_empty_server_is_known(settings):
    async with open_store(settings) as store:
        await start_workflow(store, "first")
        assert (await query.get_stats(store)).by_handler == {"first": 1}


async def test_a_message_as_input_is_readable(store):
    invocation_id = await start_workflow(store, "greet", HelloRequest(name="Ada"))
    assert (await query.get_workflow(store, invocation_id)).input == {"name": "Ada"}


async def test_id_can_be_started_once_regardless_of_status(store, settings):
    await start_workflow(store, echo, 1, id="mine")
    with pytest.raises(AlreadyExistsError, match=r"mine exists already \(echo, pending\)") as caught:
        await start_workflow(store, echo, 2, id="mine")
    assert (caught.value.exit_code, "durablectl wf get mine" in caught.value.hint) == (7, True)
    with pytest.raises(AlreadyExistsError, match="echo, pending"):
        await start_workflow(store, "other_handler", 2, id="mine")
    assert await index_groups(store, "mine") == ["pending"]
    async with running_processor(settings, echo):
        assert await wait_for_output(store, "mine") == 1
        with pytest.raises(AlreadyExistsError, match="echo, completed"):
            await start_workflow(store, echo, 3, id="mine")
        await wait_until(lambda: all_done(store))
    assert await wait_for_output(store, "mine") == 1
    await wait_for_index_group(store, "mine", "completed")


async def test_id_can_be_reused_after_each_delete(store, settings):
    """No processor has had any of them: their start commands are all there, and the server remembers the first."""
    for number in range(4):
        await start_workflow(store, echo, number, id="again")
        assert (await query.get_workflow(store, "again")).input == number
        if number < 3:
            await control.cancel(store, "again", now=True)
            await control.delete(store, "again")
    async with running_processor(settings, echo):
        assert await wait_for_output(store, "again") == 3
        await wait_until(lambda: all_done(store))
    assert await wait_for_output(store, "again") == 3


async def all_done(store) -> bool:
    return await count_commands(store) == 0


async def test_of_racing_clients_exactly_one_wins(store, settings):
    """Different connections, with and without a processor that is faster than the clients' own writes."""

    async def one(client, name: str, value: int) -> int | None:
        try:
            await start_workflow(client, echo, value, id=name)
        except AlreadyExistsError:
            return None
        return value

    async with open_store(settings) as other, open_store(settings) as third:
        clients = [store, other, third]
        winners = {}

        async def rounds(first: int, count: int) -> None:
            for number in range(first, first + count):
                answers = await asyncio.gather(*(one(c, f"r{number}", n) for n, c in enumerate(clients)))
                winning = [answer for answer in answers if answer is not None]
                assert len(winning) == 1, (number, answers)
                winners[f"r{number}"] = winning[0]
                assert (await query.get_workflow(store, f"r{number}")).input == winning[0]

        await rounds(0, 60)
        async with running_processor(settings, echo):
            await rounds(60, 100)
            for name, value in winners.items():
                assert await wait_for_output(store, name) == value
            await wait_until(lambda: all_done(store))
    entries = await list_index_entries(store)
    assert sorted(entry.invocation_id for entry in entries) == sorted(winners)
    assert {entry.group for entry in entries} == {"completed"}


def dead_start(data: bytes) -> Command:
    return Command("half", "echo", "start", Payload(data), "", int(time.time() * 1e6), "a token of its own")


async def test_client_death_after_command_still_starts_workflow(store, settings):
    """The second client is refused and completes the first one's start, so that it can be read before it runs."""
    await publish_command(store, dead_start(b'"first"'), "half")
    with pytest.raises(NotFoundError):
        await query.get_workflow(store, "half")
    async with open_store(settings) as other:
        with pytest.raises(AlreadyExistsError, match=r"half exists already \(echo, pending\)"):
            await start_workflow(other, echo, "second", id="half")
    view = await query.get_workflow(store, "half")
    assert (view.status, view.input) == ("pending", "first")
    assert await index_groups(store, "half") == ["pending"]
    async with running_processor(settings, echo):
        assert await wait_for_output(store, "half") == "first"
    await wait_for_index_group(store, "half", "completed")


async def test_processor_completes_start_of_dead_client(store, settings):
    await publish_command(store, dead_start(b"7"), "half")
    async with running_processor(settings, echo):

        async def known() -> bool:
            return await states.load(store, "half") is not None

        await wait_until(known)
        assert await wait_for_output(store, "half") == 7
    await wait_for_index_group(store, "half", "completed")


async def test_repeated_start_after_duplicate_window_changes_nothing(store, settings):
    """Two minutes later the server no longer knows the message id, so the second command is stored."""
    await start_workflow(store, echo, "first", id="again")
    await publish_command(store, replace(dead_start(b'"second"'), invocation_id="again"))
    assert await count_commands(store) == 2
    async with running_processor(settings, echo):
        assert await wait_for_output(store, "again") == "first"
        await wait_until(lambda: all_done(store))
    assert (await query.get_workflow(store, "again")).input == "first"
    assert (await states.load(store, "again")).execution.attempt == 1


@pytest.mark.parametrize("name", ["a.b", "*", ">", "x" * 200, "", "a b", "a\n", "é", "$x", "active", "stats"])
async def test_an_invalid_id_changes_nothing(store, name):
    with pytest.raises(InvalidNameError, match="invocation id"):
        await start_workflow(store, "greet", 1, id=name)
    assert (await count_commands(store), await list_index_entries(store)) == (0, [])


@pytest.mark.parametrize("name", ["a.b", "", "*", "x" * 129])
async def test_an_invalid_handler_or_partition_changes_nothing(store, name):
    with pytest.raises(InvalidNameError, match="handler"):
        await start_workflow(store, name)
    with pytest.raises(InvalidNameError, match="partition key"):
        await control.start(store, control.StartRequest("greet", partition_key=name))
    assert (await count_commands(store), await list_index_entries(store)) == (0, [])


async def test_an_input_that_json_cannot_hold_changes_nothing(store):
    with pytest.raises(InvalidValueError, match="The input of workflow 'greet' is a set that JSON cannot hold"):
        await start_workflow(store, "greet", {1})
    assert await count_commands(store) == 0


async def test_input_over_limit_is_refused_and_input_below_it_runs(tmp_path):
    with EmbeddedServer(tmp_path, config="max_payload: 65536") as server:
        settings = Settings(url=server.url, timeout=30)
        async with provisioned_store(settings) as store:
            for size in (65_536, 65_000, 10_000_000):
                with pytest.raises(PayloadTooLargeError, match="over the server's maximum payload") as caught:
                    await start_workflow(store, echo, "x" * size, id="big")
                assert "pass a reference" in caught.value.hint
            assert (await count_commands(store), await list_index_entries(store)) == (0, [])
            async with running_processor(settings, length):
                assert await run_workflow(store, length, "x" * 45_000, id="big") == 45_000


async def test_partition_and_handler_show_in_the_subject_of_the_command(store):
    await control.start(store, control.StartRequest("greet", 1, "with", "eu-1"))
    await start_workflow(store, "greet", 1, id="without")
    stream = store.subjects.commands_stream
    ours = f"commands-{store.subjects.namespace}.>"
    answer = await store.requests.call(f"{store.api}.STREAM.INFO.{stream}", {"subjects_filter": ours})
    prefix = f"commands-{store.subjects.namespace}.greet."
    assert set(answer["state"]["subjects"]) == {prefix + "eu-1", prefix + "~"}
    assert (await query.get_workflow(store, "with")).partition_key == "eu-1"
