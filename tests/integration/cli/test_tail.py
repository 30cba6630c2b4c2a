"""`wf tail`: every change as a line, from the past on without a gap."""

from __future__ import annotations

import asyncio
import json
import re
import time

import pytest

from durablectl import control, query
from durablectl.model.codec import encode_execution
from durablectl.model.records import Execution
from helpers.in_process import provisioned_store
from helpers.operations import UNSERVED_HANDLER, OperatorCli
from helpers.tail import MOMENT, follower, ids_and_statuses, lines, no_consumers, revision, start_live_tail
from helpers.waiting import wait_until

LATER = 4_000_000_000_000_000


@pytest.fixture
async def desk(settings):
    """Without a processor: nothing changes but by the test."""
    async with provisioned_store(settings) as store:
        yield OperatorCli(store, settings)


@pytest.fixture
def tail(spawn):
    return follower(spawn)


async def test_every_change_is_a_json_line_at_once(desk, tail):
    process = await tail(desk, "--json")
    await start_live_tail(desk, "a")
    [line] = await lines(process, 1)
    assert json.loads(line) == json.loads(await desk.ok("wf", "list", "--json"))["workflows"][0]
    await control.pause(desk.store, "a")
    await lines(process, 2)
    await control.resume(desk.store, "a")
    found = [json.loads(line) for line in await lines(process, 3)]
    assert [each["status"] for each in found] == ["pending", "paused", "pending"]
    assert [each["revision"] for each in found] == sorted({each["revision"] for each in found})
    assert found[-1]["revision"] == await revision(desk, "a")
    process.interrupt()
    assert await asyncio.to_thread(process.wait, 60) == 130
    assert json.loads(process.err())["error"]["code"] == "interrupted"
    await wait_until(lambda: no_consumers(desk.store))


async def test_off_a_terminal_the_columns_are_tabs(desk, tail):
    process = await tail(desk)
    await start_live_tail(desk, "a")
    await lines(process, 1)  # The stream holds only the last change of a workflow: one not sent yet is skipped.
    await control.pause(desk.store, "a", "the bank\tis closed")
    [pending, paused] = await lines(process, 2)
    assert re.fullmatch(rf"{MOMENT}\tpending\ta\tnobodys\t\t\t\d+\t", pending)
    assert re.fullmatch(rf"{MOMENT}\tpaused\ta\tnobodys\t\t\t\d+\tthe bank\\tis closed", paused)
    assert paused.count("\t") == pending.count("\t") == 7
    assert "\x1b" not in process.out()
    process.interrupt()
    assert await asyncio.to_thread(process.wait, 60) == 130
    assert process.err() == ""


async def test_tail_begins_with_the_next_change(desk, tail):
    await start_live_tail(desk, "before")
    process = await tail(desk, "-o", "name")
    await start_live_tail(desk, "after")
    assert await lines(process, 1) == ["after"]


