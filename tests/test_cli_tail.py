"""`wf tail`: every change as a line, from the past on without a gap, pushed; on a terminal and off it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from datetime import UTC

import pexpect
import pytest

import views
from cli_stack import PROGRAM
from durablectl import control, query
from durablectl.cli.render.tail import Lines, tail_line
from durablectl.embedded import EmbeddedServer
from durablectl.model.codec import encode_execution
from durablectl.model.records import Execution
from durablectl.query import StateChange
from durablectl.settings import Settings
from durablectl.storage.store import open_store
from steering import NOBODYS, Desk
from support import provisioned, start, until
from views import NOW

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
async def desk(settings):
    """Without a processor: nothing changes but by the test."""
    async with provisioned(settings) as store:
        yield Desk(store, settings)


async def consumers(store) -> list[str]:
    answer = await store.requests.call(f"{store.api}.CONSUMER.NAMES.{store.subjects.state_stream}")
    return answer["consumers"] or []


@pytest.fixture
def tail(spawn):
    """Start ``wf tail ARGS`` and wait until it follows."""

    async def begin(desk, *args):
        process = spawn("wf", "tail", *args, env={"NATS_URL": desk.settings.url})
        await until(lambda: consumers(desk.store))
        return process

    return begin


async def lines(process, count: int) -> list[str]:
    """So many whole lines, while the process goes on."""
    await until(lambda: process.out().count("\n") >= count)
    assert process.out().count("\n") == count
    return process.out().splitlines()


async def live(desk, *names: str, handler: str = NOBODYS) -> None:
    for name in names:
        await start(desk.store, handler, id=name)


async def revision(desk, name: str) -> int:
    return (await query.get_workflow(desk.store, name)).revision


def told(text: str) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in text.splitlines()]
    return [(change["invocation_id"], change["status"]) for change in found]


async def test_every_change_is_a_json_line_at_once(desk, tail):
    process = await tail(desk, "--json")
    await live(desk, "a")
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
    assert await asyncio.to_thread(process.wait, 5) == 130
    assert json.loads(process.err())["error"]["code"] == "interrupted"
    assert await consumers(desk.store) == []


async def test_off_a_terminal_the_columns_are_tabs(desk, tail):
    process = await tail(desk)
    await live(desk, "a")
    await control.pause(desk.store, "a", "the bank\tis closed")
    [pending, paused] = await lines(process, 2)
    assert re.fullmatch(rf"{MOMENT}\tpending\ta\tnobodys\t\t\t\d+\t", pending)
    assert re.fullmatch(rf"{MOMENT}\tpaused\ta\tnobodys\t\t\t\d+\tthe bank\\tis closed", paused)
    assert paused.count("\t") == pending.count("\t") == 7
    assert "\x1b" not in process.out()
    process.interrupt()
    assert await asyncio.to_thread(process.wait, 5) == 130
    assert process.err() == ""


async def test_it_begins_with_changes_and_not_with_what_is_there(desk, tail):
    await live(desk, "before")
    process = await tail(desk, "-o", "name")
    await live(desk, "after")
    assert await lines(process, 1) == ["after"]


async def test_a_deleted_workflow_is_a_line(desk, tail):
    process = await tail(desk, "--json", "--status", "deleted")
    await live(desk, "a")
    await control.cancel(desk.store, "a")
    await control.delete(desk.store, "a")
    [line] = await lines(process, 1)
    gone = json.loads(line)
    assert (gone["invocation_id"], gone["status"], gone["handler"]) == ("a", "deleted", NOBODYS)
    assert list(gone) == list(json.loads(await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1", "--json")))


async def test_of_what_was_deleted_unseen_only_the_id_is_left(desk, tail):
    await live(desk, "a")
    await control.cancel(desk.store, "a")
    process = await tail(desk, "--json")
    await control.delete(desk.store, "a")
    gone = json.loads((await lines(process, 1))[0])
    assert (gone["invocation_id"], gone["status"], gone["handler"]) == ("a", "deleted", None)
    other = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1", "-o", "name")
    assert other == "a\n"


async def test_the_filters_choose_by_what_it_is_after_the_change(desk, tail):
    process = await tail(desk, "--json", "--status", "paused", "--status", "cancelled", "--handler", "h")
    for name, handler in (("a", "h"), ("b", NOBODYS)):
        await live(desk, name, handler=handler)
        await control.pause(desk.store, name)
    await control.resume(desk.store, "a")
    await live(desk, "last", handler="h")
    await control.pause(desk.store, "last")
    assert told("\n".join(await lines(process, 2))) == [("a", "paused"), ("last", "paused")]


async def test_a_partition_key_is_a_filter_for_the_deleted_too(desk, tail):
    process = await tail(desk, "--json", "--partition-key", "p")
    for name, key in (("a", "p"), ("b", "q")):
        await control.start(desk.store, control.StartRequest(NOBODYS, None, name, partition_key=key))
        await control.cancel(desk.store, name)
        await control.delete(desk.store, name)
    await control.start(desk.store, control.StartRequest(NOBODYS, None, "c", partition_key="p"))
    await until(lambda: '"c"' in process.out())
    found = told(process.out())
    assert {name for name, _ in found} == {"a", "c"}
    assert ("a", "deleted") in found


async def test_from_a_revision_it_goes_on_without_a_gap(desk):
    await live(desk, "a", "b", "c")
    first = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "2", "--json")
    assert told(first) == [("a", "pending"), ("b", "pending")]
    await control.pause(desk.store, "a")
    following = json.loads(first.splitlines()[-1])["revision"] + 1
    rest = await desk.ok("wf", "tail", "--from-revision", str(following), "--limit", "2", "--json")
    assert told(rest) == [("c", "pending"), ("a", "paused")]


async def test_a_revision_that_is_still_to_come_means_now(desk, tail):
    await live(desk, "a")
    process = await tail(desk, "-o", "name", "--from-revision", "1000000")
    await live(desk, "b")
    assert await lines(process, 1) == ["b"]


async def test_since_begins_with_the_oldest_change_and_goes_on_live(desk, tail):
    await live(desk, "old", "a", "b")
    await control.pause(desk.store, "a")
    since = (await query.get_workflow(desk.store, "old")).updated_at
    await until(lambda: time.time_ns() // 1000 > since + 1000)
    process = await tail(desk, "--json", "--since", "10m")
    await live(desk, "c")
    assert told("\n".join(await lines(process, 4))) == [
        ("old", "pending"),
        ("b", "pending"),
        ("a", "paused"),
        ("c", "pending"),
    ]


async def test_since_leaves_out_what_changed_before(desk):
    await live(desk, "old")
    changed = (await query.get_workflow(desk.store, "old")).updated_at
    await until(lambda: time.time_ns() // 1000 > changed + 100_000)
    await live(desk, "new")
    moment = (await query.get_workflow(desk.store, "new")).to_json()["created_at"]
    assert await desk.ok("wf", "tail", "--since", moment, "--limit", "1", "-o", "name") == "new\n"


async def test_since_a_moment_after_all_changes_is_live(desk, tail):
    await live(desk, "old")
    changed = (await query.get_workflow(desk.store, "old")).updated_at
    await until(lambda: time.time_ns() // 1000 > changed + 100_000)
    process = await tail(desk, "-o", "name", "--since", "1ms")
    await live(desk, "new")
    assert await lines(process, 1) == ["new"]


async def test_the_limit_ends_it_in_the_middle_of_a_past(desk):
    await live(desk, "a", "b", "c")
    assert await desk.ok("wf", "tail", "--since", "1h", "--limit", "2", "-o", "name") == "a\nb\n"
    assert await consumers(desk.store) == []


async def test_a_record_that_cannot_be_read_is_left_out_with_a_warning(desk):
    await desk.store.requests.publish(desk.store.subjects.state("broken"), b"\xff\xff", {})
    await live(desk, "a")
    result = await desk.cli("wf", "tail", "--from-revision", "1", "--limit", "1", "--json")
    assert told(result.stdout) == [("a", "pending")]
    assert "broken" in json.loads(result.stderr)["warning"]["message"]


async def test_a_record_of_another_implementation_has_the_time_of_the_server(desk):
    record = encode_execution(Execution("foreign", "theirs", status="doing"))
    await desk.store.requests.publish(desk.store.subjects.state("foreign"), record, {})
    line = await desk.ok("wf", "tail", "--from-revision", "1", "--limit", "1")
    assert re.fullmatch(rf"{MOMENT}\tdoing\tforeign\ttheirs\t\t\t1\t\n", line)


def connection(server, name: str) -> dict:
    with urllib.request.urlopen(f"{server.monitor_url}/connz?limit=10000") as answer:  # noqa: S310  # an http URL
        found = [each for each in json.load(answer)["connections"] if each.get("name") == name]
    return max(found, key=lambda each: each["cid"])


async def test_an_idle_tail_sends_no_request(desk, tail, nats_server):
    process = await tail(desk, "-o", "name")
    before = connection(nats_server, "durablectl")
    # Heartbeats of the server are what it hears meanwhile.
    await until(lambda: connection(nats_server, "durablectl")["out_msgs"] >= before["out_msgs"] + 3, timeout=20)
    after = connection(nats_server, "durablectl")
    assert (after["cid"], after["in_msgs"]) == (before["cid"], before["in_msgs"])
    assert process.poll() is None


async def test_an_outage_is_told_and_loses_nothing(tmp_path, spawn):
    server = EmbeddedServer(tmp_path / "nats", sync="always")
    server.start()
    settings = Settings(url=server.url, timeout=1)
    try:
        async with provisioned(settings) as store, open_store(settings) as writer:
            process = spawn("wf", "tail", "-o", "name", env={"NATS_URL": server.url, "DURABLECTL_NAMESPACE": ""})
            await until(lambda: consumers(store))
            await live(Desk(writer, settings), "a")
            await lines(process, 1)
            await asyncio.to_thread(server.kill)
            await until(lambda: "The connection to the NATS server was lost; reconnecting." in process.err())
            await asyncio.to_thread(server.start)
            await until(lambda: writer.is_connected)
            # Most likely before the tail has its new consumer.
            await live(Desk(writer, settings), "b", "c")
            await until(lambda: "Reconnected to the NATS server." in process.err())
            await live(Desk(writer, settings), "d")
            assert await lines(process, 4) == ["a", "b", "c", "d"]
            await asyncio.to_thread(server.kill)
            await until(lambda: process.err().count("was lost") == 2)
            process.interrupt()
            assert await asyncio.to_thread(process.wait, 5) == 130
            assert all(line.startswith("Warning: ") for line in process.err().splitlines())
    finally:
        server.stop()


@pytest.mark.parametrize("idle", [True, False])
async def test_a_closed_pipe_ends_it_quietly(desk, idle):
    environment = {**os.environ, "NATS_URL": desk.settings.url, "DURABLECTL_NAMESPACE": desk.settings.namespace}
    process = subprocess.Popen(
        [*PROGRAM, "wf", "tail", "-o", "name"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    await until(lambda: consumers(desk.store))
    await live(desk, "a")
    assert await asyncio.to_thread(process.stdout.readline) == b"a\n"
    process.stdout.close()
    if not idle:
        await live(desk, "b")
    assert await asyncio.to_thread(process.wait, 5) == 141
    assert process.stderr.read() == b""
    process.stderr.close()
    await until(lambda: no_consumers(desk.store))


async def no_consumers(store) -> bool:
    return not await consumers(store)


async def test_on_a_terminal(desk, environment):
    def run(columns: int) -> pexpect.spawn:
        env = {**os.environ, **environment, "LC_ALL": "C.UTF-8"}
        command = [*PROGRAM[1:], "wf", "tail"]
        return pexpect.spawn(
            sys.executable, command, env=env, dimensions=(24, columns), encoding="utf-8", timeout=15, echo=False
        )

    for columns in (80, 30):
        child = run(columns)
        await asyncio.to_thread(child.expect_exact, "Following every change; Ctrl-C ends it.\r\n")
        name = f"aaaaa-bbbbb-ccccc-dddd{columns // 10}"
        await live(desk, name)
        await control.pause(desk.store, name, "the bank is closed until Monday, which is a long time to wait for it")
        for _ in range(2):
            await asyncio.to_thread(child.expect_exact, "\n")
        written = child.before
        child.sendintr()
        await asyncio.to_thread(child.expect, pexpect.EOF)
        child.close()
        assert child.exitstatus == 130
        assert "Traceback" not in child.before
        line = CONTROL.sub("", written).rstrip()
        assert len(line) <= columns
        assert "\x1b[33m‖" in written
        if columns == 80:
            assert re.match(rf"\d\d:\d\d:\d\d  ‖ paused     {name}  nobodys  the bank .*…", line)
        else:
            assert line == f"‖ {name}"


async def test_what_cannot_be_meant_is_refused(desk):
    for args, message in (
        (("--from-revision", "3", "--since", "1h"), "--from-revision and --since both say where to begin."),
        (("--status", "faild"), "There is no status 'faild'."),
        (("--partition-key", ""), "The --partition-key is empty."),
        (("--since", "yesterday"), "'yesterday' is not a time"),
        (("--limit", "0"), "'--limit'"),
        (("--handler", "a.b"), "holds the character '.'"),
    ):
        result = await desk.cli("wf", "tail", *args)
        assert result.exit_code == 2, args
        assert message in result.stderr


def test_a_server_without_workflows_is_told_in_a_sentence(runner):
    from durablectl.cli.main import app

    result = runner.invoke(app, ["wf", "tail"])
    assert result.exit_code == 3
    assert "This NATS server holds no workflows yet" in result.stderr


def shown(view, width: int = 100, lines: Lines | None = None, now: int = NOW, *, wide: bool = False) -> str:
    return (lines or Lines(UTC)).line(StateChange(view, view.updated_at), now, width, wide=wide).plain


def test_a_line_tells_status_step_and_error():
    assert shown(views.RUNNING) == (
        "21:59:58.000  ▶ running    running-0001             async_workflow  2 HelloService.SayHello"
    )
    assert shown(views.RETRYING, 140).endswith("  2 HelloService.SayHello  attempt 7: no service answers")
    assert (
        shown(views.FAILED) == "21:59:58.000  ✗ failed     failed-0001              checkout  ValueError: no money\\x07"
    )
    assert shown(replace(views.RUNNING, updated_at=NOW - 86_400_000_000)).startswith("2026-11-21 22:00:00.000  ▶ ")
    in_step = replace(views.FAILED, error="Step 2 'charge' failed after 3 attempts: no money", error_type="StepError")
    assert shown(in_step, 80) == "21:59:58  ✗ failed     failed-0001              checkout  2 charge  no money"


def test_lines_stay_below_each_other():
    picture = Lines(UTC)
    long = replace(views.RUNNING, invocation_id="a-very-long-id-of-somebody-else")
    first, second, third = (shown(view, lines=picture) for view in (views.RUNNING, long, views.RUNNING))
    assert first.index("async_workflow") < second.index("async_workflow") == third.index("async_workflow")


@pytest.mark.parametrize("width", [10, 30, 40, 60, 80, 120])
def test_the_id_is_never_cut(width):
    line = shown(replace(views.RETRYING, invocation_id="abcde-fghij-klmno-pqrst"), width)
    assert "abcde-fghij-klmno-pqrst" in line
    assert len(line) <= max(width, 2 + 23)


def test_nothing_of_it_drives_the_terminal():
    nasty = replace(views.FAILED, error="\x1b[2J\nboom\t", error_type="", invocation_id="a\x1b")
    assert "\x1b" not in shown(nasty, 300)
    assert "\\x1b[2J\\nboom\\t" in shown(nasty, 300)
    assert "\x1b" not in tail_line(StateChange(nasty, NOW))
    assert tail_line(StateChange(nasty, NOW)).count("\t") == 7


def test_wide_has_everything():
    assert f"  {views.RUNNING.revision}  " in shown(views.RUNNING, 20, wide=True)
    assert views.RUNNING.owner in shown(views.RUNNING, 20, wide=True)
    assert tail_line(StateChange(views.RUNNING, NOW), wide=True).endswith(f"\t{views.RUNNING.owner}\t")