async def test_a_deleted_workflow_is_a_line(desk, tail):
    process = await tail(desk, "--json", "--status", "deleted")
    await start_live_tail(desk, "a")
    await control.cancel(desk.store, "a")
    await control.delete(desk.store, "a")
    [line] = await lines(process, 1)
    gone = json.loads(line)
    assert (gone["invocation_id"], gone["status"], gone["handler"]) == ("a", "deleted", UNSERVED_HANDLER)
    assert list(gone) == list(json.loads(await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1", "--json")))


async def test_unseen_deleted_workflow_shows_only_its_id(desk, tail):
    await start_live_tail(desk, "a")
    await control.cancel(desk.store, "a")
    process = await tail(desk, "--json")
    await control.delete(desk.store, "a")
    gone = json.loads((await lines(process, 1))[0])
    assert (gone["invocation_id"], gone["status"], gone["handler"]) == ("a", "deleted", None)
    other = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1", "-o", "name")
    assert other == "a\n"


async def test_filters_match_the_state_after_the_change(desk, tail):
    process = await tail(desk, "--json", "--status", "paused", "--status", "cancelled", "--handler", "h")
    for name, handler in (("a", "h"), ("b", UNSERVED_HANDLER)):
        await start_live_tail(desk, name, handler=handler)
        await control.pause(desk.store, name)
        await lines(process, 1)
    await control.resume(desk.store, "a")
    await start_live_tail(desk, "last", handler="h")
    await control.pause(desk.store, "last")
    assert ids_and_statuses("\n".join(await lines(process, 2))) == [("a", "paused"), ("last", "paused")]


@pytest.mark.parametrize(
    "flags",
    [
        ("--id-prefix", "wanted-"),
        ("--input", "U1"),
        ("--input-json", '.user == "u1"'),
        ("--waiting-for", "timer", "--status", "pending"),
        ("--created-since", "1h", "--id-prefix", "wanted"),
    ],
)
async def test_tail_takes_the_filters_of_the_list(desk, tail, flags):
    process = await tail(desk, "-o", "name", *flags)
    for name, user, start_at in (
        ("other", "u2", 0),
        ("wanted-1", "u1", LATER),
        ("last", "u2", 0),
        ("wanted-2", "u1", LATER),
    ):
        request = control.StartRequest(UNSERVED_HANDLER, {"user": user}, name, start_at=start_at)
        await control.start(desk.store, request)
    assert await lines(process, 2) == ["wanted-1", "wanted-2"]


async def test_filters_that_no_longer_match_hide_the_deletion(desk, tail):
    process = await tail(desk, "--json", "--waiting-for", "timer")
    for count, name in enumerate(("a", "b"), 1):
        request = control.StartRequest(UNSERVED_HANDLER, None, name, start_at=LATER)
        await control.start(desk.store, request)
        await lines(process, count)
        await control.cancel(desk.store, name)
        await control.delete(desk.store, name)
    await control.start(desk.store, control.StartRequest(UNSERVED_HANDLER, None, "last", start_at=LATER))
    found = await lines(process, 3)
    assert ids_and_statuses("\n".join(found)) == [("a", "pending"), ("b", "pending"), ("last", "pending")]


async def test_bad_filters_are_refused_at_once(desk):
    for flags in (("--until", "1h"), ("--waiting-for", "godot"), ("--partition-key", ""), ("--status", "gone")):
        assert (await desk.cli("wf", "tail", *flags)).exit_code == 2


async def test_a_partition_key_is_a_filter_for_the_deleted_too(desk, tail):
    process = await tail(desk, "--json", "--partition-key", "p")
    for name, key in (("a", "p"), ("b", "q")):
        await control.start(desk.store, control.StartRequest(UNSERVED_HANDLER, None, name, partition_key=key))
        await control.cancel(desk.store, name)
        await control.delete(desk.store, name)
    await control.start(desk.store, control.StartRequest(UNSERVED_HANDLER, None, "c", partition_key="p"))
    await wait_until(lambda: '"c"' in process.out())
    found = ids_and_statuses(process.out())
    assert {name for name, _ in found} == {"a", "c"}
    assert ("a", "deleted") in found


async def test_tail_from_a_revision_has_no_gap(desk):
    await start_live_tail(desk, "a", "b", "c")
    first = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "2", "--json")
    assert ids_and_statuses(first) == [("a", "pending"), ("b", "pending")]
    await control.pause(desk.store, "a")
    following = json.loads(first.splitlines()[-1])["revision"] + 1
    rest = await desk.ok("wf", "tail", "--from-revision", str(following), "--limit", "2", "--json")
    assert ids_and_statuses(rest) == [("c", "pending"), ("a", "paused")]


async def test_a_revision_that_is_still_to_come_means_now(desk, tail):
    await start_live_tail(desk, "a")
    process = await tail(desk, "-o", "name", "--from-revision", "1000000")
    await start_live_tail(desk, "b")
    assert await lines(process, 1) == ["b"]


async def test_since_begins_with_the_oldest_change_and_continues_live(desk, tail):
    await start_live_tail(desk, "old", "a", "b")
    await control.pause(desk.store, "a")
    since = (await query.get_workflow(desk.store, "old")).updated_at
    await wait_until(lambda: time.time_ns() // 1000 > since + 1000)
    process = await tail(desk, "--json", "--since", "10m")
    await start_live_tail(desk, "c")
    assert ids_and_statuses("\n".join(await lines(process, 4))) == [
        ("old", "pending"),
        ("b", "pending"),
        ("a", "paused"),
        ("c", "pending"),
    ]


async def test_since_leaves_out_earlier_changes(desk):
    await start_live_tail(desk, "old")
    changed = (await query.get_workflow(desk.store, "old")).updated_at
    await wait_until(lambda: time.time_ns() // 1000 > changed + 100_000)
    await start_live_tail(desk, "new")
    moment = (await query.get_workflow(desk.store, "new")).to_json()["created_at"]
    assert await desk.ok("wf", "tail", "--since", moment, "--limit", "1", "-o", "name") == "new\n"


async def test_since_a_moment_after_all_changes_is_live(desk, tail):
    await start_live_tail(desk, "old")
    changed = (await query.get_workflow(desk.store, "old")).updated_at
    await wait_until(lambda: time.time_ns() // 1000 > changed + 100_000)
    process = await tail(desk, "-o", "name", "--since", "1ms")
    await start_live_tail(desk, "new")
    assert await lines(process, 1) == ["new"]


async def test_limit_ends_tail_within_past_changes(desk):
    await start_live_tail(desk, "a", "b", "c")
    assert await desk.ok("wf", "tail", "--since", "1h", "--limit", "2", "-o", "name") == "a\nb\n"
    await wait_until(lambda: no_consumers(desk.store))


async def test_a_record_that_cannot_be_read_is_left_out_with_a_warning(desk):
    await desk.store.requests.publish(desk.store.subjects.state("broken"), b"\xff\xff", {})
    await start_live_tail(desk, "a")
    result = await desk.cli("wf", "tail", "--from-revision", "1", "--limit", "1", "--json")
    assert ids_and_statuses(result.stdout) == [("a", "pending")]
    assert "broken" in json.loads(result.stderr)["warning"]["message"]


async def test_a_record_of_another_implementation_has_the_time_of_the_server(desk):
    record = encode_execution(Execution("foreign", "theirs", status="doing"))
    await desk.store.requests.publish(desk.store.subjects.state("foreign"), record, {})
    line = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1")
    assert re.fullmatch(rf"{MOMENT}\tdoing\tforeign\ttheirs\t\t\t\d+\t\n", line)
